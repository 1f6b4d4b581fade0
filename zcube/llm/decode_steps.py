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


#: Columns of a table of kinds of layers: as :class:`DecodeRates`, tokens attended to at most, the context-free time of a fuller
#: and of an emptier GPU, and how many layers there are.
SPARSE, SELECTED, LONGEST, CONTEXTS, TOPK, FULLER, EMPTIER, LAYERS = range(8)


def row_of(rates: DecodeRates, topk: int, fixed_s: tuple[float, float], layers: int) -> tuple[float, ...]:
    """Return the row of a kind of layers, see :data:`LAYERS`."""
    return rates.sparse_s, rates.selected_s, rates.longest_s, rates.context_s, float(topk), *fixed_s, float(layers)


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
        Seconds; the first is -1 where a context is no number of tokens.
    """
    seconds = np.empty(steps)
    steps_of_layers(np.array(row_of(rates, topk, fixed_s, 1)), 0.0, contexts, ranks, seconds)
    return seconds


@compiled()
def steps_of_layers(kinds: np.ndarray, rest_s: float, contexts: np.ndarray, ranks: int, seconds: np.ndarray) -> None:
    """Write the times of steps over all layers, each kind of layers on the GPU that is slowest in it.

    A GPU's line has its time at step 0, its slopes before and after all bends, and the step at which its longest context
    reaches ``topk``. Bends only flatten, so the extreme slopes bound every line.

    Parameters
    ----------
    kinds : float array [kinds * columns]
        Rows of :func:`row_of`, one after the other.
    rest_s : float
        What a step takes beside attention.
    contexts, ranks
        As :func:`attention_steps_s`.
    seconds : float array [steps]
        Receives the times; its first is -1 where a context is no number of tokens.
    """
    steps, requests = len(seconds), len(contexts)
    for at in range(requests):
        if contexts[at] < 0 or contexts[at] > MAX_CONTEXT:
            seconds[0] = -1.0
            return
    fuller = requests % ranks
    if fuller == 0:
        fuller = ranks
    start_s, slope_s, last_slope_s = np.empty(ranks), np.empty(ranks), np.empty(ranks)
    jump, bends, bent = np.empty(ranks, dtype=np.int64), np.empty(ranks, dtype=np.int64), np.empty(steps, dtype=np.int64)
    layer_s = np.empty(steps)
    for step in range(steps):
        seconds[step] = 0.0
    for row in range(0, len(kinds), LAYERS + 1):
        topk, sparse_s, selected_s = int(kinds[row + TOPK]), kinds[row + SPARSE], kinds[row + SELECTED]
        longest_s, context_s = kinds[row + LONGEST], kinds[row + CONTEXTS]
        leader = 0
        for rank in range(ranks):
            longest, total, count, rising, missing, bending = 0, 0, 0, 0, 0, 0
            for at in range(rank, requests, ranks):
                context = contexts[at]
                longest = max(longest, context)
                total += context
                count += 1
                # Attended tokens min(context + 1, topk) grow until context + 1 reaches topk.
                if context < topk - 1:
                    rising += 1
                    missing += topk - 1 - context
                    if topk - 1 - context < steps - 1:
                        bending += 1
            bends[rank] = bending
            fixed_s = kinds[row + FULLER] if rank < fuller else kinds[row + EMPTIER]
            start_s[rank] = fixed_s + longest_s * longest + context_s * total + selected_s * topk * count
            slope_s[rank] = longest_s + context_s * count
            jump[rank] = topk - longest
            if jump[rank] <= 0:
                start_s[rank] += sparse_s
            if rising:
                start_s[rank] -= selected_s * missing
                slope_s[rank] += selected_s * rising
            last_slope_s[rank] = slope_s[rank] - selected_s * bending
            if start_s[rank] > start_s[leader]:
                leader = rank
        for step in range(steps):
            layer_s[step] = 0.0
        for rank in range(ranks):
            jumps = 0 < jump[rank] < steps
            top_s = start_s[rank] + (sparse_s if jumps else 0.0)
            steeper_s = max(0.0, slope_s[rank] - last_slope_s[leader])
            if rank != leader and top_s + steeper_s * (steps - 1) <= start_s[leader]:
                continue
            if bends[rank]:
                for step in range(steps):
                    bent[step] = 0
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
                layer_s[step] = max(layer_s[step], at_s)
        for step in range(steps):
            seconds[step] += layer_s[step] * kinds[row + LAYERS]
    for step in range(steps):
        seconds[step] += rest_s
