"""Accepting in the worker, where `dispatch` is "shared": whoever comes first has the connection.

A worker that is in the app, or full, does not come; that is all the fairness there is. One that is
full makes room by ending what has been idle longest, as the master would.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from time import monotonic
from typing import Any

from prefork.crowding import ASKING_PAUSE, Crowding
from prefork.seldom import Seldom
from prefork.wire.accept import ACCEPT_PAUSE, Accepted, accept
from prefork.worker.engine import Engine
from prefork.worker.lingering import has_data
from prefork.worker.transport import READ

# So many connections are accepted before anything else gets its turn.
_BATCH = 8
# At most so many are turned away at a time, a tenth of a second apart.
_TURNED_AWAY_BATCH = 64

_log = logging.getLogger("prefork.worker")


class Accepting:
    """The listeners that this worker has inherited.

    Args:
        engine: serves the connections.
        listeners: what to accept from; they do not block.
        most: how many connections the worker may have.
    """

    def __init__(self, engine: Engine, listeners: tuple[socket.socket, ...], most: int) -> None:
        self._engine = engine
        self._listeners = listeners
        self._most = most
        self._watchers: list[Any] = [
            engine.loop.io(listener.fileno(), READ) for listener in listeners
        ]
        self._retry: Any = None
        self._complains = Seldom()
        self._crowding = Crowding()
        self._looks = engine.loop.timer(ASKING_PAUSE, ASKING_PAUSE)

    def begin(self) -> None:
        """Accept from now on."""
        self._crowding.moved()
        self._looks.stop()
        for index, watcher in enumerate(self._watchers):
            watcher.start(partial(self._accept, index))

    def end(self, all_that_waits: bool) -> None:
        """Close the listeners; before that, with `all_that_waits`, take in the kernel's backlog."""
        self._engine.on_room = None
        self._looks.stop()
        for watcher in self._watchers:
            watcher.stop()
        self._watchers = []
        if all_that_waits:
            for index in range(len(self._listeners)):
                while client := self._next(index):
                    self._adopt(index, client)
        for listener in self._listeners:
            listener.close()
        self._listeners = ()

    def disown(self) -> None:
        """In a forked child: close the listeners, or the port would stay taken."""
        self._looks.stop()
        for watcher in self._watchers:
            watcher.stop()
        for listener in self._listeners:
            listener.close()
        self._listeners = ()

    def _accept(self, index: int) -> None:
        """Accept until there is nothing more, or no room, or others should have their turn."""
        for _ in range(_BATCH):
            if not self._has_room():
                self._pause()
                return
            client = self._next(index)
            if client is None:
                return
            self._adopt(index, client)

    def _next(self, index: int) -> Accepted | None:
        """The next client that waits at a listener; None if none does, or none can be had."""
        try:
            # They may be closed meanwhile: in a child that a request has forked.
            while self._listeners:
                accepted = accept(self._listeners[index])
                if accepted is not None:
                    return accepted
        except BlockingIOError:
            pass
        except OSError as error:
            self._hold_off(error)
        return None

    def _adopt(self, index: int, client: Accepted) -> None:
        fd, host, port = client
        self._engine.adopt(fd, index, host, port)

    @property
    def _full(self) -> bool:
        return len(self._engine) >= self._most

    def _has_room(self) -> bool:
        return not self._full and not self._engine.kind.full

    def _pause(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
        self._engine.on_room = self.begin
        if self._full:
            self._looks.start(self._relieve)

    def _relieve(self) -> None:
        """There is no room: make some for those who wait, or turn them away."""
        waited_for = [i for i, each in enumerate(self._listeners) if has_data(each.fileno())]
        if not waited_for:
            self._crowding.moved()
            return
        now = monotonic()
        self._crowding.full(now)
        self._crowding.look(now)
        self._engine.idle.end_longest(_BATCH)
        if self._crowding.turns_away:
            for index in waited_for:
                self._turn_away(index, now)

    def _turn_away(self, index: int, now: float) -> None:
        for _ in range(_TURNED_AWAY_BATCH):
            client = self._next(index)
            if client is None:
                return
            self._engine.turn_away(client[0])
            count = self._crowding.turned_away(now)
            if count:
                _log.warning(
                    "too many connections: %d turned away with 503; this worker has %d",
                    count,
                    len(self._engine),
                )

    def _hold_off(self, error: OSError) -> None:
        if self._complains.may(monotonic()):
            _log.error("can't accept: %s; clients wait until it can be done", error.strerror)
        if self._watchers:
            self._pause()
            self._retry = self._engine.loop.timer(ACCEPT_PAUSE)
            self._retry.start(self._engine.made_room)
