"""Returns: how loans end, by their workers' word, or by their deaths."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

from prefork.master.connection import Connection
from prefork.master.custody import Custody
from prefork.master.dispatch import Dispatch
from prefork.master.link import WorkerLink
from prefork.wire.board import Board, LoanState

_OVER = {int(state) for state in (LoanState.RESPONDING, LoanState.CLOSED, LoanState.ENDED)}


class Returns:
    """Takes back what was lent.

    Args:
        dispatch: who has borrowed what.
        custody: where connections come to their ends.
        board: what the workers have written of their loans.
        keep: has a connection go on.
        room: called when some worker may have room.
    """

    def __init__(
        self,
        dispatch: Dispatch[WorkerLink, Connection],
        custody: Custody,
        board: Board,
        keep: Callable[[Connection], None],
        room: Callable[[], None],
    ) -> None:
        self._dispatch = dispatch
        self._custody = custody
        self._board = board
        self._keep = keep
        self._use_room = room

    def closed(self, link: WorkerLink, loans: list[int]) -> None:
        """These loans have ended, and the connections with them.

        Raises:
            UnknownLoan: the worker has no such loan.
        """
        now = monotonic()
        states = self._board.loans
        for loan in loans:
            self._custody.over(self._dispatch.end(loan, link), states[loan], now)
        self._use_room()

    def returned(self, link: WorkerLink, loans: list[int]) -> None:
        """These loans were idle and have come back.

        Raises:
            UnknownLoan: the worker has no such loan.
        """
        for loan in loans:
            self._keep(self._dispatch.end(loan, link))
        self._use_room()

    def released(self, link: WorkerLink, loans: list[int]) -> None:
        """The worker has nothing more of these loans, which were recalled.

        Raises:
            UnknownLoan: no such loan was recalled from the worker.
        """
        for loan in loans:
            self._dispatch.release(loan, link)
        self._use_room()

    def room(self, link: WorkerLink) -> None:
        """The worker can begin a request again."""
        self._dispatch.room(link)
        self._use_room()

    def bury(self, link: WorkerLink, was_killed: bool) -> None:
        """The worker is dead: see to every connection that it had, by what the board says.

        A request that may have begun is never run again: it is answered with 504 if we killed
        the worker, with 502 if it died by itself. A response that may be half out is cut.
        """
        now = monotonic()
        self._board.bury(link.row)
        status = HTTPStatus.GATEWAY_TIMEOUT if was_killed else HTTPStatus.BAD_GATEWAY
        for loan, connection in self._dispatch.close(link).items():
            state = self._board.loans[loan]
            if state == LoanState.BUSY:
                self._board.totals.answered(status)
                self._custody.end(connection, _apology(status), now)
            elif state in _OVER:
                self._custody.over(connection, state, now)
            else:
                self._keep(connection)
        self._use_room()


def _apology(status: HTTPStatus) -> bytes:
    """An answer without a body, as it may be one to a HEAD."""
    lines = (f"HTTP/1.1 {status.value} {status.phrase}", "Content-Length: 0", "Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()
