"""Requests from bytes: where each of them begins and ends.

llhttp (by httptools) is never given more than one message at a time, so it is known where each
begins: its request line is read here, and of many that are pipelined only some are parsed before
these are served. A head, and a chunked body, ends with an empty line; the end of any other body is
counted.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httptools

from prefork.errors import HTTPError
from prefork.http import fields, line
from prefork.http.message import Messages
from prefork.http.request import Limits, Phase

_END = b"\r\n\r\n"
# So many requests that wait are parsed; those behind them are kept as bytes.
MOST_WAITING = 64

# Members of an Enum cost two look-ups; these are looked up for each request.
_IDLE, _HEAD = Phase.IDLE, Phase.HEAD


class RequestParser(Messages):
    """The requests of one connection, in order, from the bytes that arrive on it.

    Args:
        template: the meta-variables that each request begins with.
        peer: REMOTE_ADDR and REMOTE_PORT.
        limits: what is accepted.
        streaming: give out a request when its head has arrived and its length is known, with a
            `Stream` for its body; otherwise when it has arrived whole.

    Requests are appended to `requests`. When these are taken out, and more are `waiting` behind
    them, they come with the next call of `feed`, of no bytes if need be. `continue_wanted` is set
    when the client waits for an interim response before it sends the body (RFC 9110, section
    10.1.1); whoever answers it resets it.
    """

    __slots__ = ("_kept", "waiting")

    def __init__(
        self,
        template: dict[str, Any],
        peer: tuple[str, str],
        limits: Limits,
        streaming: bool = False,
    ) -> None:
        super().__init__(template, peer, limits, streaming)
        # Bytes that are not parsed yet: of a request line that has not arrived whole, or of what is
        # behind the requests that wait.
        self._kept = b""
        self.waiting = False

    def feed(self, data: bytes) -> None:
        """Parse what has arrived.

        Raises:
            HTTPError: the request is malformed or exceeds a limit. Requests that were whole
                before it are in `requests`; nothing more may be fed.
        """
        if self._kept:
            data, self._kept = self._kept + data, b""
            self.phase = _IDLE
        at, size = 0, len(data)
        while at < size and not self._over:
            if self.phase is _IDLE:
                data, at = self._begin(data, at)
                size = len(data)
                if at == size:
                    break
            if self._left or self._last or (end := data.find(_END, at) + 4) < 4:
                end = self._end_of_piece(data, at)
            self._unframed += end - at
            asks = self._parse(data[at:end] if at or end < size else data)
            at = end
            if asks:
                # A view: many such requests may be in one piece.
                self.requests[-1].behind = memoryview(data)[at:]
        if self.phase is not _IDLE and self._unframed > self._limits.head:
            raise fields.too_large()

    # The parts.

    def _begin(self, data: bytes, at: int) -> tuple[bytes, int]:
        """A request may begin here: its line is read, if it has arrived whole, and what is parsed
        next is given. If that is at the end, there is nothing to parse yet."""
        end = data.find(b"\r\n", at)
        while end == at:  # empty lines before it: RFC 9112, section 2.2
            at += 2
            end = data.find(b"\r\n", at)
        self.waiting = at < len(data) and len(self.requests) >= MOST_WAITING
        if end < 0 or self.waiting:
            self._keep(data[at:])
            return data, len(data)
        self._line = request_line = line.read(data[at:end], self._limits.line)
        plain = request_line[3]
        return (data, at) if plain is None else (plain + data[end:], 0)

    def _keep(self, data: bytes) -> None:
        """Parse this later."""
        if not data:
            return
        if not self.waiting and data != b"\r":
            line.check_beginning(data, self._limits.line)
        self._kept = data
        self.phase = _HEAD

    def _end_of_piece(self, data: bytes, at: int) -> int:
        """Up to where no other message can begin: the end of the body, if that is known, or of an
        empty line, which may have begun before."""
        size = len(data)
        if self._left:
            return min(size, at + self._left)
        before = len(self._last)
        joint = (self._last + data[at : at + 3]).find(_END)
        if joint >= 0:
            return at + joint + len(_END) - before
        found = data.find(_END, at)
        if found >= 0:
            return found + len(_END)
        self._last = (self._last + data[max(at, size - 3) :])[-3:]
        return size

    def _parse(self, data: bytes) -> bool:
        """Have llhttp parse a piece of a message; whether this was the end of a request that asks
        for another protocol."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Unless the app upgrades, what follows is HTTP/1.1 as before (RFC 9110, 7.8).
            if not self._upgrading:
                return self._http11
            self._go_on_with_body()
        except httptools.HttpParserCallbackError as error:
            assert error.__context__ is not None
            raise error.__context__ from None
        except httptools.HttpParserError as error:
            raise HTTPError(HTTPStatus.BAD_REQUEST, str(error)) from None
        return False

    def _go_on_with_body(self) -> None:
        """Have the body of a request that asks for an upgrade parsed by a parser of its own, behind
        a head that frames it in the same way. The connection ends with the response."""
        self._upgrading = False
        self._parser = httptools.HttpRequestParser(_BodyCallbacks(self))
        name, value = "Transfer-Encoding", self._head.get("HTTP_TRANSFER_ENCODING")
        if value is None:
            name, value = "Content-Length", self._head["CONTENT_LENGTH"]
        self._parse(f"POST / HTTP/1.1\r\n{name}: {value}\r\n\r\n".encode("latin-1"))


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
