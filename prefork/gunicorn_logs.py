"""Coming from gunicorn: what its settings of syslog and of logging.config are here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefork.errors import Untranslatable

# Its settings that together say where logs go, and their flags.
SYSLOG = {
    "syslog": "--log-syslog",
    "syslog_addr": "--log-syslog-to",
    "syslog_prefix": "--log-syslog-prefix",
    "syslog_facility": "--log-syslog-facility",
    "disable_redirect_access_to_syslog": "--disable-redirect-access-to-syslog",
}

# Loggers of its own, of which nobody writes to here.
_ITS_LOGGERS = ("gunicorn.error", "gunicorn.access")
# What it has where a configuration of logging does not say otherwise.
_FORMATTERS = {
    "generic": {
        "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
        "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
    }
}
_HANDLERS = {
    "console": {
        "class": "logging.StreamHandler",
        "formatter": "generic",
        "stream": "ext://sys.stdout",
    },
    "error_console": {
        "class": "logging.StreamHandler",
        "formatter": "generic",
        "stream": "ext://sys.stderr",
    },
}
_ROOT = {"level": "INFO", "handlers": ["console"]}
# The logs that it sends to syslog, and what it calls them.
_LOGS = {"error_log": "error", "access_log": "access"}


def redirected(given: Mapping[str, Any]) -> list[str]:
    """Our settings of the logs that go to syslog, by gunicorn's settings of `SYSLOG`."""
    if not given.get("syslog"):
        return []
    return ["error_log"] if given.get("disable_redirect_access_to_syslog") else [*_LOGS]


def syslog_logs(given: Mapping[str, Any]) -> dict[str, str]:
    """Where the logs go that go to syslog: our settings.

    Raises:
        Untranslatable: syslog is not spoken like that.
    """
    names = redirected(given)
    if not names:
        return {}
    where = _daemon(given.get("syslog_addr") or "udp://localhost")
    facility = (given.get("syslog_facility") or "user").lower()
    prefix = given.get("syslog_prefix") or "prefork"
    return {name: f"{where}?facility={facility}&tag={prefix}.{_LOGS[name]}" for name in names}


def _daemon(address: str) -> str:
    scheme, _, place = address.partition("://")
    if scheme == "unix":
        return f"syslog+unix://{place.partition('#')[0]}"
    if scheme == "udp":
        return f"syslog+udp://{place.lower() or 'localhost'}"
    raise Untranslatable(f"{address}: syslog is spoken to unix:// and udp://")


def dict_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """A dictConfig for the app's logging: gunicorn puts one upon its own, part by part.

    Raises:
        Untranslatable: TOML has no such values.
    """
    if not given:
        return {}
    whole = {"formatters": _FORMATTERS, "handlers": _HANDLERS, "root": _ROOT, **given}
    loggers = whole.get("loggers")
    if isinstance(loggers, Mapping):
        whole["loggers"] = {name: of for name, of in loggers.items() if name not in _ITS_LOGGERS}
    plain: dict[str, Any] = _plain(whole)
    return plain


def json_config(path: str) -> dict[str, Any]:
    """The same, of a file with JSON.

    Raises:
        Untranslatable: it can't be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
    except OSError as error:
        raise Untranslatable(error.strerror) from None
    except ValueError as error:
        raise Untranslatable(f"not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Untranslatable("not an object of JSON")
    return dict_config(given)


def _plain(value: Any) -> Any:
    """What TOML can have; it has no null, which is what is not there."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, str | int | float):
        raise Untranslatable(f"{value!r} is an object of Python: name it, by ext://MODULE.NAME say")
    return value
