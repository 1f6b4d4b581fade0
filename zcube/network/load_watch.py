"""Readings of what links have carried while a run goes on: a bounded number, at times evenly apart, that change nothing in it.

A run's length is not known beforehand. So readings begin close together, and whenever there is no more room every second one
is dropped: what is kept are totals, so that the others still say what was carried between them.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray

#: Readings times links that are kept at most (64 MB); of fabrics with more links there are fewer readings.
MOST_ENTRIES = 8_000_000


class LoadWatch:
    """Keeps readings.

    Parameters
    ----------
    links : int
        Links read.
    bins : int
        Parts into which a run that lasts as long as expected is cut, at least 1; a longer one is cut into as many to twice as
        many, as far as :data:`MOST_ENTRIES` permits.
    expected_s : float
        About how long the run lasts, > 0; better too short than too long.
    """

    def __init__(self, links: int, bins: int, expected_s: float):
        half = max(1, min(bins, MOST_ENTRIES // (2 * max(1, links))))
        self._carried_bytes = np.zeros((2 * half, links))
        self._count, self._step_s = 0, expected_s / half

    @property
    def due_s(self) -> float:
        """When the next reading is due."""
        return (self._count + 1) * self._step_s

    def note(self, carried_bytes: FloatArray) -> None:
        """Keep what links have carried up to :attr:`due_s` [links]."""
        self._carried_bytes[self._count] = carried_bytes
        self._count += 1
        if self._count == len(self._carried_bytes):
            self._count //= 2
            self._carried_bytes[: self._count] = self._carried_bytes[1::2]
            self._step_s *= 2.0

    def between(self, start_s: float, end_s: float) -> tuple[FloatArray, FloatArray]:
        """Return times [readings] and totals [readings, links] of the readings at least half a step inside of two times."""
        time_s: FloatArray = np.arange(1.0, self._count + 1.0) * self._step_s
        inside = (time_s >= start_s + self._step_s / 2) & (time_s <= end_s - self._step_s / 2)
        return time_s[inside], self._carried_bytes[: self._count][inside]
