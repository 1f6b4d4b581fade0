"""Closed forms of attention by kind: pairs of query and key, FLOPs, bytes a step, what windows and linear layers keep."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import card_names, load_card
from zcube.llm.compute import roofline
from zcube.llm.compute_choice import compute_model
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kinds.efficiencies import load_efficiencies
from zcube.llm.kinds.grouped import HeadShape, grouped_parameters, pairs, read_rates, score_s
from zcube.llm.kinds.latent import block_s, step_token_s
from zcube.llm.kinds.linear import CHUNK_TOKENS, StateShape, chunks_s, state_s
from zcube.llm.kinds.of_model import layer_kinds
from zcube.llm.kinds.spread import spread_of
from zcube.llm.kv import state_bytes
from zcube.llm.schedules.engines import generate
from zcube.llm.schedules.options import EngineOptions

QWEN, GPT, LINEAR, LLAMA = (
    load_card(name) for name in ("qwen3-235b-a22b", "gpt-oss-120b", "qwen3.5-397b-a17b", "llama-3.1-405b")
)
H200 = load_device("h200")


def kinds(card, layout="dp8", kv="fp8"):
    return {kind.name: kind for kind in layer_kinds(card, H200, kv, layout)}


@pytest.mark.parametrize(("new", "prefix", "window"), [(1, 0, 1 << 31), (700, 300, 1 << 31), (700, 100, 128), (700, 500, 128)])
def test_pairs_are_the_sum_over_tokens(new, prefix, window):
    assert pairs(new, prefix, window) == np.minimum(prefix + np.arange(1, new + 1), window).sum()


def test_causal_flops_of_grouped_queries_are_half_a_square():
    """4 h d multiply-adds' FLOPs a pair (FlashAttention's count), half of the square and the diagonal."""
    shape = HeadShape(64, 4, 128, 128, 2)
    assert shape.pair_flops == 4 * 64 * 128
    assert pairs(4096, 0) * shape.pair_flops == 4 * 64 * 128 * (4096 * 4097 / 2)
    figures = load_efficiencies("h200").of_heads("grouped", "bf16", 128).prefill
    once, four = (score_s(figures, H200.peak, shape, count * pairs(8192, 0), count * 8192, 8192, 1) for count in (4, 16))
    base_s = figures.base_us * 1e-6
    assert (four - base_s) / (once - base_s) == pytest.approx(4)


def test_a_decode_step_reads_every_key_and_value_once():
    shape = HeadShape(64, 4, 128, 128, 1)
    assert shape.token_bytes == 4 * (128 + 128)
    figures = load_efficiencies("h200").of_heads("grouped", "fp8", 128).decode
    _, _, token_s, _ = read_rates(figures, H200.peak, shape)
    assert token_s == pytest.approx(1024 / (figures.memory_share * 4800e9))
    node = roofline(QWEN, H200, EngineLayout("tp8", "tp8"))
    short, long = (float(node.decode_steps_s(np.full(4, context), 1)[0]) for context in (1_000, 101_000))
    held = HeadShape(8, 1, 128, 128, 1)
    _, _, token_s, longest_s = read_rates(figures, H200.peak, held)
    assert long - short == pytest.approx(94 * 100_000 * (4 * token_s + longest_s))


def test_keys_and_values_are_held_by_several_where_there_are_fewer_heads_than_gpus():
    sliced, whole = (grouped_parameters(QWEN, kinds(QWEN, layout)["grouped"].shape) for layout in ("tp8", "dp8"))
    assert whole == QWEN.attention_parameters
    # 8 of 64 heads of queries, one of four of keys and values: twice as much of these as an eighth.
    assert sliced == QWEN.hidden * 128 * (8 + 2 * 1 + 8)
    assert kinds(LLAMA, "tp8")["grouped"].shape.kv_heads == 1


def test_a_window_caps_what_is_attended_to():
    window, full = kinds(GPT)["window"], kinds(GPT)["grouped"]
    assert (window.layers, full.layers) == (18, 18)
    assert window.step_s([128], 1) == pytest.approx(window.step_s([100_000], 1))
    assert window.step_s([64], 1) < window.step_s([128], 1)
    steps = window.steps_s(np.array([100, 9_000]), (window.fixed_s(2), window.fixed_s(2)), 1, 200)
    assert (np.diff(steps[:27]) > 0).all()
    assert np.ptp(steps[28:]) < 1e-12
    # A token in the middle of a long context costs a window's pairs, whatever comes before it.
    assert window.prefill([512], [4096]).total_s == pytest.approx(window.prefill([512], [90_000]).total_s)
    assert full.prefill([512], [90_000]).total_s > 2 * full.prefill([512], [4096]).total_s


def test_a_linear_state_is_constant():
    linear = kinds(LINEAR)["linear"]
    assert linear.layers == 45
    assert linear.step_s([10], 1) == linear.step_s([200_000], 1)
    assert linear.prefill([1024], [0]) == linear.prefill([1024], [200_000])
    shape = StateShape(16, 64, 128, 128)
    convolution = 2 * 3 * (2 * 16 * 128 + 64 * 128)
    assert 45 * (shape.state_bytes + convolution) == state_bytes(LINEAR)
    figures = load_efficiencies("h200").linear
    one, nine = (state_s(figures, H200.peak, shape, requests) for requests in (1, 9))
    assert nine - one == pytest.approx(8 * 2 * 4 * 64 * 128 * 128 / (figures.state_share * 4800e9))


def test_chunks_of_a_sequence_wait_for_each_other():
    figures, shape = load_efficiencies("h200").linear, StateShape(1, 2, 128, 128)
    long, short = (chunks_s(figures, H200.peak, shape, 8192, longest) for longest in (8192, 64))
    assert long - figures.base_us * 1e-6 == pytest.approx(8192 / CHUNK_TOKENS * figures.chunk_us * 1e-6)
    assert short < long


def test_dense_latent_attention_counts_every_token():
    """DeepSeek-V3: 192 + 128 values a pair and head in prefill, 1,088 in decode, where latents are read once for all heads."""
    card, figures = load_card("deepseek-v3"), load_efficiencies("h200").latent
    one, two = (block_s(card, figures.prefill, H200.peak, 128, 8192, count)[0] for count in (1e9, 2e9))
    assert two - one == pytest.approx(2 * 128 * 320 * 1e9 / (figures.prefill.attention_share * 989e12))
    token_s = step_token_s(card, figures.decode, H200.peak, 16, 656)
    read_s, flops_s = 656 / (figures.decode.memory_share * 4800e9), 2 * 16 * 1088 / (figures.decode.attention_share * 989e12)
    assert token_s == pytest.approx(read_s + flops_s)
    node = roofline(card, H200, EngineLayout("tp8", "tp8"))
    assert node.decode_steps_s(np.array([5_000, 70_000]), 6)[5] == pytest.approx(
        node.decode_steps_s(np.array([5_005, 70_005]), 1)[0]
    )
    assert "unmeasured" not in node.name


def test_layers_that_share_an_indexer_have_no_work_of_one():
    own, shared = (load_card(name) for name in ("glm-5.1", "glm-5.2"))
    found = kinds(shared)
    assert {name: kind.layers for name, kind in found.items()} == {"sparse": 21, "shared": 57}
    with_index, without = (found[name].prefill([8192], [32_768]) for name in ("sparse", "shared"))
    assert without.indexer_s == 0.0 < with_index.indexer_s
    assert with_index == kinds(own)["sparse"].prefill([8192], [32_768])
    nodes = [roofline(card, H200, EngineLayout("cp8", "dp8")) for card in (own, shared)]
    layouts = [sum(kind.layers for kind in layer_kinds(card, H200, "fp8", "cp8")) for card in (own, shared)]
    assert layouts == [78, 78]
    assert nodes[1].prefill_iteration_s([8192], [32_768]) < nodes[0].prefill_iteration_s([8192], [32_768])
    # Of two models that differ in nothing else, the step differs by the 57 layers' indexers alone.
    contexts = np.full(64, 60_000)
    steps = [float(node.decode_steps_s(contexts, 1)[0]) for node in nodes]
    per_layer = [kinds(shared)[name].step_s([60_000] * 8, 1) for name in ("sparse", "shared")]
    assert steps[0] - steps[1] == pytest.approx(57 * (per_layer[0] - per_layer[1]), rel=1e-6)


@pytest.mark.parametrize("name", card_names())
@pytest.mark.parametrize("layout", ["tp8", "cp8", "dp8"])
def test_attention_is_the_sum_over_a_models_layers(name, layout):
    card = load_card(name)
    if layout == "cp8" and card.linear_layers:
        with pytest.raises(InputError, match="linear layers"):
            compute_model("roofline", card, H200, EngineLayout(layout, "dp8"))
        return
    found = layer_kinds(card, H200, "fp8", layout)
    assert sum(kind.layers for kind in found) == card.layers
    node = compute_model("auto", card, H200, EngineLayout(layout, "dp8"))
    layer = node.prefill_layer([4096], [1000])
    assert card.layers * layer.attention_s == pytest.approx(
        sum(kind.layers * kind.prefill([4096], [1000]).total_s for kind in found)
    )
    assert layer.experts_s == 0.0 or card.moe_layers
    step = node.decode_steps_s(np.full(64, 4096), 3)
    assert (step > 0).all() and (np.diff(step) > 0).all()


def test_a_device_that_was_not_measured_says_so():
    other = H200.model_copy(update={"name": "abacus", "peak": H200.peak.model_copy(update={"memory_gbytes_per_s": 2400.0})})
    node = roofline(GPT, other, EngineLayout("tp8", "tp8"))
    assert node.name.endswith("grouped attention, window attention unmeasured")
    stated = node.stated_error["decode_attention_window"]
    assert stated.points == 0 and stated.against.startswith("unmeasured: ")
    assert stated.against.endswith("under one set of efficiencies")
    assert spread_of("tp8").heads(4) == 1


@pytest.mark.parametrize("name", ["glm-5.2", "qwen3-235b-a22b", "gpt-oss-120b", "qwen3.5-397b-a17b", "llama-3.1-405b"])
def test_a_generated_trace_computes_what_the_compute_model_says(name):
    card = load_card(name)
    options = EngineOptions(new_tokens=2048, prefill_layout="tp8", decode_layout="tp8", decode_steps=1)
    trace = generate("vllm", card, options)
    node = compute_model("roofline", card, load_device(options.device), EngineLayout("tp8", "tp8", kv_dtype=options.kv_dtype))
    layer, step = node.prefill_layer([2048], [0]), node.decode_layer(np.array([options.decode_context]))
    for phase, gpu, seconds in (("prefill", 0, layer.attention_s), ("decode", 8, step.attention_s)):
        rows = (
            (trace.source == gpu) & (trace.phase == trace.phases.index(phase)) & (trace.name == trace.names.index("attention"))
        )
        assert trace.duration_s[rows].sum() == pytest.approx(card.layers * seconds)


def test_a_dense_models_trace_has_no_exchanges_of_experts():
    with pytest.raises(InputError, match="a dense model") as caught:
        generate("sglang", LLAMA, EngineOptions(prefill_layout="dp8", decode_layout="dp8"))
    assert len(caught.value.faults) == 2
