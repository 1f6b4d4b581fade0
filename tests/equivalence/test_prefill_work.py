"""The work of an iteration, summed in whole numbers, against the elementwise form over arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.llm.attention import iteration_work, prefill_attention_s, prefill_sizes, prefill_work
from zcube.llm.cards import load_card
from zcube.llm.compute import RooflineModel
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout

GLM = load_card("glm-5.1")
NAMES = ("linear_flops", "dense_flops", "sparse_flops", "index_flops", "prefix_tokens")
pieces = st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 200_000)), min_size=1, max_size=20)


@settings(max_examples=200, deadline=None)
@given(pieces, st.sampled_from((8, 64)), st.booleans(), st.sampled_from((1.0, 0.125)), st.sampled_from((1.0, 0.125)))
def test_sums_equal_those_of_the_arrays_to_the_bit(pieces, heads, all_slots, flops_share, gather_share):
    new, prefix = (list(column) for column in zip(*pieces, strict=True))
    options = {"padded_heads": 64, "all_slots": all_slots}
    whole = iteration_work(prefill_sizes(GLM, heads, **options), new, prefix, flops_share, gather_share)
    single = prefill_work(GLM, heads, np.array(new), np.array(prefix), **options)
    for name in NAMES:
        share = gather_share if name == "prefix_tokens" else flops_share
        assert getattr(whole, name) == getattr(single, name).sum() * share
    assert whole.is_dense == single.is_dense.all()
    figures = load_device("h200").prefill["fp8"]
    as_arrays = type(whole)(**{name: np.float64(getattr(whole, name)) for name in NAMES}, is_dense=np.bool_(whole.is_dense))
    assert prefill_attention_s(figures, whole) == prefill_attention_s(figures, as_arrays)


@settings(max_examples=50, deadline=None)
@given(pieces, st.sampled_from(("tp8", "cp8", "dp8")))
def test_lists_and_arrays_of_pieces_take_the_same_time(pieces, layout):
    node = RooflineModel(GLM, load_device("h200"), EngineLayout(layout, "dp8"))
    new, prefix = (list(column) for column in zip(*pieces, strict=True))
    assert node.prefill_iteration_s(new, prefix) == node.prefill_iteration_s(np.array(new), np.array(prefix))
