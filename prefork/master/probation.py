"""Probation: where a worker has failed the next one may have to wait, and has to live for a while
before that is forgotten. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from prefork.master.backoff import STABLE_SECONDS, Backoffs
from prefork.master.life import IN_THE_RING, Worker
from prefork.master.roster import Roster
from prefork.master.steps import BackedOff, Recovered


class Probation:
    """The places of workers and molds that have failed, and who lives there now.

    Args:
        roster: who there is.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.backoffs = Backoffs()

    def failed(self, slot: int, now: float) -> list[BackedOff]:
        """A worker of the slot has failed: the next one waits, longer each time."""
        failures, delay = self.backoffs.failed(slot, now)
        # The first one is replaced at once, as good as.
        return [BackedOff(slot, failures, delay)] if failures > 1 else []

    def exited(self, worker: Worker, now: float) -> list[BackedOff]:
        """A worker that served has exited, and has failed unless it had lived for long enough."""
        return self.failed(worker.slot, now) if now - worker.since < STABLE_SECONDS else []

    def forgive(self, now: float) -> list[Recovered]:
        """A worker that has lived for long enough makes good for the ones before it."""
        recovered = []
        for worker in self._on_probation():
            if now - worker.since >= STABLE_SECONDS:
                failures = self.backoffs.forgive(worker.slot)
                if failures > 1:
                    recovered.append(Recovered(worker.slot, failures))
        return recovered

    def deadlines(self, now: float) -> list[float]:
        """When a place need not wait any more, or somebody has lived for long enough."""
        times = self.backoffs.deadlines(now)
        return times + [worker.since + STABLE_SECONDS for worker in self._on_probation()]

    def _on_probation(self) -> Iterator[Worker]:
        """Who lives in a place where one has failed."""
        for worker in self._roster:
            if worker.phase in IN_THE_RING and worker.slot in self.backoffs:
                yield worker
