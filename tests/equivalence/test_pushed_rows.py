"""Rows of pushes over a lane against their definition: the product of units and bytes, pair by pair, empty ones left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving.shipping import Carried, Lane, pushed_rows


@st.composite
def lanes_and_pushes(draw: st.DrawFn) -> tuple[np.ndarray, list[list[int]], list[float]]:
    """Units of pairs [pairs, parts], bytes of a unit [pushes, parts], and starts."""
    pairs, parts, pushes = (draw(st.integers(1, most)) for most in (9, 3, 4))
    rows = st.lists(st.integers(0, 80), min_size=parts, max_size=parts)
    units = draw(st.lists(rows, min_size=pairs, max_size=pairs))
    unit_bytes = draw(st.lists(st.lists(st.sampled_from((0, 8448, 1 << 33)), min_size=parts, max_size=parts), min_size=pushes,
                               max_size=pushes))  # fmt: skip
    starts_s = sorted(draw(st.lists(st.floats(0.0, 1e4), min_size=pushes, max_size=pushes)))
    return np.array(units), unit_bytes, starts_s


@settings(max_examples=300, deadline=None)
@given(lanes_and_pushes())
def test_rows_of_pushes_are_products_of_units_and_bytes(drawn):
    units, unit_bytes, starts_s = drawn
    pairs = len(units)
    gpus, carried = np.arange(pairs), Carried(units.tolist())
    lane = Lane(gpus, gpus + pairs, 100 + gpus, carried, True)
    expected = units @ np.array(unit_bytes).T
    assert [carried.all_bytes(of_unit) for of_unit in unit_bytes] == expected.sum(axis=0).tolist()
    for push, of_unit in enumerate(unit_bytes):
        assert carried.size_bytes(of_unit).tolist() == expected[:, push].tolist()
        assert expected[:, push].all() or not carried.carry_all(of_unit)
    paths, size_bytes, start_s = pushed_rows(lane, unit_bytes, starts_s)
    rows = [(100 + pair, expected[pair, push], start) for push, start in enumerate(starts_s) for pair in range(pairs)
            if expected[pair, push]]  # fmt: skip
    assert list(zip(paths.tolist(), size_bytes.tolist(), start_s.tolist(), strict=True)) == rows
    assert (paths.dtype, size_bytes.dtype, start_s.dtype) == (np.int64, np.int64, np.float64)
