"""What an app has started or opened while it was imported, and that does not survive a fork as the
app may think: threads are not copied, sockets and greenlets are, into each worker.

It is said, not forbidden: many a library has a thread that it starts again.
"""

from __future__ import annotations

import gc
import logging
import os
import stat
import threading
from collections.abc import Iterator
from socket import socket as Socket  # noqa: N812  the one that gevent does not patch

from gevent.hub import Hub
from gevent.monkey import is_module_patched
from greenlet import getcurrent, greenlet

_log = logging.getLogger("prefork.worker")


def warn_of_what_does_not_survive(own: set[int]) -> None:
    """Say in the log what there is.

    Args:
        own: fds that are not the app's.
    """
    threads = sorted(_threads())
    if threads:
        _log.warning("threads that no worker will have: %s", ", ".join(threads))
    sockets = list(_sockets(own))
    if sockets:
        _log.warning("sockets that all workers will share: %s", ", ".join(sockets))
    greenlets = sorted(_greenlets())
    if greenlets:
        _log.warning("greenlets that each worker will go on with: %s", ", ".join(greenlets))


def _threads() -> Iterator[str]:
    """Python's by name, unless they are greenlets, and how many there are besides."""
    known = [each for each in threading.enumerate() if each is not threading.main_thread()]
    if is_module_patched("threading"):
        known = []
    yield from (repr(each.name) for each in known)
    others = len(os.listdir("/proc/self/task")) - 1 - len(known)
    if others > 0:
        yield f"{others} that Python does not know"


def _sockets(own: set[int]) -> Iterator[str]:
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if fd in own or fd <= 2:
            continue
        try:
            is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue  # that of the listing
        if is_socket:
            yield _describe(fd)


def _describe(fd: int) -> str:
    sock = Socket(fileno=os.dup(fd))
    try:
        return f"fd {fd}, connected to {_address(sock.getpeername())}"
    except OSError:
        return f"fd {fd}, bound to {_address(sock.getsockname())}"
    finally:
        sock.close()


def _address(name: object) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) and len(name) > 1 else repr(name)


def _greenlets() -> Iterator[str]:
    """Those that are not at their end, by the function that they run, where that is known."""
    for each in gc.get_objects():
        if isinstance(each, greenlet) and not each.dead and each is not getcurrent():
            # Of gevent's, and of those that are not begun.
            run = getattr(each, "_run", None) or getattr(each, "run", None)
            if not isinstance(each, Hub):
                yield getattr(run, "__qualname__", "one that waits for another")
