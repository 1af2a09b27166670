"""The head of a response, and the framing of what follows it: RFC 9112, sections 4 to 7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from time import time
from typing import NamedTuple

from prefork.http.memo import Memo

SERVER = "prefork"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_STATUS = re.compile(r"[1-9][0-9][0-9](?: [^\x00-\x1f\x7f]*)?\Z")

# What apps say is remembered, as they say the same over and over; about this many entries.
_BOUND = 1000
_LONGEST = 512


class Framing(Enum):
    """How the client can tell where the body ends: RFC 9112, section 6.3."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "until the connection closes"


class _Field(Enum):
    """What a header field of the app means to the server."""

    PLAIN = "nothing"
    LENGTH = "how the body is framed"
    OWN = "one that the server sends if the app does not"
    HOP_BY_HOP = "one that the app must not send"


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
# Members of an Enum cost two look-ups; these are looked up for each response.
_PLAIN, _LENGTH = _Field.PLAIN, _Field.LENGTH
_BY_LENGTH, _UNTIL_CLOSE = Framing.LENGTH, Framing.CLOSE


@dataclass(frozen=True)
class StatusLine:
    """A status line, and whether a body, and a Content-Length, may follow it."""

    text: bytes
    body_allowed: bool
    # RFC 9110, section 8.6: not with 204.
    length_allowed: bool


def _status_line(status: str) -> StatusLine:
    if not isinstance(status, str) or not _STATUS.match(status):
        raise ValueError(f"not a status: {status!r}")
    code = int(status[:3])
    if code < 200:
        raise ValueError(f"not a final status: {status!r}")
    text = f"HTTP/1.1 {status}\r\n" if len(status) > 3 else f"HTTP/1.1 {status} \r\n"
    empty = code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
    return StatusLine(text.encode("latin-1"), not empty, code != HTTPStatus.NO_CONTENT)


# The line for a WSGI status such as "200 OK". Subscription raises ValueError if that is not three
# digits, a space and a reason, or not a final status.
STATUS_LINES = Memo(_status_line, _BOUND, lambda line: len(line.text) <= _LONGEST)


class _Line(NamedTuple):
    """A header field of the app as a line, and what it means; `number` is a Content-Length."""

    text: bytes
    field: _Field
    number: int


def _line(field: tuple[str, str]) -> _Line:
    """Check a header field: what it holds must not end its line, and so begin another field, or
    the body.

    Raises:
        ValueError, TypeError: it must not be sent.
    """
    name, value = field
    if not isinstance(name, str) or not _TOKEN.match(name):
        raise ValueError(f"not the name of a header field: {name!r}")
    if not isinstance(value, str):
        raise TypeError(f"the value of {name} is not a str: {value!r}")
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"{name} holds CR, LF or NUL")
    meaning = _SPECIAL.get(name.lower(), _Field.PLAIN)
    if meaning is _Field.HOP_BY_HOP:
        raise ValueError(f"{name} is the server's to send, not the app's")
    number = -1
    if meaning is _Field.LENGTH:
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"not a Content-Length: {value!r}")
        number = int(value)
    return _Line(f"{name}: {value}\r\n".encode("latin-1"), meaning, number)


_lines = Memo(_line, _BOUND, lambda line: len(line.text) <= _LONGEST)


def build_head(
    line: StatusLine,
    headers: Sequence[tuple[str, str]],
    length: int | None,
    head_only: bool,
    http11: bool,
    persistent: bool,
) -> tuple[bytes, Framing, int, bool]:
    """The head of a final response.

    Args:
        line: the status line.
        headers: the fields of the app, in order.
        length: the length of the body in bytes, where it is known.
        head_only: the request was a HEAD.
        http11: the client speaks HTTP/1.1, so a body of unknown length can be chunked.
        persistent: the connection may live on.

    Returns:
        The bytes of the head, how its body is framed, the Content-Length (0 without one), and
        whether the connection lives on, as the head tells the client.

    Raises:
        ValueError, TypeError: a field that must not be sent.
    """
    parts = [line.text]
    content_length = -1
    own: set[str] | None = None
    for header in headers:
        try:
            text, field, number = _lines[header]
        except TypeError:
            text, field, number = _line(header)  # not hashable: a list, by a careless app
        if field is _PLAIN:
            parts.append(text)
        elif field is _LENGTH:
            if content_length >= 0:
                raise ValueError("two Content-Lengths")
            content_length = number
            if line.length_allowed:
                parts.append(text)
        else:
            parts.append(text)
            own = own or set()
            own.add(header[0].lower())
    framing = _BY_LENGTH
    if not line.body_allowed:
        framing = Framing.NONE
    elif content_length < 0:
        framing, framing_line = _choose_framing(length, http11, head_only)
        parts.append(framing_line)
        content_length = length or 0
    if framing is _UNTIL_CLOSE:
        persistent = False
    if time() >= _clock.expires:
        _clock.refresh()
    if own is None and persistent and http11:
        parts.append(_clock.end)
    else:
        parts.append(_lines_but(own or set()))
        if not persistent:
            parts.append(b"Connection: close\r\n\r\n")
        else:
            parts.append(b"\r\n" if http11 else b"Connection: keep-alive\r\n\r\n")
    if head_only:
        framing = Framing.NONE
    return b"".join(parts), framing, content_length, persistent


def _choose_framing(length: int | None, http11: bool, head_only: bool) -> tuple[Framing, bytes]:
    """For an app that has not said how long the body is."""
    if length == 0 and head_only:
        # Most likely it has left the body out, of which the length is not known then.
        return Framing.NONE, b""
    if length is not None:
        return Framing.LENGTH, b"Content-Length: %d\r\n" % length
    if http11:
        return Framing.CHUNKED, b"Transfer-Encoding: chunked\r\n"
    return Framing.CLOSE, b""


def early_hints(headers: Sequence[tuple[str, str]]) -> bytes:
    """An interim response, which tells fields of the final one before that is made: RFC 8297.

    Raises:
        ValueError, TypeError: a field that must not be sent.
    """
    lines = [_line(header) for header in headers]
    if any(line.field is _LENGTH for line in lines):
        raise ValueError("an interim response has no Content-Length")  # RFC 9110, section 8.6
    return b"".join([_EARLY_HINTS, *(line.text for line in lines), b"\r\n"])


def chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as a chunk: RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_response(status: HTTPStatus, why: str, head_only: bool = False) -> bytes:
    """A whole response for an error of the client or the server, after which it closes."""
    body = f"{status.value} {status.phrase}: {why}\n".encode("ascii", "replace")
    head, *_ = build_head(
        STATUS_LINES[f"{status.value} {status.phrase}"],
        [("Content-Type", "text/plain; charset=utf-8")],
        len(body),
        head_only=head_only,
        http11=True,
        persistent=False,
    )
    return head if head_only else head + body


class _Clock:
    """The fields of the server, made once a second: RFC 9110, sections 6.6.1 and 10.2.4."""

    __slots__ = ("date", "end", "expires")

    def __init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """A new second has begun."""
        second = int(time())
        self.expires = second + 1
        self.date = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        # With these the head of most responses ends.
        self.end = self.date + _SERVER_LINE + b"\r\n"


_SERVER_LINE = f"Server: {SERVER}\r\n".encode()
_clock = _Clock()


def _lines_but(sent: set[str]) -> bytes:
    """The fields of the server but for those that the app has sent itself."""
    date = b"" if "date" in sent else _clock.date
    return date if "server" in sent else date + _SERVER_LINE
