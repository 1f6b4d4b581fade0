"""Attention time of successive decode steps in closed form, while every context grows by one token per step.

Per GPU the form of :mod:`zcube.llm.attention` is a line in the step number, bent where a context reaches ``topk``;
the slowest GPU sets the pace. GPUs that are certainly not the slowest are left out before any array is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray
from zcube.llm.attention import DecodeRates

_START = attrgetter("start_s")


class _Gpu(NamedTuple):
    """One GPU's line: value at step 0, slope before and after all bends, the bends' steps and the step of the jump."""

    start_s: float
    slope_s: float
    last_slope_s: float
    bends: list[int]
    jump: int | None


def attention_steps_s(
    rates: DecodeRates, topk: int, contexts: Sequence[int], fixed_s: tuple[float, float], ranks: int, steps: int
) -> FloatArray:
    """Return the attention time of one layer in each step, on the slowest GPU.

    Parameters
    ----------
    rates : DecodeRates
        The device's coefficients.
    topk : int
        Tokens the sparse attention attends to.
    contexts : sequence of int
        Cached tokens before the first step; request i sits on GPU ``i % ranks``. At least ``ranks`` requests.
    fixed_s : tuple of float
        Context-free time of a GPU with ``ceil(requests / ranks)`` requests and of one with one request fewer.
    ranks : int
        GPUs the requests are dealt to.
    steps : int
        At least 1.

    Returns
    -------
    float64 array, shape (steps,)
        Seconds.
    """
    # Lists and their built-in sums beat array calls at the few hundred requests of a batch.
    fuller = len(contexts) % ranks or ranks
    gpus = [
        _line(rates, topk, contexts[rank::ranks], fixed_s[0] if rank < fuller else fixed_s[1], steps) for rank in range(ranks)
    ]
    steps_s = [_evaluate(rates, gpu, steps) for gpu in _possibly_slowest(rates, gpus, steps)]
    seconds = steps_s[0]
    for other in steps_s[1:]:
        np.maximum(seconds, other, out=seconds)
    return seconds


def _line(rates: DecodeRates, topk: int, contexts: Sequence[int], fixed_s: float, steps: int) -> _Gpu:
    longest, total, count = max(contexts), sum(contexts), len(contexts)
    start_s = fixed_s + rates.longest_s * longest + rates.context_s * total + rates.selected_s * topk * count
    slope_s = rates.longest_s + rates.context_s * count
    jump = topk - longest
    if jump <= 0:
        start_s += rates.sparse_s
    # Attended tokens min(context + 1, topk) grow until context + 1 reaches topk.
    rising = [topk - 1 - context for context in contexts if context < topk - 1]
    if not rising:
        return _Gpu(start_s, slope_s, slope_s, rising, jump if 0 < jump < steps else None)
    start_s -= rates.selected_s * sum(rising)
    slope_s += rates.selected_s * len(rising)
    bends = [step for step in rising if step < steps - 1]
    last_slope_s = slope_s - rates.selected_s * len(bends)
    return _Gpu(start_s, slope_s, last_slope_s, bends, jump if 0 < jump < steps else None)


def _possibly_slowest(rates: DecodeRates, gpus: list[_Gpu], steps: int) -> list[_Gpu]:
    """Drop the GPUs that stay below another one: bends only flatten, so the extreme slopes bound every line."""
    leader = max(gpus, key=_START)
    reach_s, flattest_s = leader.start_s, leader.last_slope_s
    kept = [leader]
    for gpu in gpus:
        top_s = gpu.start_s if gpu.jump is None else gpu.start_s + rates.sparse_s
        if top_s + max(0.0, gpu.slope_s - flattest_s) * (steps - 1) > reach_s and gpu is not leader:
            kept.append(gpu)
    return kept


def _evaluate(rates: DecodeRates, gpu: _Gpu, steps: int) -> FloatArray:
    if gpu.bends:
        # Bends per step, summed to slopes, summed to times.
        seconds = np.zeros(steps)
        bent = np.bincount(gpu.bends, minlength=steps - 1)
        np.cumsum(bent, out=seconds[1:])
        seconds *= -rates.selected_s
        seconds[1:] += gpu.slope_s
        seconds[0] = gpu.start_s
        np.cumsum(seconds, out=seconds)
    else:
        seconds = np.arange(steps, dtype=np.float64)
        seconds *= gpu.slope_s
        seconds += gpu.start_s
    if gpu.jump is not None:
        seconds[gpu.jump :] += rates.sparse_s
    return seconds
