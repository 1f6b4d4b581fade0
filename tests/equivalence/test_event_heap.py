"""The heap of the fluid's kernels against a sorted list."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.network.event_heap import ENTRY, heap_pop, heap_set
from zcube.network.kernels import kernel


@kernel
def taken(heap: np.ndarray, place: np.ndarray, size: np.ndarray, item: np.ndarray, key: np.ndarray, out: np.ndarray) -> int:
    """Give items keys, a new one where they have one, take the first where an item is below 0, and write down what came."""
    count = 0
    for at in range(len(item)):
        if item[at] >= 0:
            heap_set(heap, place, size, item[at], key[at])
        elif size[0] > 0:
            out[count] = heap_pop(heap, place, size)
            count += 1
    return count


@pytest.mark.parametrize("keys", [1, 3, 1000])
@pytest.mark.parametrize("items", [1, 2, 3, 40])
def test_items_leave_by_key_and_number(items: int, keys: int) -> None:
    draw = np.random.default_rng(items)
    item = np.where(draw.random(500) < 0.6, draw.integers(0, items, 500), -1)
    key = draw.integers(0, keys, 500).astype(np.float64)
    heap, place, size, out = np.zeros(items, ENTRY), np.full(items, -1), np.zeros(1, np.int64), np.zeros(500, np.int64)
    count = taken(heap, place, size, item, key, out)
    key_of: dict[int, float] = {}
    expected = []
    for one, its_key in zip(item.tolist(), key.tolist(), strict=True):
        if one >= 0:
            key_of[one] = its_key
        elif key_of:
            expected.append(min(key_of, key=lambda other: (key_of[other], other)))
            del key_of[expected[-1]]
    assert out[:count].tolist() == expected
    assert size[0] == len(key_of) and all(heap[place[one]]["item"] == one for one in key_of)
