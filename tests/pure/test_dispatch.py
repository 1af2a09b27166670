"""The ring, credit, and loan ids, without processes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.master.dispatch import Dispatch, UnknownLoan
from prefork.master.ring import MOST_OWED


def ring_of(*names: str, credit: int = 100, busy: Container[str] = ()) -> Dispatch[str, int]:
    dispatch: Dispatch[str, int] = Dispatch(lambda worker: worker in busy)
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


# Turns, and who is passed over.


def turns(dispatch: Dispatch[str, int], count: int) -> str:
    return "".join(str(dispatch.next_in_turn()) for _ in range(count))


def test_the_turn_passes_over_who_is_in_a_request_and_who_is_passed_over_stays_in_front() -> None:
    busy = {"a"}
    dispatch = ring_of("a", "b", "c", busy=busy)
    assert turns(dispatch, 2) == "bc"
    busy.clear()
    assert turns(dispatch, 4) == "abca"


def test_who_is_passed_over_gets_the_turns_that_it_has_missed() -> None:
    busy = {"a"}
    dispatch = ring_of("a", "b", "c", busy=busy)
    assert turns(dispatch, 6) == "bcbcbc"
    busy.clear()
    assert turns(dispatch, 6) == "aaabca"


def test_who_is_passed_over_for_long_gets_only_some_of_the_turns_that_it_has_missed() -> None:
    busy = {"a"}
    dispatch = ring_of("a", "b", busy=busy)
    turns(dispatch, 1000)
    busy.clear()
    assert turns(dispatch, MOST_OWED + 2).count("a") == MOST_OWED + 1


def test_turns_are_even_whoever_is_passed_over_now_and_then() -> None:
    busy: set[str] = set()
    dispatch = ring_of(*"abcd", busy=busy)
    dice = random.Random(1)
    shares: Counter[str] = Counter()
    for _ in range(1000):
        busy.clear()
        busy.update(name for name in "abcd" if dice.random() < 0.3)
        shares.update(turns(dispatch, 1))
    assert max(shares.values()) - min(shares.values()) <= MOST_OWED


def test_with_nobody_but_busy_ones_the_turns_are_strict() -> None:
    assert turns(ring_of("a", "b", "c", busy="abc"), 7) == "abcabca"


def test_a_worker_that_joins_is_the_last_in_turn_and_owed_nothing() -> None:
    dispatch = ring_of("a", "b")
    turns(dispatch, 20)
    dispatch.open("c", 100)
    dispatch.join("c")
    assert turns(dispatch, 6) == "abcabc"


# Room.


def tick(dispatch: Dispatch[str, int], scarce: bool = False, **begun: int) -> None:
    """A tick finds these in a request, having begun so many, and all others at rest."""
    for worker in dispatch.workers():
        dispatch.observe(worker, begun.get(worker, 0), worker in begun, scarce)


def stuck(*names: str, busy: Container[str] = ()) -> Dispatch[str, int]:
    """A ring of "a", "b" and "c" of which two ticks have found these in their first request."""
    dispatch = ring_of("a", "b", "c", busy=busy)
    for _ in range(2):
        tick(dispatch, **dict.fromkeys(names, 1))
    return dispatch


def test_a_worker_in_the_same_request_as_at_the_tick_before_has_no_room() -> None:
    dispatch = stuck("a")
    assert turns(dispatch, 4) == "bcbc"
    assert dispatch.least_busy() == "b"


def test_a_worker_in_another_request_than_at_the_tick_before_has_room() -> None:
    dispatch = ring_of("a", "b")
    for begun in range(1, 5):
        tick(dispatch, a=begun)
    assert turns(dispatch, 4) == "abab"


def test_a_worker_that_comes_unstuck_is_owed_nothing() -> None:
    dispatch = stuck("a")
    turns(dispatch, 10)
    tick(dispatch, a=1)
    tick(dispatch)
    assert sorted(turns(dispatch, 3)) == ["a", "b", "c"]


def test_nobody_is_next_when_everybody_is_stuck() -> None:
    dispatch = stuck("a", "b", "c")
    assert dispatch.next_in_turn() is None
    assert dispatch.least_busy() is None
    assert not dispatch.has_room()
    assert sorted(dispatch.narrow()) == ["a", "b", "c"]


def test_a_worker_that_says_that_it_has_room_gets_one_connection_until_it_says_so_again() -> None:
    dispatch = stuck("a", "b", "c")
    for _ in range(3):
        dispatch.room("b")
        assert dispatch.next_in_turn() == "b"
        dispatch.lend(1, "b")
        assert dispatch.next_in_turn() is None


def test_where_room_is_scarce_a_free_worker_gets_twice_as_much_from_tick_to_tick() -> None:
    """What it gets first may be silent, and must not hold up what comes after for long."""
    dispatch = stuck("a", "b", "c")
    lent = []
    for number in range(4):
        tick(dispatch, scarce=True, a=1, c=1)
        lent.append(0)
        while dispatch.next_in_turn() is not None:
            dispatch.lend(number, "b")
            lent[-1] += 1
    assert lent == [1, 2, 4, 8]


def test_a_worker_that_joins_where_room_is_scarce_does_not_get_all_that_waits() -> None:
    dispatch = stuck("a", "b", "c")
    dispatch.open("d", 100)
    dispatch.join("d", scarce=True)
    assert dispatch.next_in_turn() == "d"
    dispatch.lend(1, "d")
    assert dispatch.next_in_turn() is None


def test_a_worker_that_is_free_when_nothing_waits_has_room_for_anything() -> None:
    dispatch = stuck("a", "b", "c")
    tick(dispatch)
    for number in range(30):
        worker = dispatch.next_in_turn()
        assert worker is not None
        dispatch.lend(number, worker)
    assert [dispatch.loans(worker) for worker in "abc"] == [10, 10, 10]


def test_the_only_worker_has_room_whatever_it_does() -> None:
    dispatch = ring_of("a")
    for _ in range(5):
        tick(dispatch, a=1)
        assert dispatch.next_in_turn() == "a"
        dispatch.lend(1, "a")
    assert not dispatch.crowded(), "there is nobody to take a loan over"


def test_a_stuck_worker_has_room_again_when_it_is_the_only_one_left() -> None:
    dispatch = stuck("a")
    dispatch.leave("b")
    dispatch.leave("c")
    tick(dispatch, a=1)
    assert dispatch.next_in_turn() == "a"


def test_at_a_stop_only_credit_counts() -> None:
    dispatch = stuck("a", "b", "c")
    dispatch.open_windows()
    assert turns(dispatch, 3) == "abc"


def test_ticks_matter_while_a_loan_can_wait_behind_another() -> None:
    dispatch = ring_of("a", "b")
    loan = dispatch.lend(1, "a")
    dispatch.lend(2, "b")
    assert not dispatch.crowded()
    dispatch.lend(3, "a")
    assert dispatch.crowded()
    dispatch.end(loan, "a")
    assert not dispatch.crowded()


def test_the_loans_of_a_retiring_worker_can_wait_while_anybody_serves() -> None:
    dispatch = ring_of("old", "new")
    dispatch.lend(1, "old")
    dispatch.lend(2, "old")
    dispatch.leave("old")
    assert dispatch.crowded()
    for _ in range(2):
        tick(dispatch, old=1)
    assert dispatch.stuck() == ["old"]


# Recall.


def test_a_recalled_loan_leaves_its_connection_and_keeps_its_id() -> None:
    dispatch = ring_of("a", "b")
    loan = dispatch.lend(7, "a")
    assert dispatch.recall(loan, "a") == 7
    assert dispatch.loans("a") == 0
    assert dispatch.lend(7, "b") != loan
    dispatch.release(loan, "a")
    assert dispatch.lend(8, "b") == loan


def test_a_recalled_loan_uses_up_credit_until_it_is_released() -> None:
    dispatch = ring_of("a", credit=1)
    loan = dispatch.lend(1, "a")
    dispatch.recall(loan, "a")
    assert dispatch.next_in_turn() is None
    dispatch.release(loan, "a")
    assert dispatch.next_in_turn() == "a"


def test_a_worker_can_neither_end_what_was_recalled_nor_release_what_was_not() -> None:
    dispatch = ring_of("a")
    recalled, kept = dispatch.lend(1, "a"), dispatch.lend(2, "a")
    dispatch.recall(recalled, "a")
    with pytest.raises(UnknownLoan):
        dispatch.end(recalled, "a")
    with pytest.raises(UnknownLoan):
        dispatch.release(kept, "a")


def test_the_ids_of_recalled_loans_are_free_when_their_worker_is_dead() -> None:
    dispatch = ring_of("a", "b")
    loan = dispatch.lend(1, "a")
    dispatch.recall(loan, "a")
    assert dispatch.close("a") == {}
    assert dispatch.lend(1, "b") == loan


# Evening out.


def test_after_a_crash_the_others_have_a_surplus_for_the_new_worker() -> None:
    dispatch = ring_of("a", "b", "c", "d")
    for worker, count in {"a": 26, "b": 27, "c": 27}.items():
        for number in range(count):
            dispatch.lend(number, worker)
    assert dict(dispatch.surplus(parked=0)) == {"a": 6, "b": 7, "c": 7}


def test_what_is_parked_makes_up_for_a_worker_with_few_loans() -> None:
    dispatch = ring_of("a", "b")
    for number in range(20):
        dispatch.lend(number, "a")
    assert dispatch.surplus(parked=20) == []


def test_nobody_has_a_surplus_for_the_successor_of_a_worker_that_retires() -> None:
    dispatch = ring_of("a", "b", "new a")
    for number in range(40):
        dispatch.lend(number, "ab"[number % 2])
    dispatch.leave("a")
    assert dispatch.surplus(parked=0) == []


def test_small_differences_are_no_surplus() -> None:
    dispatch = ring_of("a", "b")
    for number in range(25):
        dispatch.lend(number, "a" if number < 15 else "b")
    assert dispatch.surplus(parked=0) == []


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
