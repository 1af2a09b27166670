"""The socket of a connection, for apps that speak another protocol: a WebSocket, say.

A request that asks for an upgrade (RFC 9110, section 7.8) has it in its environ. Until the app uses
it, nothing changes: it may answer by WSGI as well. With the first use it has **taken** the
connection: it says 101 itself, what it returns is no response, and the connection ends with it.

The app has an fd of its own, so that it can close that at any time. The file behind it is the
master's too, which must never wait: it is made to block only when it is taken, and at the end not
to again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from errno import EBADF
from typing import TYPE_CHECKING

from prefork.http.files import Extent
from prefork.http.request import Request
from prefork.worker.offered import socket_class
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.connection import Connection

KEYS = ("prefork.socket", "gunicorn.socket")

_log = logging.getLogger("prefork.app")


class Offer(Exchange):
    """A request that asks for an upgrade, and its response, or what the app does instead.

    Args:
        request: with what has arrived behind it.
        connection: whose socket is offered.
    """

    def __init__(self, request: Request, connection: Connection) -> None:
        super().__init__(request, connection)
        self._connection = connection
        self._lock = threading.Lock()

    def run(self, app: App) -> None:
        """Call the app with the socket in its environ. Whatever the app raises ends here."""
        transport = self.transport
        try:
            sock = socket_class()(self, os.dup(self._connection.fd), self._connection.unwatch)
        except OSError:  # there are no fds left: the app does without
            super().run(app)
            return
        self.request.environ.update(dict.fromkeys(KEYS, sock))
        super().run(app)
        with self._lock:
            self.over = True
        if self.taken:
            self.transport = transport
            self.status, self.headers = "101 Switching Protocols", []
            self.complete = self.persistent = False
            self.sent = 0
            os.set_blocking(self._connection.fd, False)
        else:
            sock.give_up()

    def take(self) -> bytes | None:
        """The app uses the socket: what has arrived for it already, None if it was taken before.

        Raises:
            OSError: the request is over.
            RuntimeError: its response has begun.
        """
        with self._lock:
            if self.over:
                raise OSError(EBADF, os.strerror(EBADF))
            if self.taken:
                return None
            if self.head_sent:
                raise RuntimeError("the response has begun: the socket can't be used any more")
            self.taken = True
            self._connection.take()
        self.transport = _Nowhere()
        behind, self.request.behind = self.request.behind, None
        return bytes(behind or b"")

    def _fail(self) -> None:
        # Flask-Sock ends with a StopIteration where it would not have a response sent.
        if not self.taken:
            super()._fail()
        elif not isinstance(sys.exc_info()[1], StopIteration):
            _log.exception("%s: the app raised", self)


class _Nowhere:
    """Where a response goes that nobody is to get."""

    retiring = False

    def send(self, data: bytes, more: bytes = b"") -> None:
        """Drop this."""

    def send_file(self, head: bytes, extent: Extent) -> None:
        """Drop this."""
