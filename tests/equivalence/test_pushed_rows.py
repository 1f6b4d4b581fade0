"""Rows of pushes over a lane against their definition: the product of units and bytes, pair by pair, empty ones left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving.shipping import Found, Lane
from zcube.serving.transfers import LEAST_ROWS, PostedRows


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


@settings(max_examples=200)
@given(lanes_and_pushes())
def test_rows_of_pushes_are_products_of_units_and_bytes(drawn):
    units, unit_bytes, starts_s = drawn
    gpus = np.arange(len(units))
    found = Found(gpus, gpus + len(units), 100 + gpus, True)
    lane = Lane(found, slice(None), found.path.tolist(), units.T.tolist(), True)
    size_bytes = [lane.size_bytes(of_unit) for of_unit in unit_bytes]
    assert size_bytes == (units @ np.array(unit_bytes).T).T.tolist()
    paths, sizes, start_s = lane.rows(size_bytes, starts_s)
    rows = [
        (100 + pair, size, start) for start, of_push in zip(starts_s, size_bytes) for pair, size in enumerate(of_push) if size
    ]
    assert list(zip(paths, sizes, start_s, strict=True)) == rows
    posted = PostedRows()
    half = len(rows) // 2
    posted.add(paths[:half], sizes[:half], start_s[:half])
    columns = posted.add(paths[half:], sizes[half:], start_s[half:])
    assert [column.tolist() for column in columns] == [paths[half:], sizes[half:], start_s[half:]]
    assert [column.tolist() for column in posted.columns()] == [paths, sizes, start_s]
    assert [column.dtype for column in columns] == [np.int64, np.float64, np.float64]


def test_rows_are_kept_when_there_is_no_more_room_for_others():
    posted, many = PostedRows(), np.arange(3 * LEAST_ROWS)
    posted.add([7], [1 << 33], [0.5])
    posted.add(many, many + 1, 2.0)
    posted.add([8], [3], [2.5])
    path, size_bytes, start_s = posted.columns()
    assert path.tolist() == [7, *many.tolist(), 8]
    assert size_bytes.tolist() == [1 << 33, *(many + 1).tolist(), 3]
    assert start_s.tolist() == [0.5, *[2.0] * len(many), 2.5]
