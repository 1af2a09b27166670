"""The ring, credit, and loan ids, without processes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.master.dispatch import Dispatch, UnknownLoan


def ring_of(*names: str, credit: int = 100) -> Dispatch[str, int]:
    dispatch: Dispatch[str, int] = Dispatch(lambda worker: 0)
    for name in names:
        dispatch.open(name, credit)
        dispatch.join(name)
    return dispatch


def test_new_connections_go_round_strictly_in_turn() -> None:
    dispatch = ring_of("a", "b", "c")
    assert [dispatch.next_in_turn() for _ in range(7)] == list("abcabca")


def test_the_ring_passes_over_a_worker_without_credit() -> None:
    dispatch = ring_of("a", "b", credit=1)
    dispatch.lend(1, "a")
    assert [dispatch.next_in_turn() for _ in range(3)] == ["b", "b", "b"]


def test_nobody_is_next_when_nobody_has_credit() -> None:
    dispatch = ring_of("a", credit=1)
    dispatch.lend(1, "a")
    assert dispatch.next_in_turn() is None
    assert dispatch.least_busy() is None


def test_nobody_is_next_in_an_empty_ring() -> None:
    assert Dispatch[str, int](lambda worker: 0).next_in_turn() is None
    assert Dispatch[str, int](lambda worker: 0).least_busy() is None


def test_a_worker_that_has_left_keeps_its_loans_but_gets_no_more() -> None:
    dispatch = ring_of("a", "b")
    loan = dispatch.lend(1, "a")
    dispatch.leave("a")
    assert [dispatch.next_in_turn() for _ in range(2)] == ["b", "b"]
    assert dispatch.end(loan, "a") == 1


def test_a_connection_that_moves_goes_to_the_least_busy_worker() -> None:
    dispatch = ring_of("a", "b", "c")
    for connection in range(4):
        dispatch.lend(connection, "ab"[connection % 2])
    assert dispatch.least_busy() == "c"


def test_the_connections_of_a_retiring_worker_move_to_its_replacement() -> None:
    dispatch = ring_of("a", "b")
    loans = {dispatch.lend(number, "ab"[number % 2]): number for number in range(100)}
    dispatch.open("new a", 100)
    dispatch.join("new a")
    dispatch.leave("a")
    for connection in dispatch.close("a").values():
        worker = dispatch.least_busy()
        assert worker is not None
        dispatch.lend(connection, worker)
    assert (dispatch.loans("new a"), dispatch.loans("b")) == (50, 50)
    assert len(loans) == 100


def test_an_ended_loan_is_unknown() -> None:
    dispatch = ring_of("a")
    loan = dispatch.lend(1, "a")
    dispatch.end(loan, "a")
    with pytest.raises(UnknownLoan):
        dispatch.end(loan, "a")


def test_a_worker_can_not_end_the_loan_of_another() -> None:
    dispatch = ring_of("a", "b")
    loan = dispatch.lend(1, "a")
    with pytest.raises(UnknownLoan):
        dispatch.end(loan, "b")


@given(st.lists(st.sampled_from(["lend", "move", "end", "die", "join"]), max_size=200))
def test_no_connection_is_ever_lent_twice_or_forgotten(steps: list[str]) -> None:
    dispatch = ring_of("0", credit=5)
    lent: dict[int, tuple[str, int]] = {}
    homeless: list[int] = []
    born = 1
    for number, step in enumerate(steps):
        if step == "join":
            dispatch.open(str(born), 5)
            dispatch.join(str(born))
            born += 1
        elif step == "die" and lent:
            worker = next(iter(lent.values()))[0]
            back = dispatch.close(worker)
            assert back == {loan: c for loan, (w, c) in lent.items() if w == worker}
            lent = {loan: entry for loan, entry in lent.items() if entry[0] != worker}
            homeless += back.values()
        elif step == "end" and lent:
            loan, (worker, connection) = lent.popitem()
            assert dispatch.end(loan, worker) == connection
        elif step in ("lend", "move"):
            chosen = dispatch.next_in_turn() if step == "lend" else dispatch.least_busy()
            if chosen is not None:
                connection = homeless.pop() if homeless else number
                loan = dispatch.lend(connection, chosen)
                assert loan not in lent, "an id that is in use"
                lent[loan] = (chosen, connection)
        loads = Counter(worker for worker, _ in lent.values())
        assert all(load <= 5 for load in loads.values()), "more than the credit"
