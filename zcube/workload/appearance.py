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
    numbering = Numbering()
    numbering.number(numbers)
    return numbers, numbering.distinct


class Numbering:
    """Numbers given so far, to things that come some at a time."""

    def __init__(self) -> None:
        self.distinct = 0
        self._known: IntArray = np.zeros(LEAST_PLACES // 2, dtype=np.int64)
        self._table = self._empty_table()

    def number(self, keys: IntArray) -> None:
        """Put numbers in the place of some whole numbers."""
        done = 0
        while True:
            done, self.distinct = number(keys, self._known, self._table, done, self.distinct)
            if done == len(keys):
                return
            self._known = np.concatenate([self._known, np.zeros_like(self._known)])
            self._table = self._empty_table()
            fill(self._known, self._table, self.distinct)

    def _empty_table(self) -> npt.NDArray[np.int32]:
        return np.full(2 * len(self._known), -1, dtype=np.int32)


@compiled()
def fill(known: np.ndarray, table: np.ndarray, distinct: int) -> None:
    """Enter the numbers given into an empty table."""
    for found in range(distinct):
        table[place_of(known, table, known[found])] = found


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
        Twice as long, a power of two: the number of each key, -1 where there is none.
    done, distinct : int
        Keys numbered and numbers given before.

    Returns
    -------
    tuple of int
        The same afterwards.
    """
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
