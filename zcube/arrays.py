"""Types of arrays, and the different numbers of one. Shapes stand in brackets in docstrings, e.g. ``float array [flows]``."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

#: Counts, numbers of things, integer picoseconds; of any width.
IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

Whole = TypeVar("Whole", bound=np.integer[Any])


def distinct(numbers: NDArray[Whole]) -> NDArray[Whole]:
    """Return the different ones of some whole numbers, ascending.

    ``numpy.unique`` finds them by a table of hashes since NumPy 2.3: four times as long where few differ, 25 times where most
    do (NumPy 2.4.6, numpy/numpy#31969), and it loads ``numpy.ma``.
    """
    ordered = np.sort(numbers, axis=None)
    differs = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=differs[1:])
    return ordered[differs]
