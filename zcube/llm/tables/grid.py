"""Interpolation of ``measured / roofline`` over a ragged grid of measured points.

The logarithm of the ratio is linear between neighbours in the logarithm of every coordinate, axis by axis: first along
the last axis within a row, then between the two rows next to the query, and so on. Rows may have different points.
Outside a row the ratio of its last point holds, so that beyond the table the roofline's growth is kept.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, TypeAlias

import numpy as np

from zcube.arrays import FloatArray


class RatioGrid:
    """Ratios at measured points, and between them.

    Parameters
    ----------
    axes : float array, shape (points, dimensions)
        Coordinates, >= 0, in the order in which rows nest; ``log(1 + coordinate)`` is interpolated.
    ratio : float array, shape (points,)
        Measured over roofline, > 0. Of points with equal coordinates the geometric mean counts.
    """

    def __init__(self, axes: FloatArray, ratio: FloatArray):
        self._root = _nest(np.log1p(axes), np.log(ratio))
        self._dimensions = axes.shape[1]

    def at(self, *query: Any) -> Any:
        """Return the ratio at one point; the last coordinate may be an array of any shape.

        Raises
        ------
        ValueError
            If the number of coordinates is not the grid's.
        """
        if len(query) != self._dimensions:
            raise ValueError(f"{self._dimensions} coordinates are needed, {len(query)} were given")
        return np.exp(_log_ratio(self._root, [float(np.log1p(value)) for value in query[:-1]], np.log1p(query[-1])))


_Nested: TypeAlias = tuple[Any, Any]


def _nest(axes: FloatArray, log_ratio: FloatArray) -> _Nested:
    """Return the distinct values of the first axis with what lies below each: rows, or ratios on the last axis."""
    values, row = np.unique(axes[:, 0], return_inverse=True)
    if axes.shape[1] == 1:
        return values, np.bincount(row, weights=log_ratio) / np.bincount(row)
    below = [_nest(axes[row == index, 1:], log_ratio[row == index]) for index in range(len(values))]
    return values.tolist(), below


def _log_ratio(nested: _Nested, outer: list[float], last: Any) -> Any:
    values, below = nested
    if not outer:
        return np.interp(last, values, below)
    high = bisect_left(values, outer[0])
    if high == len(values):
        return _log_ratio(below[-1], outer[1:], last)
    above = _log_ratio(below[high], outer[1:], last)
    if high == 0 or values[high] == outer[0]:
        return above
    under = _log_ratio(below[high - 1], outer[1:], last)
    share = (outer[0] - values[high - 1]) / (values[high] - values[high - 1])
    return under + share * (above - under)
