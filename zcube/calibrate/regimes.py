"""Where one line gives way to the next: NCCL changes protocol and algorithm with the size of a message.

The sizes are cut into runs of neighbours, a line and a scatter of its own each (small messages scatter by tens of percent,
long ones by one), so that an information criterion is least: ``sum_k N_k ln(squares_k / (N_k - p)) + (p + 3) ln N`` with the
``p`` parameters of a line. It is the Bayesian one with the unbiased variance, as three points always lie close to some line,
and with each start counted twice, as it is chosen among many (after Zhang and Siegmund, "A modified Bayes information
criterion", Biometrics 63, 2007); without these, one curve in four is cut where it only scatters by 10 %. The criterion is a sum
over runs, so that dynamic programming finds the best cut of all, which does not depend on a start. Between the last size of one
regime and the first of the next nothing was measured; there the time is interpolated, both axes logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.lines import fit_lines

#: Distinct sizes below which two parameters would only repeat what was measured.
SIZES_PER_REGIME = 3
#: Scatter below which a better fit is not evidence of another regime: NCCL's times repeat no better from run to run.
REPEATABILITY = 0.02
#: Distinct places where a regime may start; neighbouring sizes share one beyond that.
_MOST_CELLS = 48
#: What a regime costs beside its line: its scatter, and its start twice.
_BESIDE_THE_LINE = 3


class Piece(NamedTuple):
    """A line and the sizes it was fitted to."""

    from_bytes: float
    to_bytes: float
    latency_s: float
    s_per_byte: float


def cells(size_bytes: FloatArray) -> tuple[IntArray, int]:
    """Return for each point the cell of its size, in ascending order, and how many cells there are."""
    distinct, inverse = np.unique(size_bytes, return_inverse=True)
    inverse = inverse.astype(np.int64)
    if len(distinct) <= _MOST_CELLS:
        return inverse, len(distinct)
    return inverse * _MOST_CELLS // len(distinct), _MOST_CELLS


def all_runs(count: int) -> list[tuple[int, int]]:
    """Return every run of cells ``[first, last)`` that is long enough for a line."""
    least = min(SIZES_PER_REGIME, count)
    return [(first, last) for first in range(count) for last in range(first + least, count + 1)]


def run_criterion(squares: FloatArray, members: FloatArray, points: float, parameters: int = 2) -> FloatArray:
    """Return what each run adds to the information criterion of a cut.

    Parameters
    ----------
    squares, members : float array [runs]
        Sum of squared log residuals of each, and its points.
    points : float
        Points of all runs of a cut together.
    parameters : int
        Parameters of a run's line.
    """
    variance = squares / np.maximum(members - parameters, 1.0)
    cost = (parameters + _BESIDE_THE_LINE) * math.log(points)
    return members * np.log(np.maximum(variance, REPEATABILITY**2)) + cost


def best_cut(
    runs: Sequence[tuple[int, int]], squares: FloatArray, members: FloatArray, count: int, parameters: int
) -> list[int]:
    """Return the numbers of the runs that cover all cells with the least information criterion.

    Parameters
    ----------
    runs : sequence of (int, int)
        Candidate runs of cells.
    squares, members : float array [runs]
        Sum of squared log residuals of each, and its points.
    count : int
        Cells.
    parameters : int
        Parameters of a run's line.
    """
    criterion = run_criterion(squares, members, members[runs.index((0, count))], parameters)
    ending: list[list[int]] = [[] for _ in range(count + 1)]
    for number, (_, last) in enumerate(runs):
        ending[last].append(number)
    best: list[tuple[float, tuple[int, ...]]] = [(math.inf, ())] * (count + 1)
    best[0] = (0.0, ())
    for last in range(1, count + 1):
        for number in ending[last]:
            total, cut = best[runs[number][0]]
            if total + criterion[number] < best[last][0]:
                best[last] = (total + float(criterion[number]), (*cut, number))
    return list(best[count][1])


def fit_pieces(size_bytes: FloatArray, time_s: FloatArray) -> list[Piece]:
    """Return the regimes of one curve, ascending.

    Parameters
    ----------
    size_bytes, time_s : float array [points]
    """
    cell, count = cells(size_bytes)
    runs = all_runs(count)
    bounds = np.array(runs)
    weight = ((cell >= bounds[:, :1]) & (cell < bounds[:, 1:])).astype(np.float64)
    latency, slope, squares = fit_lines(size_bytes, time_s[None, :], weight)
    chosen = best_cut(runs, squares, weight.sum(axis=1), count, parameters=2)
    pieces = []
    for run in chosen:
        inside = size_bytes[weight[run] > 0]
        pieces.append(Piece(float(inside.min()), float(inside.max()), float(latency[run]), float(slope[run])))
    return pieces


def evaluate(pieces: Sequence[Piece], size_bytes: FloatArray) -> FloatArray:
    """Return the time of every size; beyond the first and the last regime their lines go on."""
    sizes = np.asarray(size_bytes, dtype=np.float64)
    low, high, latency, slope = np.array(pieces, dtype=np.float64).T
    at = np.minimum(np.searchsorted(high, sizes), len(pieces) - 1)
    time_s = latency[at] + slope[at] * sizes
    gap = (at > 0) & (sizes < low[at])
    if gap.any():
        here = at[gap]
        start, end = high[here - 1], low[here]
        first = np.log(latency[here - 1] + slope[here - 1] * start)
        part = np.log(sizes[gap] / start) / np.log(end / start)
        time_s[gap] = np.exp(first + part * (np.log(latency[here] + slope[here] * end) - first))
    return time_s
