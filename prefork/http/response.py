"""The head of a response, and the framing of what follows it: RFC 9112, sections 4 to 7."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    DATE = 2
    SERVER = 3
    HOP_BY_HOP = 4


_SPECIAL = {
    "content-length": _Field.LENGTH,
    "date": _Field.DATE,
    "server": _Field.SERVER,
    # RFC 9110, section 7.6.1; PEP 3333 forbids them to the app.
    **dict.fromkeys(
        (
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ),
        _Field.HOP_BY_HOP,
    ),
}
_fields: dict[str, _Field] = {}
_status_lines: dict[str, tuple[str, bool]] = {}


def status_line(status: str) -> tuple[str, bool]:
    """The status line for a WSGI status, and whether a body may follow it.

    Raises:
        ValueError: it is not three digits, a space and a reason.
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
    headers: Iterable[tuple[str, str]],
    *,
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
    lines = 1
    dated = served = False
    content_length = None
    for name, value in headers:
        field = _fields.get(name)
        if field is None:
            field = _classify(name)
        if field:
            if field is _Field.LENGTH:
                content_length = _content_length(value)
            elif field is _Field.DATE:
                dated = True
            elif field is _Field.SERVER:
                served = True
            else:
                raise ValueError(f"{name} is the server's to send, not the app's")
        parts += (name, ": ", value, "\r\n")
        lines += 1
    if not dated:
        parts.append(_date_line())
        lines += 1
    if not served:
        parts.append(f"Server: {SERVER}\r\n")
        lines += 1

    framing = Framing.LENGTH
    if not body_allowed:
        framing = Framing.NONE
    elif content_length is None:
        if length is not None:
            content_length = length
            parts.append(f"Content-Length: {length}\r\n")
        elif http11:
            framing = Framing.CHUNKED
            parts.append("Transfer-Encoding: chunked\r\n")
        else:
            framing = Framing.CLOSE
            persistent = False
        lines += framing is not Framing.CLOSE
    if head_only:
        framing = Framing.NONE

    if not persistent:
        parts.append("Connection: close\r\n\r\n")
        lines += 2
    elif http11:
        parts.append("\r\n")
        lines += 1
    else:
        parts.append("Connection: keep-alive\r\n\r\n")
        lines += 2
    text = "".join(parts)
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise ValueError("a header field holds CR, LF or NUL")
    return text.encode("latin-1"), framing, content_length or 0


def chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as a chunk: RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_response(status: HTTPStatus, why: str) -> bytes:
    """A whole response for an error of the client or the server, after which it closes."""
    body = f"{status.value} {status.phrase}: {why}\n".encode("ascii", "replace")
    head, _, _ = build_head(
        f"{status.value} {status.phrase}",
        [("Content-Type", "text/plain; charset=utf-8")],
        length=len(body),
        head_only=False,
        http11=True,
        persistent=False,
    )
    return head + body


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

    __slots__ = ("line", "second")

    def __init__(self) -> None:
        self.second = 0
        self.line = ""


_clock = _Clock()


def _date_line() -> str:
    now = int(time())
    if now != _clock.second:
        _clock.line = f"Date: {formatdate(now, usegmt=True)}\r\n"
        _clock.second = now
    return _clock.line
