"""What the platform, the environment and the command line give to the settings."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prefork import gunicorn_flags
from prefork.errors import UsageError
from prefork.settings import TABLE
from prefork.systemd import passed_sockets

CONFIG_VARIABLE = "PREFORK_CONFIG"
_PREFIX = "PREFORK_"


@dataclass(frozen=True)
class Given:
    """A value that somebody gave to a setting.

    `text` says that it came as a string from a place that has only strings.
    """

    name: str
    value: Any
    origin: str
    text: bool


def from_platform(environ: Mapping[str, str]) -> Iterator[Given]:
    """What is in the variables that platforms set.

    Raises:
        UsageError: one of them makes no sense.
    """
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


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """What is in the variables of our own.

    Raises:
        UsageError: one of them is none.
    """
    rows = {row.variable: row for row in TABLE.values()}
    for variable, value in environ.items():
        if variable in rows:
            yield Given(rows[variable].name, value, f"${variable}", text=True)
        elif variable.startswith(_PREFIX) and variable != CONFIG_VARIABLE:
            near = difflib.get_close_matches(variable, rows, n=1)
            hint = f" (did you mean ${near[0]}?)" if near else ""
            raise UsageError(f"${variable}: there is no such setting{hint}")


def from_command_line(arguments: argparse.Namespace) -> Iterator[Given]:
    """What is in the flags, as `parse` has given them.

    Raises:
        UsageError: one of gunicorn's has no equal.
    """
    given = vars(arguments)
    if given.get("APP"):
        yield Given("app", given["APP"], "APP", text=True)
    for row in TABLE.values():
        if row.name in given:
            yield Given(row.name, given[row.name], row.flags[-1], text=True)
    for name, value, flag in gunicorn_flags.translated(given):
        yield Given(name, value, flag, text=False)
