"""A worker's own life, as a table."""

from __future__ import annotations

import pytest

from prefork.worker.lifecycle import TRANSITIONS, Action, Event, Lifecycle, State


def test_the_table_is_total() -> None:
    assert set(TRANSITIONS) == set(State)
    for row in TRANSITIONS.values():
        assert set(row) == set(Event)


def serving() -> Lifecycle:
    life = Lifecycle(wait_ready=False)
    life.apply(Event.IMPORTED)
    assert life.apply(Event.PROBED) is Action.REPORT_READY
    return life


def test_without_wait_ready_an_imported_app_is_probed_at_once() -> None:
    assert Lifecycle(wait_ready=False).apply(Event.IMPORTED) is Action.PROBE


def test_a_worker_is_ready_when_its_probe_was_answered() -> None:
    assert serving().state is State.SERVING


def test_a_worker_that_is_being_probed_and_is_told_to_drain_ends_at_once() -> None:
    life = Lifecycle(wait_ready=False)
    life.apply(Event.IMPORTED)
    assert life.apply(Event.DRAIN) is Action.EXIT
    assert life.apply(Event.PROBED) is Action.NOTHING


@pytest.mark.parametrize(
    "events", [(Event.IMPORTED, Event.APP_READY), (Event.APP_READY, Event.IMPORTED)]
)
def test_with_wait_ready_it_takes_both_in_any_order(events: tuple[Event, Event]) -> None:
    life = Lifecycle(wait_ready=True)
    assert life.apply(events[0]) is Action.NOTHING
    assert life.apply(events[1]) is Action.PROBE


def test_the_app_is_probed_once() -> None:
    life = Lifecycle(wait_ready=True)
    outcomes = [life.apply(event) for event in (Event.IMPORTED, Event.APP_READY, Event.APP_READY)]
    assert outcomes.count(Action.PROBE) == 1


def test_a_drained_worker_ends_when_it_is_empty() -> None:
    life = serving()
    assert life.apply(Event.EMPTY) is Action.NOTHING
    assert life.apply(Event.DRAIN) is Action.RETURN_IDLE
    assert life.apply(Event.EMPTY) is Action.EXIT


def test_an_orphan_closes_what_is_idle_as_nobody_takes_it() -> None:
    life = serving()
    assert life.apply(Event.ORPHANED) is Action.END_IDLE
    assert life.apply(Event.EMPTY) is Action.EXIT


def test_a_worker_of_a_service_that_stops_ends_what_is_idle() -> None:
    life = serving()
    assert life.apply(Event.STOP) is Action.END_IDLE


def test_a_stop_reaches_a_worker_that_drains_already() -> None:
    life = serving()
    life.apply(Event.DRAIN)
    assert life.apply(Event.STOP) is Action.END_IDLE


def test_an_orphan_that_boots_ends_at_once() -> None:
    assert Lifecycle(wait_ready=True).apply(Event.ORPHANED) is Action.EXIT


def test_a_terminated_worker_serves_on_until_the_master_drains_it() -> None:
    life = serving()
    assert life.apply(Event.LEAVE) is Action.REPORT_LEAVING
    assert life.state is State.SERVING
