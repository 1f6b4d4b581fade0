"""What an iteration takes, summed and compared as plain numbers, against the elementwise forms over arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.llm.attention import iteration_work, prefill_attention_s, prefill_sizes, prefill_work
from zcube.llm.cards import load_card
from zcube.llm.compute import RooflineModel
from zcube.llm.devices import load_device
from zcube.llm.elementwise import larger, smaller
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.experts import expert_layer_s
from zcube.llm.node_links import dispatches, prefill_layer_s

GLM = load_card("glm-5.1")
NAMES = ("linear_flops", "dense_flops", "sparse_flops", "index_flops", "prefix_tokens")
pieces = st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 200_000)), min_size=1, max_size=20)


@settings(max_examples=200)
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


@settings(max_examples=50)
@given(pieces, st.sampled_from(("tp8", "cp8", "dp8")))
def test_lists_and_arrays_of_pieces_take_the_same_time(pieces, layout):
    node = RooflineModel(GLM, load_device("h200"), EngineLayout(layout, "dp8"))
    new, prefix = (list(column) for column in zip(*pieces, strict=True))
    assert node.prefill_iteration_s(new, prefix) == node.prefill_iteration_s(np.array(new), np.array(prefix))


@settings(max_examples=50)
@given(pieces, st.sampled_from(("tp8", "cp8", "dp8")), st.sampled_from((1, 4)))
def test_an_iteration_is_the_sum_of_its_layers_to_the_bit(pieces, layout, ep_nodes):
    node = RooflineModel(GLM, load_device("h200"), EngineLayout(layout, "dp8", prefill_ep_nodes=ep_nodes))
    new, prefix = (list(column) for column in zip(*pieces, strict=True))
    layer, (moe_links_s, dense_links_s) = node.prefill_layer(new, prefix), node._by_tokens(sum(new))[3:5]
    moe_s = GLM.moe_layers * (layer.experts_s + layer.shared_s + moe_links_s)
    assert node.prefill_iteration_s(new, prefix) == (
        GLM.layers * layer.attention_s + moe_s + GLM.first_dense_layers * (layer.dense_s + dense_links_s)
    )
    assert node.prefill_links_s(sum(new)) == GLM.moe_layers * moe_links_s + GLM.first_dense_layers * dense_links_s


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_plain_numbers_compare_as_arrays_do(one, other):
    assert larger(one, other) == larger(np.array([one]), other)[0] == np.maximum(one, other)
    assert smaller(one, other) == smaller(one, np.array([other]))[0] == np.minimum(one, other)


@settings(max_examples=100)
@given(
    st.floats(0.125, 1e9), st.sampled_from(((8, 1), (1, 8), (1, 256))), st.sampled_from(("balanced", "power_law_1.2")),
    st.sampled_from(("fused", "deepep_normal", "deepep_low_latency")),
)  # fmt: skip
def test_experts_of_one_number_of_tokens_and_of_an_array_take_the_same_time(tokens, spread, balance, kernel):
    figures = load_device("h200").experts[kernel]
    sizes = GLM, figures, figures.balance[balance]
    alone, among = expert_layer_s(*sizes, tokens, *spread), expert_layer_s(*sizes, np.array([1.0, tokens]), *spread)[1]
    assert type(alone) is float
    assert alone == among


@given(st.sampled_from(("tp8", "cp8", "dp8", "tp4", "dp2")), st.sampled_from((1, 4)), st.integers(1, 8192))
def test_layers_without_experts_have_the_same_collectives_where_no_tokens_are_sent_to_experts(layout, ep_nodes, tokens):
    links = load_device("h200").links
    times = {prefill_layer_s(GLM, links, layout, float(tokens), ep_nodes, has_experts) for has_experts in (True, False)}
    assert len(times) == 1 or dispatches(layout, ep_nodes)
    node = RooflineModel(GLM, load_device("h200"), EngineLayout(layout, "dp8", prefill_ep_nodes=ep_nodes))
    assert set(node._by_tokens(tokens)[3:5]) == times
