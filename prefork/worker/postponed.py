"""Requests that wait for a thread: until one is free they are not read, as they may still go to
another worker.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.wire.board import ALONE

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.relay import ThreadConnection

# So long a request waits for a thread before it may go to another worker, in seconds.
_TICK_SECONDS = 0.015


class Postponed:
    """The `connections` that have sent a request which is not read yet, in order.

    Args:
        loop: of the worker.
    """

    def __init__(self, loop: Loop) -> None:
        self.connections: deque[ThreadConnection] = deque()
        self._loop = loop
        # The timer while some stay so, and how many requests had begun when it did.
        self._tick: Any = None
        self._begun_before = 0

    def begin(self, engine: Engine) -> None:
        """From now on there may be some."""
        self._engine = engine

    def admit(self) -> None:
        """Have the request of the first one read."""
        connection = self.connections.popleft()
        if connection.fd >= 0:
            connection.admit()

    def hold(self) -> None:
        """They have to wait longer."""
        for connection in self.connections:
            connection.hold()
        if self.connections and self._tick is None:
            self._watch_progress()

    def _watch_progress(self) -> None:
        self._begun_before = self._engine.counters[0]
        self._tick = self._loop.timer(_TICK_SECONDS)
        self._tick.start(self._check)

    def _check(self) -> None:
        """Some requests have waited for a while: if no thread was free, they had better go to
        another worker, if there is one."""
        self._tick = None
        stuck = self._engine.counters[0] == self._begun_before
        if stuck and not self._engine.flags[ALONE]:
            self._engine.idle.give_back_all()
        elif self.connections:
            self._watch_progress()
