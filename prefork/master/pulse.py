"""The pulse of the workers: whose loop stands still for longer than `timeout` hangs.

A loop writes down now and then that it still turns. It can't where the app holds it up: a sync
worker's in a request, a gevent worker's in anything that does not wait by the hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from prefork.master.life import IN_THE_RING
from prefork.master.link import Link

# What seems to hang is looked at again after so many seconds: the whole machine may have slept.
_GRACE = 1.0


class Pulse:
    """Finds the workers that hang.

    `deadline` is when `hanging` is to be asked next.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        # When a worker that seems to hang is looked at again.
        self._suspects: dict[Link, float] = {}

    def hanging(self, links: Iterable[Link], now: float) -> list[Link]:
        """The workers whose loop has not turned for too long."""
        found = []
        self.deadline = math.inf
        for link in [each for each in links if each.worker.phase in IN_THE_RING]:
            due = max(link.row.heartbeat[0], link.worker.since) + link.timeout
            if due > now:
                self._suspects.pop(link, None)
            else:
                due = self._suspects.setdefault(link, now + _GRACE)
            if due <= now:
                found.append(link)
            else:
                self.deadline = min(self.deadline, due)
        return found

    def forget(self, link: Link) -> None:
        """The worker is no more."""
        self._suspects.pop(link, None)
