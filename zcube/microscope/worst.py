"""The windows of a run in which transfers lost most time to others."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray

#: Windows looked at together, so that long runs in short windows stay in bounded memory.
AT_ONCE = 1 << 20


def worst_windows(
    begin_s: FloatArray, end_s: FloatArray, excess_s: FloatArray, span_s: tuple[float, float], length_s: float, most: int
) -> tuple[IntArray, FloatArray]:
    """Return the windows with the largest excess, worst first, of equals the earlier one first.

    Windows lie side by side from the start of the span; the last one may be cut short by its end. A transfer's excess counts
    evenly over the time in which it sends. Of windows with a held-up transfer in common only the worst counts, so that one long
    jam is not told of many times.

    Parameters
    ----------
    begin_s, end_s, excess_s : float array [transfers]
        When each sends, and how much longer than it would alone, 0 or more.
    span_s : pair of float
        Start and end of what is divided into windows.
    length_s : float
        Of a window.
    most : int
        How many windows are wanted.

    Returns
    -------
    tuple
        Numbers of the windows, from 0, and their excess in seconds of transfers, above 0; fewer than ``most`` where no more
        have any.
    """
    windows = max(1, int(np.ceil((span_s[1] - span_s[0]) / length_s - 1e-9)))
    held_up = excess_s > 0
    begin, end = ((edge[held_up] - span_s[0]) / length_s for edge in (begin_s, end_s))
    density = excess_s[held_up] / (end - begin)
    number, excess = np.zeros(0, dtype=np.int64), np.zeros(0)
    for first in range(0, windows, AT_ONCE):
        last = min(first + AT_ONCE, windows)
        inside = (end > first) & (begin < last)
        found = _excess(begin[inside] - first, end[inside] - first, density[inside], last - first)
        number = np.concatenate([number, first + np.flatnonzero(found > 0)])
        excess = np.concatenate([excess, found[found > 0]])
        kept = _apart(number, excess, begin, end, most)
        number, excess = number[kept], excess[kept]
    return number, excess


def _apart(number: IntArray, excess: FloatArray, begin: FloatArray, end: FloatArray, most: int) -> list[int]:
    """Return the places of the worst windows, from the worst on, no two with a transfer in common."""
    kept: list[int] = []
    free = np.ones(len(number), dtype=bool)
    order = np.argsort(-excess, kind="stable")
    for at in order.tolist():
        if len(kept) == most:
            break
        if free[at]:
            kept.append(at)
            there = (end > number[at]) & (begin < number[at] + 1)
            free &= (number + 1 <= begin[there].min()) | (number >= end[there].max())
    return kept


def _excess(begin: FloatArray, end: FloatArray, density: FloatArray, windows: int) -> FloatArray:
    """Return the excess of windows of length 1, of transfers that overlap some of them [windows]."""
    low, high = np.maximum(begin, 0.0), np.minimum(end, float(windows))
    first = np.minimum(low.astype(np.int64), windows - 1)
    last = np.minimum(np.ceil(high).astype(np.int64) - 1, windows - 1)
    excess = np.bincount(first, density * (np.minimum(high, first + 1.0) - low), windows).astype(np.float64)
    longer = last > first
    excess += np.bincount(last[longer], (density * (high - last))[longer], windows)
    # Windows that a transfer fills: counted as well, since sums of densities that come and go leave rounding behind.
    steps, filled = np.zeros(windows + 1), np.zeros(windows + 1, dtype=np.int64)
    for rows, sign in ((first[longer] + 1, 1), (last[longer], -1)):
        steps += sign * np.bincount(rows, density[longer], windows + 1)
        filled += sign * np.bincount(rows, minlength=windows + 1)
    return excess + np.where(np.cumsum(filled)[:windows] > 0, np.cumsum(steps)[:windows], 0.0)
