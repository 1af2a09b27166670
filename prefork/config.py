"""Where the values of the settings come from, and which one wins.

The command line, then `PREFORK_*` variables, then the TOML file, then what the platform sets
(`LISTEN_FDS`, `PORT`, `WEB_CONCURRENCY`), then the defaults. Each value remembers its origin, which
every message about it begins with.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any, get_args, get_origin

import msgspec
import tomli

from prefork import __version__, gunicorn_flags
from prefork.errors import PreforkError, UsageError
from prefork.finding import find_app
from prefork.settings import STARTED_IN, TABLE, Group, Setting, Settings, home
from prefork.systemd import passed_sockets

_PREFIX = "PREFORK_"
_CONFIG_VARIABLE = "PREFORK_CONFIG"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
# Settings of which the names begin with these may stand in a table, without that.
_TABLES = frozenset({"tls"})
# Every number that is no whole one is a time.
_METAVARS = {float: "SECONDS", int: "N", str: "NAME"}
_ALIASES = {row.option.alias: row.name for row in TABLE.values() if row.option.alias}


@dataclass(frozen=True)
class Given:
    """A value that somebody gave to a setting.

    `text` says that it came as a string from a place that has only strings.
    """

    name: str
    value: Any
    origin: str
    text: bool


@dataclass(frozen=True)
class Config:
    """The settings, and for each one where its value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def located(self, error: PreforkError) -> PreforkError:
        """The error, with the origin of the setting that is at fault in front."""
        setting = error.setting if isinstance(error, UsageError) else ""
        origin = self.origins.get(setting)
        return UsageError(f"{origin}: {error}") if origin else error

    def as_toml(self) -> str:
        """All settings as a TOML file, each with its origin in a comment."""
        plain, tables = [], []
        for row in TABLE.values():
            value = getattr(self.settings, row.name)
            origin = self.origins.get(row.name, "default")
            if isinstance(value, dict):
                tables += [f"\n[{row.name}]  # {origin}"]
                tables += [f"{key_toml(key)} = {value_toml(item)}" for key, item in value.items()]
            elif value is None:
                plain.append(f"# {row.name} is not set  # {origin}")
            else:
                plain.append(f"{row.name} = {value_toml(value)}  # {origin}")
        return "\n".join(plain + tables) + "\n"


