"""What a client has not taken yet of its responses."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections import deque

_INT = struct.Struct("i")


class Outbound:
    """Bytes that wait for a client to make room, in order. There is one only while they do.

    Args:
        sock: the client's socket, which does not block.
        data: what was to be sent.
        sent: how much of it was.
    """

    __slots__ = ("_parts", "_queued", "_sock", "size")

    def __init__(self, sock: socket.socket, data: bytes, sent: int) -> None:
        self._sock = sock
        self._parts = deque([memoryview(data)[sent:]])
        self._queued = unacknowledged(sock)
        self.size = len(data) - sent

    def add(self, data: bytes) -> None:
        """Send these bytes after the ones before, as far as there is room.

        Raises:
            OSError: the client is gone.
        """
        self._parts.append(memoryview(data))
        self.size += len(data)
        self.flush()

    def flush(self) -> None:
        """Send as much as there is room for.

        Raises:
            OSError: the client is gone.
        """
        parts = self._parts
        while parts:
            try:
                sent = self._sock.send(parts[0])
            except BlockingIOError:
                return
            self.size -= sent
            if sent < len(parts[0]):
                parts[0] = parts[0][sent:]
                return
            parts.popleft()

    def taken(self) -> bool:
        """Whether the client has taken anything since this, or `rest`, was last asked."""
        before = self._queued
        self.rest()
        return self._queued < before

    def rest(self) -> None:
        """Begin to watch what the client takes: nothing is sent until it has been asked again."""
        self._queued = unacknowledged(self._sock)


def unacknowledged(sock: socket.socket) -> int:
    """The bytes in a socket's send queue: tcp(7) and unix(7), SIOCOUTQ.

    A socket becomes writable only when a good part of its queue is free: that it has not is no
    sign that the client takes nothing, but that the queue does not shrink is.
    """
    count: int = _INT.unpack(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return count
