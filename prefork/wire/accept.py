"""accept(2), as the master does it, or the workers if they accept for themselves."""

from __future__ import annotations

import errno
import os
import socket

# Out of fds or memory, the next attempt to accept is made after so many seconds.
ACCEPT_PAUSE = 0.1
# The client was gone before we came, or never really there: accept(2), "Error handling".
_CLIENT_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)

# An IPv4 client of an IPv6 listener: RFC 4291, section 2.5.5.2.
_MAPPED = "::ffff:"

# The fd of a connection, and the client's host and port: "" and 0 at a unix socket.
Accepted = tuple[int, str, int]


def accept(listener: socket.socket) -> Accepted | None:
    """Accept a connection, which then does not block.

    Returns:
        The connection; None if the client is gone: there may be others.

    Raises:
        BlockingIOError: there are no more.
        OSError: it can't be done now: no fds or no memory.
    """
    try:
        # An fd instead of an object, which would cost as much again.
        fd, address = listener._accept()  # type: ignore[attr-defined]
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _CLIENT_GONE:
            return None
        raise
    os.set_blocking(fd, False)
    if not isinstance(address, tuple):
        return fd, "", 0
    host, port = address[:2]
    return fd, host.removeprefix(_MAPPED), port