def load(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings, from all their sources.

    Args:
        arguments: what `parse` has given.
        environ: the environment.

    Raises:
        UsageError: a value, or the configuration file, can't be used.
    """
    sources = [_from_platform(environ)]
    if arguments.config:
        sources.append(_from_toml(arguments.config))
    sources += [_from_environment(environ), _from_command_line(arguments)]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for given in source:
            values[given.name] = _convert(given)
            origins[given.name] = given.origin
    settings = Settings(**values)
    if not settings.app and (found := find_app(home(settings))):
        settings = msgspec.structs.replace(settings, app=found)
        origins["app"] = f"found in {home(settings)}"
    return Config(settings, origins)


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line; `config` becomes the path of the TOML file, or None.

    The path is made absolute, as a reload reads the file again.
    """
    namespace = parser().parse_args(arguments)
    path = namespace.config or environ.get(_CONFIG_VARIABLE)
    namespace.config = os.path.join(STARTED_IN, path) if path else None
    namespace.ignored += gunicorn_flags.remarks(vars(namespace))
    return namespace


def parser() -> argparse.ArgumentParser:
    """The command line: a flag for each setting, and the few that are no settings."""
    result = argparse.ArgumentParser(
        prog="prefork",
        usage="prefork [APP] [-c FILE] [options]",
        description="Serve a WSGI app from pre-forked workers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every setting is also a key of the TOML file and a PREFORK_* variable.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    result.add_argument("APP", nargs="?", help=TABLE["app"].option.help.replace("%", "%%"))
    result.add_argument("-c", "--config", metavar="FILE", default=None, help="TOML file to read.")
    result.add_argument(
        "--check-config",
        action="store_true",
        default=False,
        help="Check the settings, import the app, and exit.",
    )
    result.add_argument(
        "--print-config",
        action="store_true",
        default=False,
        help="Print the settings in effect as TOML, with their origins, and exit.",
    )
    result.add_argument("--version", action="version", version=f"prefork {__version__}")
    result.add_argument(
        "--import-gunicorn",
        metavar="FILE",
        default=None,
        help="Print a configuration of gunicorn, which is executed, as TOML, and exit.",
    )
    gunicorn_flags.add(result)
    for group in Group:
        section = result.add_argument_group(group.value)
        for row in TABLE.values():
            if row.option.group is group and row.name != "app":
                _add_flag(section, row)
    return result


def key_toml(key: str) -> str:
    """A TOML key."""
    return key if _BARE_KEY.match(key) else value_toml(key)


def value_toml(value: Any) -> str:
    """A TOML value, on one line: JSON writes strings, numbers and booleans alike, but for DEL
    and for what is not Unicode, such as undecodable bytes of the environment."""
    if isinstance(value, date | time):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{', '.join(map(value_toml, value))}]"
    if isinstance(value, dict):
        items = (f"{key_toml(key)} = {value_toml(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    text = json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode("utf-8")


def _add_flag(section: argparse._ArgumentGroup, row: Setting) -> None:
    text = row.option.help.replace("%", "%%")
    if _is_bool(row):
        section.add_argument(
            *row.flags, dest=row.name, help=text, action=argparse.BooleanOptionalAction
        )
        return
    section.add_argument(
        *row.flags,
        dest=row.name,
        help=text + _default_note(row),
        action="append" if _is_collection(row) else "store",
        metavar=row.option.metavar or "|".join(row.choices) or _METAVARS[get_args(row.type)[0]],
    )


def _default_note(row: Setting) -> str:
    if row.default in ("", None, [], {}):
        return ""
    shown = ", ".join(row.default) if isinstance(row.default, list) else row.default
    return f" [{shown}]".replace("%", "%%")


def _from_platform(environ: Mapping[str, str]) -> Iterator[Given]:
    port = environ.get("PORT")
    if port:
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise UsageError(f"$PORT = {port!r}: expected a port number")
        yield Given("bind", [f"0.0.0.0:{port}"], "$PORT", text=False)
    passed = passed_sockets(environ)
    if passed:
        yield Given("bind", [f"fd://{each.fd}" for each in passed], "$LISTEN_FDS", text=False)
    concurrency = environ.get("WEB_CONCURRENCY")
    if concurrency:
        yield Given("workers", concurrency, "$WEB_CONCURRENCY", text=True)
    proxies = environ.get("FORWARDED_ALLOW_IPS")
    if proxies:
        yield Given("forwarded_allow_ips", proxies, "$FORWARDED_ALLOW_IPS", text=True)


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    rows = {row.variable: row for row in TABLE.values()}
    for variable, value in environ.items():
        if variable in rows:
            yield Given(rows[variable].name, value, f"${variable}", text=True)
        elif variable.startswith(_PREFIX) and variable != _CONFIG_VARIABLE:
            near = difflib.get_close_matches(variable, rows, n=1)
            hint = f" (did you mean ${near[0]}?)" if near else ""
            raise UsageError(f"${variable}: there is no such setting{hint}")


def _from_command_line(arguments: argparse.Namespace) -> Iterator[Given]:
    given = vars(arguments)
    if given.get("APP"):
        yield Given("app", given["APP"], "APP", text=True)
    for row in TABLE.values():
        if row.name in given:
            yield Given(row.name, given[row.name], row.flags[-1], text=True)
    for name, value, flag in gunicorn_flags.translated(given):
        yield Given(name, value, flag, text=False)


def _from_toml(path: str) -> Iterator[Given]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
        document = tomli.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8") from None
    except tomli.TOMLDecodeError as error:
        if path.endswith(".py"):
            hint = "this is Python: if it is gunicorn's, --import-gunicorn makes TOML of it"
            raise UsageError(f"{path}: {hint}") from None
        raise UsageError(f"{path}:{error.lineno}: {error.msg} (column {error.colno})") from None
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


def _convert(given: Given) -> Any:
    """The value as the setting's type.

    Raises:
        UsageError: it is no such value.
    """
    row = TABLE[given.name]
    try:
        value = (
            _parse_text(row, given.value) if isinstance(given.value, str | list) else given.value
        )
        converted = msgspec.convert(value, row.type, strict=not given.text)
        _refuse_nul(converted)
        return converted
    except msgspec.ValidationError as error:
        why = f"expected {_words(row.choices)}" if row.choices else _plain(str(error))
    except ValueError as error:
        why = str(error)
    shown = given.value if given.text and isinstance(given.value, str) else value_toml(given.value)
    raise UsageError(f"{given.origin}: {given.name} = {shown}: {why}")


def _parse_text(row: Setting, value: str | list[Any]) -> Any:
    """A string, or the strings of a repeated flag, as what the setting's type is made of."""
    if row.option.parse is not None and isinstance(value, str):
        return row.option.parse(value)
    if not _is_collection(row):
        return value
    if get_origin(get_args(row.type)[0]) is not dict:
        given = [value] if isinstance(value, str) else value
        return [part for text in given for part in _split(text)]
    # A repeated flag gives one pair at a time, which may hold commas.
    parts = _split(value) if isinstance(value, str) else value
    pairs = [str(part).partition("=") for part in parts]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError("expected KEY=VALUE")
    return {key: item for key, _, item in pairs}


def _split(text: Any) -> list[Any]:
    """The items of a list that is written in one string; what is no string stays as it is."""
    if not isinstance(text, str):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _refuse_nul(value: Any) -> None:
    """No path, address or variable can hold a NUL, as the kernel would take it for the end."""
    texts = [*value, *value.values()] if isinstance(value, dict) else value
    for text in texts if isinstance(texts, list) else [texts]:
        if isinstance(text, str) and "\0" in text:
            raise ValueError("holds a NUL")
    if isinstance(value, dict) and not all(key and "=" not in key for key in value):
        raise ValueError("not the name of an environment variable")


def _is_collection(row: Setting) -> bool:
    """Whether a flag is repeated, or a string split, to give several values."""
    return get_origin(get_args(row.type)[0]) in (list, dict) and row.option.parse is None


def _is_bool(row: Setting) -> bool:
    return get_args(row.type)[0] is bool


def _words(choices: Sequence[str]) -> str:
    return " or ".join(f"'{choice}'" for choice in choices)


def _plain(message: str) -> str:
    """A validation message of msgspec in the middle of a sentence."""
    return message[:1].lower() + message[1:].replace("`", "")
