"""The head of a response, and the framing of what follows it: RFC 9112, sections 4 to 7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from enum import Enum, IntEnum
from http import HTTPStatus
from time import time

SERVER = "prefork"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_STATUS = re.compile(r"[1-9][0-9][0-9](?: [^\x00-\x1f\x7f]*)?\Z")

# What apps say is remembered, as they say the same over and over; up to this many entries.
_BOUND = 1000


class Framing(Enum):
    """How the client can tell where the body ends: RFC 9112, section 6.3."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"


class _Field(IntEnum):
    """What a header field of the app means to the server."""

    PLAIN = 0
    LENGTH = 1
    OWN = 2  # one that the server sends if the app does not
    HOP_BY_HOP = 3


# RFC 9110, section 7.6.1; PEP 3333 forbids these to the app.
_HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_SPECIAL = {
    "content-length": _Field.LENGTH,
    "date": _Field.OWN,
    "server": _Field.OWN,
    **dict.fromkeys(_HOP_BY_HOP, _Field.HOP_BY_HOP),
}
_fields: dict[str, _Field] = {}
_status_lines: dict[str, tuple[str, bool]] = {}
# Members of an Enum cost two look-ups; these are looked up for each response.
_LENGTH = _Field.LENGTH
_FRAMED_BY_LENGTH = Framing.LENGTH


def status_line(status: str) -> tuple[str, bool]:
    """The status line for a WSGI status, and whether a body may follow it.

    Raises:
        ValueError: it is not three digits, a space and a reason, or not a final status.
    """
    known = _status_lines.get(status)
    if known is not None:
        return known
    if not isinstance(status, str) or not _STATUS.match(status):
        raise ValueError(f"not a status: {status!r}")
    code = int(status[:3])
    if code < 200:
        raise ValueError(f"not a final status: {status!r}")
    line = f"HTTP/1.1 {status}\r\n" if len(status) > 3 else f"HTTP/1.1 {status} \r\n"
    entry = (line, code not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED))
    if len(_status_lines) < _BOUND:
        _status_lines[status] = entry
    return entry


def build_head(
    status: str,
    headers: Sequence[tuple[str, str]],
    length: int | None,
    head_only: bool,
    http11: bool,
    persistent: bool,
) -> tuple[bytes, Framing, int]:
    """The head of a final response.

    Args:
        status: "200 OK".
        headers: the fields of the app, in order.
        length: the length of the body in bytes, where it is known.
        head_only: the request was a HEAD.
        http11: the client speaks HTTP/1.1, so a body of unknown length can be chunked.
        persistent: the connection may live on.

    Returns:
        The bytes of the head, how its body is framed, and the Content-Length (0 without one).
        With `Framing.CLOSE` the connection can't live on, whatever `persistent` said.

    Raises:
        ValueError, TypeError: a field that must not be sent.
    """
    line, body_allowed = status_line(status)
    parts = [line]
    content_length = None
    own: set[str] | None = None
    for name, value in headers:
        field = _fields.get(name)
        if field is None:
            field = _classify(name)
        parts += (name, ": ", value, "\r\n")
        if not field:
            continue
        if field is _LENGTH:
            content_length = _content_length(value)
        elif field is _Field.HOP_BY_HOP:
            raise ValueError(f"{name} is the server's to send, not the app's")
        else:
            own = own or set()
            own.add(name.lower())
    text = "".join(parts)
    _check_lines(text, len(headers) + 1)

    framing = _FRAMED_BY_LENGTH
    framing_line = ""
    if not body_allowed:
        framing = Framing.NONE
    elif content_length is None:
        if length is not None:
            content_length = length
            framing_line = f"Content-Length: {length}\r\n"
        elif http11:
            framing = Framing.CHUNKED
            framing_line = "Transfer-Encoding: chunked\r\n"
        else:
            framing = Framing.CLOSE
            persistent = False
    if head_only:
        framing = Framing.NONE
    if not persistent:
        end = "Connection: close\r\n\r\n"
    else:
        end = "\r\n" if http11 else "Connection: keep-alive\r\n\r\n"
    head = text + framing_line + _own_lines(own) + end
    return head.encode("latin-1"), framing, content_length or 0


def _check_lines(text: str, lines: int) -> None:
    """What the app gave must not end a line, and so begin another field or the body."""
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise ValueError("a header field holds CR, LF or NUL")


def chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as a chunk: RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_response(status: HTTPStatus, why: str, head_only: bool = False) -> bytes:
    """A whole response for an error of the client or the server, after which it closes."""
    body = f"{status.value} {status.phrase}: {why}\n".encode("ascii", "replace")
    head, _, _ = build_head(
        f"{status.value} {status.phrase}",
        [("Content-Type", "text/plain; charset=utf-8")],
        len(body),
        head_only=head_only,
        http11=True,
        persistent=False,
    )
    return head if head_only else head + body


def _classify(name: str) -> _Field:
    if not isinstance(name, str) or not _TOKEN.match(name):
        raise ValueError(f"not the name of a header field: {name!r}")
    field = _SPECIAL.get(name.lower(), _Field.PLAIN)
    if len(_fields) < _BOUND:
        _fields[name] = field
    return field


def _content_length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"not a Content-Length: {value!r}")
    return int(value)


class _Clock:
    """The Date field, made once a second: RFC 9110, section 6.6.1."""

    __slots__ = ("date", "date_and_server", "second")

    def __init__(self) -> None:
        self.second = 0
        self.date = self.date_and_server = ""

    def set(self, second: int) -> None:
        """It is this second of the epoch now."""
        self.second = second
        self.date = f"Date: {formatdate(second, usegmt=True)}\r\n"
        self.date_and_server = self.date + _SERVER_LINE


_SERVER_LINE = f"Server: {SERVER}\r\n"
_clock = _Clock()


def _own_lines(but: set[str] | None) -> str:
    """The fields of the server, but for those that the app has sent."""
    now = int(time())
    if now != _clock.second:
        _clock.set(now)
    if but is None:
        return _clock.date_and_server
    date = "" if "date" in but else _clock.date
    return date if "server" in but else date + _SERVER_LINE
