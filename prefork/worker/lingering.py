"""The end of connections that nobody else has: those that a worker has accepted itself.

A connection that is closed while the client still sends is reset, which can destroy the response
on its way (RFC 9112, section 9.6). So what the client sends after the end of its last response is
read and thrown away, until it closes too or a short deadline passes.
"""

from __future__ import annotations

import contextlib
from _socket import AF_UNIX, SHUT_RDWR, SHUT_WR, SO_LINGER, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812  the one that gevent does not patch
from collections.abc import Callable
from os import close as close_fd
from os import read, write
from select import POLLIN, poll
from time import monotonic
from typing import Any

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.wire.linger import LINGER_SECONDS, RESET_ON_CLOSE

_READ = 1  # of libev


class Lingering:
    """The connections that are at their end.

    Args:
        loop: where they are waited for.
        ended: called when one has come to its end.
    """

    def __init__(self, loop: Loop, ended: Callable[[], None]) -> None:
        self._loop = loop
        self._ended = ended
        # By fd, in the order of their deadlines.
        self._watchers: dict[int, Any] = {}
        self._deadlines: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    def begin(self, fd: int, farewell: bytes = b"") -> None:
        """Shut a connection down and see to its end; before that, say farewell."""
        if farewell:
            with contextlib.suppress(OSError):
                write(fd, farewell)
        shut_down(fd, SHUT_WR)
        watcher = self._loop.io(fd, _READ)
        self._watchers[fd] = watcher
        self._deadlines[fd] = monotonic() + LINGER_SECONDS
        watcher.start(self._on_leftover, fd)

    def expire(self, now: float) -> None:
        """End those that have had their time."""
        while self._deadlines and next(iter(self._deadlines.values())) <= now:
            fd = next(iter(self._deadlines))
            # The app may have its socket yet, and wait for what the client sends.
            shut_down(fd)
            self._end(fd)

    def disown(self) -> None:
        """In a forked child: close them; they end when the parent ends them."""
        for fd, watcher in self._watchers.items():
            watcher.stop()
            close_fd(fd)
        self._watchers.clear()
        self._deadlines.clear()

    def _on_leftover(self, fd: int) -> None:
        try:
            ended = not read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._end(fd)

    def _end(self, fd: int) -> None:
        self._watchers.pop(fd).stop()
        del self._deadlines[fd]
        close_fd(fd)
        self._ended()


def shut_down(fd: int, how: int = SHUT_RDWR) -> None:
    """shutdown(2), of a socket that may be shut down already."""
    sock = Socket(AF_UNIX, SOCK_STREAM, 0, fd)  # of whichever family; to find out costs calls
    try:
        sock.shutdown(how)
    except OSError:
        pass
    finally:
        sock.detach()


def has_data(fd: int) -> bool:
    """Whether something has arrived on a socket: bytes, or at a listener a client."""
    poller = poll()
    poller.register(fd, POLLIN)
    return bool(poller.poll(0))


def shut_down_if_quiet(fd: int) -> bool:
    """Send the client the end, unless it has sent something; whether that was done.

    What arrives between the look and the end is lost: as little as can be stands between them.
    """
    poller = poll()
    poller.register(fd, POLLIN)
    sock = Socket(AF_UNIX, SOCK_STREAM, 0, fd)
    try:
        if poller.poll(0):
            return False
        sock.shutdown(SHUT_WR)
    except OSError:
        pass  # it is shut down already
    finally:
        sock.detach()
    return True


def reset_on_close(fd: int) -> None:
    """Have the client be able to tell, when the socket is closed, that its response was cut."""
    sock = Socket(fileno=fd)
    try:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)
    finally:
        sock.detach()
