"""The closed form of the decode steps against a plain loop over steps, GPUs and requests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.llm.attention import DecodeRates
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.decode_steps import attention_steps_s
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout

TOPK = 50
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


@settings(max_examples=200, deadline=None)
@given(
    rates=rates,
    contexts=st.lists(st.integers(0, 120), min_size=8, max_size=30),
    ranks=st.sampled_from((1, 2, 8)),
    steps=st.integers(1, 90),
    fixed_s=st.tuples(st.floats(5, 9), st.floats(0, 5)),
)
def test_closed_form_equals_the_loop(rates, contexts, ranks, steps, fixed_s):
    found = attention_steps_s(rates, TOPK, contexts, fixed_s, ranks, steps)
    np.testing.assert_allclose(found, plain(rates, TOPK, contexts, fixed_s, ranks, steps), rtol=1e-9)


@pytest.mark.parametrize("layout", ["tp8", "dp8"])
def test_steps_equal_single_steps_of_a_grown_batch(layout):
    node = roofline(load_card("glm-5.1"), load_device("b200"), EngineLayout("tp8", layout))
    contexts = np.array([3, 900, 2040, 2047, 2048, 5000, 60_000, 1990, 2046, 10, 2000])
    together = node.decode_steps_s(contexts, 70)
    apart = [node.decode_steps_s(contexts + step, 1)[0] for step in range(70)]
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert node.decode_steps_s(contexts, 0).size == 0
