"""WSGI (PEP 3333): a request becomes a call of the app, what it gives becomes a response.

No socket is known here. The bytes of a response go to a `Transport`; who that is, and in which
process, thread or greenlet the app runs, is the worker's affair.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from io import BytesIO
from types import FrameType, TracebackType
from typing import Any, Protocol

from prefork.errors import HTTPError, RequestTimeout
from prefork.http.body import Stream
from prefork.http.files import Extent, FileWrapper
from prefork.http.request import Request
from prefork.http.request_id import REQUEST_ID
from prefork.http.response import (
    LAST_CHUNK,
    STATUS_LINES,
    Framing,
    StatusLine,
    build_head,
    chunk,
    early_hints,
    error_response,
)

Headers = list[tuple[str, str]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

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


class Exchange:
    """One request and its response.

    After `run`, `complete` says whether the client has got a whole response, `persistent`
    whether the connection may carry another one; `refused` is set instead when the request can't
    be served, and nothing is sent. `status`, `headers` and `sent` (bytes of body) are what the
    access log tells, `began` is when by the monotonic clock.
    """

    # What an exchange begins with stands in the class: it costs nothing per request there.
    status = ""
    headers: Headers = []  # noqa: RUF012  replaced, never changed
    head_sent = False
    complete = False
    persistent = False
    # Whether the app has returned: from then on the connection carries something else.
    over = False
    # Whether the app has taken the connection's socket: then there is no response.
    taken = False
    refused: HTTPError | None = None
    # Where several threads may write.
    lock: AbstractContextManager[Any] | None = None
    sent = 0
    began = 0.0
    _head_only: bool
    _line: StatusLine
    _framing: Framing
    _left: int

    def __init__(self, request: Request, transport: Transport) -> None:
        self.request = request
        self.transport = transport

    def run(self, app: App) -> None:
        """Call the app and send what it gives. Whatever the app raises ends here."""
        request = self.request
        environ = request.environ
        body = request.body
        # Asked now, as the environ is the app's to change (PEP 3333).
        self._head_only = environ["REQUEST_METHOD"] == "HEAD"
        try:
            environ["wsgi.input"] = BytesIO() if body is None else body.finish()
        except HTTPError as error:
            self.refused = HTTPError(error.status, error.why)  # without a traceback to this
            return
        try:
            result = app(environ, self.start_response)
            if type(result) is list and not self.head_sent:
                # The common case; a list has no close().
                self._send_whole(result[0] if len(result) == 1 else b"".join(result))
                return
            try:
                self._send_each(result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except Disconnected:
            self.persistent = False
        except RequestTimeout:
            self.persistent = False
            if not self.head_sent:
                self._apologize(HTTPStatus.GATEWAY_TIMEOUT, "the application took too long")
        except BaseException:  # noqa: BLE001  whatever an app raises ends here
            self._fail()
        finally:
            self.over = True

    def start_response(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """`start_response` of PEP 3333; the bytes go out with the first part of the body."""
        if exc_info is not None:
            try:
                if self.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response was called twice without exc_info")
        self._line = STATUS_LINES[status]  # raises where the app can see it
        self.status = status
        self.headers = headers
        return self.write

    def send_early_hints(self, headers: Headers) -> None:
        """Send an interim response, if the client knows such and the final one has not begun.

        Raises:
            ValueError, TypeError: a field that must not be sent.
        """
        interim = early_hints(headers)
        if self.request.http11 and not self.head_sent:
            self.transport.send(interim)

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

    def _fail(self) -> None:
        """Log what the app raised; answer 500 if nothing is out yet, else cut the response."""
        failure = self._failure_of_the_client()
        if failure is None:
            _log.exception("%s: the app raised", self)
        else:
            _log.info("%s: the body did not arrive: %s", self, failure)
        # A response that was whole before close() raised stays what it is.
        if self.complete:
            return
        self.persistent = False
        if self.head_sent:
            return
        if failure is not None:
            if isinstance(failure, TimeoutError):
                self.refused = HTTPError(HTTPStatus.REQUEST_TIMEOUT, "the request took too long")
            return
        self._apologize(HTTPStatus.INTERNAL_SERVER_ERROR, "the application failed")

    def _apologize(self, status: HTTPStatus, why: str) -> None:
        """Answer in the app's stead."""
        self.head_sent = True
        self.status = f"{status.value} {status.phrase}"
        self.headers = []
        answer = error_response(status, why, head_only=self._head_only)
        try:
            self.transport.send(answer)
        except Disconnected:
            return
        self.complete = True

    def _failure_of_the_client(self) -> OSError | None:
        """Why the app could not read the body, if that is why it has raised."""
        body = self.request.body
        return body.failure if type(body) is Stream else None

    @property
    def request_id(self) -> str:
        """The id of the request; empty if it has none."""
        return str(self.request.environ.get(REQUEST_ID, ""))

    def __str__(self) -> str:
        environ = self.request.environ
        what = f"{environ.get('REQUEST_METHOD', '-')} {environ.get('RAW_URI', '-')}"
        return f"{what} id={self.request_id}" if REQUEST_ID in environ else what


def exchanges_on(frame: FrameType | None) -> Iterator[Exchange]:
    """Those for which the app has been called on this stack, the innermost first. It stands there,
    so nobody has to note it for each request."""
    while frame is not None:
        if frame.f_code is Exchange.run.__code__:
            yield frame.f_locals["self"]
        frame = frame.f_back


def _as_bytes(data: object) -> bytes:
    """What counts as bytes, as such: a memoryview of larger items has more bytes than its length.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a part of the body is not bytes, but {type(data).__name__}: {data!r:.40}")
