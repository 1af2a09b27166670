"""The settings table: the only place where a setting is declared.

One field is one setting. Its name is the TOML key, its type and `Meta` say what is valid, its
`Option` how it is spelled on the command line and what it does. The flags, the environment
variables, `--help`, the man pages and the sample configuration all come from here.

The fields stand in app.py, workers.py, reloading.py, clients.py and process.py, in this order. Each
of these adds its own to those of the one before, as a Struct has one base at most.
"""

from prefork.settings.derived import (
    idle_timeout,
    request_timeout,
    standstill_timeout,
    worker_count,
    worker_kind,
)
from prefork.settings.option import MOST_WORKERS, Group
from prefork.settings.place import STARTED_IN, home
from prefork.settings.process import ACCESS_LOG_FORMAT
from prefork.settings.table import TABLE, Setting, Settings

__all__ = [
    "ACCESS_LOG_FORMAT",
    "MOST_WORKERS",
    "STARTED_IN",
    "TABLE",
    "Group",
    "Setting",
    "Settings",
    "home",
    "idle_timeout",
    "request_timeout",
    "standstill_timeout",
    "worker_count",
    "worker_kind",
]
