"""Numbers by first appearance against a dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zcube.workload.appearance import numbered


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=80))
def test_numbers_equal_those_of_a_dictionary(keys):
    seen: dict[int, int] = {}
    expected = [seen.setdefault(key, len(seen)) for key in keys]
    numbers, distinct = numbered(np.array(keys, dtype=np.int64))
    assert numbers.tolist() == expected and distinct == len(seen)


def test_unsigned_keys_are_told_apart():
    numbers, distinct = numbered(np.array([2**64 - 1, 0, 2**63, 2**64 - 1], dtype=np.uint64))
    assert numbers.tolist() == [0, 1, 2, 0] and distinct == 3
