"""A binary heap over integers 0..n-1 with changeable keys, as Numba kernels over arrays.

``heap[0 .. size[0]]`` holds items with their keys, ``place[item]`` where an item stands in the heap, -1 if it does not. Items
of equal key leave in order of their number, so that runs repeat.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inlined

#: One place of a heap. Key and item lie together, so that two items are compared without looking anywhere else.
ENTRY = np.dtype([("key", "f8"), ("item", "i8")])


@inlined
def _before(key: float, item: int, other_key: float, other: int) -> bool:
    # Which it is cannot be foreseen: without branches a processor need not guess.
    return (key < other_key) | ((key == other_key) & (item < other))


@inlined
def _put(heap: np.ndarray, place: np.ndarray, at: int, key: float, item: int) -> None:
    heap[at].key, heap[at].item = key, item
    place[item] = at


@inlined
def _rise(heap: np.ndarray, place: np.ndarray, at: int, key: float, item: int) -> None:
    """Put an item in at an empty place or above it."""
    while at > 0:
        above = (at - 1) // 2
        above_key, above_item = heap[above].key, heap[above].item
        if not _before(key, item, above_key, above_item):
            break
        _put(heap, place, at, above_key, above_item)
        at = above
    _put(heap, place, at, key, item)


@inlined
def _sink(heap: np.ndarray, place: np.ndarray, size: np.ndarray, at: int, key: float, item: int) -> None:
    """Put an item in at an empty place or below it."""
    while True:
        below = 2 * at + 1
        if below >= size[0]:
            break
        if below + 1 < size[0]:
            below += _before(heap[below + 1].key, heap[below + 1].item, heap[below].key, heap[below].item)
        below_key, below_item = heap[below].key, heap[below].item
        if not _before(below_key, below_item, key, item):
            break
        _put(heap, place, at, below_key, below_item)
        at = below
    _put(heap, place, at, key, item)


@inlined
def _fill(heap: np.ndarray, place: np.ndarray, size: np.ndarray, key: float, item: int) -> None:
    """Let an item from the end take the place of the first one: it belongs far down, so that it comes in from below."""
    at, count = 0, size[0]
    while 2 * at + 2 < count:
        below = 2 * at + 1
        below += _before(heap[below + 1].key, heap[below + 1].item, heap[below].key, heap[below].item)
        _put(heap, place, at, heap[below].key, heap[below].item)
        at = below
    if 2 * at + 1 < count:
        _put(heap, place, at, heap[2 * at + 1].key, heap[2 * at + 1].item)
        at = 2 * at + 1
    _rise(heap, place, at, key, item)


@inlined
def heap_set(heap: np.ndarray, place: np.ndarray, size: np.ndarray, item: int, key: float) -> None:
    """Give an item a key, adding it if it is not in the heap."""
    at = place[item]
    if at < 0:
        size[0] += 1
        _rise(heap, place, size[0] - 1, key, item)
    elif key < heap[at].key:
        _rise(heap, place, at, key, item)
    else:
        _sink(heap, place, size, at, key, item)


@inlined
def heap_pop(heap: np.ndarray, place: np.ndarray, size: np.ndarray) -> int:
    """Remove and return the item with the smallest key; the heap must not be empty."""
    item = heap[0].item
    place[item] = -1
    size[0] -= 1
    if size[0] > 0:
        _fill(heap, place, size, heap[size[0]].key, heap[size[0]].item)
    return item
