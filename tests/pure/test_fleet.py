"""The fleet's rules, without a process: reloads, failures, scaling and stopping as data."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.master.backoff import BACKOFF_FIRST, STABLE_SECONDS
from prefork.master.fleet import Fleet, Goal
from prefork.master.life import (
    DUMP_SECONDS,
    FILLS_ITS_SLOT,
    IN_THE_RING,
    TRANSITIONS,
    Event,
    Phase,
    Worker,
)
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

LISTEN_TIMEOUT, KILL_TIMEOUT = 30.0, 20.0


class Crew:
    """Carries out a fleet's plan with workers that are made of nothing, in a time of its own."""

    def __init__(self, size: int, preload: bool = False) -> None:
        self.fleet = Fleet(size, preload)
        self.preload = preload
        self.now = 1000.0
        self.pid = 0
        self.told: list[Step] = []

    def act(self) -> list[Step]:
        """Take the steps of the plan until there are none."""
        taken: list[Step] = []
        while steps := self.fleet.plan(self.now):
            for step in steps:
                taken.append(step)
                if isinstance(step, Spawn):
                    self.pid += 1
                    id = WorkerId(step.slot, step.generation, self.pid)
                    self.fleet.spawned(id, LISTEN_TIMEOUT, KILL_TIMEOUT, self.now)
            assert len(self.fleet.roster.workers) <= max(self.fleet.size, 1) + self.surplus + 1
        self.told += taken
        return taken

    # Workers beyond the size that are already on their way out when it shrinks.
    surplus = 0

    def pass_time(self, seconds: float) -> list[Step]:
        self.now += seconds
        return self.act()

    def workers(self, phase: Phase) -> list[Worker]:
        return [worker for worker in self.fleet.roster.workers if worker.phase is phase]

    def the(self, phase: Phase) -> Worker:
        (worker,) = self.workers(phase)
        return worker

    def ready(self, worker: Worker) -> list[Step]:
        assert self.fleet.ready(worker, self.now)
        return self.act()

    def exit(self, worker: Worker, why: str = "exited with status 0") -> list[Step]:
        self.fleet.exited(worker, why, self.now)
        return self.act()

    def mold(self, generation: int) -> Worker:
        return self.fleet.roster.molds[generation]

    def started(self) -> Crew:
        self.act()
        if self.preload:
            self.ready(self.mold(1))
        for worker in self.workers(Phase.BOOTING):
            self.ready(worker)
        assert self.fleet.goal is Goal.RUN
        self.told.clear()
        return self

    def reload(self) -> list[Step]:
        self.fleet.reload(self.fleet.size, self.now, preload=self.preload)
        return self.act()

    def serving(self) -> list[tuple[int, int]]:
        """(slot, generation) of those in the ring."""
        ring = [one for one in self.fleet.roster.workers if one.phase in IN_THE_RING]
        return sorted((worker.slot, worker.id.generation) for worker in ring)


def test_the_table_of_a_workers_life_is_total() -> None:
    assert set(TRANSITIONS) == set(Phase)
    for row in TRANSITIONS.values():
        assert set(row) == set(Event)


def test_a_start_spawns_all_workers_at_once() -> None:
    assert Crew(3).act() == [Spawn(1, 1), Spawn(2, 1), Spawn(3, 1)]


def test_a_start_is_over_when_every_slot_has_had_a_ready_worker() -> None:
    crew = Crew(2)
    crew.act()
    first, second = crew.workers(Phase.BOOTING)
    assert crew.ready(first) == []
    assert crew.ready(second) == [Started(2)]


def test_a_worker_that_dies_before_it_is_ready_ends_the_start() -> None:
    crew = Crew(2)
    crew.act()
    first, second = crew.workers(Phase.BOOTING)
    assert crew.exit(first, "exited with status 3") == [Kill(second)]
    assert crew.fleet.goal is Goal.STOP
    assert "exited with status 3 before it was ready" in crew.fleet.failure


