"""The access log, in gunicorn's format language: `%(h)s %(t)s "%(r)s" %(s)s ...`.

The format is compiled once, to a function of Python whose only expression is the line.

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
from collections.abc import Callable
from functools import partial
from time import localtime, strftime, time
from typing import TYPE_CHECKING, Any

import msgspec

from prefork.errors import UsageError
from prefork.log import ENCODING, LogFile

if TYPE_CHECKING:
    # The master checks formats too, and does without an HTTP parser.
    from prefork.responding import Headers
    from prefork.wsgi import Exchange

_ATOM = re.compile(
    r"%\((?:\{(?P<name>[^}]+)\}(?P<kind>[ioe])|(?P<atom>[a-zA-Z]))\)s|%(?P<other>\([^)]*\).?|.)?"
)
_UNPRINTABLE = re.compile(r'[\x00-\x1f\x7f-\x9f"\\]')
# Those of them that are ASCII, and the others.
_ESCAPED = bytes(code for code in range(0x80) if _UNPRINTABLE.match(chr(code)))
_BEYOND_ASCII = re.compile(r"[\x80-\x9f]")

_JSON = "json"
# Said anew here: the master, which checks formats, imports nothing of HTTP.
_REQUEST_ID = "prefork.request_id"

# Makes the line of an exchange that took so many seconds, encoded, with its newline.
Line = Callable[["Exchange", float], bytes]


class AccessLogger:
    """Writes a line for each exchange of this process.

    Args:
        format: the setting `access_log_format`.
        file: where to.

    Raises:
        UsageError: the format names what there is not.
    """

    def __init__(self, format: str, file: LogFile) -> None:
        self._line = compile_line(format)
        self._append = file.append

    def log(self, exchange: Exchange, seconds: float) -> None:
        """Write the line of an exchange that has ended."""
        self._append(self._line(exchange, seconds))


def compile_line(format: str) -> Line:
    """What makes the line of an exchange of this process.

    Raises:
        UsageError: the format names what there is not.
    """
    if format == _JSON:
        return partial(_object, os.getpid())
    template, atoms = _compile(format + "\n")
    given = f"({''.join(atom + ', ' for atom in atoms)})"
    values = _function(given)
    text = _function(f"{template!r} % {given}")
    # So many characters that are escaped in a value are there by themselves.
    own = len(_UNPRINTABLE.findall(template % (("",) * len(atoms))))

    def line(exchange: Exchange, seconds: float) -> bytes:
        get = exchange.request.environ.get
        said: str = text(exchange, get, seconds)
        data = said.encode(*ENCODING)
        # Most often nothing has to be escaped, which one look at the whole line tells.
        clean = len(data.translate(None, _ESCAPED)) == len(data) - own
        if clean and (said.isascii() or not _BEYOND_ASCII.search(said)):
            return data
        return (template % _escaped(values(exchange, get, seconds))).encode(*ENCODING)

    return line


def names_request_id(format: str) -> bool:
    """Whether lines in this format have the id of the request."""
    return format == _JSON or f"%({{{_REQUEST_ID}}}e)s" in format


def _compile(format: str) -> tuple[str, list[str]]:
    """A %-template of strings, and the expressions that fill it.

    Raises:
        UsageError: the format names what there is not.
    """
    atoms: list[str] = []

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


def _function(expression: str) -> Callable[[Exchange, Callable[..., Any], float], Any]:
    """What gives the value of an expression, of which nothing was written by a client."""
    names = {"now": _CUSTOMARY.now, "user": _user, "field": _response_field, "pid": os.getpid()}
    made: Callable[..., Any] = eval(f"lambda exchange, get, seconds: {expression}", names)
    return made


def _environ(key: str) -> str:
    return f"get({key!r}) or '-'"


def _request_field(name: str) -> str:
    key = name.upper().replace("-", "_")
    return _environ(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key)


def _response_field(headers: Headers, wanted: str) -> str:
    values = [value for key, value in headers if key.lower() == wanted]
    return ", ".join(values) if values else "-"


def _user(authorization: str | None) -> str:
    if authorization is None:
        return "-"
    scheme, _space, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(credentials.strip()).partition(b":")[0]
    except ValueError:  # of which binascii.Error is one
        return "-"
    return user.decode("utf-8", "replace") or "-"


class _Object(msgspec.Struct):
    """The line of an exchange as JSON. What the client did not send is null."""

    time: str
    client: str | None
    method: str | None
    uri: str | None
    protocol: str | None
    status: int | None
    bytes: int
    seconds: float
    referer: str | None
    user_agent: str | None
    request_id: str | None
    pid: int


_encode = msgspec.json.Encoder().encode


def _object(pid: int, exchange: Exchange, seconds: float) -> bytes:
    """The line of an exchange as JSON, all of it ASCII."""
    get = exchange.request.environ.get
    told = _Object(
        _ISO.now(),
        get("REMOTE_ADDR"),
        get("REQUEST_METHOD"),
        get("RAW_URI"),
        get("SERVER_PROTOCOL"),
        int(exchange.status[:3]) if exchange.status else None,
        exchange.sent,
        # To the microsecond, as round() does, in a fraction of the time.
        int(seconds * 1e6 + 0.5) / 1e6,
        get("HTTP_REFERER"),
        get("HTTP_USER_AGENT"),
        get(_REQUEST_ID),
        pid,
    )
    try:
        line = _encode(told)
    except (TypeError, UnicodeEncodeError):  # the app has changed its environ
        line = b""
    # It leaves other characters as they are, of which some mean something to terminals.
    if not line or not line.isascii():
        line = json.dumps(msgspec.structs.asdict(told), default=str).encode()
    return line + b"\n"


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
        second = int(time())
        made, text = self._last
        if made != second:
            text = strftime(self._format, localtime(second))
            self._last = (second, text)
        return text


_CUSTOMARY = _Stamp("[%d/%b/%Y:%H:%M:%S %z]")
_ISO = _Stamp("%Y-%m-%dT%H:%M:%S%z")


# Expressions, of what is known as `_function` has it.
_ATOMS = {
    "h": _environ("REMOTE_ADDR"),
    "l": "'-'",
    "u": "user(get('HTTP_AUTHORIZATION'))",
    "t": "now()",
    "r": "f\"{get('REQUEST_METHOD', '-')} {get('RAW_URI', '-')} {get('SERVER_PROTOCOL', '-')}\"",
    "m": _environ("REQUEST_METHOD"),
    "U": _environ("PATH_INFO"),
    "q": "get('QUERY_STRING', '')",
    "H": _environ("SERVER_PROTOCOL"),
    "s": "exchange.status[:3] or '-'",
    "B": "exchange.sent",
    "b": "exchange.sent or '-'",
    "f": _environ("HTTP_REFERER"),
    "a": _environ("HTTP_USER_AGENT"),
    "T": "int(seconds)",
    "D": "int(seconds * 1_000_000)",
    "M": "int(seconds * 1_000)",
    "L": "f'{seconds:.6f}'",
    "p": "f'<{pid}>'",
}
# Of a name, which the operator has written.
_FIELDS: dict[str, Callable[[str], str]] = {
    "i": _request_field,
    "o": lambda name: f"field(exchange.headers, {name.lower()!r})",
    "e": _environ,
}


def _escaped(values: tuple[object, ...]) -> tuple[str, ...]:
    """What a client has sent must not be able to end a line, or a quotation, of the log."""
    return tuple([_UNPRINTABLE.sub(_escape, str(value)) for value in values])


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
