"""The closed form of the decode steps against a loop over steps, GPUs and requests, and its kernel against plain Python."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.arrays import FloatArray
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.decode_steps import DecodeRates, attention_steps_s, row_of, steps_of_layers
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout

TOPK = 50


_START = attrgetter("start_s")


class _Gpu(NamedTuple):
    """One GPU's line: value at step 0, slope before and after all bends, the bends' steps and the step of the jump."""

    start_s: float
    slope_s: float
    last_slope_s: float
    bends: list[int]
    jump: int | None


def twin_steps_s(
    rates: DecodeRates, topk: int, contexts: Sequence[int], fixed_s: tuple[float, float], ranks: int, steps: int
) -> FloatArray:
    """Return the times of the steps from lists, GPU by GPU."""
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


rates = st.builds(DecodeRates, *(st.sampled_from((0.0, 1e-3, 0.3, 7.0)) for _ in range(4)))


def plain(rates, topk, contexts, fixed_s, ranks, steps):
    most = -(-len(contexts) // ranks)
    durations = []
    for step in range(steps):
        gpus = []
        for rank in range(ranks):
            held = [context + step for context in contexts[rank::ranks]]
            seconds = fixed_s[0] if len(held) == most else fixed_s[1]
            seconds += rates.sparse_s if max(held) >= topk else 0.0
            seconds += rates.selected_s * sum(min(context + 1, topk) for context in held)
            seconds += rates.longest_s * max(held) + rates.context_s * sum(held)
            gpus.append(seconds)
        durations.append(max(gpus))
    return durations


@settings(max_examples=200)
@given(
    rates=rates,
    contexts=st.lists(st.integers(0, 120), min_size=8, max_size=30),
    ranks=st.sampled_from((1, 2, 8)),
    steps=st.integers(1, 90),
    fixed_s=st.tuples(st.floats(5, 9), st.floats(0, 5)),
)
def test_closed_form_equals_the_loop(rates, contexts, ranks, steps, fixed_s):
    found = attention_steps_s(rates, TOPK, np.array(contexts), fixed_s, ranks, steps)
    assert found.tobytes() == twin_steps_s(rates, TOPK, contexts, fixed_s, ranks, steps).tobytes()
    np.testing.assert_allclose(found, plain(rates, TOPK, contexts, fixed_s, ranks, steps), rtol=1e-9)


@settings(max_examples=100)
@given(
    kinds=st.lists(
        st.tuples(rates, st.sampled_from((1, TOPK)), st.tuples(st.floats(5, 9), st.floats(0, 5)), st.integers(1, 60)),
        max_size=3,
    ),
    contexts=st.lists(st.integers(0, 120), min_size=8, max_size=30),
    ranks=st.sampled_from((1, 8)),
    steps=st.integers(1, 90),
    rest_s=st.floats(0, 5),
)
def test_layers_of_every_kind_add_up(kinds, contexts, ranks, steps, rest_s):
    found, expected = np.empty(steps), np.zeros(steps)
    rows = np.array([row_of(*kind) for kind in kinds]).ravel()
    steps_of_layers(rows, rest_s, np.array(contexts), ranks, found)
    for of_rates, topk, fixed_s, layers in kinds:
        expected += twin_steps_s(of_rates, topk, contexts, fixed_s, ranks, steps) * layers
    assert found.tobytes() == (expected + rest_s).tobytes()


@pytest.mark.parametrize("layout", ["tp8", "dp8"])
def test_steps_equal_single_steps_of_a_grown_batch(layout):
    node = roofline(load_card("glm-5.1"), load_device("b200"), EngineLayout("tp8", layout))
    contexts = np.array([3, 900, 2040, 2047, 2048, 5000, 60_000, 1990, 2046, 10, 2000])
    together = node.decode_steps_s(contexts, 70)
    apart = [node.decode_steps_s(contexts + step, 1)[0] for step in range(70)]
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert node.decode_steps_s(contexts, 0).size == 0