def test_a_worker_that_is_late_ends_the_start_and_its_stack_is_asked_for() -> None:
    crew = Crew(1)
    crew.act()
    worker = crew.the(Phase.BOOTING)
    assert crew.pass_time(LISTEN_TIMEOUT) == [Dump(worker, "not ready within listen_timeout")]
    assert "listen_timeout" in crew.fleet.failure
    assert crew.pass_time(DUMP_SECONDS) == [Kill(worker)]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_reload_replaces_slot_by_slot_the_new_worker_first(size: int) -> None:
    crew = Crew(size).started()
    steps = crew.reload()
    for slot in range(1, size + 1):
        assert steps == [Spawn(slot, 2)]
        assert len(crew.serving()) == size
        (retire,) = crew.ready(crew.the(Phase.BOOTING))
        assert isinstance(retire, Retire)
        assert (retire.worker.slot, retire.worker.id.generation) == (slot, 1)
        assert len(crew.serving()) == size
        steps = crew.exit(retire.worker)
    assert steps == [ReloadDone(2, 0.0)]
    assert crew.serving() == [(slot, 2) for slot in range(1, size + 1)]


def test_the_next_slot_waits_until_the_old_worker_is_gone() -> None:
    crew = Crew(2).started()
    crew.reload()
    crew.ready(crew.the(Phase.BOOTING))
    assert crew.pass_time(KILL_TIMEOUT - 1) == []


def test_a_worker_that_drains_too_long_is_dumped_and_killed_and_the_reload_goes_on() -> None:
    crew = Crew(2).started()
    crew.reload()
    crew.ready(crew.the(Phase.BOOTING))
    old = crew.the(Phase.DRAINING)
    assert crew.pass_time(KILL_TIMEOUT) == [Dump(old, "not done within kill_timeout")]
    assert crew.pass_time(DUMP_SECONDS) == [Kill(old)]
    assert crew.exit(old, "was killed by SIGKILL") == [Spawn(2, 2)]


def test_a_new_worker_that_dies_aborts_the_reload_and_nothing_else_happens() -> None:
    crew = Crew(2).started()
    crew.reload()
    (abort,) = crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    assert isinstance(abort, ReloadAborted)
    assert "status 3" in abort.why
    assert crew.serving() == [(1, 1), (2, 1)]
    assert crew.pass_time(1000) == []


def test_a_new_worker_that_is_late_aborts_the_reload_and_is_killed() -> None:
    crew = Crew(1).started()
    crew.reload()
    late = crew.the(Phase.BOOTING)
    dump, abort = crew.pass_time(LISTEN_TIMEOUT)
    assert dump == Dump(late, "not ready within listen_timeout")
    assert isinstance(abort, ReloadAborted)
    assert crew.pass_time(DUMP_SECONDS) == [Kill(late)]
    assert crew.exit(late) == []
    assert crew.serving() == [(1, 1)]


def test_a_later_slot_that_fails_stops_the_rollout_there() -> None:
    crew = Crew(3).started()
    crew.reload()
    crew.ready(crew.the(Phase.BOOTING))
    crew.exit(crew.the(Phase.DRAINING))
    (abort,) = crew.exit(crew.the(Phase.BOOTING), "exited with status 1")
    assert isinstance(abort, ReloadAborted)
    assert crew.serving() == [(1, 2), (2, 1), (3, 1)]


def test_after_an_aborted_reload_a_dead_worker_is_replaced_by_the_old_generation() -> None:
    crew = Crew(1).started()
    crew.reload()
    crew.exit(crew.the(Phase.BOOTING))
    crew.now += BACKOFF_FIRST + STABLE_SECONDS
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV") == [Spawn(1, 1)]


def test_generations_are_never_used_twice() -> None:
    crew = Crew(1).started()
    crew.reload()
    crew.exit(crew.the(Phase.BOOTING))
    assert crew.reload() == [Spawn(1, 3)]


def test_a_reload_fills_an_empty_slot_first() -> None:
    crew = Crew(3).started()
    third = next(worker for worker in crew.workers(Phase.SERVING) if worker.slot == 3)
    crew.exit(third, "was killed by SIGKILL")
    assert crew.reload() == [Spawn(3, 2)]


