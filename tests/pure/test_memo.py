"""What is remembered is what would be computed, and never more than its bound allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.http.memo import Memo

BOUND = 4


class Doubling:
    """A memo of doubles, and which ones were computed."""

    def __init__(self) -> None:
        self.computed: list[int] = []
        self.memo: Memo[int, int] = Memo(self._double, BOUND, lambda value: value < 1000)

    def _double(self, key: int) -> int:
        if key < 0:
            raise ValueError(key)
        self.computed.append(key)
        return 2 * key

    @property
    def size(self) -> int:
        return len(self.memo) + len(self.memo._before)


@given(keys=st.lists(st.integers(0, 700), max_size=60))
def test_a_memo_gives_what_would_be_computed_and_stays_within_its_bound(keys: list[int]) -> None:
    doubling = Doubling()
    for key in keys:
        assert doubling.memo[key] == 2 * key
        assert doubling.size <= 2 * BOUND


def test_a_value_is_computed_once_as_long_as_it_is_asked_for() -> None:
    doubling = Doubling()
    for other in range(1, 100):
        assert (doubling.memo[0], doubling.memo[other]) == (0, 2 * other)
    assert doubling.computed.count(0) == 1


def test_a_value_that_is_not_asked_for_while_many_others_come_is_computed_again() -> None:
    doubling = Doubling()
    for key in [0, *range(1, 2 * BOUND + 1), 0]:
        assert doubling.memo[key] == 2 * key
    assert doubling.computed.count(0) == 2


def test_a_value_that_is_not_small_is_not_kept() -> None:
    doubling = Doubling()
    assert [doubling.memo[500] for _ in range(3)] == [1000] * 3
    assert doubling.computed == [500] * 3
    assert doubling.size == 0


def test_what_can_not_be_computed_is_refused_each_time() -> None:
    doubling = Doubling()
    for _ in range(2):
        with pytest.raises(ValueError, match="-1"):
            doubling.memo[-1]
    assert doubling.size == 0


def test_finding_computes_nothing() -> None:
    doubling = Doubling()
    assert doubling.memo.find(1) is None
    assert doubling.computed == []
    doubling.memo.keep(1, 3)
    assert doubling.memo.find(1) == 3
    assert doubling.memo[1] == 3


def test_what_is_found_is_kept_longer() -> None:
    doubling = Doubling()
    doubling.memo.keep(0, 7)
    for other in range(1, 100):
        doubling.memo.keep(other, other)
        assert doubling.memo.find(0) == 7
        assert doubling.size <= 2 * BOUND
