"""The fleet: which workers there are, which there should be, and the one next step.

Pure: no process, no clock, no fd. Events come in (`ready`, `exited`, a command), and
`plan` compares what is with what should be and says what to do; whoever does it reports it back.
A reload is not a procedure here but data: a `Rollout` that names the slots still to be replaced,
so a stop in the middle of one, a crash, or a second reload need no code of their own.

Never more than `size` + 1 workers live, and never fewer than `size` serve while a slot is
replaced: the old worker retires when the new one is ready, and the next slot waits for its exit.

Where a generation is preloaded, its workers are forked from a mold, which so has to be ready first.
It is kept as long as its generation may be asked for: the old one until a reload has ended, so
that one which fails can go back to the old code in every slot, whatever the disk holds by then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import Enum

from prefork.master import handover
from prefork.master.backoff import STABLE_SECONDS, Backoffs
from prefork.master.life import FILLS_ITS_SLOT, IN_THE_RING, Event, Phase, Worker
from prefork.master.rollout import Rollout
from prefork.master.roster import Roster
from prefork.master.steps import (
    BackedOff,
    Baking,
    Dump,
    Kill,
    Recovered,
    ReloadAborted,
    ReloadDone,
    Retire,
    Spawn,
    Started,
    Step,
    WentBack,
)
from prefork.wire.identity import MOLD, WorkerId

# What runs when a quick stop is asked for gets this long.
QUICK_SECONDS = 1.0
_LATE_FOR = {
    Phase.BOOTING: "not ready within listen_timeout",
    Phase.DRAINING: "not done within kill_timeout",
}


class Goal(Enum):
    """What the fleet is there for at the moment."""

    START = "start"  # until each slot has had its first ready worker; a failure is final
    RUN = "run"
    STOP = "stop"


class Fleet:
    """The workers, and what they should be.

    Args:
        size: how many slots there are to be.
        preload: whether the first generation is preloaded.
    """

    def __init__(self, size: int, preload: bool = False) -> None:
        self.size = size
        self.goal = Goal.START
        # What an empty slot is filled with; the latest number in use, maybe by an aborted reload.
        self.generation = self.newest = 1
        self.rollout: Rollout | None = None
        # When a stop that was put off is to begin: `drain_delay`.
        self.stop_at = math.inf
        # Why the start has failed, once it has.
        self.failure = ""
        self.roster = Roster()
        # The generations whose workers are forked from a mold.
        self._preloaded = {1} if preload else set()
        self._backoffs = Backoffs()
        self._steps: list[Step] = []

    # What is told to the fleet.

    def take_over(self, state: handover.Fleet, workers: Iterable[Worker]) -> None:
        """Go on where another has stopped: in the middle of a run, and of no rollout."""
        self.goal = Goal.RUN
        self.size, self.generation, self.newest = state.size, state.generation, state.newest
        for worker in workers:
            self.roster.add(worker)
        self._preloaded = state.preloaded
        self._backoffs.by_slot = state.backoffs

    def spawned(
        self, id: WorkerId, listen_timeout: float, kill_timeout: float, now: float
    ) -> Worker:
        """A worker was forked, or a mold, as `plan` has asked for, with its settings' timeouts."""
        worker = Worker(id, kill_timeout, now, now + listen_timeout)
        self.roster.add(worker)
        return worker

    def not_spawned(self, slot: int, why: str, now: float) -> None:
        """A worker that `plan` has asked for could not be forked."""
        self._failed(slot, self._generation_to_spawn(), why, now)

    def ready(self, worker: Worker, now: float) -> bool:
        """The worker can serve; False if it had said so before, or says it too late."""
        if not worker.apply(Event.READY, now):
            return False
        rollout = self.rollout
        if rollout is not None and self._has_to_bake(worker, rollout):
            rollout.begin_to_bake(worker, now)
            self._steps.append(Baking(worker, rollout.bake))
        elif not worker.id.is_mold:
            self._replace(worker, now)
        return True

    def leave(self, worker: Worker, now: float) -> bool:
        """The worker wants to be replaced; False if that was known or means nothing now."""
        return worker.apply(Event.LEAVE, now)

    def hangs(self, worker: Worker, now: float) -> None:
        """The worker's loop stands still: kill it, and replace it."""
        if worker.apply(Event.HANG, now):
            self._steps.append(Dump(worker, "held up by the app for longer than timeout"))
            self._has_failed(worker, "was held up by the app for longer than timeout", now)

    def discard(self, worker: Worker, now: float) -> None:
        """The worker can't be used any more: kill it."""
        if worker.apply(Event.DISCARD, now):
            self._steps.append(Kill(worker))
            self._has_failed(worker, "had to be killed", now)

    def exited(self, worker: Worker, why: str, now: float) -> None:
        """The worker's process has ended: `why` says how, in words."""
        self.roster.remove(worker)
        # What was to be done about it need not be.
        self._steps = [step for step in self._steps if getattr(step, "worker", None) != worker]
        if worker.phase is Phase.BOOTING:
            self._failed(*_place(worker), f"{worker} {why} before it was ready", now)
        elif worker.phase in IN_THE_RING:
            if now - worker.since < STABLE_SECONDS:
                self._back_off(worker.slot, now)
            self._has_failed(worker, why, now)

    def reload(self, size: int, now: float, bake: float = 0.0, preload: bool = False) -> None:
        """Replace every worker by one of a new generation, each when the new one has served for
        `bake` seconds. Not while a rollout is under way."""
        assert self.rollout is None
        self.newest += 1
        self._preloaded &= {self.generation}
        if preload:
            self._preloaded.add(self.newest)
        self.rollout = Rollout(self.newest, set(range(1, size + 1)), size, self.size, now, bake)
        # Those beyond the new size stay until the new generation has proved itself.
        self.size = max(self.size, size)
        self._backoffs.clear()

    def scale(self, size: int) -> None:
        """Have this many slots from now on."""
        self.size = size
        if self.rollout is not None:
            self.rollout.slots &= set(range(1, size + 1))
            self.rollout.size = self.rollout.size_before = size

    def stop(self, now: float, seconds: float = math.inf) -> None:
        """End all workers; what they execute may take `kill_timeout`, but at most this long."""
        self.goal = Goal.STOP
        self.stop_at = math.inf
        self.rollout = None
        for worker in self.roster:
            worker.kill_timeout = min(worker.kill_timeout, seconds)
            if worker.phase is Phase.DRAINING:
                worker.deadline = min(worker.deadline, now + seconds)

    # What the fleet tells.

    @property
    def stopping(self) -> bool:
        """Whether it stops, or is about to."""
        return self.goal is Goal.STOP or self.stop_at < math.inf

    def hand_over(self) -> handover.Fleet:
        """What it is to be, for another to go on with: see `take_over`."""
        return handover.Fleet(
            self.size, self.generation, self.newest, self._preloaded, self._backoffs.by_slot
        )

    def plan(self, now: float) -> list[Step]:
        """What is to be done now. Call again after it was done, until nothing is left."""
        self._expire(now)
        self._forgive(now)
        self._end_baking(now)
        for worker in [one for one in self.roster if one.phase in FILLS_ITS_SLOT]:
            if not self._wanted(worker):
                self._retire(worker, now)
        if self.goal is Goal.START and len(self.roster.in_the_ring()) >= self.size:
            self.goal = Goal.RUN
            self._steps.append(Started(self.size))
        if self.goal is not Goal.STOP:
            slot = self._next_slot(now)
            if slot is not None:
                self._fill(slot, now)
            elif self._rolled_out():
                self._finish_rollout(now)
        steps, self._steps = self._steps, []
        return steps

    def deadline(self, now: float) -> float:
        """When `plan` has something to say at the latest, if nothing happens before."""
        times = [worker.deadline for worker in self.roster]
        times += self._backoffs.deadlines(now)
        times += [worker.since + STABLE_SECONDS for worker in self._on_probation()]
        if self.rollout is not None:
            times.append(self.rollout.baked_at)
        return min(times, default=math.inf)

    # The rules.

    def _expire(self, now: float) -> None:
        for worker in [one for one in self.roster if one.deadline <= now]:
            late_for = _LATE_FOR.get(worker.phase, "")
            worker.apply(Event.DEADLINE, now)
            if worker.phase is Phase.DYING:
                self._steps.append(Kill(worker))
                continue
            self._steps.append(Dump(worker, late_for))
            if late_for is _LATE_FOR[Phase.BOOTING]:
                self._failed(*_place(worker), f"{worker} was {late_for}", now)

    def _replace(self, worker: Worker, now: float) -> None:
        """The worker has its slot: retire the one that had it."""
        if self.rollout is not None and worker.id.generation == self.rollout.generation:
            self.rollout.slots.discard(worker.slot)
        for other in self.roster.others_in_the_ring(worker):
            self._retire(other, now)

    def _has_to_bake(self, worker: Worker, rollout: Rollout) -> bool:
        """Whether the worker has to prove itself beside the one that it is to replace."""
        beside = bool(self.roster.others_in_the_ring(worker))
        return bool(rollout.bake) and worker.slot in rollout.slots and beside

    def _end_baking(self, now: float) -> None:
        baked = self.rollout.end_of_baking(now) if self.rollout is not None else None
        if baked is not None:
            self._replace(baked, now)

    def _wanted(self, worker: Worker) -> bool:
        """Whether there is to be somebody in its place."""
        if self.goal is Goal.STOP:
            return False
        if worker.id.is_mold:
            return worker.id.generation in (self.generation, self._generation_to_spawn())
        return worker.slot <= self.size

    def _retire(self, worker: Worker, now: float) -> None:
        worker.apply(Event.RETIRE, now)
        draining = worker.phase is Phase.DRAINING
        self._steps.append(Retire(worker) if draining else Kill(worker))

    def _failed(self, slot: int, generation: int, why: str, now: float) -> None:
        """A worker or a mold failed to boot: that ends a start or a reload, and delays a
        replacement."""
        self._back_off(slot, now)
        if self.goal is Goal.START:
            self.failure = why
            self.stop(now)
        elif self.rollout is not None and self.rollout.tries(generation):
            self._abort_rollout(why, now)

    def _has_failed(self, worker: Worker, why: str, now: float) -> None:
        """A worker that was ready is of no use: that ends a reload, if it is of the new
        generation."""
        if self.rollout is not None and self.rollout.tries(worker.id.generation):
            self._abort_rollout(f"{worker} {why}", now)

    def _abort_rollout(self, why: str, now: float) -> None:
        assert self.rollout is not None
        rollout, self.rollout = self.rollout, None
        self.size = rollout.size_before
        new = self.roster.of_generation(rollout.generation)
        if rollout.baking in new and rollout.baking.phase in IN_THE_RING:
            # The one that it was to replace still serves.
            self._retire(rollout.baking, now)
        # Those beyond the old size just go: a way back over them would never end.
        kept = range(1, self.size + 1)
        replaced = {each.slot for each in new if each.phase in IN_THE_RING and each.slot in kept}
        back = self.generation if self._can_return() else None
        took = now - rollout.since
        slots = tuple(sorted(replaced))
        self._steps.append(ReloadAborted(rollout.generation, took, why, slots, back))
        for worker in new:
            if worker.phase is Phase.BOOTING:
                self.discard(worker, now)
        if replaced and back is not None:
            self.rollout = Rollout(back, replaced, self.size, self.size, now, returning=True)

    def _can_return(self) -> bool:
        """Whether there is still the old code, in memory."""
        mold = self.roster.molds.get(self.generation)
        return mold is not None and mold.phase is Phase.SERVING

    def _rolled_out(self) -> bool:
        rollout = self.rollout
        if rollout is None or rollout.slots or not self.roster.settled:
            return False
        return all(self.roster.filled(slot) for slot in range(1, rollout.size + 1))

    def _finish_rollout(self, now: float) -> None:
        assert self.rollout is not None
        rollout, self.rollout = self.rollout, None
        self.generation = rollout.generation
        self.size = rollout.size
        done = WentBack if rollout.returning else ReloadDone
        self._steps.append(done(rollout.generation, now - rollout.since))

    def _next_slot(self, now: float) -> int | None:
        """The one slot that is to get a worker next: an empty one, else one to be replaced."""
        roster = self.roster
        crowded = len(roster.workers) > self.size and roster.in_the_ring()
        if crowded or (self.rollout is not None and roster.booting):
            return None
        due = [slot for slot in range(1, self.size + 1) if self._backoffs.due(slot) <= now]
        for slot in due:
            if not roster.filled(slot):
                return slot
        if not roster.settled or (self.rollout is not None and self.rollout.baking is not None):
            return None
        return next((slot for slot in due if self._outdated(slot)), None)

    def _generation_to_spawn(self) -> int:
        return self.rollout.generation if self.rollout is not None else self.generation

    def _outdated(self, slot: int) -> bool:
        """Whether the slot's worker is to be replaced: by a rollout, or as it has asked for it."""
        by_rollout = self.rollout is not None and slot in self.rollout.slots
        return by_rollout or self.roster.leaves(slot)

    def _fill(self, slot: int, now: float) -> None:
        """Have a worker forked for the slot, from a mold where there is to be one."""
        generation = self._generation_to_spawn()
        mold = self.roster.molds.get(generation)
        if generation not in self._preloaded or (mold is not None and mold.phase is Phase.SERVING):
            self._steps.append(Spawn(slot, generation))
        elif mold is None and self._backoffs.due(MOLD) <= now:
            self._steps.append(Spawn(MOLD, generation))

    def _on_probation(self) -> Iterator[Worker]:
        """Who lives in a place where one has failed."""
        for worker in self.roster:
            if worker.phase in IN_THE_RING and worker.slot in self._backoffs:
                yield worker

    def _forgive(self, now: float) -> None:
        """A worker that has lived for long enough makes good for the ones before it."""
        for worker in self._on_probation():
            if now - worker.since >= STABLE_SECONDS:
                failures = self._backoffs.forgive(worker.slot)
                if failures > 1:
                    self._steps.append(Recovered(worker.slot, failures))

    def _back_off(self, slot: int, now: float) -> None:
        """A worker of the slot has failed: the next one waits, longer each time."""
        failures, delay = self._backoffs.failed(slot, now)
        # The first one is replaced at once, as good as.
        if failures > 1:
            self._steps.append(BackedOff(slot, failures, delay))


def _place(worker: Worker) -> tuple[int, int]:
    return worker.slot, worker.id.generation