def test_an_aborted_reload_that_was_to_grow_goes_back_to_the_old_size() -> None:
    crew = Crew(1).started()
    crew.fleet.reload(4, crew.now)
    assert crew.act() == [Spawn(2, 2)]
    crew.exit(crew.the(Phase.BOOTING))
    assert crew.fleet.size == 1
    assert crew.pass_time(1000) == []


def test_a_reload_that_is_to_shrink_retires_nobody_before_the_new_generation_is_ready() -> None:
    crew = Crew(3).started()
    crew.fleet.reload(1, crew.now)
    assert crew.act() == [Spawn(1, 2)]
    assert crew.serving() == [(1, 1), (2, 1), (3, 1)]
    crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    assert crew.serving() == [(1, 1), (2, 1), (3, 1)]
    assert crew.pass_time(1000) == []


def test_a_reload_that_shrinks_retires_the_others_when_it_is_done() -> None:
    crew = Crew(2).started()
    crew.fleet.reload(1, crew.now)
    crew.act()
    crew.ready(crew.the(Phase.BOOTING))
    done, retire = crew.exit(crew.the(Phase.DRAINING))
    assert done == ReloadDone(2, 0.0)
    assert isinstance(retire, Retire)
    assert retire.worker.slot == 2


def test_nothing_is_asked_for_a_worker_that_has_died_meanwhile() -> None:
    crew = Crew(1).started()
    crew.reload()
    old, new = crew.the(Phase.SERVING), crew.the(Phase.BOOTING)
    crew.fleet.ready(new, crew.now)
    crew.fleet.exited(old, "was killed by SIGKILL", crew.now)
    assert crew.act() == [ReloadDone(2, 0.0)]


def test_a_reload_is_not_done_while_a_slot_is_empty() -> None:
    crew = Crew(2).started()
    crew.reload()
    gone = next(each for each in crew.fleet.roster.workers if each.slot == 2)
    crew.exit(gone, "was killed by SIGSEGV")
    (retire,) = crew.ready(crew.the(Phase.BOOTING))
    assert isinstance(retire, Retire)
    assert crew.exit(retire.worker) == []
    assert crew.pass_time(BACKOFF_FIRST) == [Spawn(2, 2)]
    assert isinstance(crew.ready(crew.the(Phase.BOOTING))[-1], ReloadDone)


def test_a_slot_whose_new_worker_dies_in_the_reload_goes_back_to_the_old_generation() -> None:
    crew = Crew(1).started()
    crew.reload()
    old, new = crew.the(Phase.SERVING), crew.the(Phase.BOOTING)
    crew.ready(new)
    assert isinstance(crew.exit(new, "was killed by SIGSEGV")[0], ReloadAborted)
    assert crew.exit(old) == []
    assert crew.pass_time(BACKOFF_FIRST) == [Spawn(1, 1)]


def test_a_crash_is_replaced_later_each_time_up_to_a_bound() -> None:
    crew = Crew(1).started()
    waits = []
    for _ in range(14):
        died = crew.now
        crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV")
        while not crew.workers(Phase.BOOTING):
            crew.pass_time(crew.fleet.deadline(crew.now) - crew.now)
        waits.append(round(crew.now - died, 3))
        crew.ready(crew.the(Phase.BOOTING))
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 30


def test_a_worker_that_has_served_for_long_is_replaced_at_once() -> None:
    crew = Crew(1).started()
    crew.now += STABLE_SECONDS
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV") == [Spawn(1, 1)]


def test_a_worker_that_wants_to_leave_is_replaced_first() -> None:
    crew = Crew(2).started()
    worker = crew.workers(Phase.SERVING)[1]
    assert crew.fleet.leave(worker, crew.now)
    assert crew.act() == [Spawn(worker.slot, 1)]
    assert crew.ready(crew.the(Phase.BOOTING)) == [Retire(worker)]


