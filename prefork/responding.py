"""What the app gives, sent: the body of a response, in parts or whole, and the head before it.

No socket is known here. The bytes go to a `Transport`; who that is, is the worker's affair.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from prefork.http.body import Stream
from prefork.http.files import Extent, FileWrapper
from prefork.http.request import Request
from prefork.http.response import LAST_CHUNK, Framing, StatusLine, build_head, chunk

Headers = list[tuple[str, str]]

# A member of an Enum costs two look-ups.
_LENGTH = Framing.LENGTH
# A larger body is not copied behind its head to be sent with it.
_COPIED_SIZE = 16384
# So much of a body that the app has not read is read for the sake of the next request.
_DISCARDED_SIZE = 1 << 20

_log = logging.getLogger("prefork.app")


class Disconnected(Exception):
    """The client is gone, or takes nothing any more: the response can't be sent."""


class Transport(Protocol):
    """Where a response goes."""

    @property
    def retiring(self) -> bool:
        """Whether keep-alive is off, because the worker retires."""

    def send(self, data: bytes, more: bytes = b"") -> None:
        """Send these bytes after the ones before.

        Raises:
            Disconnected: it can't be done.
        """

    def send_file(self, head: bytes, extent: Extent) -> None:
        """Send these bytes, and a part of a file behind them, which the app may close then.

        Raises:
            Disconnected: it can't be done.
        """


class Response:
    """What the client gets for a request.

    `complete` says whether it has got a whole response, `persistent` whether the connection may
    carry another one. `status`, `headers` and `sent` (bytes of body) are what the access log tells.
    """

    # What a response begins with stands in the class: it costs nothing per request there.
    status = ""
    headers: Headers = []  # noqa: RUF012  replaced, never changed
    head_sent = False
    complete = False
    persistent = False
    # Whether the app has returned: from then on the connection carries something else.
    over = False
    # Where several threads may write.
    lock: AbstractContextManager[Any] | None = None
    sent = 0
    _head_only: bool
    _line: StatusLine
    _framing: Framing
    _left: int

    def __init__(self, request: Request, transport: Transport) -> None:
        self.request = request
        self.transport = transport

    def write(self, data: bytes) -> None:
        """Send a part of the body, and the head before it: the `write()` of PEP 3333."""
        if not data:
            return
        if self.lock is None:
            self._write(data)
        else:
            with self.lock:
                self._write(data)

    def _write(self, data: bytes) -> None:
        if self.over:
            raise AssertionError("write() was called after the request was over")
        head = b"" if self.head_sent else self._head(None)
        if type(data) is not bytes:
            data = _as_bytes(data)
        framing = self._framing
        if framing is Framing.CHUNKED:
            self.sent += len(data)
            data = chunk(data)
        elif framing is Framing.LENGTH:
            data = self._within_length(data)
        elif framing is Framing.NONE:
            data = b""
        else:
            self.sent += len(data)
        data = head + data
        # Only now: if the app gave no bytes, nothing is out yet, and it can still be a 500.
        self.head_sent = True
        if data:
            self.transport.send(data)

    def _send_each(self, result: Iterable[bytes]) -> None:
        """Send each part as it comes: PEP 3333, "Buffering and Streaming"."""
        if isinstance(result, tuple) and len(result) == 1 and not self.head_sent:
            self._send_whole(result[0])
            return
        if type(result) is FileWrapper and not self.head_sent:
            extent = result.extent()
            if extent is not None:
                self._send_file(extent)
                return
        for data in result:
            self.write(data)
        if not self.head_sent:
            # An iterable that gave nothing: its length is known now.
            self._send_whole(b"")
        elif self._framing is Framing.CHUNKED:
            self.transport.send(LAST_CHUNK)
            self.complete = True
        else:
            self._end_of_body()

    def _send_whole(self, body: bytes) -> None:
        """Send the body in one go with the head: its length is known."""
        if type(body) is not bytes:
            body = _as_bytes(body)
        size = len(body)
        head = self._head(size)
        if self._framing is _LENGTH and self._left == size:
            if size <= _COPIED_SIZE:
                head, body = head + body, b""
            self.sent = size
            self.head_sent = True
            self.transport.send(head, body)
            self.complete = True
            return
        data = head + (self._within_length(body) if self._framing is _LENGTH else b"")
        self.head_sent = True
        self.transport.send(data)
        self._end_of_body()

    def _send_file(self, extent: Extent) -> None:
        """Have the kernel send a file, or as much of it as the Content-Length says."""
        head = self._head(extent.size)
        size = min(extent.size, self._left) if self._framing is _LENGTH else 0
        self._left -= size
        self.sent += size
        self.head_sent = True
        if size:
            self.transport.send_file(head, extent._replace(size=size))
        else:
            self.transport.send(head)
        self._end_of_body()

    def _head(self, length: int | None) -> bytes:
        if not self.status:
            raise AssertionError("start_response was not called before the body")
        request = self.request
        persistent = request.persistent and not self.transport.retiring
        if type(request.body) is Stream and not request.body.comes(_DISCARDED_SIZE):
            persistent = False
        head, self._framing, self._left, self.persistent = build_head(
            self._line, self.headers, length, self._head_only, request.http11, persistent
        )
        return head

    def _within_length(self, data: bytes) -> bytes:
        """What of `data` the Content-Length has room for."""
        if len(data) > self._left:
            _log.warning("%s: the app gave more than its Content-Length; cut off", self)
            data = data[: self._left]
        self._left -= len(data)
        self.sent += len(data)
        return data

    def _end_of_body(self) -> None:
        if self._framing is Framing.LENGTH and self._left:
            _log.error(
                "%s: the app gave %d bytes less than its Content-Length",
                self,
                self._left,
            )
            self.persistent = False
            return
        self.complete = True


def _as_bytes(data: object) -> bytes:
    """What counts as bytes, as such: a memoryview of larger items has more bytes than its length.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a part of the body is not bytes, but {type(data).__name__}: {data!r:.40}")
