"""Counting: workers count how long requests take for as long as somebody wants to know it.

With `metrics_bind` they do so anyway. Otherwise they are asked to, by a flag at which each looks
once a second, so that a request costs nothing more while nobody is interested.
"""

from __future__ import annotations

import math

from prefork.master.workers import Workers
from prefork.wire.board import COUNTED, Board


class Counting:
    """Has it counted, and tells it.

    Args:
        workers: who counts.
        board: where they do.
    """

    def __init__(self, workers: Workers, board: Board) -> None:
        self._workers = workers
        self._board = board
        # When `expire` is to be called next: at once, as workers that were taken over may count.
        self.deadline = 0.0

    def durations(self, now: float, interest: float) -> dict[int, list[int]]:
        """How many requests have ended so far, by their duration.

        Args:
            now: monotonic seconds.
            interest: for so many seconds it goes on being counted.

        Returns:
            `Tally.buckets` by the pid of the worker; 0 for those that are no more.
        """
        wanted_till = 0.0 if self.deadline == math.inf else self.deadline
        self.deadline = max(wanted_till, now + interest)
        self._set(True)
        found = {link.worker.id.pid: link.row.tally.buckets for link in self._workers.links}
        return {0: self._board.totals.buckets, **found}

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        if self.deadline <= now:
            self.deadline = math.inf
            self._set(False)

    def _set(self, counted: bool) -> None:
        for link in self._workers.links:
            link.row.flags[COUNTED] = counted
