"""The fast fit against slow ones: a general optimiser for lines, every possible cut for regimes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from zcube.calibrate.lines import fit_lines
from zcube.calibrate.regimes import REPEATABILITY, SIZES_PER_REGIME, fit_pieces


def squares(parameters: np.ndarray, sizes: np.ndarray, times: np.ndarray) -> float:
    return float((np.log(times / (parameters[0] + parameters[1] * sizes)) ** 2).sum())


def slow_line(sizes: np.ndarray, times: np.ndarray) -> tuple[float, float, float]:
    """Least squares on log residuals over latency and slope in logarithms, so that both stay positive."""
    best = (math.nan, math.nan, math.inf)
    for latency, slope in itertools.product((times.min(), times.min() / 100), (times.max() / sizes.max(), 1e-14)):
        start = np.log([latency, slope])
        found = minimize(
            lambda x: squares(np.exp(x), sizes, times),
            start,
            method="Nelder-Mead",
            options={"fatol": 1e-14, "xatol": 1e-10, "maxiter": 4000},
        )
        if found.fun < best[2]:
            best = (*np.exp(found.x), float(found.fun))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_lines_are_those_of_a_general_optimiser(seed):
    random = np.random.default_rng(seed)
    sizes = np.sort(2.0 ** random.uniform(8, 28, 9))
    times = (10 ** random.uniform(-6, -4) + sizes * 10 ** random.uniform(-13, -10)) * np.exp(random.normal(0, 0.1, 9))
    latency, slope, sums = fit_lines(sizes, times[None, :], np.ones((1, 9)))
    slow = slow_line(sizes, times)
    assert sums[0] == pytest.approx(squares(np.array([latency[0], slope[0]]), sizes, times))
    assert sums[0] <= slow[2] * (1 + 1e-6)


def test_points_that_do_not_count_end_no_fit_however_far_off_they_are():
    sizes, times = np.array([1.0, 1e2, 1e3, 2e3, 1e5]), np.array([1e6, 1e-6, 3e-6, 2e-4, 1e6])
    weight = np.array([[0.0, 1.0, 1.0, 1.0, 0.0]])
    inside = slice(1, 4)
    alone = fit_lines(sizes[inside], times[None, inside], weight[:, inside])
    for found, expected in zip(fit_lines(sizes, times[None, :], weight), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_no_other_cut_has_a_smaller_criterion(seed):
    random = np.random.default_rng(seed)
    sizes = 2.0 ** np.arange(10, 22)
    times = (1e-5 + sizes * 1e-11) * np.where(sizes > 2**15, 1.6, 1.0) * np.exp(random.normal(0, 0.03, len(sizes)))

    def criterion(cuts: tuple[int, ...]) -> float:
        total = 0.0
        for first, last in itertools.pairwise((0, *cuts, len(sizes))):
            _, _, sums = fit_lines(sizes[first:last], times[None, first:last], np.ones((1, last - first)))
            members = last - first
            total += members * math.log(max(sums[0] / (members - 2), REPEATABILITY**2)) + 5 * math.log(len(sizes))
        return total

    every = [
        cuts
        for count in range(4)
        for cuts in itertools.combinations(range(1, len(sizes)), count)
        if all(last - first >= SIZES_PER_REGIME for first, last in itertools.pairwise((0, *cuts, len(sizes))))
    ]
    best = min(every, key=criterion)
    found = tuple(int(np.searchsorted(sizes, piece.from_bytes)) for piece in fit_pieces(sizes, times)[1:])
    assert criterion(found) == pytest.approx(criterion(best), abs=1e-6)
