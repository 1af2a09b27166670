"""The master's one wait: epoll(7), with a callback for each fd.

`selectors` would do, but it builds a named tuple per event; connections that are opened for one
request make several events each.
"""

from __future__ import annotations

import logging
import math
import select
from collections.abc import Callable

_log = logging.getLogger("prefork.master")

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

Callback = Callable[[int], None]

# A wait is at most this long in seconds, as epoll_wait(2) counts milliseconds in an int.
_LONGEST = 3600.0


class Poller:
    """Fds and what to call, with the events, when they are ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}

    def watch(self, fd: int, callback: Callback, events: int = READ) -> None:
        """Call `callback` with the events as long as the fd is ready."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of the fd."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Wait for the fd no more. To be called before it is closed."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def wait(self, seconds: float) -> None:
        """Wait until something is ready, at most this long, and call the callbacks."""
        timeout = max(0.0, min(seconds, _LONGEST))
        # Rounded up to the next millisecond, or a near deadline would be polled for.
        for fd, events in self._epoll.poll(math.ceil(timeout * 1000) / 1000):
            callback = self._callbacks.get(fd)
            # An earlier callback of this turn may have forgotten the fd.
            if callback is None:
                continue
            try:
                callback(events)
            except Exception:  # noqa: BLE001  one event must not cost the others their turn
                _log.exception("error in the master; it goes on")

    def close(self) -> None:
        """Let go of the epoll instance, not of the fds."""
        self._epoll.close()
