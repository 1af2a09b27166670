"""Latency: percentiles of how long requests took, of those that ended within the last seconds.

What is known are histograms, so a percentile is an estimate: within its bucket durations are taken
to be spread evenly. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from prefork.wire.tally import BOUNDS

# So many seconds back, so many that the percentiles don't jump, and so few that they are news.
WINDOW = 10.0

Histogram = list[int]
_NOTHING = [0] * (len(BOUNDS) + 1)


class Latency:
    """Remembers what was told within `WINDOW`, and what was before it."""

    def __init__(self) -> None:
        # When, in monotonic seconds; and how many had ended until then, by the pid of the worker.
        self._looks: deque[tuple[float, Mapping[int, Histogram]]] = deque()

    def look(self, ended: Mapping[int, Histogram], now: float) -> None:
        """Note what there is now, monotonic seconds: see `Status.durations`."""
        self._looks.append((now, ended))
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW:
            self._looks.popleft()

    def percentile(self, percent: float, pid: int | None = None) -> float | None:
        """The seconds that so many percent of the requests took at most.

        Args:
            percent: above 0, to 100.
            pid: of the worker; None for all of them, also those that are no more.

        Returns:
            None if none has ended; the last of `BOUNDS` if they took longer than that.
        """
        if len(self._looks) < 2:
            return None
        before, after = self._looks[0][1], self._looks[-1][1]
        if pid is None:
            return estimate(percent, _less(_sum(after.values()), _sum(before.values())))
        if pid not in after:
            return None
        return estimate(percent, _less(after[pid], before.get(pid, _NOTHING)))


def estimate(percent: float, histogram: Histogram) -> float | None:
    """A percentile of what a histogram has counted, as above."""
    total = sum(histogram)
    if not total:
        return None
    rank, passed, lower = total * percent / 100, 0, 0.0
    for count, upper in zip(histogram, BOUNDS, strict=False):
        if count and passed + count >= rank:
            return lower + (upper - lower) * (rank - passed) / count
        passed, lower = passed + count, upper
    return lower


def _less(new: Histogram, old: Histogram) -> Histogram:
    return [now - then for now, then in zip(new, old, strict=True)]


def _sum(histograms: Iterable[Histogram]) -> Histogram:
    return [sum(column) for column in zip(*histograms, strict=True)]
