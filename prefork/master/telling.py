"""What the master itself tells by StatsD: how many workers there are, and what it logs."""

from __future__ import annotations

import logging
import math

from prefork.master.fleet import Fleet
from prefork.settings import Settings
from prefork.statsd import count_logs, statsd

# Seconds from one time to the next.
INTERVAL = 1.0


class Telling:
    """Tells it once a second; `deadline` is when next, in monotonic seconds.

    Args:
        settings: those that the master was started with.
        fleet: whose workers these are.
    """

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self._fleet = fleet
        self._statsd = statsd(settings)
        self._handler: logging.Handler | None = None
        self.deadline = math.inf
        if self._statsd is not None:
            self._handler = count_logs(self._statsd)
            self.deadline = 0.0

    def expire(self, now: float) -> None:
        """Tell it, if it is time to."""
        if self._statsd is not None and self.deadline <= now:
            self._statsd.gauge("gunicorn.workers", len(self._fleet.roster.in_the_ring()))
            self._statsd.flush()
            self.deadline = now + INTERVAL

    def disown(self) -> None:
        """In a forked child, which tells for itself: let go of it."""
        if self._statsd is not None and self._handler is not None:
            logging.getLogger("prefork").removeHandler(self._handler)
            self._statsd.close()
