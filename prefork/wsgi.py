"""WSGI (PEP 3333): a request becomes a call of the app, what it gives becomes a response.

In which process, thread or greenlet the app runs is the worker's affair.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from io import BytesIO
from types import FrameType, TracebackType
from typing import Any

from prefork.errors import HTTPError, RequestTimeout
from prefork.http.body import Stream
from prefork.http.request_id import REQUEST_ID
from prefork.http.response import STATUS_LINES, early_hints, error_response
from prefork.responding import Disconnected, Headers, Response

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_log = logging.getLogger("prefork.app")


class Exchange(Response):
    """One request and its response.

    After `run`, `refused` is set when the request can't be served, and nothing is sent. `began` is
    when that was, by the monotonic clock.
    """

    began = 0.0
    # Whether the app has taken the connection's socket: then there is no response.
    taken = False
    refused: HTTPError | None = None

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
