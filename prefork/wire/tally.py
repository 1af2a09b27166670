"""Tallies: what was answered, and how long it took, counted in shared memory.

A worker counts in the tally of its row by plain stores. When it is dead the master folds that into
the one of the totals: nothing is lost with a worker, or counted twice. Who reads both at once, in
another process, does so by `read`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Upper bounds of the buckets of durations, in seconds; there is one more for what takes longer.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# A row of counts for each first digit of a status, 0 for none: exchanges by bucket, and the answers
# that no app has given.
_CLASSES = 10
_ROW = 16
_BUCKETS = len(BOUNDS) + 1
_OTHERS = _BUCKETS
_COUNTS = _CLASSES * _ROW
# The sum of the durations, in seconds; and, of the totals only, how often these were changed.
_SUM = _COUNTS
_FOLDS = _SUM + 1
TALLY_SIZE = 1536

# Whoever folds has stopped in the middle of it if it is not done at so many looks.
_LOOKS = 1000

assert _OTHERS < _ROW
assert _FOLDS < TALLY_SIZE // 8


class Tally:
    """The counts of one worker, or the totals of those that are no more.

    Args:
        memory: `TALLY_SIZE` bytes, written by one process at a time.
    """

    def __init__(self, memory: memoryview) -> None:
        self._counts = memory.cast("Q")
        self._sum = memory[_SUM * 8 : _SUM * 8 + 8].cast("d")

    def count(self, status: str, seconds: float) -> None:
        """Count an exchange that has ended: its status, empty if it had none, and duration."""
        at = bisect_left(BOUNDS, seconds)
        if status:
            at += (ord(status[0]) & 15) << 4  # the digit, and the length of a row
        self._counts[at] += 1
        self._sum[0] += seconds

    def answered(self, status: int) -> None:
        """Count an answer that no app has given."""
        self._counts[status // 100 * _ROW + _OTHERS] += 1

    @contextmanager
    def folding(self) -> Iterator[None]:
        """While something is folded into this one, which are the totals, nobody reads."""
        self._counts[_FOLDS] += 1
        yield
        self._counts[_FOLDS] += 1

    def fold(self, other: Tally) -> None:
        """Add what another has counted, which begins anew then."""
        counts, others = self._counts, other._counts
        for at in range(_COUNTS):
            if others[at]:
                counts[at] += others[at]
                others[at] = 0
        self._sum[0] += other._sum[0]
        other._sum[0] = 0.0

    def read(self, of: Callable[[], T]) -> T:
        """What `of` gives while nothing is folded into this one."""
        counts = self._counts
        for _ in range(_LOOKS):
            before = counts[_FOLDS]
            found = of()
            if before % 2 == 0 and counts[_FOLDS] == before:
                break
        return found

    @property
    def classes(self) -> list[int]:
        """How many answers there were, by the first digit of their status."""
        counts = self._counts.tolist()
        return [sum(counts[at : at + _ROW]) for at in range(0, _COUNTS, _ROW)]

    @property
    def buckets(self) -> list[int]:
        """How many exchanges have ended, by duration: up to each of `BOUNDS`, and longer."""
        counts = self._counts.tolist()
        return [sum(counts[at:_COUNTS:_ROW]) for at in range(_BUCKETS)]

    @property
    def seconds(self) -> float:
        """The sum of their durations."""
        return self._sum[0]
