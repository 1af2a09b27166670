"""The head of a response, and the framing of what follows it: RFC 9112, sections 4 to 7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
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
_fields: dict[str, _Field] = {}
STATUS_LINES: dict[str, StatusLine] = {}
# Members of an Enum cost two look-ups; these are looked up for each response.
_PLAIN, _LENGTH = _Field.PLAIN, _Field.LENGTH
_BY_LENGTH = Framing.LENGTH


@dataclass(frozen=True)
class StatusLine:
    """A status line, and whether a body, and a Content-Length, may follow it."""

    text: str
    body_allowed: bool
    # RFC 9110, section 8.6: not with 204.
    length_allowed: bool


def status_line(status: str) -> StatusLine:
    """The status line for a WSGI status such as "200 OK".

    Raises:
        ValueError: it is not three digits, a space and a reason, or not a final status.
    """
    try:
        return STATUS_LINES[status]
    except KeyError:
        pass
    if not isinstance(status, str) or not _STATUS.match(status):
        raise ValueError(f"not a status: {status!r}")
    code = int(status[:3])
    if code < 200:
        raise ValueError(f"not a final status: {status!r}")
    text = f"HTTP/1.1 {status}\r\n" if len(status) > 3 else f"HTTP/1.1 {status} \r\n"
    empty = code in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
    line = StatusLine(text, not empty, code != HTTPStatus.NO_CONTENT)
    if len(STATUS_LINES) < _BOUND:
        STATUS_LINES[status] = line
    return line


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
    for name, value in headers:
        try:
            field = _fields[name]
        except KeyError:
            field = _classify(name)
        parts += (name, ": ", value, "\r\n")
        if field is _PLAIN:
            continue
        if field is _LENGTH:
            if content_length >= 0 or not (value.isascii() and value.isdigit()):
                raise ValueError(f"not one Content-Length: {value!r}")
            content_length = int(value)
            if not line.length_allowed:
                del parts[-4:]
        elif field is _Field.HOP_BY_HOP:
            raise ValueError(f"{name} is the server's to send, not the app's")
        else:
            own = own or set()
            own.add(name.lower())
    text = "".join(parts)
    # What the app gave must not end a line, and so begin another field, or the body.
    lines = len(parts) // 4 + 1
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise ValueError("a header field holds CR, LF or NUL")

    framing = _BY_LENGTH
    if not line.body_allowed:
        framing = Framing.NONE
    elif content_length < 0:
        framing, framing_line = _choose_framing(length, http11, head_only)
        text += framing_line
        content_length = length or 0
    if time() >= _clock.expires:
        _clock.refresh()
    text += _clock.lines if own is None else _lines_but(own)
    if framing is Framing.CLOSE:
        persistent = False
    if not persistent:
        text += "Connection: close\r\n\r\n"
    else:
        text += "\r\n" if http11 else "Connection: keep-alive\r\n\r\n"
    if head_only:
        framing = Framing.NONE
    return text.encode("latin-1"), framing, content_length, persistent


def _choose_framing(length: int | None, http11: bool, head_only: bool) -> tuple[Framing, str]:
    """For an app that has not said how long the body is."""
    if length == 0 and head_only:
        # Most likely it has left the body out, of which the length is not known then.
        return Framing.NONE, ""
    if length is not None:
        return Framing.LENGTH, f"Content-Length: {length}\r\n"
    if http11:
        return Framing.CHUNKED, "Transfer-Encoding: chunked\r\n"
    return Framing.CLOSE, ""


def chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as a chunk: RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def error_response(status: HTTPStatus, why: str, head_only: bool = False) -> bytes:
    """A whole response for an error of the client or the server, after which it closes."""
    body = f"{status.value} {status.phrase}: {why}\n".encode("ascii", "replace")
    head, *_ = build_head(
        status_line(f"{status.value} {status.phrase}"),
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


class _Clock:
    """The fields of the server, made once a second: RFC 9110, sections 6.6.1 and 10.2.4."""

    __slots__ = ("date", "expires", "lines")

    def __init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """A new second has begun."""
        second = int(time())
        self.expires = second + 1
        self.date = f"Date: {formatdate(second, usegmt=True)}\r\n"
        self.lines = self.date + _SERVER_LINE


_SERVER_LINE = f"Server: {SERVER}\r\n"
_clock = _Clock()


def _lines_but(sent: set[str]) -> str:
    """The fields of the server but for those that the app has sent itself."""
    date = "" if "date" in sent else _clock.date
    return date if "server" in sent else date + _SERVER_LINE