def test_one_worker_more_is_spawned_and_one_less_retired() -> None:
    crew = Crew(1).started()
    crew.fleet.scale(2)
    assert crew.act() == [Spawn(2, 1)]
    crew.ready(crew.the(Phase.BOOTING))
    crew.fleet.scale(1)
    (retire,) = crew.act()
    assert isinstance(retire, Retire)
    assert retire.worker.slot == 2


def test_all_workers_are_retired_and_brought_back_by_a_reload() -> None:
    crew = Crew(2).started()
    crew.fleet.scale(0)
    crew.surplus = 2
    assert [type(step) for step in crew.act()] == [Retire, Retire]
    for worker in crew.workers(Phase.DRAINING):
        crew.exit(worker)
    crew.fleet.reload(2, crew.now)
    assert crew.act() == [Spawn(1, 2)]
    assert crew.ready(crew.the(Phase.BOOTING)) == [Spawn(2, 2)]
    assert crew.ready(crew.the(Phase.BOOTING)) == [ReloadDone(2, 0.0)]


def test_a_stop_retires_those_who_serve_and_kills_those_who_boot() -> None:
    crew = Crew(1).started()
    crew.reload()
    serving, booting = crew.the(Phase.SERVING), crew.the(Phase.BOOTING)
    crew.fleet.stop(crew.now)
    assert set(map(repr, crew.act())) == {repr(Retire(serving)), repr(Kill(booting))}
    crew.exit(booting)
    crew.exit(serving)
    assert crew.fleet.roster.workers == []
    assert crew.pass_time(1000) == []


def test_a_quick_stop_shortens_a_slow_one() -> None:
    crew = Crew(1).started()
    crew.fleet.stop(crew.now)
    crew.act()
    worker = crew.the(Phase.DRAINING)
    crew.fleet.stop(crew.now, 1.0)
    assert crew.pass_time(1.0) == [Dump(worker, "not done within kill_timeout")]


def test_a_slow_stop_does_not_lengthen_a_quick_one() -> None:
    crew = Crew(1).started()
    crew.fleet.stop(crew.now, 1.0)
    crew.act()
    crew.fleet.stop(crew.now)
    assert crew.fleet.deadline(crew.now) == crew.now + 1.0


def test_a_worker_that_can_not_be_forked_is_tried_again() -> None:
    crew = Crew(1).started()
    crew.now += STABLE_SECONDS
    worker = crew.the(Phase.SERVING)
    crew.fleet.exited(worker, "was killed by SIGKILL", crew.now)
    assert crew.fleet.plan(crew.now) == [Spawn(1, 1)]
    crew.fleet.not_spawned(1, "fork: no memory", crew.now)
    assert crew.fleet.plan(crew.now) == []
    assert crew.pass_time(BACKOFF_FIRST) == [Spawn(1, 1)]


EVENTS = ("ready", "crash", "leave", "reload", "more", "fewer", "time", "discard", "exit")


@given(
    st.integers(1, 4), st.booleans(), st.lists(st.sampled_from(EVENTS), max_size=60), st.randoms()
)
def test_whatever_happens_the_fleet_comes_to_rest_with_every_slot_served(
    size: int, preload: bool, events: list[str], chance: random.Random
) -> None:
    crew = Crew(size, preload).started()
    fleet = crew.fleet
    crew.surplus = 8
    for event in events:
        workers = list(fleet.roster)
        worker = chance.choice(workers) if workers else None
        if event == "reload" and fleet.rollout is None:
            fleet.reload(max(1, fleet.size), crew.now, preload=preload)
        elif event in ("more", "fewer"):
            fleet.scale(max(1, min(6, fleet.size + (1 if event == "more" else -1))))
        elif event == "time":
            crew.now += chance.choice([0.1, 1.0, LISTEN_TIMEOUT])
        elif worker is None:
            continue
        elif event == "ready":
            fleet.ready(worker, crew.now)
        elif event == "leave" and not worker.id.is_mold:
            fleet.leave(worker, crew.now)
        elif event == "discard":
            fleet.discard(worker, crew.now)
        elif event == "crash" or worker.phase not in FILLS_ITS_SLOT:
            fleet.exited(worker, "ended", crew.now)
        crew.act()
    # From here on everything goes well.
    for _ in range(200):
        for worker in list(fleet.roster):
            if worker.phase is Phase.BOOTING:
                fleet.ready(worker, crew.now)
            elif worker.phase not in IN_THE_RING:
                fleet.exited(worker, "ended", crew.now)
        crew.act()
        due = fleet.deadline(crew.now)
        crew.now = due if due is not math.inf else crew.now
    assert fleet.rollout is None
    assert [slot for slot, _ in crew.serving()] == list(range(1, fleet.size + 1))
    assert crew.act() == []


