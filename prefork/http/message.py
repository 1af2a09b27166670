"""Messages, as llhttp (by httptools) finds their parts: this names and bounds what it finds.

A request's head becomes the meta-variables of RFC 3875, section 4.1, in a dict copied from a
template, so that the layer above adds to it instead of converting it: nothing is built twice.
"""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

from prefork.errors import HTTPError
from prefork.http import fields
from prefork.http.body import Body, Stream, too_large
from prefork.http.fields import DROPPED, HOSTS, KEYS
from prefork.http.line import RequestLine
from prefork.http.request import Limits, Phase, Request

# A member of an Enum costs two look-ups; these are looked up for each request.
_IDLE, _HEAD, _BODY = Phase.IDLE, Phase.HEAD, Phase.BODY


class Messages:
    """The callbacks of httptools, by which messages become requests.

    Args:
        template: the meta-variables that each request begins with.
        peer: REMOTE_ADDR and REMOTE_PORT.
        limits: what is accepted.
        streaming: give out a request when its head has arrived and its length is known, with a
            `Stream` for its body; otherwise when it has arrived whole.

    Requests are appended to `requests`. `continue_wanted` is set when the client waits for an
    interim response before it sends the body (RFC 9110, section 10.1.1); whoever answers it resets
    it.
    """

    __slots__ = (
        "_body",
        "_environ",
        "_head",
        "_http11",
        "_last",
        "_left",
        "_limits",
        "_line",
        "_over",
        "_parser",
        "_peer",
        "_persistent",
        "_repeated",
        "_streaming",
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
        self._line = _NO_LINE
        # The last bytes that were parsed, in which an empty line may have begun.
        self._last = b""
        self._body: Body | Stream | None = None
        # Bytes of a body that have not arrived, where that is known.
        self._left = 0
        # Whether the last request has come: what follows it means nothing (RFC 9112, section 9.6).
        self._over = False
        self._parser = httptools.HttpRequestParser(self)
        # Bytes parsed since the message began, or since its body last grew: heads, trailers and the
        # extensions of chunks are bounded by it.
        self._unframed = 0
        self.phase = Phase.IDLE
        self.requests: deque[Request] = deque()
        self.continue_wanted = False
        self._upgrading = False
        self._repeated: tuple[str, ...] = ()

    def close(self) -> None:
        """Drop the parser, which refers back to this object: no cycle is left to collect."""
        del self._parser
        # A body that is read while it arrives knows its connection; the environ knows the body.
        self._body = None
        self._head = _NOTHING

    # What httptools calls, in this order.

    def on_message_begin(self) -> None:
        self.phase = _HEAD
        self._environ = environ = self._template.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self._peer
        self._repeated = ()
        self._body = None

    def on_header(self, name: bytes, value: bytes) -> None:
        try:
            key = KEYS[name]
        except KeyError:
            key = fields.key(name)
        environ = self._environ
        if key in environ:
            self._repeat(key, value.strip(b" \t").decode("latin-1"))
        else:
            environ[key] = value.strip(b" \t").decode("latin-1")

    def on_headers_complete(self) -> None:
        parser = self._parser
        environ = self._environ
        count = len(environ) - len(self._template) - 2 + len(self._repeated)
        if count > self._limits.fields or self._unframed > self._limits.field_size:
            self._check_fields(count)
        # llhttp resets this after the message: it can't be asked later.
        self._persistent = parser.should_keep_alive()
        method, target, http11, _ = self._line
        self._http11 = http11
        environ["REQUEST_METHOD"] = method
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if http11 else "HTTP/1.0"
        environ["RAW_URI"] = environ["REQUEST_URI"] = target
        host = environ.get("HTTP_HOST")
        if host is None:
            if http11:
                raise HTTPError(HTTPStatus.BAD_REQUEST, "no Host")  # RFC 9112, section 3.2
        elif host not in HOSTS:
            fields.check_host(host)
        if target[0] != "/":
            target, authority = fields.split_target(method, target)
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
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._begin_body(environ)

    def on_body(self, data: bytes) -> None:
        self._unframed = 0
        if self._left:
            self._left -= len(data)
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
        self._last = b""
        self._over = not self._persistent
        self.continue_wanted = False

    # The parts.

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
        length = self._left = int(environ.get("CONTENT_LENGTH") or 0)
        # The length of a chunked body is known when the whole of it has arrived, and apps that go
        # by CONTENT_LENGTH (RFC 3875, section 4.1.2) read nothing without.
        if self._streaming and length and coding is None and not self._upgrading:
            self._body = body = Stream(length, expects)
            self.requests.append(Request(environ, body, self._http11, self._persistent))
        else:
            self._body = Body(limit)
            self.continue_wanted = expects


_NOTHING: dict[str, Any] = {}
_NO_LINE: RequestLine = ("", "", True, None)
