"""How one operation at one size is timed.

A repetition is a batch of k calls one after the other between two marks of the device's clock, divided by k; all ranks
begin it together, behind a tiny all-reduce. A call that takes less than about 16 us cannot be timed alone: the ranks
leave the all-reduce a few us apart, and the host needs 10 to 30 us to launch a call. k is therefore as large as fills
``BATCH_S``, and the device waits in front of the batch until the host has launched all of it (``Layer.timed``), so that
the time is the network's and not the launching's.

The time of a repetition is that of the slowest rank. Medians and quantiles are over repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zcube.calibrate.measure.benchmarks import Layer

#: A batch lasts at least this long where ``MAX_BATCH`` allows; the ranks' skew of a few us is then below 1 %.
BATCH_S = 500e-6
#: As many calls as nccl-tests makes by default (-n 20), rounded up; sums over 8 ranks stay finite in bfloat16 (8^32 < 2^127).
MAX_BATCH = 32
#: Warm-up batches that a layer gets to find out how long launching takes.
MAX_PROBES = 6


@dataclass(frozen=True)
class Effort:
    """How much time a size gets.

    Attributes
    ----------
    warmup : int
        Calls before anything is timed; cut short to two where the rest would take longer than the budget.
    budget_s : float
        Seconds of repetitions.
    least, most : int
        Repetitions whatever the budget says.
    """

    warmup: int
    budget_s: float
    least: int
    most: int


@dataclass(frozen=True)
class Timing:
    """Times of one operation at one size.

    Attributes
    ----------
    by_rank_s : list of list of float
        [ranks][repetitions], seconds per call.
    batch : int
        Calls per repetition.
    hidden : float
        Part of the repetitions, over all ranks, in which launching was hidden.
    """

    by_rank_s: list[list[float]]
    batch: int
    hidden: float

    @property
    def slowest_s(self) -> list[float]:
        """Time of the slowest rank, by repetition."""
        return [max(times) for times in zip(*self.by_rank_s, strict=True)]


def quantile(values: Sequence[float], fraction: float) -> float:
    """Return a quantile as :mod:`zcube.quantiles` defines it; where ranks run there may be no NumPy."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def take(layer: Layer, call: Callable[[], None], effort: Effort, reset: Callable[[], None] | None = None) -> Timing:
    """Time a call on all ranks.

    Parameters
    ----------
    layer : Layer
    call : callable
        The operation; a rank that takes no part passes one that does nothing. Every rank must call ``take``.
    effort : Effort
    reset : callable, optional
        Run before each batch, outside the time.

    Returns
    -------
    Timing
        The same on every rank.

    Notes
    -----
    Whatever decides how often a rank communicates is agreed first, or the ranks would wait for one another for ever.
    """

    def once(count: int) -> tuple[float, bool]:
        if reset is not None:
            reset()
        return layer.timed(call, count)

    single_s = _warm_up(layer, once, effort)
    batch = max(1, min(MAX_BATCH, round(BATCH_S / single_s)))
    wall_s = _probe(layer, once, batch, effort.budget_s)
    repetitions = max(effort.least, min(effort.most, int(effort.budget_s / wall_s)))
    taken = [once(batch) for _ in range(repetitions)]
    by_rank = layer.share([seconds for seconds, _ in taken])
    hidden = layer.share([sum(flag for _, flag in taken) / repetitions])
    return Timing(by_rank, batch, sum(line[0] for line in hidden) / len(hidden))


def _warm_up(layer: Layer, once: Callable[[int], tuple[float, bool]], effort: Effort) -> float:
    """Return what a call costs: the least of the warm-up calls, as one late rank or one interrupt must not set the batch."""
    # The first call of all connects the ranks, which says nothing of what a call costs.
    once(1)
    begin = time.perf_counter()
    taken = [once(1)[0]]
    wall_s = _slowest(layer, time.perf_counter() - begin)
    taken += [once(1)[0] for _ in range(min(effort.warmup - 2, int(effort.budget_s / wall_s)))]
    return max(1e-9, min(max(times) for times in zip(*layer.share(taken), strict=True)))


def _probe(layer: Layer, once: Callable[[int], tuple[float, bool]], batch: int, budget_s: float) -> float:
    """Return the wall time of a batch, after the layer has had its chances to hide the launching of so many calls."""
    walls: list[float] = []
    for _ in range(MAX_PROBES):
        begin = time.perf_counter()
        _, hidden = once(batch)
        shared = layer.share([time.perf_counter() - begin, float(hidden)])
        walls.append(max(line[0] for line in shared))
        settled = all(line[1] for line in shared) and len(walls) >= 3
        if settled or sum(walls) > budget_s:
            break
    return max(1e-6, min(walls))


def _slowest(layer: Layer, seconds: float) -> float:
    return max(1e-9, *(line[0] for line in layer.share([seconds])))