def test_a_slot_whose_workers_fail_again_and_again_says_so_and_that_it_has_recovered() -> None:
    crew = Crew(1).started()
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV") == []
    crew.pass_time(BACKOFF_FIRST)
    crew.ready(crew.the(Phase.BOOTING))
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV") == [
        BackedOff(1, 2, 2 * BACKOFF_FIRST)
    ]
    crew.pass_time(2 * BACKOFF_FIRST)
    crew.ready(crew.the(Phase.BOOTING))
    assert crew.fleet.deadline(crew.now) == crew.now + STABLE_SECONDS
    assert crew.pass_time(STABLE_SECONDS) == [Recovered(1, 2)]


def test_a_single_failure_needs_no_words() -> None:
    crew = Crew(1).started()
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGSEGV") == []
    crew.pass_time(BACKOFF_FIRST)
    crew.ready(crew.the(Phase.BOOTING))
    assert crew.pass_time(STABLE_SECONDS) == []


# Baking.

BAKE = 60.0


def baking(size: int) -> Crew:
    """A crew whose canary has just become ready."""
    crew = Crew(size).started()
    crew.fleet.reload(size, crew.now, BAKE)
    crew.act()
    canary = crew.the(Phase.BOOTING)
    assert crew.ready(canary) == [Baking(canary, BAKE)]
    return crew


@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_new_worker_bakes_beside_the_old_one_before_the_next_goes(size: int) -> None:
    crew = Crew(size).started()
    crew.fleet.reload(size, crew.now, BAKE)
    steps = crew.act()
    for slot in range(1, size + 1):
        assert steps == [Spawn(slot, 2)]
        crew.ready(crew.the(Phase.BOOTING))
        assert crew.pass_time(BAKE - 1) == []
        assert len(crew.serving()) == size + 1
        assert crew.fleet.deadline(crew.now) == crew.now + 1
        (retire,) = crew.pass_time(1)
        assert isinstance(retire, Retire)
        assert (retire.worker.slot, retire.worker.id.generation) == (slot, 1)
        steps = crew.exit(retire.worker)
    assert isinstance(steps[0], ReloadDone)


def test_a_canary_that_dies_while_it_bakes_aborts_the_reload_and_nobody_else_has_gone() -> None:
    crew = baking(2)
    canary = crew.workers(Phase.SERVING)[-1]
    (abort,) = crew.exit(canary, "was killed by SIGSEGV")
    assert isinstance(abort, ReloadAborted)
    assert abort.why.endswith("was killed by SIGSEGV")
    assert abort.replaced == ()
    assert crew.serving() == [(1, 1), (2, 1)]
    assert crew.pass_time(10 * BAKE) == []


def test_a_canary_that_hangs_while_it_bakes_aborts_the_reload() -> None:
    crew = baking(2)
    canary = crew.workers(Phase.SERVING)[-1]
    crew.fleet.hangs(canary, crew.now)
    assert {type(step) for step in crew.act()} == {Dump, ReloadAborted}
    assert crew.serving() == [(1, 1), (2, 1)]


def test_a_later_slot_that_fails_says_which_slots_have_gone() -> None:
    crew = baking(3)
    (retire,) = crew.pass_time(BAKE)
    assert isinstance(retire, Retire)
    crew.exit(retire.worker)
    (abort,) = crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    assert isinstance(abort, ReloadAborted)
    assert abort.replaced == (1,)
    assert crew.serving() == [(1, 2), (2, 1), (3, 1)]


