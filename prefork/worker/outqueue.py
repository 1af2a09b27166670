"""How much of what was sent a client has not taken: tcp(7) and unix(7), SIOCOUTQ."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

_INT = struct.Struct("i")


def unacknowledged(sock: socket.socket) -> int:
    """The bytes in the socket's send queue.

    A socket becomes writable only when a good part of its queue is free: that it has not is no
    sign that the client takes nothing, but that the queue does not shrink is.
    """
    count: int = _INT.unpack(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return count
