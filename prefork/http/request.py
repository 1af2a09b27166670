"""Requests from bytes: llhttp (by httptools) finds the parts, this names and bounds them.

A request's head becomes the meta-variables of RFC 3875, section 4.1, in a dict copied from a
template, so that the layer above adds to it instead of converting it: nothing is built twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from prefork.errors import HTTPError
from prefork.http import fields
from prefork.http.body import Body, Stream, too_large
from prefork.http.fields import DROPPED, KEYS, METHODS, PROTOCOLS


class Phase(Enum):
    """What of a request has arrived: nothing yet, a part of its head, or a part of its body."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True)
class Limits:
    """What is accepted of a request: sizes in bytes, `body` 0 for any."""

    line: int
    fields: int
    field_size: int
    body: int

    @property
    def head(self) -> int:
        """The most bytes that a head within the other limits can have."""
        return self.line + self.fields * (self.field_size + 4)


class _BodyCallbacks:
    """The callbacks of a parser that only sees a body, and not what follows it."""

    def __init__(self, parser: RequestParser) -> None:
        self._parser: RequestParser | None = parser

    def on_body(self, data: bytes) -> None:
        if self._parser is not None:
            self._parser.on_body(data)

    def on_message_complete(self) -> None:
        if self._parser is not None:
            self._parser.on_message_complete()
            self._parser = None


# A member of an Enum costs two look-ups; these are looked up for each request.
_IDLE, _HEAD, _BODY = Phase.IDLE, Phase.HEAD, Phase.BODY


class Request(msgspec.Struct, eq=False):
    """One request that has arrived: whole, or all but the body, if that is a `Stream`.

    `environ` holds its meta-variables, `body` is None where it has none, `persistent` says
    whether the client lets the connection live on (RFC 9112, section 9.3). Where it asks for
    another protocol (RFC 9110, section 7.8), `behind` is what has arrived together with it, behind
    its head.
    """

    environ: dict[str, Any]
    body: Body | Stream | None
    http11: bool
    persistent: bool
    behind: memoryview | None = None


