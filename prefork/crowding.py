"""Crowding: what is done when there are more connections than can be had. Pure.

Workers may be *full*: none of them has credit for another connection. Those with idle loans give
some back, which are parked, so that silent clients keep nobody out; where a worker has accepted
its connections itself, it ends the oldest idle ones. If that brings no room, all credit is held by
clients in the middle of a request: while these come to their ends, others wait in the kernel's
backlog as before, but when nothing has moved for some time, they are turned away.

The service may be full too: past its bound the connection that has been parked longest makes room
for a new one; if none is, the new one is turned away.
"""

from __future__ import annotations

import math

from prefork.seldom import Seldom

# Seconds between two attempts to get idle loans back, or to turn away a batch of connections.
ASKING_PAUSE, BATCH_PAUSE = 0.1, 0.1
# Connections wait for so many seconds without any progress before they are turned away.
FULL_PATIENCE = 5.0

# What those are told who are turned away, whatever they have asked for.
TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n"
)


class Crowding:
    """When to ask for idle loans, and when to turn connections away.

    `deadline` is when to look again; math.inf as long as there is credit. `turns_away` says whether
    those for whom there is none are turned away.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self.turns_away = False
        self._moved_at = math.inf
        self._asks = Seldom(ASKING_PAUSE)
        self._complains = Seldom()
        self._turned_away = 0

    @property
    def waits(self) -> bool:
        """Whether credit is waited for."""
        return self.deadline != math.inf

    def full(self, now: float) -> None:
        """Nobody is accepted, as no worker has credit."""
        if not self.waits:
            self._moved_at = self.deadline = now

    def moved(self) -> None:
        """Somebody was lent, or could be: time begins anew for the others."""
        self.deadline = self._moved_at = math.inf
        self.turns_away = False

    def look(self, now: float) -> None:
        """There is still no credit: those who wait are turned away if nobody was lent for too
        long."""
        self.turns_away = now - self._moved_at >= FULL_PATIENCE
        self.deadline = now + (BATCH_PAUSE if self.turns_away else ASKING_PAUSE)

    def may_ask(self, now: float) -> bool:
        """Whether it is time to ask the workers for idle loans; if so, it is not again at once."""
        return self._asks.may(now)

    def turned_away(self, now: float) -> int:
        """A connection was turned away: how many were since this was last to be logged, 0 if it
        is not to be logged yet."""
        self._turned_away += 1
        if not self._complains.may(now):
            return 0
        count, self._turned_away = self._turned_away, 0
        return count