def test_a_worker_of_the_new_generation_that_dies_after_it_was_used_stops_the_rollout() -> None:
    crew = Crew(2).started()
    crew.reload()
    (retire,) = crew.ready(crew.the(Phase.BOOTING))
    assert isinstance(retire, Retire)
    new = next(each for each in crew.fleet.roster.workers if each.id.generation == 2)
    assert isinstance(crew.exit(new, "was killed by SIGSEGV")[0], ReloadAborted)


def test_an_old_worker_that_dies_while_the_canary_bakes_is_replaced_at_once() -> None:
    crew = baking(2)
    old = next(each for each in crew.fleet.roster.workers if each.slot == 2)
    crew.exit(old, "was killed by SIGKILL")
    assert Spawn(2, 2) in crew.told or crew.pass_time(BACKOFF_FIRST) == [Spawn(2, 2)]
    crew.ready(crew.the(Phase.BOOTING))
    (retire,) = crew.pass_time(BAKE)
    assert isinstance(retire, Retire)
    assert isinstance(crew.exit(retire.worker)[0], ReloadDone)


def test_an_old_worker_retires_when_the_service_stops_while_its_canary_bakes() -> None:
    crew = baking(1)
    crew.fleet.stop(crew.now)
    assert [type(step) for step in crew.act()] == [Retire, Retire]


# Molds.


def replace_slot(crew: Crew, slot: int) -> list[Step]:
    """The booting worker becomes ready, and the one before it exits."""
    before = {worker for worker in crew.workers(Phase.SERVING) if worker.slot == slot}
    steps = crew.ready(crew.the(Phase.BOOTING))
    (old,) = before
    return steps + crew.exit(old)


def test_a_preloaded_start_begins_with_a_mold_and_spawns_workers_when_that_is_ready() -> None:
    crew = Crew(2, preload=True)
    assert crew.act() == [Spawn(MOLD, 1)]
    assert crew.ready(crew.mold(1)) == [Spawn(1, 1), Spawn(2, 1)]


def test_a_mold_that_fails_ends_the_start() -> None:
    crew = Crew(2, preload=True)
    crew.act()
    assert crew.exit(crew.mold(1), "exited with status 3") == []
    assert crew.fleet.goal is Goal.STOP
    assert crew.fleet.failure == "mold gen=1 pid=1 exited with status 3 before it was ready"


def test_a_reload_makes_a_new_mold_and_keeps_the_old_one_until_it_has_ended() -> None:
    crew = Crew(2, preload=True).started()
    assert crew.reload() == [Spawn(MOLD, 2)]
    assert crew.ready(crew.mold(2)) == [Spawn(1, 2)]
    assert replace_slot(crew, 1) == [Retire(crew.told[-2].worker), Spawn(2, 2)]  # type: ignore[union-attr]
    assert crew.mold(1).phase is Phase.SERVING
    assert ReloadDone(2, 0.0) in replace_slot(crew, 2)
    assert crew.mold(1).phase is Phase.DRAINING
    assert crew.mold(2).phase is Phase.SERVING


def test_a_reload_whose_mold_fails_is_aborted() -> None:
    crew = Crew(2, preload=True).started()
    crew.reload()
    why = "mold gen=2 pid=4 exited with status 3 before it was ready"
    assert crew.exit(crew.mold(2), "exited with status 3") == [ReloadAborted(2, 0.0, why, (), 1)]
    assert crew.serving() == [(1, 1), (2, 1)]


def test_a_mold_that_is_not_ready_in_time_is_killed() -> None:
    crew = Crew(1, preload=True).started()
    crew.reload()
    mold = crew.mold(2)
    steps = crew.pass_time(LISTEN_TIMEOUT)
    assert steps[0] == Dump(mold, "not ready within listen_timeout")
    assert isinstance(steps[1], ReloadAborted)
    assert crew.pass_time(DUMP_SECONDS) == [Kill(mold)]