class RequestParser:
    """The requests of one connection, in order, from the bytes that arrive on it.

    Args:
        template: the meta-variables that each request begins with.
        peer: REMOTE_ADDR and REMOTE_PORT.
        limits: what is accepted.
        streaming: give out a request when its head has arrived and its length is known, with a
            `Stream` for its body; otherwise when it has arrived whole.

    Requests are appended to `requests`. `continue_wanted` is set when the client waits
    for an interim response before it sends the body (RFC 9110, section 10.1.1); whoever
    answers it resets it.
    """

    __slots__ = (
        "_body",
        "_environ",
        "_head",
        "_http11",
        "_limits",
        "_parser",
        "_peer",
        "_persistent",
        "_repeated",
        "_streaming",
        "_target",
        "_template",
        "_unframed",
        "_upgrading",
        "continue_wanted",
        "phase",
        "requests",
    )

    def __init__(
        self,
        template: dict[str, Any],
        peer: tuple[str, str],
        limits: Limits,
        streaming: bool = False,
    ) -> None:
        self._template = template
        self._peer = peer
        self._limits = limits
        self._streaming = streaming
        self._target = b""
        self._parser = httptools.HttpRequestParser(self)
        # Bytes since the message began, or since its body last grew: heads, trailers and the
        # extensions of chunks are bounded by it.
        self._unframed = 0
        self.phase = Phase.IDLE
        self.requests: deque[Request] = deque()
        self.continue_wanted = False
        self._upgrading = False
        self._repeated: tuple[str, ...] = ()

    def feed(self, data: bytes) -> None:
        """Parse what has arrived.

        Raises:
            HTTPError: the request is malformed or exceeds a limit. Requests that were whole
                before it are in `requests`; nothing more may be fed.
        """
        self._unframed += len(data)
        whole = data
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                # Unless the app upgrades, what follows is HTTP/1.1 as before (RFC 9110, 7.8).
                data = data[upgrade.args[0] :]
                if self._upgrading:
                    data = self._go_on_with_body() + data
                else:
                    self._keep_behind(whole, len(data))
            except httptools.HttpParserCallbackError as error:
                assert error.__context__ is not None
                raise error.__context__ from None
            except httptools.HttpParserError as error:
                raise HTTPError(HTTPStatus.BAD_REQUEST, str(error)) from None
        if self.phase is not _IDLE and self._unframed > self._limits.head:
            raise fields.too_large()

    def close(self) -> None:
        """Drop the parser, which refers back to this object: no cycle is left to collect."""
        del self._parser

    # The callbacks of httptools, in the order in which they come.

    def on_message_begin(self) -> None:
        self.phase = _HEAD
        self._environ = environ = self._template.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self._peer
        self._repeated = ()
        self._body: Body | Stream | None = None

    def on_url(self, part: bytes) -> None:
        # It comes in parts if it was received in parts.
        self._target = target = self._target + part if self._target else part
        if len(target) > self._limits.line:
            raise HTTPError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        try:
            key = KEYS[name]
        except KeyError:
            key = fields.key(name)
        environ = self._environ
        if key in environ:
            self._repeat(key, value.strip().decode("latin-1"))
        else:
            environ[key] = value.strip().decode("latin-1")

    def on_headers_complete(self) -> None:
        parser = self._parser
        environ = self._environ
        count = len(environ) - len(self._template) - 2 + len(self._repeated)
        if count > self._limits.fields or self._unframed > self._limits.field_size:
            self._check_fields(count)
        # llhttp resets this after the message: it can't be asked later.
        self._persistent = persistent = parser.should_keep_alive()
        # Without a Connection field only HTTP/1.1 is persistent; to ask llhttp makes a string.
        if persistent and "HTTP_CONNECTION" not in environ:
            self._http11 = True
            environ["SERVER_PROTOCOL"] = "HTTP/1.1"
        else:
            version = parser.get_http_version()
            self._http11 = version == "1.1"
            environ["SERVER_PROTOCOL"] = PROTOCOLS.get(version) or fields.refuse_version(version)
        method = parser.get_method()
        try:
            environ["REQUEST_METHOD"] = METHODS[method]
        except KeyError:
            environ["REQUEST_METHOD"] = method.decode("ascii")
        target = self._target.decode("latin-1")
        self._target = b""
        environ["RAW_URI"] = environ["REQUEST_URI"] = target
        if target[0] != "/":
            target, authority = fields.split_target(target)
            if authority is not None:
                environ["HTTP_HOST"] = authority
        environ["QUERY_STRING"] = ""
        if "?" in target:
            target, _, environ["QUERY_STRING"] = target.partition("?")
        if "%" in target:
            target = unquote_to_bytes(target.encode("latin-1")).decode("latin-1")
        environ["PATH_INFO"] = target
        if DROPPED in environ:
            del environ[DROPPED]
        if "HTTP_HOST" not in environ and self._http11:
            raise HTTPError(HTTPStatus.BAD_REQUEST, "no Host")  # RFC 9112, section 3.2
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._begin_body(environ)

    def on_body(self, data: bytes) -> None:
        self._unframed = 0
        assert self._body is not None
        self._body.feed(data)

    def on_message_complete(self) -> None:
        environ = self._environ
        body = self._body
        if body is not None:
            if self._upgrading:
                return  # llhttp takes the body for the other protocol: see feed()
            environ = self._head
            del self._head
            self._body = None
            if type(body) is Body and environ.pop("HTTP_TRANSFER_ENCODING", None):
                # The coding is off and the length known (RFC 3875, section 4.1.2).
                environ["CONTENT_LENGTH"] = str(body.size)
        # One with a stream was given out before.
        if type(body) is not Stream:
            self.requests.append(Request(environ, body, self._http11, self._persistent))
        self._environ = _NOTHING  # an idle connection holds nothing of its last request
        self.phase = _IDLE
        self._unframed = 0
        self.continue_wanted = False

    def _repeat(self, key: str, value: str) -> None:
        """Combine a repeated field: RFC 9110, section 5.2; RFC 6265, section 5.4."""
        before = self._environ[key]
        single = key not in self._repeated
        self._repeated += (key,)
        if len(self._repeated) > self._limits.fields:
            raise fields.too_large()
        if key == DROPPED:
            return
        if key == "HTTP_HOST":
            raise HTTPError(HTTPStatus.BAD_REQUEST, "two Hosts")  # RFC 9112, section 3.2
        if max(len(value), len(before) if single else 0) > self._limits.field_size:
            raise fields.too_large()
        separator = "; " if key == "HTTP_COOKIE" else ", "
        self._environ[key] = before + separator + value

    def _check_fields(self, count: int) -> None:
        """Only called when there is a chance that a limit is exceeded."""
        known = {*self._template, *self._repeated, "REMOTE_ADDR", "REMOTE_PORT"}
        items = ((key, value) for key, value in self._environ.items() if key not in known)
        size = max((max(len(key), len(value)) for key, value in items), default=0)
        if count > self._limits.fields or size > self._limits.field_size:
            raise fields.too_large()

    def _keep_behind(self, whole: bytes, size: int) -> None:
        """The last request asks for another protocol, and so many bytes are behind it. They are not
        copied: many such requests may be in one piece."""
        request = self.requests[-1]
        if request.http11 and "HTTP_UPGRADE" in request.environ:
            request.behind = memoryview(whole)[len(whole) - size :]

    def _go_on_with_body(self) -> bytes:
        """Have the body of a request that asks for an upgrade parsed by a parser of its own.

        Gives the bytes to feed before the rest: a head that frames the body in the same way. What
        comes after the body is not parsed; the connection ends with the response.
        """
        self._upgrading = False
        self._parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        name, value = "Transfer-Encoding", self._head.get("HTTP_TRANSFER_ENCODING")
        if value is None:
            name, value = "Content-Length", self._head["CONTENT_LENGTH"]
        return f"POST / HTTP/1.1\r\n{name}: {value}\r\n\r\n".encode("latin-1")

    def _begin_body(self, environ: dict[str, Any]) -> None:
        coding = environ.get("HTTP_TRANSFER_ENCODING")
        if coding is not None:
            fields.check_coding(coding)
            # RFC 9112, section 6.1: from a client of HTTP/1.0 the framing can't be trusted.
            self._persistent = self._persistent and self._http11
        limit = self._limits.body
        if limit and int(environ.get("CONTENT_LENGTH") or 0) > limit:
            raise too_large(limit)
        self.phase = _BODY
        # Trailer fields come by the same callback: they are not merged (RFC 9110, 6.5.1).
        self._head, self._environ = environ, {}
        if "HTTP_UPGRADE" in environ and self._parser.should_upgrade():
            self._upgrading = True
            self._persistent = False
        expects = self._http11 and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
        length = int(environ.get("CONTENT_LENGTH") or 0)
        # The length of a chunked body is known when the whole of it has arrived, and apps that go
        # by CONTENT_LENGTH (RFC 3875, section 4.1.2) read nothing without.
        if self._streaming and length and coding is None and not self._upgrading:
            self._body = body = Stream(length, expects)
            self.requests.append(Request(environ, body, self._http11, self._persistent))
        else:
            self._body = Body(limit)
            self.continue_wanted = expects


_NOTHING: dict[str, Any] = {}
