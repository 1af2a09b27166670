"""Accepting: new connections come in, as long as somebody has room for them."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable
from functools import partial
from time import monotonic

from prefork.master.connection import Connection
from prefork.master.listeners import Listener
from prefork.master.poller import Poller
from prefork.seldom import Seldom
from prefork.wire.accept import ACCEPT_PAUSE, accept

# So many connections are accepted from a listener before anything else gets its turn.
ACCEPT_BATCH = 64
# At a stop, at most so many are taken in from the kernel's backlog.
BACKLOG_BATCH = 1 << 16
_log = logging.getLogger("prefork.master")


class Accepting:
    """The listeners, of which new connections are accepted, unless the workers do that.

    Args:
        poller: the master's one wait.
        listeners: what to accept from.
        by_workers: whether the workers accept for themselves; then nothing is accepted here.
        offer: takes a new connection; whether there may be room for another.
    """

    def __init__(
        self,
        poller: Poller,
        listeners: list[Listener],
        by_workers: bool,
        offer: Callable[[Connection], bool],
    ) -> None:
        self._poller = poller
        self._listeners = listeners
        self._by_workers = by_workers
        self._offer = offer
        self.under_way = False
        self._again_at = math.inf
        self._complains = Seldom()

    @property
    def ended(self) -> bool:
        """Whether the listeners are closed."""
        return not self._listeners

    @property
    def deadline(self) -> float:
        """When to `pause` and `resume` after a failure; math.inf if there was none."""
        return self._again_at

    def resume(self) -> None:
        """Accept from now on."""
        self._again_at = math.inf
        if self.under_way or self._by_workers:
            return
        self.under_way = bool(self._listeners)
        for index, listener in enumerate(self._listeners):
            sock = listener.sock
            self._poller.watch(sock.fileno(), partial(self._accept, index, sock))

    def pause(self) -> None:
        """Accept no more until `resume`."""
        self._again_at = math.inf
        if self.under_way:
            for listener in self._listeners:
                self._poller.forget(listener.sock.fileno())
            self.under_way = False

    def accept_some(self) -> None:
        """Accept a batch from each listener, although it is not under way."""
        if not self._by_workers:
            for index, listener in enumerate(self._listeners):
                self._accept_batch(index, listener.sock, ACCEPT_BATCH)

    def rest(self) -> None:
        """Accept no more for a moment: see `deadline`."""
        self.pause()
        self._again_at = monotonic() + ACCEPT_PAUSE

    def end(self, all_that_waits: bool) -> None:
        """Close the listeners; before that, with `all_that_waits`, take in the kernel's backlog.

        Where the workers accept, the backlog is left to them: this closes only the master's
        copies, at once, as a client that connects when all others are closed should be refused,
        and not wait for somebody who will never come.
        """
        if all_that_waits and not self._by_workers:
            for index, listener in enumerate(self._listeners):
                self._accept_batch(index, listener.sock, BACKLOG_BATCH)
        self.pause()
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def disown(self) -> None:
        """In a forked worker: close what is the master's alone."""
        if not self._by_workers:
            for listener in self._listeners:
                listener.sock.close()

    def _accept(self, index: int, sock: socket.socket, events: int) -> None:
        self._accept_batch(index, sock, ACCEPT_BATCH)

    def _accept_batch(self, index: int, sock: socket.socket, limit: int) -> None:
        """Accept until there is nothing more, or no room, or the limit is reached."""
        for _ in range(limit):
            try:
                accepted = accept(sock)
            except BlockingIOError:
                return
            except OSError as error:
                self._hold_off(error)
                return
            if accepted is None:
                continue
            fd, host, port = accepted
            if not self._offer(Connection(fd, index, host, port, moved=False)):
                return

    def _hold_off(self, error: OSError) -> None:
        if self._complains.may(monotonic()):
            _log.error("can't accept: %s; clients wait until it can be done", error.strerror)
        self.rest()
