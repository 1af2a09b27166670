"""Dispatch: which worker borrows which connection. Pure: connections and workers are tokens.

New connections go round the ring of serving workers in turn. The turn passes over workers without
room, and over those that are in a request at this moment as long as another is not; these stay in
front, and are owed the turns that they miss, a few at most. A connection that has already been
served goes to the worker with the fewest loans instead: those of a retiring worker so move to its
replacement, which has none, and the loans stay even through a reload.

A worker has room as long as it has credit (it holds at most `worker_connections` loans) and is not
*stuck*, which is: in the same request as at the tick before. What no worker has room for waits in
the master; then a worker that comes unstuck may borrow one connection at first, and another for
each time that it shows that it has room, so that not all that wait goes to the first one. The last
worker in the ring always has room: nobody else could do any better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec
from msgspec import field

from prefork.master.ring import Ring
from prefork.wire.board import LOANS

W = TypeVar("W")
C = TypeVar("C")

# Two workers are uneven if one has so many times the loans of the other.
UNEVEN = 1.5


class UnknownLoan(Exception):
    """The worker has no loan with this id."""


class Books(msgspec.Struct, Generic[C], eq=False):
    """What one worker has borrowed, and whether it can borrow more.

    `loans` are its connections by loan id, `recalled` the ids of those that were taken back from
    it and that it may still hold. `window` is how many it may borrow until it shows again that
    it has room, math.inf as long as it was not found stuck; `grant` is what the window was at
    the last tick. `begun` is how many requests it had begun by then.
    """

    credit: int
    loans: dict[int, C] = field(default_factory=dict)
    recalled: set[int] = field(default_factory=set)
    stuck: bool = False
    window: float = math.inf
    grant: int = 0
    begun: int = -1

    @property
    def has_room(self) -> bool:
        """Whether something may be lent to the worker."""
        return self.window >= 1 and len(self.loans) + len(self.recalled) < self.credit

    @property
    def has_credit(self) -> bool:
        """Whether the worker may hold another loan, if it is not stuck."""
        return len(self.loans) + len(self.recalled) < self.credit


class Dispatch(Generic[W, C]):
    """The ring, the loans, and the ids of the loans.

    Args:
        busy: whether a worker is in a request at this moment.
        ids: how many loans there can be.
    """

    def __init__(self, busy: Callable[[W], int], ids: int = LOANS) -> None:
        self._busy = busy
        self._ring: Ring[W] = Ring()
        self._books: dict[W, Books[C]] = {}
        self._ids = ids
        # Ended ids are used again, the latest first, so that few pages of the board are touched.
        self._ended: list[int] = []
        self._unused = iter(range(ids))

    def books(self, worker: W) -> Books[C]:
        """The books of a worker."""
        return self._books[worker]

    def turns(self) -> list[tuple[W, int]]:
        """The ring, for another to go on with: see `take_over`."""
        return self._ring.turns()

    def take_over(self, books: dict[W, Books[C]], turns: list[tuple[W, int]]) -> None:
        """Go on where another has stopped, with the books and the ring that it had."""
        self._books = books
        self._ring.take_over(turns)
        taken = {loan for each in books.values() for loan in (*each.loans, *each.recalled)}
        first_unused = max(taken, default=-1) + 1
        self._ended = [loan for loan in reversed(range(first_unused)) if loan not in taken]
        self._unused = iter(range(first_unused, self._ids))

    # Workers.

    def open(self, worker: W, credit: int) -> None:
        """Keep books of a worker, which may borrow this many connections."""
        self._books[worker] = Books(credit)

    def join(self, worker: W, scarce: bool = False) -> None:
        """The worker serves: it enters the ring. Where room is scarce, it gets little at first."""
        if scarce and self._ring:
            books = self._books[worker]
            books.window = books.grant = 1
        self._ring.to_the_back(worker)

    def leave(self, worker: W) -> None:
        """The worker borrows nothing more; what it has borrowed stays on its books."""
        self._ring.leave(worker)

    def close(self, worker: W) -> dict[int, C]:
        """The worker is no more: what it had borrowed, by ids that are free again."""
        self.leave(worker)
        books = self._books.pop(worker)
        self._ended.extend(books.loans)
        self._ended.extend(books.recalled)
        return books.loans

    # Who borrows.

    def next_in_turn(self) -> W | None:
        """The worker for a new connection; None when nobody has room."""
        chosen = None
        for worker in self._ring:
            if self._books[worker].has_room:
                if not self._busy(worker):
                    chosen = worker
                    break
                if chosen is None:
                    chosen = worker
        if chosen is not None:
            self._ring.take_turn(chosen)
        return chosen

    def least_busy(self) -> W | None:
        """The worker for a connection that moves; None when nobody has room."""
        able = (worker for worker in self._ring if self._books[worker].has_room)
        return min(able, key=self.loans, default=None)

    def has_room(self) -> bool:
        """Whether anything may be lent."""
        return any(self._books[worker].has_room for worker in self._ring)

    def full(self) -> bool:
        """Whether no worker that serves has credit."""
        books = [self._books[worker] for worker in self._ring]
        return bool(books) and not any(each.has_credit for each in books)

    def lend(self, connection: C, worker: W) -> int:
        """Write a loan down, to a worker that has room: its id."""
        books = self._books[worker]
        assert books.has_room
        books.window -= 1
        loan = self._ended.pop() if self._ended else next(self._unused)
        books.loans[loan] = connection
        return loan

    # How loans end.

    def end(self, loan: int, worker: W) -> C:
        """The loan has ended: its connection.

        Raises:
            UnknownLoan: the worker holds no such loan.
        """
        connection = self._remove(loan, worker)
        self._ended.append(loan)
        return connection

    def recall(self, loan: int, worker: W) -> C:
        """The loan was taken back: its connection. The id is not free before `release`.

        Raises:
            UnknownLoan: the worker holds no such loan.
        """
        connection = self._remove(loan, worker)
        self._books[worker].recalled.add(loan)
        return connection

    def release(self, loan: int, worker: W) -> None:
        """The worker has dropped a loan that was recalled.

        Raises:
            UnknownLoan: no such loan was recalled from it.
        """
        try:
            self._books[worker].recalled.remove(loan)
        except KeyError:
            raise UnknownLoan(loan) from None
        self._ended.append(loan)

    def _remove(self, loan: int, worker: W) -> C:
        try:
            return self._books[worker].loans.pop(loan)
        except KeyError:
            raise UnknownLoan(loan) from None

    # Room.

    def observe(self, worker: W, begun: int, busy: bool, scarce: bool) -> bool:
        """Note what a tick has found of a worker.

        Args:
            worker: one with books.
            begun: how many requests it has begun.
            busy: whether it is in one.
            scarce: whether connections are waiting for room.

        Returns:
            Whether it does anything.
        """
        books = self._books[worker]
        moves = begun != books.begun
        books.stuck = busy and not moves
        books.begun = begun
        if len(self._ring) < 2:
            books.window = math.inf
        elif books.stuck:
            books.window = books.grant = 0
            if worker in self._ring:
                self._ring.to_the_back(worker)
        elif not scarce:
            books.window = math.inf
        elif not busy and books.window != math.inf:
            # What it got may be silent: so double, or many of those would hold up all others.
            books.window = books.grant = max(1, 2 * books.grant)
        return busy or moves

    def room(self, worker: W) -> None:
        """The worker says that it can begin a request again."""
        books = self._books[worker]
        books.window = max(books.window, 1)

    def open_windows(self) -> None:
        """Credit alone counts from now on: the service stops, and what waits is to be served."""
        for books in self._books.values():
            books.window = math.inf

    def narrow(self) -> list[W]:
        """Who in the ring has no room until it shows that it has."""
        return [worker for worker in self._ring if self._books[worker].window < 1]

    # What the ticks ask.

    def serving(self) -> list[W]:
        """The workers in the ring."""
        return list(self._ring)

    def workers(self) -> Iterable[W]:
        """All workers with books."""
        return self._books.keys()

    def stuck(self) -> list[W]:
        """Who is stuck with loans besides the one that it is busy with."""
        return [
            worker for worker, books in self._books.items() if books.stuck and len(books.loans) > 1
        ]

    def crowded(self) -> bool:
        """Whether somebody has a loan that could wait behind another, while there is somebody
        else to lend it to."""
        ring = self._ring
        return any(
            len(books.loans) > 1 and len(ring) > (worker in ring)
            for worker, books in self._books.items()
        )

    def surplus(self, parked: int) -> list[tuple[W, int]]:
        """Who in the ring has how many loans too many, where they are very uneven.

        Args:
            parked: how many connections are with nobody, and will be lent to those with few.
        """
        loads = [(self.loans(worker), worker) for worker in self._ring]
        most = max((load for load, _ in loads), default=0)
        if most <= UNEVEN * min((load for load, _ in loads), default=0):
            return []
        share = math.ceil((parked + self.total()) / len(loads))
        return [(worker, load - share) for load, worker in loads if load > share]

    def total(self) -> int:
        """How many connections are lent."""
        return sum(len(books.loans) for books in self._books.values())

    def loans(self, worker: W) -> int:
        """How many connections the worker has borrowed."""
        return len(self._books[worker].loans)

    def loans_of(self, worker: W) -> list[int]:
        """The ids of what the worker has borrowed."""
        return list(self._books[worker].loans)
