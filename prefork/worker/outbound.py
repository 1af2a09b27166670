"""What a client has not taken yet of its responses."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections import deque
from os import write
from select import POLLOUT, poll

_INT = struct.Struct("i")


class Outbound:
    """Bytes that wait for a client to make room, in order. There is one only while they do.

    Args:
        fd: the client's socket, which does not block.
    """

    __slots__ = ("_fd", "_parts", "_queued", "size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: deque[memoryview] = deque()
        self._queued = unacknowledged(fd)
        self.size = 0

    def add(self, data: bytes, sent: int = 0) -> None:
        """Keep these bytes, of which so many were sent already, for `flush`."""
        if len(data) > sent:
            self._parts.append(memoryview(data)[sent:])
            self.size += len(data) - sent

    def flush(self) -> None:
        """Send as much as there is room for.

        Raises:
            OSError: the client is gone.
        """
        parts = self._parts
        while parts:
            try:
                sent = write(self._fd, parts[0])
            except BlockingIOError:
                return
            self.size -= sent
            if sent < len(parts[0]):
                parts[0] = parts[0][sent:]
                return
            parts.popleft()

    def wait(self, seconds: float, quota: float) -> None:
        """Stand still until the client makes room.

        Raises:
            TimeoutError: it has taken less than this many bytes within this time.
        """
        poller = poll()
        poller.register(self._fd, POLLOUT)
        self.rest()
        while not poller.poll(seconds * 1000):
            if not self.taken(quota):
                raise TimeoutError

    def taken(self, quota: float) -> bool:
        """Whether the client has taken at least so many bytes since this, or `rest`, was last
        asked."""
        before = self._queued
        self.rest()
        return before - self._queued >= quota

    def rest(self) -> None:
        """Begin to watch what the client takes: nothing is sent until it has been asked again."""
        self._queued = unacknowledged(self._fd)


def unacknowledged(fd: int) -> int:
    """The bytes in a socket's send queue: tcp(7) and unix(7), SIOCOUTQ.

    A socket becomes writable only when a good part of its queue is free: that it has not is no
    sign that the client takes nothing, but that the queue does not shrink is.
    """
    count: int = _INT.unpack(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return count
