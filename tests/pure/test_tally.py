"""Tallies and facts: counted right, read whole, and neither lost nor counted twice."""

from __future__ import annotations

from time import monotonic

import pytest

from prefork.metrics.exposition import Exposition
from prefork.wire.board import ROWS, Board
from prefork.wire.facts import Counts, Facts, WorkerFacts
from prefork.wire.tally import BOUNDS

TIMES = [(0.0, 0), (BOUNDS[0], 0), (BOUNDS[0] * 1.01, 1), (BOUNDS[-1], 13), (1e6, len(BOUNDS))]


def facts(at: float = 0.0, ready: bool = True, rows: int = 1) -> Facts:
    workers = [WorkerFacts(row + 1, 1, 0, row, "serving") for row in range(rows)]
    return Facts(at, ready, 1, rows, workers, {"lent": 3}, {}, Counts(exits={"crash": 2}))


@pytest.mark.parametrize("seconds, bucket", TIMES)
def test_an_exchange_is_in_the_bucket_whose_bound_it_does_not_exceed(
    seconds: float, bucket: int
) -> None:
    tally = Board().row(5).tally
    tally.count("204 No Content", seconds)
    tally.count("", seconds)
    assert tally.buckets[bucket] == sum(tally.buckets) == 2
    assert tally.classes[0] == tally.classes[2] == 1
    assert sum(tally.classes) == 2
    assert tally.seconds == pytest.approx(2 * seconds, rel=1e-12)


def test_what_the_dead_have_counted_is_in_the_totals_once() -> None:
    board = Board()
    first, last = board.row(0), board.row(ROWS - 1)
    for row in (first, last):
        row.counters[0] = 7
        row.tally.count("200 OK", 1.0)
        board.bury(row)
        assert row.counters[0] == sum(row.tally.buckets) == 0
    board.totals.answered(502)
    assert board.totals.classes[2] == sum(board.totals.buckets) == 2
    assert board.totals.classes[5] == 1
    assert board.totals.seconds == 2.0
    # Nothing but that was written.
    assert board.facts.read() is None
    assert not any(board.loans[:ROWS])


def test_nothing_is_read_in_the_middle_of_a_burial() -> None:
    board = Board()
    looks = []

    def look() -> int:
        looks.append(1)
        if len(looks) == 1:
            board.bury(board.row(0))
        return len(looks)

    assert board.totals.read(look) == 2
    # Whoever has died in the middle of one does not hold up anybody for ever.
    with board.totals.folding():
        assert board.totals.read(look) > 2


def test_facts_are_read_as_they_were_written_or_not_at_all() -> None:
    board = Board()
    board.facts.write(facts(rows=ROWS))
    board.facts.write(facts(rows=2))
    assert board.facts.read() == facts(rows=2)
    board.facts._memory[20] ^= 1
    assert board.facts.read() is None


def test_readiness_and_life_are_what_the_master_last_said() -> None:
    board = Board()
    exposition = Exposition(board)
    assert not exposition.live and not exposition.ready
    assert b"prefork_build_info" in exposition.text()
    board.facts.write(facts(monotonic()))
    assert exposition.live and exposition.ready
    board.facts.write(facts(monotonic() - 60, ready=False))
    assert not exposition.live and not exposition.ready


def test_the_living_and_the_dead_are_told_as_one_sum() -> None:
    board = Board()
    board.facts.write(facts(rows=2))
    for number in range(3):
        row = board.row(number)
        row.counters[0] = 4
        row.tally.count("404 Not Found", 0.3)
    board.bury(board.row(2))
    text = Exposition(board).text().decode()
    for sample in (
        'prefork_requests_total{status="4xx"} 3.0',
        'prefork_request_duration_seconds_bucket{le="0.25"} 0.0',
        'prefork_request_duration_seconds_bucket{le="0.5"} 3.0',
        "prefork_requests_in_flight 6.0",
        'prefork_worker_exits_total{reason="crash"} 2.0',
        'prefork_connections{state="lent"} 3.0',
    ):
        assert f"\n{sample}\n" in text
