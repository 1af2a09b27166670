"""Lending: connections are lent to workers, come back, and end.

The whole life of a connection is here, as the master sees it: accepted, lent, returned or
recalled, parked, lent again, closed; and when its worker has died, what becomes of it by what the
worker had written on the board.
"""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

from prefork.master import handover
from prefork.master.accepting import Accepting
from prefork.master.arrivals import Arrivals
from prefork.master.connection import Connection
from prefork.master.custody import Custody
from prefork.master.dispatch import Books, Dispatch
from prefork.master.fairness import Fairness
from prefork.master.link import WorkerLink
from prefork.master.listeners import Listener
from prefork.master.poller import Poller
from prefork.master.relief import Relief
from prefork.master.returns import Returns
from prefork.wire.board import BUSY, Board, LoanState
from prefork.wire.messages import Loan

# Plain numbers: members of an enum are dear to compare with.
_UNREAD = int(LoanState.UNREAD)
_IN_FLIGHT = (int(LoanState.BUSY), int(LoanState.RESPONDING))


class Lending:
    """The connections of the service, with whoever has them.

    Args:
        poller: the master's one wait.
        board: where workers write what they do with their loans.
        listeners: what to accept from.
        by_workers: whether the workers accept for themselves.
        keepalive: seconds that a connection may be idle.
        limit: how many connections there may be.
        arrivals: what new connections go through.
    """

    def __init__(
        self,
        poller: Poller,
        board: Board,
        listeners: list[Listener],
        by_workers: bool,
        keepalive: float,
        limit: int,
        arrivals: Arrivals,
    ) -> None:
        self.limit = limit
        self._board = board
        self._arrivals = arrivals
        accepted = arrivals.begin(self._offer)
        self._accepting = Accepting(poller, listeners, by_workers, accepted)
        self._dispatch: Dispatch[WorkerLink, Connection] = Dispatch(_is_busy)
        self._custody = Custody(poller, self._offer, arrivals.terminators.cut, keepalive)
        self._fairness = Fairness(self._dispatch, board, self._keep)
        # Connections for which no worker had room; while there are any, none is accepted.
        self._waiting: deque[Connection] = deque()
        self._relief = Relief(
            self._dispatch,
            self._custody,
            self._accepting,
            self._fairness,
            board,
            self._waiting,
            lambda: self.connections,
        )
        self.returns = Returns(self._dispatch, self._custody, board, self._keep, self._use_room)
        # Links with loans that are to be sent at the end of the turn.
        self._unsent: list[WorkerLink] = []

    # Handing over.

    def books(self, link: WorkerLink) -> Books[Connection]:
        """What the worker has borrowed."""
        return self._dispatch.books(link)

    def hand_over(self) -> handover.Lending:
        """The connections that no worker has, and the ring, for another to go on with."""
        turns = [(link.worker.id.pid, turns) for link, turns in self._dispatch.turns()]
        parked, lingering = self._custody.hand_over()
        arrivals = self._arrivals.hand_over()
        return handover.Lending(turns, parked, lingering, list(self._waiting), arrivals)

    def take_over(
        self, state: handover.Lending, books: dict[WorkerLink, Books[Connection]]
    ) -> None:
        """Have what another had; `go_on` makes use of it."""
        links = {link.worker.id.pid: link for link in books}
        self._dispatch.take_over(books, [(links[pid], turns) for pid, turns in state.turns])
        self._custody.take_over(state.parked, state.lingering)
        self._waiting.extend(state.waiting)
        self._arrivals.take_over(state.arrivals)

    @property
    def connections(self) -> int:
        """How many there are."""
        return sum(self.census().values())

    @property
    def recalls(self) -> int:
        """How many loans were taken back."""
        return self._fairness.recalls

    def census(self) -> dict[str, int]:
        """How many connections there are, by who has them."""
        return {
            "lent": self._dispatch.total(),
            "parked": self._custody.parked,
            "lingering": self._custody.lingering,
            "waiting": len(self._waiting) + len(self._arrivals),
        }

    @property
    def parked(self) -> int:
        """How many wait in the master for their next request."""
        return self._custody.parked

    @property
    def waiting(self) -> int:
        """How many wait for a worker that has room."""
        return len(self._waiting)

    def usage(self, link: WorkerLink) -> tuple[int, int]:
        """How many connections the worker has borrowed, and how many of them are in the middle of
        a request."""
        loans, states = self._dispatch.books(link).loans, self._board.loans
        return len(loans), sum(states[loan] in _IN_FLIGHT for loan in loans)

    def go_on(self) -> None:
        """Lend what waits, accept, and see to fairness again."""
        self._fairness.ring_changed()
        self._use_room()

    # Workers.

    def open(self, link: WorkerLink, credit: int) -> None:
        """A worker was born; it may borrow so many connections once it has joined."""
        self._dispatch.open(link, credit)

    def join(self, link: WorkerLink) -> None:
        """The worker serves."""
        self._dispatch.join(link, scarce=bool(self._waiting))
        self._fairness.ring_changed()
        self._fairness.even_out()
        self._use_room()

    def leave(self, link: WorkerLink) -> None:
        """The worker borrows no more."""
        self._dispatch.leave(link)
        self._fairness.ring_changed()

    # Turns.

    def set_keepalive(self, seconds: float) -> None:
        """From now on connections may be idle this long."""
        self._custody.keepalive = seconds

    def forget(self, link: WorkerLink) -> None:
        """The worker is dead: it gets nothing more."""
        if link in self._unsent:
            self._unsent.remove(link)

    def send_loans(self) -> None:
        """Send the loans of this turn."""
        links, self._unsent = self._unsent, []
        for link in links:
            link.send_loans()

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        self._custody.expire(now)
        self._arrivals.expire(now)
        if self._fairness.deadline <= now:
            # First what is lent in this turn: it may be taken back as well.
            self.send_loans()
            scarce = not self._accepting.under_way
            self._fairness.tick(now, scarce, self._custody.parked + len(self._waiting))
            self._use_room()
        self._relief.expire(now)
        if self._accepting.deadline <= now:
            # If there is no room either, whoever makes some will accept again.
            self._accepting.pause()
            self._use_room()

    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(
            self._custody.deadline(),
            self._arrivals.deadline,
            self._fairness.deadline,
            self._accepting.deadline,
            self._relief.deadline,
        )

    # Ends.

    @property
    def stopping(self) -> bool:
        """Whether the listeners are closed."""
        return self._accepting.ended

    @property
    def lingering(self) -> int:
        """How many connections are not quite closed."""
        return self._custody.lingering

    def stop(self) -> None:
        """Lend all that waits, with what waits in the kernel's backlog; close the listeners; end
        what is idle."""
        self._fairness.end()
        self._dispatch.open_windows()
        self._use_room()
        self._accepting.end(all_that_waits=not self._waiting)
        self._custody.end_parked()
        self.send_loans()

    def end_waiting(self) -> None:
        """Nobody will have room any more: turn away those who wait for it."""
        self._arrivals.end()
        self._relief.end()

    def disown(self) -> None:
        """In a forked worker: close what Python objects hold; raw fds are closed otherwise."""
        self._accepting.disown()

    # The parts.

    def _use_room(self) -> None:
        """Some worker may have room: lend what waits, then accept again."""
        if self._accepting.under_way:
            return
        while self._waiting:
            link = self._borrower(self._waiting[0])
            if link is None:
                self._relief.needed()
                return
            self._lend(self._waiting.popleft(), link)
            self._relief.none_needed()
        if self._dispatch.has_room():
            self._relief.none_needed()
            self._accepting.resume()
        else:
            self._relief.needed()  # somebody may wait in the backlog

    def _keep(self, connection: Connection) -> None:
        """A connection that goes on, if the service does."""
        connection.moved = True
        now = monotonic()
        if self.stopping:
            # Its last response may still be on the way to a slow client.
            self._custody.end(connection, b"", now)
        else:
            self._custody.park(connection, now)

    def _offer(self, connection: Connection) -> bool:
        """Lend the connection, or have it wait for room; whether another may be offered."""
        # A new fd is the lowest that is free: as long as it is below, there is nothing to count.
        if (
            connection.fd >= self.limit
            and not connection.moved
            and not self._relief.make_place(self.limit)
        ):
            self._accepting.rest()  # after this batch
            self._relief.turn_away(connection)
            return True
        link = None if self._waiting else self._borrower(connection)
        if link is None and self._relief.turns_away and not connection.moved:
            self._relief.turn_away(connection)
            return True
        if link is None:
            self._waiting.append(connection)
            self._accepting.pause()
            self._relief.needed()
            return False
        self._lend(connection, link)
        return True

    def _borrower(self, connection: Connection) -> WorkerLink | None:
        dispatch = self._dispatch
        return dispatch.least_busy() if connection.moved else dispatch.next_in_turn()

    def _lend(self, connection: Connection, link: WorkerLink) -> None:
        loan = self._dispatch.lend(connection, link)
        self._board.loans[loan] = _UNREAD
        host, port, secure = connection.host, connection.port, connection.secure
        message = Loan(loan, connection.listener, host, port, secure)
        if link.lend(message, connection.fd):
            self._unsent.append(link)
        if self._fairness.deadline == math.inf:
            self._fairness.wake()


def _is_busy(link: WorkerLink) -> int:
    return link.row.flags[BUSY]
