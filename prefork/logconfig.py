"""What the app logs by the standard library's logging: the setting `log`, a dictConfig.

It is applied where the app is: it names handlers, which may be anybody's code, and may wait. The
master looks only whether the parts fit together, and logs by `error_log`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prefork.errors import UsageError

# What those who write one for a server do not mean to say each time.
_DEFAULTS = {"version": 1, "disable_existing_loggers": False}
_TABLES = ("formatters", "filters", "handlers", "loggers")
_KEYS = {*_DEFAULTS, *_TABLES, "root", "incremental"}


def check(given: Mapping[str, Any]) -> None:
    """Check what can be checked without importing anything.

    Raises:
        UsageError: logging.config would not take it.
    """
    for why in _faults(given):
        raise UsageError(f"log: {why}", "log")


def apply(given: Mapping[str, Any]) -> None:
    """Configure the logging of this process.

    Raises:
        UsageError: it can't be done: there is no such class, say, or a file can't be opened.
    """
    if not given:
        return
    # Here, not above: few have use for it, the master never.
    from logging.config import dictConfig

    try:
        dictConfig({**_DEFAULTS, **given})
    except Exception as error:  # handlers are anybody's code
        # What is said first is only where; the reason is what has caused it.
        why = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise UsageError(f"log: {why}", "log") from error


def _faults(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, in the order of the standard library's documentation."""
    for key in sorted(given.keys() - _KEYS):
        yield f"there is no {key!r}"
    if given.get("version", 1) != 1:
        yield "version: expected 1"
    tables = {name: given.get(name, {}) for name in _TABLES}
    tables["root"] = {"root": given.get("root", {})}
    for name, table in tables.items():
        if not isinstance(table, dict) or not all(isinstance(of, dict) for of in table.values()):
            yield f"{name}: expected a table"
            return
    if given.get("incremental"):
        return
    for name, table in tables.items():
        for key, part in table.items():
            for kind, wanted in _references(part):
                if not isinstance(wanted, str) or wanted not in tables[kind]:
                    where = name if name == key else f"{name}.{key}"
                    yield f"{where}: {wanted!r} is none of the {kind}"


def _references(part: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What a part names of others: what kind, and which."""
    for kind in ("handlers", "filters"):
        named = part.get(kind, [])
        for wanted in named if isinstance(named, list) else [named]:
            yield kind, wanted
    if "formatter" in part:
        yield "formatters", part["formatter"]
