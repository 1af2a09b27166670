"""What the fuzzer tries for long (`make fuzz`), tried for a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.properties import PROPERTIES
from tests.fuzz.seeds import SEEDS


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_holds_for_its_seeds(name: str) -> None:
    for data in SEEDS[name]:
        PROPERTIES[name](data)


@pytest.mark.parametrize("name", PROPERTIES)
@given(data=st.data())
def test_a_property_holds_for_what_is_made_of_them(name: str, data: st.DataObject) -> None:
    seeds = st.sampled_from(SEEDS[name])
    first, second = data.draw(seeds), data.draw(seeds)
    cut = data.draw(st.integers(0, len(first)))
    gap = data.draw(st.integers(0, 2))
    junk = data.draw(st.binary(max_size=8))
    PROPERTIES[name](first[:cut] + junk + first[cut + gap :] + second)
