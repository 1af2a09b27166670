"""Fairness: that no request waits in a busy worker while another has room.

A tick looks at what the workers have written on the board. One that is in the same request as at
the tick before is stuck: if somebody has room, its idle loans are taken back. They are parked in
the master, and lent again when their next request comes.

There are ticks only while a loan can wait behind another, and fewer while no worker does anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from prefork.master.connection import Connection
from prefork.master.dispatch import Dispatch
from prefork.master.link import WorkerLink
from prefork.wire.board import ALONE, BUSY, WANTED, Board
from prefork.wire.messages import GiveBack
from prefork.wire.recall import take_back

# Seconds from tick to tick; and at most, while nothing happens.
TICK, QUIET_TICK = 0.015, 0.06
# So many loans at most are taken back in a tick, as the master has other things to do.
MOST_TAKEN = 128
# A worker that was busy with a surplus is asked again for it, so many times, after so many seconds.
EVENING_TRIES, EVENING_PAUSE = 5, 1.0


class Fairness:
    """What moves connections from workers that can't serve them now to others.

    Args:
        dispatch: who has borrowed what.
        board: where workers write what they do.
        recalled: called with each connection that was taken back.
    """

    def __init__(
        self,
        dispatch: Dispatch[WorkerLink, Connection],
        board: Board,
        recalled: Callable[[Connection], None],
    ) -> None:
        self._dispatch = dispatch
        self._board = board
        self._recalled = recalled
        # When `tick` is due, math.inf while nothing could come of it.
        self.deadline = math.inf
        self._interval = TICK
        # Stuck workers that have nothing more to be taken back.
        self._swept: set[WorkerLink] = set()
        self._even_out_at = math.inf
        self._tries = 0
        self._ended = False
        # How many loans were taken back so far.
        self.recalls = 0

    def ring_changed(self) -> None:
        """Somebody has joined the ring, or left it."""
        serving = self._dispatch.serving()
        for link in serving:
            link.row.flags[ALONE] = len(serving) < 2
        self.wake()

    def wake(self) -> None:
        """Something was lent, or can be: there may be something to see to."""
        if not self._ended:
            self._interval = TICK
            self.deadline = min(self.deadline, monotonic() + TICK)

    def end(self) -> None:
        """The service stops: every worker serves what it has."""
        self._ended = True
        self.deadline = math.inf

    def even_out(self) -> None:
        """Somebody has joined, who may have few loans while others have many."""
        self._swept.clear()
        self._tries = EVENING_TRIES
        self._even_out_at = 0.0
        self.wake()

    def tick(self, now: float, scarce: bool, parked: int) -> None:
        """Look at all workers, and take back what waits in vain.

        Args:
            now: monotonic seconds.
            scarce: whether connections are waiting for room.
            parked: how many connections the master holds.
        """
        self._look(scarce)
        self._take_back()
        if self._even_out_at <= now:
            self._even_out(now, parked)
        dispatch = self._dispatch
        more = dispatch.crowded() or (scarce and dispatch.narrow())
        self.deadline = min(now + self._interval if more else math.inf, self._even_out_at)

    def call_for_room(self) -> None:
        """Nobody has room: have those who are stuck say so when that is over."""
        for link in self._dispatch.narrow():
            link.row.flags[WANTED] = 1

    def _look(self, scarce: bool) -> None:
        anything = False
        for link in self._dispatch.workers():
            busy = bool(link.row.flags[BUSY])
            if self._dispatch.observe(link, link.row.counters[0], busy, scarce):
                anything = True
        self._interval = TICK if anything else min(2 * self._interval, QUIET_TICK)

    def _take_back(self) -> None:
        stuck = self._dispatch.stuck()
        self._swept.intersection_update(stuck)
        if not self._dispatch.has_room():
            return
        left = MOST_TAKEN
        for link in stuck:
            if left and link not in self._swept:
                left -= self._take_back_from(link, left)

    def _take_back_from(self, link: WorkerLink, most: int) -> int:
        """Take back what is idle of a stuck worker's loans: how many they were."""
        # The fds of loans that are not quite sent must stay open: those can't be taken back yet.
        if link.gate is None or link.channel.backlogged:
            return 0
        loans = self._dispatch.loans_of(link)
        taken = take_back(link.gate, link.row.flags, self._board.loans, loans, most)
        if taken is None:
            return 0
        if len(taken) < most:
            self._swept.add(link)
        self.recalls += len(taken)
        for loan in taken:
            self._recalled(self._dispatch.recall(loan, link))
        return len(taken)

    def _even_out(self, now: float, parked: int) -> None:
        """Ask those who have too many loans to give some back; again, if that brings too few."""
        surplus = self._dispatch.surplus(parked)
        for link, count in surplus:
            link.tell(GiveBack(count))
        self._tries -= 1
        self._even_out_at = now + EVENING_PAUSE if surplus and self._tries else math.inf
