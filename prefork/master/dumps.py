"""Dumps: the stacks of workers that somebody wants to see, which are written on demand.

The worker is sent the signal at which it writes them into its memfd. It does not say when it has
done so: they are read a moment later. One demand is seen to after the other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic

from prefork.master.life import DUMP_SECONDS, Phase
from prefork.master.link import Link
from prefork.wire.control import Stacks

# So many characters of all stacks together are told.
_LONGEST = 1 << 19
# What these have to write is for the log.
_ENDING = frozenset({Phase.DUMPING, Phase.DYING})

Stacked = Callable[[list[Stacks]], None]


class Dumps:
    """The demands there are. `deadline` is when `expire` is to be called next."""

    def __init__(self) -> None:
        self._demands: deque[tuple[list[Link], Stacked]] = deque()
        self.deadline = math.inf

    def demand(self, links: list[Link], done: Stacked) -> None:
        """Have these workers write down their stacks, and call `done` with them."""
        self._demands.append((links, done))
        if len(self._demands) == 1:
            self._begin()

    def expire(self, now: float) -> None:
        """Tell what has been written by now."""
        if self.deadline <= now:
            links, done = self._demands.popleft()
            done(_told(links))
            self._begin()

    def _begin(self) -> None:
        """See to the next demand."""
        if not self._demands:
            self.deadline = math.inf
            return
        for link in self._demands[0][0]:
            if link.stacks >= 0 and link.worker.phase not in _ENDING:
                link.dump_stacks()
        self.deadline = monotonic() + DUMP_SECONDS


def _told(links: list[Link]) -> list[Stacks]:
    left = _LONGEST
    told = []
    for link in links:
        text = "" if link.worker.phase in _ENDING else link.take_stacks()[:left]
        left -= len(text)
        id = link.worker.id
        told.append(Stacks(slot=id.slot, pid=id.pid, generation=id.generation, text=text))
    return told
