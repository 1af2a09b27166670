"""Accepting in the worker, where `dispatch` is "shared": whoever comes first has the connection.

A worker that is in the app, or full, does not come; that is all the fairness there is.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from time import monotonic
from typing import Any

from prefork.seldom import Seldom
from prefork.wire.accept import ACCEPT_PAUSE, accept
from prefork.worker.engine import Engine
from prefork.worker.transport import READ

# So many connections are accepted before anything else gets its turn.
_BATCH = 8

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

    def begin(self) -> None:
        """Accept from now on."""
        for index, watcher in enumerate(self._watchers):
            watcher.start(partial(self._accept, index, _BATCH))

    def end(self, all_that_waits: bool) -> None:
        """Close the listeners; before that, with `all_that_waits`, take in the kernel's backlog."""
        self._engine.on_room = None
        for watcher in self._watchers:
            watcher.stop()
        self._watchers = []
        if all_that_waits:
            for index in range(len(self._listeners)):
                self._accept(index, None)
        for listener in self._listeners:
            listener.close()
        self._listeners = ()

    def disown(self) -> None:
        """In a forked child: close the listeners, or the port would stay taken."""
        for watcher in self._watchers:
            watcher.stop()
        for listener in self._listeners:
            listener.close()
        self._listeners = ()

    def _accept(self, index: int, most: int | None) -> None:
        """Accept until there is nothing more, or no room, or the limit is reached."""
        # They may be closed meanwhile: in a child that a request has forked.
        while self._listeners and (most is None or most > 0):
            if most is not None:
                if not self._has_room():
                    self._pause()
                    return
                most -= 1
            try:
                accepted = accept(self._listeners[index])
            except BlockingIOError:
                return
            except OSError as error:
                self._hold_off(error)
                return
            if accepted is not None:
                fd, host, port = accepted
                self._engine.adopt(fd, index, host, port)

    def _has_room(self) -> bool:
        return len(self._engine) < self._most and not self._engine.kind.full

    def _pause(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
        self._engine.on_room = self.begin

    def _hold_off(self, error: OSError) -> None:
        if self._complains.may(monotonic()):
            _log.error("can't accept: %s; clients wait until it can be done", error.strerror)
        if self._watchers:
            self._pause()
            self._retry = self._engine.loop.timer(ACCEPT_PAUSE)
            self._retry.start(self._engine.made_room)
