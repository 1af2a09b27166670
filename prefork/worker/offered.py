"""The socket that an app is offered: with its first use the connection is the app's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefork.worker.offer import Offer

    # It becomes that in `socket_class`.
    _Plain = socket.socket
else:
    _Plain = object

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


class OfferedSocket(_Plain):
    """The socket of a client's connection, which is the app's from the first use on.

    Args:
        offer: the request that it is offered with.
        fd: the app's own, for the socket.
        unwatch: called before that is closed.
    """

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
        super()._real_close(*args)  # type: ignore[misc]


@cache
def socket_class() -> Any:
    """What is offered: a kind of `socket.socket`, as it is when gevent may have patched it."""
    plain: Any = socket.socket
    uses = {
        name: _taking(getattr(plain, name))
        for name in _USES
        if hasattr(plain, name) and name not in vars(OfferedSocket)
    }
    return type("Socket", (OfferedSocket, plain), uses)


def _taking(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a socket, which takes the connection first."""

    def use(self: Any, *args: Any, **options: Any) -> Any:
        self.take()
        return method(self, *args, **options)

    return use
