"""Attention time of successive decode steps in closed form, while every context grows by one token per step.

Per GPU the form of :mod:`zcube.llm.attention` is a line in the step number, bent where a context reaches ``topk``;
the slowest GPU sets the pace. GPUs that are certainly not the slowest are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.compile_cache import compiled

#: Far above any context.
MAX_CONTEXT = 1 << 32


@dataclass(frozen=True, slots=True)
class DecodeRates:
    """The decode form with the model's sizes put in: seconds, and seconds per token.

    Attributes
    ----------
    sparse_s : float
        Added once a context reaches ``topk``.
    selected_s, longest_s, context_s : float
        Per attended token, per token of the longest context, per token of all contexts.
    """

    sparse_s: float
    selected_s: float
    longest_s: float
    context_s: float


def attention_steps_s(
    rates: DecodeRates, topk: int, contexts: IntArray, fixed_s: tuple[float, float], ranks: int, steps: int
) -> FloatArray:
    """Return the attention time of one layer in each step, on the slowest GPU.

    Parameters
    ----------
    rates : DecodeRates
        The device's coefficients.
    topk : int
        Tokens the sparse attention attends to.
    contexts : int array [requests]
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
        Seconds; all -1 where a context is no number of tokens.
    """
    seconds = np.zeros(steps)
    slowest_steps(rates.sparse_s, rates.selected_s, rates.longest_s, rates.context_s, topk, contexts, *fixed_s, ranks, seconds)
    return seconds


@compiled()
def slowest_steps(
    sparse_s: float, selected_s: float, longest_s: float, context_s: float, topk: int,
    contexts: np.ndarray, fuller_s: float, emptier_s: float, ranks: int, seconds: np.ndarray,
) -> None:  # fmt: skip
    """Write the steps' times on the slowest GPU; see :func:`attention_steps_s`.

    A GPU's line has its time at step 0, its slopes before and after all bends, and the step at which its longest context
    reaches ``topk``. Bends only flatten, so the extreme slopes bound every line.
    """
    steps, requests = len(seconds), len(contexts)
    fuller = requests % ranks
    if fuller == 0:
        fuller = ranks
    start_s, slope_s, last_slope_s = np.zeros(ranks), np.zeros(ranks), np.zeros(ranks)
    jump = np.zeros(ranks, dtype=np.int64)
    bends = np.zeros(ranks, dtype=np.int64)
    leader = 0
    for rank in range(ranks):
        longest, total, count, rising, missing = 0, 0, 0, 0, 0
        for at in range(rank, requests, ranks):
            context = contexts[at]
            if context < 0 or context > MAX_CONTEXT:
                seconds[:] = -1.0
                return
            longest = max(longest, context)
            total += context
            count += 1
            # Attended tokens min(context + 1, topk) grow until context + 1 reaches topk.
            if context < topk - 1:
                rising += 1
                missing += topk - 1 - context
                if topk - 1 - context < steps - 1:
                    bends[rank] += 1
        fixed_s = fuller_s if rank < fuller else emptier_s
        start_s[rank] = fixed_s + longest_s * longest + context_s * total + selected_s * topk * count
        slope_s[rank] = longest_s + context_s * count
        jump[rank] = topk - longest
        if jump[rank] <= 0:
            start_s[rank] += sparse_s
        if rising:
            start_s[rank] -= selected_s * missing
            slope_s[rank] += selected_s * rising
        last_slope_s[rank] = slope_s[rank] - selected_s * bends[rank]
        if start_s[rank] > start_s[leader]:
            leader = rank
    bent = np.zeros(steps, dtype=np.int64)
    for rank in range(ranks):
        jumps = 0 < jump[rank] < steps
        top_s = start_s[rank] + (sparse_s if jumps else 0.0)
        steeper_s = max(0.0, slope_s[rank] - last_slope_s[leader])
        if rank != leader and top_s + steeper_s * (steps - 1) <= start_s[leader]:
            continue
        if bends[rank]:
            bent[:] = 0
            for at in range(rank, requests, ranks):
                bend = topk - 1 - contexts[at]
                if 0 < bend < steps - 1:
                    bent[bend] += 1
        past, line_s = 0, start_s[rank]
        for step in range(steps):
            if bends[rank]:
                if step:
                    past += bent[step - 1]
                    line_s += past * -selected_s + slope_s[rank]
                at_s = line_s
            else:
                at_s = step * slope_s[rank] + start_s[rank]
            if jumps and step >= jump[rank]:
                at_s += sparse_s
            seconds[step] = max(seconds[step], at_s)
