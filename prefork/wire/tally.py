"""Tallies: what was answered, and how long it took, counted in shared memory.

A worker counts in the tally of its row by plain stores. When it is dead the master folds that into
the one of the totals: nothing is lost with a worker, or counted twice. Who reads both at once, in
another process, does so by `read`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

# Upper bounds of the buckets of durations, in seconds; there is one more for what takes longer.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# By the first digit of the status.
_CLASSES = 10
_BUCKETS = len(BOUNDS) + 1
_SUM = _CLASSES + _BUCKETS
_COUNTS = _SUM + 1
TALLY_SIZE = 256
_FOLDS = 31  # of the totals' tally only

_ZERO = ord("0")
# Whoever folds has stopped in the middle of it if it is not done at so many looks.
_LOOKS = 1000

assert _COUNTS <= _FOLDS < TALLY_SIZE // 8


class Tally:
    """The counts of one worker, or the totals of those that are no more.

    Args:
        memory: `TALLY_SIZE` bytes, written by one process at a time.
    """

    def __init__(self, memory: memoryview) -> None:
        self._counts = memory.cast("Q")

    def count(self, status: str, seconds: float) -> None:
        """Count an exchange that has ended: its status, empty if it had none, and duration."""
        counts = self._counts
        if status:
            counts[ord(status[0]) - _ZERO] += 1
        counts[_CLASSES + bisect_left(BOUNDS, seconds)] += 1
        counts[_SUM] += int(seconds * 1e6)

    def answered(self, status: int) -> None:
        """Count an answer that no app has given."""
        self._counts[status // 100] += 1

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
            counts[at] += others[at]
            others[at] = 0

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
    def classes(self) -> Sequence[int]:
        """How many answers there were, by the first digit of their status."""
        return self._counts[:_CLASSES].tolist()

    @property
    def buckets(self) -> Sequence[int]:
        """How many exchanges have ended, by duration: up to each of `BOUNDS`, and longer."""
        return self._counts[_CLASSES:_SUM].tolist()

    @property
    def seconds(self) -> float:
        """The sum of their durations."""
        return self._counts[_SUM] / 1e6
