"""Reloads, and who waits for them: what is told on the way, and how each has ended. Pure.

A reload that is asked for while another is under way comes after that. So who asks then waits for
the second one: only that is sure to bring the code as it was when he asked.

The end of a reload that has failed is told when the workers are gone that did not make it: they may
have more to say of why.
"""

from __future__ import annotations

from typing import Protocol

from prefork.master.failures import Failures
from prefork.master.fleet import Fleet
from prefork.master.life import Phase, Worker
from prefork.master.steps import Baking, ReloadAborted, ReloadDone, Step
from prefork.wire.control import Answer, Progress, Reloaded

_FAILING = frozenset({Phase.BOOTING, Phase.DUMPING, Phase.DYING})


class Waiter(Protocol):
    """Somebody who wants to know how a reload ends."""

    def tell(self, answer: Answer) -> None:
        """Tell it something."""

    def release(self) -> None:
        """It waits no more."""


class Reloads:
    """Those who wait for a reload.

    Args:
        fleet: what is reloaded.
        failures: of its workers.
    """

    def __init__(self, fleet: Fleet, failures: Failures) -> None:
        self._fleet = fleet
        self._failures = failures
        # For the reload under way, and for the one to come.
        self._waiters: list[Waiter] = []
        self._later: list[Waiter] = []
        self._slots = 0
        self._aborted: ReloadAborted | None = None

    def await_next(self, waiter: Waiter, queued: bool) -> None:
        """It waits for the reload that begins next; which is `queued`, or begins at once."""
        self._later.append(waiter)
        if queued:
            waiter.tell(Progress(event="queued"))

    def forget(self, waiter: Waiter) -> None:
        """It has gone away."""
        self._waiters = [each for each in self._waiters if each is not waiter]
        self._later = [each for each in self._later if each is not waiter]

    # What happens.

    def taken_up(self) -> None:
        """The next reload is what is dealt with from now on: its settings are read."""
        assert not self._waiters or self._aborted is not None
        if self._aborted is not None:
            self._tell_of_failure(self._aborted)
        self._waiters, self._later = self._later, []

    def begun(self) -> None:
        """Workers are being replaced."""
        rollout = self._fleet.rollout
        assert rollout is not None
        self._slots = len(rollout.slots)
        self._tell(Progress(event="begun", generation=rollout.generation, slots=self._slots))

    def refused(self, why: str) -> None:
        """It has not come to that."""
        self._end(Reloaded(good=False, generation=self._fleet.generation, why=why))

    def stopped(self) -> None:
        """There will be no reload any more."""
        self._waiters += self._later
        self._later = []
        self._aborted = None
        self.refused("the service stops")

    def befell(self, worker: Worker, event: str, seconds: float = 0.0) -> None:
        """Something has happened to a worker; `seconds` after it was forked, or became ready."""
        if self._waiters and self._fleet.rollout is not None:
            id = worker.id
            self._tell(
                Progress(
                    event=event,
                    slot=id.slot,
                    generation=id.generation,
                    pid=id.pid,
                    seconds=seconds,
                    replaced=self._replaced(),
                    slots=self._slots,
                )
            )

    def stepped(self, step: Step) -> None:
        """The fleet's plan says this."""
        if isinstance(step, Baking):
            self.befell(step.worker, "baking", step.seconds)
        elif isinstance(step, ReloadDone):
            self._end(Reloaded(good=True, generation=step.generation, seconds=step.seconds))
        elif isinstance(step, ReloadAborted):
            self._tell(Progress(event="aborted", generation=step.generation, why=step.why))
            self._aborted = step

    def settle(self) -> None:
        """Tell of a failed reload, if all has been cleared away."""
        if self._aborted is not None and not self._lingers(self._aborted.generation):
            self._tell_of_failure(self._aborted)

    # The parts.

    def _lingers(self, generation: int) -> bool:
        """Whether there is somebody of the generation who may have more to say."""
        return any(
            each.id.generation == generation and each.phase in _FAILING
            for each in self._fleet.roster
        )

    def _tell_of_failure(self, step: ReloadAborted) -> None:
        self._aborted = None
        failure = self._failures.latest(step.generation)
        self._end(
            Reloaded(
                good=False,
                generation=step.generation,
                seconds=step.seconds,
                why=step.why,
                trace=failure.trace if failure is not None else "",
                slots=list(step.replaced) if step.back is None else [],
            )
        )

    def _replaced(self) -> int:
        rollout = self._fleet.rollout
        return self._slots - len(rollout.slots) if rollout is not None else 0

    def _end(self, outcome: Reloaded) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()
            waiter.tell(outcome)

    def _tell(self, progress: Progress) -> None:
        for waiter in self._waiters:
            waiter.tell(progress)
