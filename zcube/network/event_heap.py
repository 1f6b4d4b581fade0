"""A binary heap over integers 0..n-1 with changeable keys, as Numba kernels over arrays.

``heap[0 .. size[0]]`` holds items, ``key[item]`` their keys, ``place[item]`` where an item stands in the heap, -1 if it does
not. Items of equal key leave in order of their number, so that runs repeat.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inlined


@inlined
def _before(key: np.ndarray, one: int, other: int) -> bool:
    # Which it is cannot be foreseen: without branches a processor need not guess.
    return (key[one] < key[other]) | ((key[one] == key[other]) & (one < other))


@inlined
def _rise(heap: np.ndarray, key: np.ndarray, place: np.ndarray, at: int) -> None:
    item = heap[at]
    while at > 0:
        above = (at - 1) // 2
        if not _before(key, item, heap[above]):
            break
        heap[at] = heap[above]
        place[heap[at]] = at
        at = above
    heap[at] = item
    place[item] = at


@inlined
def _sink(heap: np.ndarray, key: np.ndarray, place: np.ndarray, size: np.ndarray, at: int) -> None:
    item = heap[at]
    while True:
        below = 2 * at + 1
        if below >= size[0]:
            break
        if below + 1 < size[0] and _before(key, heap[below + 1], heap[below]):
            below += 1
        if not _before(key, heap[below], item):
            break
        heap[at] = heap[below]
        place[heap[at]] = at
        at = below
    heap[at] = item
    place[item] = at


@inlined
def _fill(heap: np.ndarray, key: np.ndarray, place: np.ndarray, size: np.ndarray, item: int) -> None:
    """Let an item from the end take the place of the first one: it belongs far down, so that it comes in from below."""
    at, count = 0, size[0]
    while 2 * at + 2 < count:
        below = 2 * at + 1
        below += _before(key, heap[below + 1], heap[below])
        heap[at] = heap[below]
        place[heap[at]] = at
        at = below
    if 2 * at + 1 < count:
        heap[at] = heap[2 * at + 1]
        place[heap[at]] = at
        at = 2 * at + 1
    heap[at] = item
    _rise(heap, key, place, at)


@inlined
def heap_set(heap: np.ndarray, key: np.ndarray, place: np.ndarray, size: np.ndarray, item: int, value: float) -> None:
    """Give an item a key, adding it if it is not in the heap."""
    if place[item] < 0:
        key[item] = value
        heap[size[0]] = item
        place[item] = size[0]
        size[0] += 1
        _rise(heap, key, place, place[item])
    elif value < key[item]:
        key[item] = value
        _rise(heap, key, place, place[item])
    else:
        key[item] = value
        _sink(heap, key, place, size, place[item])


@inlined
def heap_pop(heap: np.ndarray, key: np.ndarray, place: np.ndarray, size: np.ndarray) -> int:
    """Remove and return the item with the smallest key; the heap must not be empty."""
    item = heap[0]
    place[item] = -1
    size[0] -= 1
    if size[0] > 0:
        _fill(heap, key, place, size, heap[size[0]])
    return item
