"""What the TOML file gives to the settings, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import tomli

from prefork.config.sources import Given
from prefork.errors import UsageError
from prefork.settings import TABLE

# Settings of which the names begin with these may stand in a table, without that.
_TABLES = frozenset({"tls"})
_ALIASES = {row.option.alias: row.name for row in TABLE.values() if row.option.alias}


def from_toml(path: str) -> Iterator[Given]:
    """What the file sets.

    Raises:
        UsageError: it can't be read, or sets what is no setting, or one of them twice.
    """
    text, document = _read(path)
    for key, value in _settings_of(document).items():
        origin = f"{path}:{_line_of(key, text)}"
        name = _ALIASES.get(key, key)
        if name not in TABLE:
            raise UsageError(f"{origin}: unknown setting {key!r}{_did_you_mean(key)}")
        table, _, rest = key.partition("_")
        if key in document and isinstance(document.get(table), dict) and rest in document[table]:
            raise UsageError(f"{origin}: {key} is also set as {rest} in [{table}]")
        if name != key and name in document:
            raise UsageError(f"{origin}: {key} is another name of {name}, which is also set")
        yield Given(name, value, origin, text=False)


def _read(path: str) -> tuple[str, dict[str, Any]]:
    """The file, as text, and as what that means."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
        return text, tomli.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8") from None
    except tomli.TOMLDecodeError as error:
        if path.endswith(".py"):
            hint = "this is Python: if it is gunicorn's, --import-gunicorn makes TOML of it"
            raise UsageError(f"{path}: {hint}") from None
        raise UsageError(f"{path}:{error.lineno}: {error.msg} (column {error.colno})") from None


def _settings_of(document: dict[str, Any]) -> dict[str, Any]:
    """What a document sets, with what stands in tables by the names of the settings."""
    tables = {key: value for key, value in document.items() if key in _TABLES}
    found = {key: value for key, value in document.items() if key not in tables}
    for table, values in tables.items():
        if isinstance(values, dict):
            found.update({f"{table}_{key}": value for key, value in values.items()})
        else:
            found[table] = values
    return found


def _line_of(key: str, text: str) -> int:
    """The line on which a top-level key of a valid TOML text stands.

    It is the line after the longest beginning of the text that parses and lacks the key: what
    TOML says of keys, quoted, dotted, in tables or in multi-line strings, need not be known.
    """
    lines = text.split("\n")
    found = 1
    for count in range(len(lines)):
        try:
            document = tomli.loads("\n".join([*lines[:count], ""]))
        except tomli.TOMLDecodeError:
            continue
        if key in _settings_of(document):
            break
        found = count + 1
    return found


def _did_you_mean(key: str) -> str:
    close = difflib.get_close_matches(key, [*TABLE, *_ALIASES], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
