"""What a fuzzer tries: see properties.py, and `make fuzz`."""
