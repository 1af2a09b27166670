"""Relief: what is done for connections for which there is no room, or about them.

When, and how often, says `Crowding`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

from prefork.crowding import TURNED_AWAY, Crowding
from prefork.master.accepting import Accepting
from prefork.master.connection import Connection
from prefork.master.custody import Custody
from prefork.master.dispatch import Dispatch
from prefork.master.fairness import Fairness
from prefork.master.link import WorkerLink
from prefork.wire.board import BUSY, Board
from prefork.wire.messages import GiveBack

# Where no worker has credit, each is asked for one idle loan of so many that it has.
_PART_GIVEN_BACK = 8

_log = logging.getLogger("prefork.master")


class Relief:
    """Has idle loans given back, and turns away whom that does not help.

    Args:
        dispatch: who has borrowed what.
        custody: where connections are idle, and come to their ends.
        accepting: new connections, if there is room.
        fairness: is told that somebody waits.
        board: where answers are counted.
        waiting: connections that wait for room.
        count: how many connections there are.
    """

    def __init__(
        self,
        dispatch: Dispatch[WorkerLink, Connection],
        custody: Custody,
        accepting: Accepting,
        fairness: Fairness,
        board: Board,
        waiting: deque[Connection],
        count: Callable[[], int],
    ) -> None:
        self._dispatch = dispatch
        self._custody = custody
        self._accepting = accepting
        self._fairness = fairness
        self._board = board
        self._waiting = waiting
        self._count = count
        self._crowding = Crowding()

    @property
    def turns_away(self) -> bool:
        """Whether a new connection for which no worker has room is turned away."""
        return self._crowding.turns_away

    def none_needed(self) -> None:
        """Somebody was lent, or could be."""
        self._crowding.moved()

    def needed(self) -> None:
        """Nobody is accepted, as no worker has room."""
        self._fairness.call_for_room()
        if self._dispatch.full():
            self._crowding.full(monotonic())

    def make_place(self, limit: int) -> bool:
        """Whether there may be another connection besides so many, if need be for an idle one."""
        if self._count() < limit or self._custody.drop_oldest_parked():
            return True
        self._ask_for_idle(monotonic())
        return False

    def turn_away(self, connection: Connection) -> None:
        """Tell the client that there is no room, and end its connection."""
        now = monotonic()
        self._refuse(connection, now)
        count = self._crowding.turned_away(now)
        if count:
            _log.warning(
                "too many connections: %d turned away with 503; there are %d", count, self._count()
            )

    def end(self) -> None:
        """Nobody will have room any more."""
        now = monotonic()
        while self._waiting:
            self._refuse(self._waiting.popleft(), now)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return self._crowding.deadline

    def expire(self, now: float) -> None:
        """Do what is due by now: see that those who wait get credit, or turn them away."""
        if self._crowding.deadline > now:
            return
        accepting = self._accepting
        if accepting.ended or accepting.under_way or not self._dispatch.full():
            self._crowding.moved()
            return
        self._ask_for_idle(now)
        self._crowding.look(now)
        if self._crowding.turns_away:
            for connection in [each for each in self._waiting if not each.moved]:
                self._waiting.remove(connection)
                self.turn_away(connection)
            accepting.accept_some()

    def _ask_for_idle(self, now: float) -> None:
        """Have the workers give back some of the loans that are idle, which then are parked."""
        if self._crowding.may_ask(now):
            for link in self._dispatch.serving():
                if link.row.flags[BUSY] or link.channel.backlogged:
                    continue  # it would find all that it was asked at once
                link.tell(GiveBack(self._dispatch.loans(link) // _PART_GIVEN_BACK + 1))

    def _refuse(self, connection: Connection, now: float) -> None:
        self._board.totals.answered(HTTPStatus.SERVICE_UNAVAILABLE)
        self._custody.end(connection, TURNED_AWAY, now)
