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

Or `json`: an object on a line, of what apps that read logs ask for.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from prefork.errors import UsageError
from prefork.log import LogFile

if TYPE_CHECKING:
    # The master checks formats too, and does without an HTTP parser.
    from prefork.wsgi import Exchange

_ATOM = re.compile(
    r"%\((?:\{(?P<name>[^}]+)\}(?P<kind>[ioe])|(?P<atom>[a-zA-Z]))\)s|%(?P<other>\([^)]*\).?|.)?"
)
_UNPRINTABLE = re.compile(r'[\x00-\x1f\x7f-\x9f"\\]')

_JSON = "json"
# Said anew here: the master, which checks formats, imports nothing of HTTP.
_REQUEST_ID = "prefork.request_id"

# What an atom gives, not yet escaped, for an exchange that took so many seconds.
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
        self._line = compile_line(format)
        self._file = file

    def log(self, exchange: Exchange, seconds: float) -> None:
        """Write the line of an exchange that has ended."""
        self._file.write(self._line(exchange, seconds))


def compile_line(format: str) -> Atom:
    """What makes the whole line of an exchange.

    Raises:
        UsageError: the format names what there is not.
    """
    if format == _JSON:
        return _object
    template, atoms = compile_format(format)

    def line(exchange: Exchange, seconds: float) -> str:
        return template % _escaped([atom(exchange, seconds) for atom in atoms])

    return line


def names_request_id(format: str) -> bool:
    """Whether lines in this format have the id of the request."""
    return format == _JSON or f"%({{{_REQUEST_ID}}}e)s" in format


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
    return lambda exchange, _: exchange.request.environ.get(key) or default


def _request_field(name: str) -> Atom:
    key = name.upper().replace("-", "_")
    return _environ(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key)


def _response_field(name: str) -> Atom:
    wanted = name.lower()

    def find(exchange: Exchange, _: float) -> str:
        values = [value for key, value in exchange.headers if key.lower() == wanted]
        return ", ".join(values) if values else "-"

    return find


def _user(exchange: Exchange, _: float) -> str:
    given = exchange.request.environ.get("HTTP_AUTHORIZATION")
    if given is None:
        return "-"
    scheme, _space, credentials = given.partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(credentials.strip()).partition(b":")[0]
    except ValueError:  # of which binascii.Error is one
        return "-"
    return user.decode("utf-8", "replace") or "-"


def _request_line(exchange: Exchange, _: float) -> str:
    said = exchange.request.environ.get
    return f"{said('REQUEST_METHOD', '-')} {said('RAW_URI', '-')} {said('SERVER_PROTOCOL', '-')}"


def _object(exchange: Exchange, seconds: float) -> str:
    """The line of an exchange as JSON, all of it ASCII. What the client did not send is null."""
    said = exchange.request.environ.get
    members = {
        "time": _ISO.now(),
        "client": said("REMOTE_ADDR"),
        "method": said("REQUEST_METHOD"),
        "uri": said("RAW_URI"),
        "protocol": said("SERVER_PROTOCOL"),
        "status": int(exchange.status[:3]) if exchange.status else None,
        "bytes": exchange.sent,
        "seconds": round(seconds, 6),
        "referer": said("HTTP_REFERER"),
        "user_agent": said("HTTP_USER_AGENT"),
        "request_id": said(_REQUEST_ID),
        "pid": os.getpid(),
    }
    try:
        line = msgspec.json.encode(members)
    except (TypeError, UnicodeEncodeError):  # the app has changed its environ
        line = b""
    # It leaves other characters as they are, of which some mean something to terminals.
    if line and line.isascii():
        return line.decode()
    return json.dumps(members, default=str)


class _Stamp:
    """The time now, made into text once a second.

    Args:
        format: as strftime(3) has it.
    """

    def __init__(self, format: str) -> None:
        self._format = format
        # Together, as threads may ask at the same time.
        self._last = (0, "")

    def now(self) -> str:
        """The text of this second."""
        second = int(time.time())
        made, text = self._last
        if made != second:
            text = time.strftime(self._format, time.localtime(second))
            self._last = (second, text)
        return text


_CUSTOMARY = _Stamp("[%d/%b/%Y:%H:%M:%S %z]")
_ISO = _Stamp("%Y-%m-%dT%H:%M:%S%z")


_ATOMS: dict[str, Atom] = {
    "h": _environ("REMOTE_ADDR"),
    "l": lambda exchange, _: "-",
    "u": _user,
    "t": lambda exchange, _: _CUSTOMARY.now(),
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


def _escaped(values: list[str]) -> tuple[str, ...]:
    """What a client has sent must not be able to end a line, or a quotation, of the log."""
    try:
        # One look at all of them, which most often is enough.
        text = "".join(values)
        if text.isprintable() and '"' not in text and "\\" not in text:
            return tuple(values)
    except TypeError:  # the app has put something else into its environ
        pass
    return tuple([_UNPRINTABLE.sub(_escape, str(value)) for value in values])


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
