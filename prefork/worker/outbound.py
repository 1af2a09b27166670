"""What a client has not taken yet of its responses."""

from __future__ import annotations

import fcntl
import logging
import struct
import termios
from collections import deque
from errno import EINVAL, ENOSYS, EOPNOTSUPP

# By name, before gevent patches them: they must not wait for the hub.
from os import close, dup, pread, sendfile, write
from select import POLLOUT, poll

from prefork.http.files import Extent

# So much of a file goes out at a time: others wait for the loop as well.
_FILE_TURN = 1 << 20

_READ_SIZE = 65536
_NO_SENDFILE = frozenset({EINVAL, ENOSYS, EOPNOTSUPP})

_log = logging.getLogger("prefork.worker")

_INT = struct.Struct("i")


class FilePart:
    """What is left to be sent of a file. It has an fd of its own until it is closed.

    Args:
        extent: of the app's file.
    """

    __slots__ = ("_fd", "_left", "_offset")

    def __init__(self, extent: Extent) -> None:
        self._fd = dup(extent.fd)
        self._offset = extent.offset
        self._left = extent.size

    def send(self, out: int) -> bool:
        """Send some of it to this socket; whether that was the rest.

        Raises:
            BlockingIOError: there is no room.
            OSError: the client is gone, or the file can't be read.
        """
        sent = self._send(out, min(self._left, _FILE_TURN))
        if not sent:
            _log.error("a file became %d bytes shorter while it was sent", self._left)
            raise OSError("the file has become shorter")
        self._offset += sent
        self._left -= sent
        return not self._left

    def _send(self, out: int, size: int) -> int:
        try:
            return sendfile(out, self._fd, self._offset, size)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
        # The file system has none.
        return write(out, pread(self._fd, min(size, _READ_SIZE), self._offset))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1


class Outbound:
    """What waits for a client to make room, in order. There is one only while something does.

    Args:
        fd: the client's socket, which does not block.

    `size` is how many bytes are held in memory; those of a file are not.
    """

    __slots__ = ("_fd", "_parts", "_queued", "size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: deque[memoryview | FilePart] = deque()
        self._queued = unacknowledged(fd)
        self.size = 0

    def add(self, data: bytes, sent: int = 0) -> None:
        """Keep these bytes, of which so many were sent already, for `flush`."""
        if len(data) > sent:
            self._parts.append(memoryview(data)[sent:])
            self.size += len(data) - sent

    def add_file(self, file: FilePart) -> None:
        """Keep this part of a file for `flush`: it is closed when it was sent, or by `close`."""
        self._parts.append(file)

    @property
    def empty(self) -> bool:
        """Whether all is sent."""
        return not self._parts

    def flush(self) -> None:
        """Send as much as there is room for; of a file, a bounded part.

        Raises:
            OSError: the client is gone, or a file is shorter than it was.
        """
        parts = self._parts
        while parts:
            part = parts[0]
            try:
                if isinstance(part, FilePart):
                    if not part.send(self._fd):
                        return
                    part.close()
                    parts.popleft()
                    continue
                sent = write(self._fd, part)
            except BlockingIOError:
                return
            self.size -= sent
            if sent < len(part):
                parts[0] = part[sent:]
                return
            parts.popleft()

    def close(self) -> None:
        """Nothing is sent any more: let go of the files."""
        for part in self._parts:
            if isinstance(part, FilePart):
                part.close()

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
