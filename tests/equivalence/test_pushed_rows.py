"""Rows of pushes over a lane against their definition: the product of units and bytes, pair by pair, empty ones left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving.shipping import Found, Lane


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


@settings(max_examples=200, deadline=None)
@given(lanes_and_pushes())
def test_rows_of_pushes_are_products_of_units_and_bytes(drawn):
    units, unit_bytes, starts_s = drawn
    gpus = np.arange(len(units))
    found = Found(gpus, gpus + len(units), 100 + gpus, True)
    lane = Lane(found, slice(None), found.path, units.T.tolist(), True)
    size_bytes = [lane.size_bytes(of_unit) for of_unit in unit_bytes]
    assert size_bytes == (units @ np.array(unit_bytes).T).T.tolist()
    paths, sizes, start_s = lane.rows(size_bytes, starts_s)
    rows = [
        (100 + pair, size, start) for start, of_push in zip(starts_s, size_bytes) for pair, size in enumerate(of_push) if size
    ]
    assert list(zip(paths.tolist(), sizes.tolist(), start_s.tolist(), strict=True)) == rows
    assert (paths.dtype, sizes.dtype, start_s.dtype) == (np.int64, np.float64, np.float64)