def test_a_reload_that_fails_halfway_goes_back_to_the_old_code_in_every_slot() -> None:
    crew = Crew(3, preload=True).started()
    crew.reload()
    crew.ready(crew.mold(2))
    replace_slot(crew, 1)
    replace_slot(crew, 2)
    assert crew.serving() == [(1, 2), (2, 2), (3, 1)]
    steps = crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    aborted = steps[0]
    assert isinstance(aborted, ReloadAborted)
    assert (aborted.replaced, aborted.back) == ((1, 2), 1)
    assert steps[1:] == [Retire(crew.mold(2)), Spawn(1, 1)]
    replace_slot(crew, 1)
    assert replace_slot(crew, 2)[-1] == WentBack(1, 0.0)
    assert crew.serving() == [(1, 1), (2, 1), (3, 1)]


def test_a_failure_on_the_way_back_is_tried_again() -> None:
    crew = Crew(2, preload=True).started()
    crew.reload()
    crew.ready(crew.mold(2))
    replace_slot(crew, 1)
    crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    assert crew.exit(crew.the(Phase.BOOTING), "was killed by SIGKILL") == []
    assert crew.pass_time(BACKOFF_FIRST) == [Spawn(1, 1)]
    assert isinstance(replace_slot(crew, 1)[-1], WentBack)


def test_the_way_back_from_a_reload_that_was_to_grow_ends() -> None:
    crew = Crew(1, preload=True).started()
    crew.fleet.reload(3, crew.now, preload=True)
    crew.act()
    crew.ready(crew.mold(2))
    crew.ready(crew.the(Phase.BOOTING))
    assert crew.serving() == [(1, 1), (2, 2)]
    crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    crew.exit(crew.mold(2))
    assert crew.fleet.rollout is None
    assert crew.serving() == [(1, 1)]


def test_without_a_mold_of_the_old_code_the_slots_that_were_replaced_stay() -> None:
    crew = Crew(2).started()
    crew.reload()
    replace_slot(crew, 1)
    (aborted,) = crew.exit(crew.the(Phase.BOOTING), "exited with status 3")
    assert isinstance(aborted, ReloadAborted)
    assert (aborted.replaced, aborted.back) == ((1,), None)
    assert crew.serving() == [(1, 2), (2, 1)]


def test_a_mold_that_dies_is_made_anew_when_a_worker_is_to_be_forked() -> None:
    crew = Crew(1, preload=True).started()
    crew.pass_time(STABLE_SECONDS)
    assert crew.exit(crew.mold(1), "was killed by SIGKILL") == []
    assert crew.exit(crew.the(Phase.SERVING), "was killed by SIGKILL") == [Spawn(MOLD, 1)]
    assert crew.ready(crew.mold(1)) == [Spawn(1, 1)]


def test_molds_that_die_young_come_later_each_time() -> None:
    crew = Crew(1, preload=True).started()
    crew.exit(crew.mold(1), "was killed by SIGKILL")
    crew.exit(crew.the(Phase.SERVING), "was killed by SIGKILL")
    assert crew.pass_time(BACKOFF_FIRST) == [Spawn(MOLD, 1)]
    assert crew.exit(crew.mold(1)) == [BackedOff(MOLD, 2, 2 * BACKOFF_FIRST)]
    assert crew.pass_time(2 * BACKOFF_FIRST) == [Spawn(MOLD, 1)]


def test_a_stop_retires_the_molds() -> None:
    crew = Crew(1, preload=True).started()
    mold, worker = crew.mold(1), crew.the(Phase.SERVING)
    crew.fleet.stop(crew.now)
    assert crew.act() == [Retire(worker), Retire(mold)]


def test_a_reload_that_turns_preload_off_ends_without_molds() -> None:
    crew = Crew(1, preload=True).started()
    crew.preload = False
    assert crew.reload() == [Spawn(1, 2)]
    replace_slot(crew, 1)
    assert crew.mold(1).phase is Phase.DRAINING
