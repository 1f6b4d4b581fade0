"""Metrics of the same run under several seeds: their means, and which differences are more than noise.

Fabrics are compared pair by pair, seed by seed. Intervals are Student's: of five values of a normal distribution they hold the
mean in 95 of 100 cases, where percentiles of a bootstrap do in 85, widened ones in 93. Paired differences of equal fabrics are
symmetric, and for such values Student's intervals err to the wide side. docs/metrics.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zcube.outputs import INFINITE

LEVEL = 0.95
#: Seeds below which nothing is called a difference: with four, equal fabrics come out alike in sign one time in eight.
LEAST_SEEDS = 5
#: Part of the baseline below which a difference is rounding.
ROUNDING = 1e-9


def too_few(seeds: int) -> str:
    """Return that no difference is told from noise under so few seeds; empty where there are enough."""
    if seeds >= LEAST_SEEDS:
        return ""
    return f"With {seeds} seed{'s' * (seeds != 1)} no difference is told from noise; {LEAST_SEEDS} are needed."


def mean_metrics(repeats: Sequence[Any]) -> Any:
    """Return metrics in which every number is the mean over the seeds.

    A number missing under a seed is missing; a quantile infinite under a seed is infinite. Of truth values all must hold. Of
    anything else the first that is not None is taken.
    """
    first = repeats[0]
    if len(repeats) == 1:
        return first
    if isinstance(first, Mapping):
        return {key: mean_metrics([metrics[key] for metrics in repeats]) for key in first}
    if INFINITE in repeats:
        return INFINITE
    if all(isinstance(value, bool) for value in repeats):
        return all(repeats)
    if any(_is_number(value) for value in repeats):
        return float(np.mean(repeats)) if all(_is_number(value) for value in repeats) else None
    return next((value for value in repeats if value is not None), None)


def seed_noise(repeats: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how every metric scatters over the seeds and whether it differs from the baseline's.

    Parameters
    ----------
    repeats, base : sequence of dict
        Metrics of a fabric and of the baseline, seed by seed, at least two.

    Returns
    -------
    dict
        By the metric's keys joined by points: ``values``; ``interval`` of their mean; ``difference`` to the baseline's mean and
        its ``difference_interval``; ``differs``, whether that leaves out 0, null for fewer than :data:`LEAST_SEEDS` seeds.
    """
    noise: dict[str, dict[str, Any]] = {}
    for key in _numbers(repeats[0]):
        values, reference = ([_at(metrics, key) for metrics in column] for column in (repeats, base))
        if not all(map(_is_number, (*values, *reference))):
            continue
        mine, theirs = np.array(values, dtype=float), np.array(reference, dtype=float)
        difference = mine - theirs
        difference[np.abs(difference) <= ROUNDING * np.abs(theirs)] = 0.0
        low, high = student_interval(difference)
        noise[".".join(key)] = {
            "values": [float(value) for value in values],
            "interval": list(student_interval(mine)),
            "difference": float(difference.mean()),
            "difference_interval": [low, high],
            "differs": low > 0 or high < 0 if len(values) >= LEAST_SEEDS else None,
        }
    return noise


def student_interval(values: np.ndarray) -> tuple[float, float]:
    """Return Student's interval of the mean of some values at :data:`LEVEL`."""
    from scipy.special import stdtrit

    mean, count = float(values.mean()), len(values)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    # What scipy.stats calls for it, without what that takes to be imported and to be asked.
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(count))
    return mean - reach, mean + reach


def _numbers(metrics: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*before, key))
        elif _is_number(value):
            yield (*before, key)


def _at(metrics: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    return metrics


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
