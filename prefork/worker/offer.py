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
import socket
import sys
import threading
from collections.abc import Callable
from errno import EBADF
from functools import cache
from typing import TYPE_CHECKING, Any

from prefork.http.files import Extent
from prefork.http.request import Request
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.connection import Connection

KEYS = ("prefork.socket", "gunicorn.socket")
# What a socket can do that takes the connection; not what only asks about it, as getpeername().
_USES = (
    "detach",
    "dup",
    "fileno",
    "makefile",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "sendall",
    "sendfile",
    "sendmsg",
    "sendmsg_afalg",
    "sendto",
    "setblocking",
    "settimeout",
    "shutdown",
)

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
            sock = _socket_class()(self, os.dup(self._connection.fd), self._connection.unwatch)
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


@cache
def _socket_class() -> Any:
    """What is offered: a kind of `socket.socket`, as it is when gevent may have patched it."""
    plain: Any = socket.socket

    class Socket(plain):  # type: ignore[misc]
        """The socket of a client's connection, which is the app's from the first use on."""

        def __init__(self, offer: Offer, fd: int, unwatch: Callable[[int], None]) -> None:
            super().__init__(fileno=fd)
            self._offer: Offer | None = offer
            self._unwatch = unwatch
            # The client has sent this already.
            self._behind = b""

        def __repr__(self) -> str:
            return f"<socket of {self._offer}>" if self._offer is not None else super().__repr__()

        def recv(self, size: int, flags: int = 0) -> bytes:
            """At most so many bytes of what the client sends."""
            self.take()
            if not self._behind:
                data: bytes = super().recv(size, flags)
                return data
            data = self._behind[:size]
            if not flags & socket.MSG_PEEK:
                self._behind = self._behind[size:]
            return data

        def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
            """The same, into a buffer: how many bytes."""
            self.take()
            if not self._behind:
                count: int = super().recv_into(buffer, nbytes, flags)
                return count
            view = memoryview(buffer).cast("B")
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

        def send(self, data: Any, flags: int = 0, **options: Any) -> int:
            """Send these bytes: how many were sent. If it blocks, all, as the kernel would do it;
            gevent stops at what there is room for."""
            self.take()
            sent: int = super().send(data, flags, **options)
            if self.gettimeout() is None:
                rest = memoryview(data).cast("B")
                while sent < len(rest):
                    sent += super().send(rest[sent:], flags)
            return sent

        def close(self) -> None:
            """Close the app's fd. The connection ends when the app returns."""
            self.take()
            super().close()

        def take(self) -> None:
            """From now on the connection is the app's."""
            if self._offer is None:
                return
            behind = self._offer.take()
            if behind is not None:
                self._behind = behind
                if self.gettimeout() is None:
                    super().setblocking(True)
            self._offer = None

        def give_up(self) -> None:
            """Close the app's fd, which it has not used."""
            self._offer = None
            super().close()

        def _real_close(self, *args: Any) -> None:
            # gevent may have watched it.
            self._unwatch(super().fileno())
            super()._real_close(*args)

    for name in _USES:
        if hasattr(plain, name) and name not in vars(Socket):
            setattr(Socket, name, _taking(getattr(plain, name)))
    return Socket


def _taking(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a socket, which takes the connection first."""

    def use(self: Any, *args: Any, **options: Any) -> Any:
        self.take()
        return method(self, *args, **options)

    return use
