"""Where the values of the settings come from, and which one wins.

The command line, then `PREFORK_*` variables, then the TOML file, then what the platform sets
(`LISTEN_FDS`, `PORT`, `WEB_CONCURRENCY`), then the defaults. Each value remembers its origin, which
every message about it begins with.
"""

from prefork.config.command_line import parse, parser
from prefork.config.precedence import Config, load
from prefork.config.toml import key_toml, value_toml

__all__ = ["Config", "key_toml", "load", "parse", "parser", "value_toml"]
