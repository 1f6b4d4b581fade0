"""Numbers for things by the order in which they first appear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zcube.arrays import IntArray
from zcube.compile_cache import compiled


def numbered(keys: npt.NDArray[np.integer]) -> tuple[IntArray, int]:
    """Return a number for each of some whole numbers, 0 for the first one and for all like it, and how many differ.

    Parameters
    ----------
    keys : int array
        Of 64 bits.
    """
    numbers: IntArray = np.empty(len(keys), dtype=np.int64)
    table = np.full(1 << (2 * len(keys)).bit_length(), -1, dtype=np.int64)
    return numbers, int(number(np.array(keys).view(np.int64), table, numbers))


@compiled()
def number(keys: np.ndarray, table: np.ndarray, numbers: np.ndarray) -> int:
    """Write the numbers; ``table``, a power of two long, at least twice as long as the keys and all -1, is scratch."""
    distinct, last = 0, len(table) - 1
    for at in range(len(keys)):
        # Products wrap around.
        key = keys[at] * 0x1E3779B97F4A7C15
        place = ((key ^ (key >> 32)) * 0x14D049BB133111EB >> 29) & last
        while table[place] >= 0 and keys[table[place]] != keys[at]:
            place = (place + 1) & last
        if table[place] < 0:
            table[place] = at
            numbers[at] = distinct
            distinct += 1
        else:
            numbers[at] = numbers[table[place]]
    return distinct
