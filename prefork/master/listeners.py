"""Listeners: the sockets that the master is bound to."""

from __future__ import annotations

import logging
import os
import socket

from prefork.master import handover
from prefork.wire.assignment import ListenerInfo

_log = logging.getLogger("prefork.master")

# The device and the inode of a file.
Identity = tuple[int, int]


class Listener:
    """A bound, listening, non-blocking socket.

    Args:
        sock: the socket.
        unix_path: what to remove at the end, if it is still what it was: `identity`, by which it
            can be told whose it is.

    `secure` says that TLS is spoken there.
    """

    def __init__(
        self, sock: socket.socket, unix_path: str = "", identity: Identity | None = None
    ) -> None:
        self.sock = sock
        self.secure = False
        self._path = unix_path
        self._identity = identity

    @classmethod
    def taken_over(cls, state: handover.Listener) -> Listener:
        """One that another has handed over."""
        sock = socket.socket(fileno=state.fd)
        sock.setblocking(False)
        listener = cls(sock, state.path, state.identity)
        listener.secure = state.secure
        return listener

    def hand_over(self) -> handover.Listener:
        """The listener, for another to go on with."""
        return handover.Listener(self.sock.fileno(), self._path, self._identity, self.secure)

    @property
    def info(self) -> ListenerInfo:
        """SERVER_NAME and SERVER_PORT, which may not be empty (PEP 3333)."""
        if self.sock.family == socket.AF_UNIX:
            return ListenerInfo("localhost", "80")
        host, port = self.sock.getsockname()[:2]
        return ListenerInfo(host, str(port))

    def __str__(self) -> str:
        """As a URL, with the port that the kernel chose; `unix:path` for a unix socket."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{os.fsdecode(name)}"
        host = f"[{name[0]}]" if self.sock.family == socket.AF_INET6 else name[0]
        return f"{'https' if self.secure else 'http'}://{host}:{name[1]}"

    def close(self) -> None:
        """Close it, and remove the path of a unix socket that is still this one."""
        self.sock.close()
        if self._path and identity(self._path) == self._identity:
            try:
                os.unlink(self._path)
            except OSError as error:
                _log.warning("%s can't be removed: %s", self._path, error.strerror)


def identity(path: str) -> Identity | None:
    """What is at a path; None if nothing is."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
