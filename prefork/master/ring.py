"""The ring: whose turn it is to get a new connection. Pure.

Whoever has had a turn goes behind all that have had no more turns than that. As long as everybody
takes its turn, that is strict rotation. Who is passed over stays in front, and gets the turns that
it has missed one after the other when it is free again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

W = TypeVar("W")

# So many turns at most are owed to a worker, so that it doesn't get many connections in a row.
MOST_OWED = 8


class Ring(Generic[W]):
    """The serving workers, in the order of their turns."""

    def __init__(self) -> None:
        self._order: deque[W] = deque()
        # Had or forfeited, by worker: never falling along the order.
        self._turns: dict[W, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[W]:
        """From the one whose turn is next."""
        return iter(self._order)

    def __contains__(self, worker: W) -> bool:
        return worker in self._turns

    def turns(self) -> list[tuple[W, int]]:
        """Everybody, from the one whose turn is next, and how many turns that one has had."""
        return [(worker, self._turns[worker]) for worker in self._order]

    def take_over(self, turns: list[tuple[W, int]]) -> None:
        """Go on where another ring has stopped, whose turns these are."""
        self._order = deque(worker for worker, _ in turns)
        self._turns = dict(turns)

    def leave(self, worker: W) -> None:
        """The worker has no more turns; nothing happens if it had none."""
        if self._turns.pop(worker, None) is not None:
            self._order.remove(worker)

    def to_the_back(self, worker: W) -> None:
        """The worker joins, or forfeits what turns it is owed: its next one comes last."""
        self.leave(worker)
        self._turns[worker] = self._turns[self._order[-1]] if self._order else 0
        self._order.append(worker)

    def take_turn(self, worker: W) -> None:
        """The worker has had its turn, whether or not it was in front."""
        order = self._order
        latest = self._turns[order[-1]]
        turns = max(self._turns[worker] + 1, latest - MOST_OWED)
        self._turns[worker] = turns
        if turns >= latest and order[0] is worker:
            order.rotate(-1)
        else:
            order.remove(worker)
            order.insert(sum(self._turns[other] <= turns for other in order), worker)
