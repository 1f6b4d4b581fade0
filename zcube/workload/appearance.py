"""Numbers for things by the order in which they first appear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zcube.arrays import IntArray
from zcube.compile_cache import compiled

#: Places that a search begins with; there are always twice as many as keys that differ.
LEAST_PLACES = 1 << 12


def numbered(keys: npt.NDArray[np.integer]) -> tuple[IntArray, int]:
    """Return a number for each of some whole numbers, 0 for the first one and for all like it, and how many differ.

    Parameters
    ----------
    keys : int array
        Of 64 bits.
    """
    numbers: IntArray = np.array(keys).view(np.int64)
    return numbers, number_in_place(numbers)


def number_in_place(keys: IntArray) -> int:
    """Put numbers in the place of some whole numbers, as :func:`numbered`, and return how many differ."""
    known, done, distinct = np.zeros(LEAST_PLACES // 2, dtype=np.int64), 0, 0
    while True:
        table = np.full(2 * len(known), -1, dtype=np.int64 if len(keys) >> 31 else np.int32)
        done, distinct = number(keys, known, table, done, distinct)
        if done == len(keys):
            return distinct
        known = np.concatenate([known, np.zeros_like(known)])


@compiled()
def number(keys: np.ndarray, known: np.ndarray, table: np.ndarray, done: int, distinct: int) -> tuple[int, int]:
    """Put numbers in the place of keys until ``known`` is full.

    Parameters
    ----------
    keys : int array [keys]
        What is numbered.
    known : int array
        The key of each number given.
    table : int array
        Twice as long, a power of two, and all -1: scratch.
    done, distinct : int
        Keys numbered and numbers given before.

    Returns
    -------
    tuple of int
        The same afterwards.
    """
    for found in range(distinct):
        table[place_of(known, table, known[found])] = found
    for at in range(done, len(keys)):
        key = keys[at]
        place = place_of(known, table, key)
        if table[place] < 0:
            if distinct == len(known):
                return at, distinct
            table[place] = distinct
            known[distinct] = key
            distinct += 1
        keys[at] = table[place]
    return len(keys), distinct


@compiled()
def place_of(known: np.ndarray, table: np.ndarray, key: int) -> int:
    """Return where a key's number stands in the table, or the free place where it would."""
    # Products wrap around.
    mixed, last = key * 0x1E3779B97F4A7C15, len(table) - 1
    place = ((mixed ^ (mixed >> 32)) * 0x14D049BB133111EB >> 29) & last
    while table[place] >= 0 and known[table[place]] != key:
        place = (place + 1) & last
    return place
