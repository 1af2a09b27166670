"""When connections are turned away."""

from __future__ import annotations

import math

from prefork.crowding import ASKING_PAUSE, FULL_PATIENCE, Crowding
from prefork.seldom import LOG_SECONDS


def test_nothing_is_due_while_there_is_credit() -> None:
    crowding = Crowding()
    assert not crowding.waits
    assert crowding.deadline == math.inf


def test_who_waits_is_turned_away_when_nothing_has_moved_for_long_enough() -> None:
    crowding = Crowding()
    crowding.full(10.0)
    assert crowding.deadline == 10.0
    crowding.look(10.0)
    assert not crowding.turns_away
    assert crowding.deadline == 10.0 + ASKING_PAUSE
    crowding.full(10.0 + FULL_PATIENCE / 2)  # it is still
    crowding.look(10.0 + FULL_PATIENCE)
    assert crowding.turns_away
    crowding.moved()
    assert not crowding.turns_away


def test_the_time_begins_anew_when_somebody_was_lent() -> None:
    crowding = Crowding()
    crowding.full(10.0)
    crowding.moved()
    assert crowding.deadline == math.inf
    crowding.full(12.0)
    crowding.look(10.0 + FULL_PATIENCE)
    assert not crowding.turns_away


def test_the_workers_are_not_asked_again_at_once() -> None:
    crowding = Crowding()
    assert crowding.may_ask(10.0)
    assert not crowding.may_ask(10.0 + ASKING_PAUSE / 2)
    assert crowding.may_ask(10.0 + ASKING_PAUSE)


def test_those_turned_away_are_counted_until_it_is_logged_again() -> None:
    crowding = Crowding()
    assert crowding.turned_away(10.0) == 1
    assert [crowding.turned_away(11.0) for _ in range(5)] == [0] * 5
    assert crowding.turned_away(10.0 + LOG_SECONDS) == 6
