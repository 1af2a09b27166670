"""What may be done now and then only: a line of the log about what clients do, say. Pure."""

from __future__ import annotations

import math

# What clients can bring about at any rate is logged once in so many seconds.
LOG_SECONDS = 10.0


class Seldom:
    """Says when something may be done again.

    Args:
        seconds: between two times.
    """

    def __init__(self, seconds: float = LOG_SECONDS) -> None:
        self._seconds = seconds
        self._again_at = -math.inf

    def may(self, now: float) -> bool:
        """Whether it may be done now, monotonic seconds; if so, not again for a while."""
        if now < self._again_at:
            return False
        self._again_at = now + self._seconds
        return True
