"""prefork measured beside its peers; `python -m benchmarks --help` says how."""
