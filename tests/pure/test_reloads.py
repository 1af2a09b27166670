"""Who waits for a reload hears of the one that brings the code as it was when he asked."""

from __future__ import annotations

from prefork.master.failures import Failure, Failures
from prefork.master.fleet import Fleet
from prefork.master.life import Phase, Worker
from prefork.master.reloads import Reloads
from prefork.master.steps import ReloadAborted, ReloadDone
from prefork.wire.control import Answer, Progress, Reloaded
from prefork.wire.identity import WorkerId


class Listener:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.told: list[Answer] = []
        self.waiting = True

    def tell(self, answer: Answer) -> None:
        self.told.append(answer)

    def release(self) -> None:
        self.waiting = False

    @property
    def end(self) -> Reloaded | None:
        ends = [answer for answer in self.told if isinstance(answer, Reloaded)]
        assert len(ends) <= 1
        return ends[0] if ends else None

    @property
    def events(self) -> list[str]:
        return [answer.event for answer in self.told if isinstance(answer, Progress)]


def a_worker(slot: int, generation: int, phase: Phase = Phase.SERVING) -> Worker:
    return Worker(WorkerId(slot, generation, 100 * generation + slot), 30.0, 0.0, 0.0, phase)


def a_service(size: int = 2) -> tuple[Fleet, Failures, Reloads]:
    fleet, failures = Fleet(size), Failures()
    for slot in range(1, size + 1):
        fleet.roster.add(a_worker(slot, 1))
    return fleet, failures, Reloads(fleet, failures)


def begin(fleet: Fleet, reloads: Reloads) -> None:
    fleet.reload(fleet.size, 0.0)
    reloads.taken_up()
    reloads.begun()


def test_the_second_of_two_hears_of_the_second_reload() -> None:
    fleet, _, reloads = a_service()
    first, second = Listener(), Listener()
    reloads.await_next(first, queued=False)
    begin(fleet, reloads)
    reloads.await_next(second, queued=True)
    reloads.stepped(ReloadDone(2, 1.5))
    assert first.end == Reloaded(good=True, generation=2, seconds=1.5)
    assert (first.events, first.waiting) == (["begun"], False)
    assert (second.events, second.end, second.waiting) == (["queued"], None, True)
    fleet.rollout = None
    begin(fleet, reloads)
    reloads.stepped(ReloadDone(3, 1.0))
    assert second.end is not None and second.end.generation == 3


def test_progress_says_how_many_slots_are_replaced() -> None:
    fleet, _, reloads = a_service()
    listener = Listener()
    reloads.await_next(listener, queued=False)
    begin(fleet, reloads)
    assert fleet.rollout is not None
    fleet.rollout.slots.discard(1)
    reloads.befell(a_worker(1, 2), "ready", 0.3)
    told = Progress(event="ready", slot=1, generation=2, pid=201, seconds=0.3, replaced=1, slots=2)
    assert listener.told[-1] == told


def test_a_failure_is_told_when_the_new_workers_are_gone_with_what_they_have_said_last() -> None:
    fleet, failures, reloads = a_service()
    listener = Listener()
    reloads.await_next(listener, queued=False)
    begin(fleet, reloads)
    late = a_worker(1, 2, Phase.DUMPING)
    fleet.roster.add(late)
    failures.note(Failure(late.id, "was late", "", 1.0))
    fleet.rollout = None
    reloads.stepped(ReloadAborted(2, 3.0, "it was late"))
    reloads.settle()
    assert (listener.events[-1], listener.end) == ("aborted", None)
    failures.add_trace(late.id, "it hung here")
    fleet.roster.remove(late)
    reloads.settle()
    assert listener.end == Reloaded(
        good=False, generation=2, seconds=3.0, why="it was late", trace="it hung here"
    )


def test_a_failure_is_told_before_the_next_reload_begins_at_the_latest() -> None:
    fleet, _, reloads = a_service()
    first, second = Listener(), Listener()
    reloads.await_next(first, queued=False)
    begin(fleet, reloads)
    fleet.roster.add(a_worker(1, 2, Phase.DYING))
    fleet.rollout = None
    reloads.stepped(ReloadAborted(2, 1.0, "broken"))
    reloads.await_next(second, queued=False)
    begin(fleet, reloads)
    assert first.end is not None and first.end.why == "broken"
    assert second.end is None


def test_slots_that_keep_the_new_generation_are_named() -> None:
    fleet, _, reloads = a_service()
    listener = Listener()
    reloads.await_next(listener, queued=False)
    begin(fleet, reloads)
    reloads.stepped(ReloadAborted(2, 1.0, "broken", replaced=(1,)))
    reloads.settle()
    assert listener.end is not None and listener.end.slots == [1]


def test_all_hear_of_a_stop_and_who_has_gone_away_of_nothing() -> None:
    fleet, _, reloads = a_service()
    first, second, gone = Listener(), Listener(), Listener()
    reloads.await_next(first, queued=False)
    begin(fleet, reloads)
    for listener in (second, gone):
        reloads.await_next(listener, queued=True)
    reloads.forget(gone)
    reloads.stopped()
    for listener in (first, second):
        assert listener.end is not None and listener.end.why == "the service stops"
    assert gone.end is None


def test_a_refusal_is_told_to_those_whose_reload_it_was() -> None:
    _, _, reloads = a_service()
    first, second = Listener(), Listener()
    reloads.await_next(first, queued=False)
    reloads.taken_up()
    reloads.await_next(second, queued=False)
    reloads.refused("no such setting")
    assert first.end is not None and first.end.why == "no such setting"
    assert second.end is None
