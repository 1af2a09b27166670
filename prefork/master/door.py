"""The door: the listening socket of `control_socket`, where it is, and whose.

The service does not depend on it: where it can't be had that is said once, and all else goes on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat

from prefork import rundir
from prefork.master.listeners import Listener, identity

# Whoever comes while as many wait has to come again.
_BACKLOG = 16

_log = logging.getLogger("prefork.master")


def open_door(setting: str) -> Listener | None:
    """Listen where `control_socket` says; None if it is off, or can't be done.

    The socket is this process's user's, who may be root while the workers are not: they have no
    business there.
    """
    if setting == "off":
        return None
    try:
        if setting != "auto":
            return _listen(os.path.abspath(setting))
        directory = rundir.make(os.environ)
        _clear(directory)
        return _listen(rundir.socket_of(directory, os.getpid()))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        _log.warning("no control socket, and so no preforkctl: %s: %s", setting, why)
        return None


def _listen(path: str) -> Listener:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return Listener(sock, path, identity(path))


def _clear(directory: str) -> None:
    """Remove what masters have left behind that were killed."""
    for path in rundir.sockets(directory):
        with contextlib.suppress(OSError):
            _remove_stale(path)


def _remove_stale(path: str) -> None:
    """Remove a socket on which nobody listens.

    Raises:
        OSError: somebody does, or it is no socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    if outcome == errno.ENOENT:
        return
    if outcome != errno.ECONNREFUSED or not _is_socket(path):
        raise OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)} ({path})")
    os.unlink(path)


def _is_socket(path: str) -> bool:
    # connect(2) says ECONNREFUSED of a plain file as well.
    return stat.S_ISSOCK(os.lstat(path).st_mode)
