"""The access log, in gunicorn's format language: `%(h)s %(t)s "%(r)s" %(s)s ...`.

The format is compiled once; a request then costs a call for each atom that it names.

    h  client address            r  request line          L  seconds, 6 decimals
    l  "-"                       m  method                D  microseconds
    u  user of Basic auth        U  path without query    M  milliseconds
    t  time                      q  query                 T  whole seconds
    s  status                    H  protocol              p  pid of the worker, <1>
    b  bytes of body, or "-"     f  Referer               {name}i  request field
    B  bytes of body             a  User-Agent            {name}o  response field
                                                          {name}e  environ variable
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prefork.errors import UsageError
from prefork.log import LogFile

if TYPE_CHECKING:
    # The master checks formats too, and does without an HTTP parser.
    from prefork.wsgi import Exchange

_ATOM = re.compile(
    r"%\((?:\{(?P<name>[^}]+)\}(?P<kind>[ioe])|(?P<atom>[a-zA-Z]))\)s|%(?P<other>\([^)]*\).?|.)?"
)
_UNPRINTABLE = re.compile(r'[\x00-\x1f\x7f-\x9f"\\]')

# What an atom gives for an exchange that took so many seconds.
Atom = Callable[["Exchange", float], str]


class AccessLogger:
    """Writes a line for each exchange.

    Args:
        format: the setting `access_log_format`.
        file: where to.

    Raises:
        UsageError: the format names what there is not.
    """

    def __init__(self, format: str, file: LogFile) -> None:
        self._template, self._atoms = compile_format(format)
        self._file = file

    def log(self, exchange: Exchange, seconds: float) -> None:
        """Write the line of an exchange that has ended."""
        values = tuple([atom(exchange, seconds) for atom in self._atoms])
        self._file.write(self._template % values)


def compile_format(format: str) -> tuple[str, list[Atom]]:
    """A %-template of strings, and what fills it.

    Raises:
        UsageError: the format names what there is not.
    """
    atoms: list[Atom] = []

    def compiled(match: re.Match[str]) -> str:
        if match["other"] == "%":
            return "%%"
        if match["atom"] in _ATOMS:
            atoms.append(_ATOMS[match["atom"]])
        elif match["kind"]:
            atoms.append(_FIELDS[match["kind"]](match["name"]))
        else:
            raise UsageError(f"access_log_format: there is no {match[0]!r}", "access_log_format")
        return "%s"

    return _ATOM.sub(compiled, format), atoms


def _environ(key: str, default: str = "-") -> Atom:
    return lambda exchange, _: _safe(exchange.request.environ.get(key) or default)


def _request_field(name: str) -> Atom:
    key = name.upper().replace("-", "_")
    return _environ(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key)


def _response_field(name: str) -> Atom:
    wanted = name.lower()

    def find(exchange: Exchange, _: float) -> str:
        values = [value for key, value in exchange.headers if key.lower() == wanted]
        return _safe(", ".join(values)) if values else "-"

    return find


def _user(exchange: Exchange, _: float) -> str:
    scheme, _space, credentials = exchange.request.environ.get("HTTP_AUTHORIZATION", "").partition(
        " "
    )
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(credentials.strip()).partition(b":")[0]
    except ValueError:  # of which binascii.Error is one
        return "-"
    return _safe(user.decode("utf-8", "replace")) or "-"


def _request_line(exchange: Exchange, _: float) -> str:
    environ = exchange.request.environ
    parts = [environ.get(key, "-") for key in ("REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL")]
    return _safe(" ".join(parts))


def _now(exchange: Exchange, _: float) -> str:
    return time.strftime("[%d/%b/%Y:%H:%M:%S %z]")


_ATOMS: dict[str, Atom] = {
    "h": _environ("REMOTE_ADDR"),
    "l": lambda exchange, _: "-",
    "u": _user,
    "t": _now,
    "r": _request_line,
    "m": _environ("REQUEST_METHOD"),
    "U": _environ("PATH_INFO"),
    "q": _environ("QUERY_STRING", ""),
    "H": _environ("SERVER_PROTOCOL"),
    "s": lambda exchange, _: exchange.status[:3] or "-",
    "B": lambda exchange, _: str(exchange.sent),
    "b": lambda exchange, _: str(exchange.sent) if exchange.sent else "-",
    "f": _environ("HTTP_REFERER"),
    "a": _environ("HTTP_USER_AGENT"),
    "T": lambda _, seconds: str(int(seconds)),
    "D": lambda _, seconds: str(int(seconds * 1_000_000)),
    "M": lambda _, seconds: str(int(seconds * 1_000)),
    "L": lambda _, seconds: f"{seconds:.6f}",
    "p": lambda exchange, _: f"<{os.getpid()}>",
}
_FIELDS: dict[str, Callable[[str], Atom]] = {
    "i": _request_field,
    "o": _response_field,
    "e": _environ,
}


def _safe(value: object) -> str:
    """What a client has sent must not be able to end a line, or a quotation, of the log."""
    text = str(value)
    if _UNPRINTABLE.search(text) is None:
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
