"""Dispatch: which worker borrows which connection. Pure: connections and workers are tokens.

New connections go round the ring of serving workers, strictly in turn. A connection that has
already been served goes to the worker with the fewest loans instead: those of a retiring worker
so move to its replacement, which has none, and the loans stay even through a reload.

Credit bounds it all: a worker holds at most `worker_connections` loans, and when none has
credit nothing is lent, so nothing is accepted, and the kernel's backlog holds the rest.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from prefork.wire.board import LOANS

W = TypeVar("W")
C = TypeVar("C")


class UnknownLoan(Exception):
    """The worker has no loan with this id."""


class Books(Generic[C]):
    """What one worker has borrowed: connections by loan id, at most `credit` of them."""

    __slots__ = ("credit", "loans")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.loans: dict[int, C] = {}

    @property
    def full(self) -> bool:
        """Whether nothing more can be lent to the worker."""
        return len(self.loans) >= self.credit


class Dispatch(Generic[W, C]):
    """The ring, the loans, and the ids of the loans."""

    def __init__(self, ids: int = LOANS) -> None:
        self._ring: deque[W] = deque()
        self._books: dict[W, Books[C]] = {}
        # Ended ids are used again, the latest first, so that few pages of the board are touched.
        self._ended: list[int] = []
        self._unused = iter(range(ids))

    def open(self, worker: W, credit: int) -> None:
        """Keep books of a worker, which may borrow this many connections."""
        self._books[worker] = Books(credit)

    def join(self, worker: W) -> None:
        """The worker serves: it enters the ring."""
        self._ring.append(worker)

    def leave(self, worker: W) -> None:
        """The worker borrows nothing more; what it has borrowed stays on its books."""
        if worker in self._ring:
            self._ring.remove(worker)

    def close(self, worker: W) -> dict[int, C]:
        """The worker is no more: what it had borrowed, by ids that are free again."""
        self.leave(worker)
        loans = self._books.pop(worker).loans
        self._ended.extend(loans)
        return loans

    def next_in_turn(self) -> W | None:
        """The worker for a new connection; None when nobody has credit."""
        ring = self._ring
        for _ in range(len(ring)):
            worker = ring[0]
            ring.rotate(-1)
            if not self._books[worker].full:
                return worker
        return None

    def least_busy(self) -> W | None:
        """The worker for a connection that moves; None when nobody has credit."""
        worker = min(self._ring, key=self.loans, default=None)
        return None if worker is None or self._books[worker].full else worker

    def lend(self, connection: C, worker: W) -> int:
        """Write a loan down, to a worker that has credit: its id."""
        books = self._books[worker]
        assert not books.full
        loan = self._ended.pop() if self._ended else next(self._unused)
        books.loans[loan] = connection
        return loan

    def end(self, loan: int, worker: W) -> C:
        """The loan has ended: its connection.

        Raises:
            UnknownLoan: the worker holds no such loan.
        """
        try:
            connection = self._books[worker].loans.pop(loan)
        except KeyError:
            raise UnknownLoan(loan) from None
        self._ended.append(loan)
        return connection

    def loans(self, worker: W) -> int:
        """How many connections the worker has borrowed."""
        return len(self._books[worker].loans)
