"""What the fuzzer tries for long (`make fuzz`), tried for a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import CASES
from tests.fuzz.properties import PROPERTIES

ALL = [case.data for cases in CASES.values() for case in cases]


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_holds_for_the_corpus(name: str) -> None:
    for data in ALL:
        PROPERTIES[name](data)


@pytest.mark.parametrize("name", PROPERTIES)
@given(
    first=st.sampled_from(ALL),
    second=st.sampled_from(ALL),
    cut=st.integers(0, 300),
    junk=st.binary(max_size=8),
)
def test_a_property_holds_for_what_is_made_of_it(
    name: str, first: bytes, second: bytes, cut: int, junk: bytes
) -> None:
    PROPERTIES[name](first[:cut] + junk + first[cut:] + second)
