"""Whole engines: phases in their order, who sends KV to whom, what each engine offers."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError
from trace_by_hand import between_nodes, computes_one_at_a_time, ends_by_hand, named

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.kv import KvLayout, kv_bytes
from zcube.llm.schedules.engines import ENGINES, generate
from zcube.llm.schedules.options import EngineOptions
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import Kind

GLM, DEEPSEEK = load_card("glm-5.1"), load_card("deepseek-v3.2")
FP8_MTP = KvLayout("fp8", with_mtp_layer=True)
COMBINATIONS = [
    (engine, prefill, decode, connector)
    for engine, kind in ((engine, kind.on(8)) for engine, kind in ENGINES.items())
    for prefill, decode, connector in itertools.product(kind.prefill, kind.decode, kind.connectors)
]


def made(engine, card=GLM, **options):
    return generate(engine, card, EngineOptions(**options))


def phase_rows(trace, phase):
    return np.flatnonzero(trace.phase == trace.phases.index(phase))


@pytest.mark.parametrize(("engine", "prefill", "decode", "connector"), COMBINATIONS)
def test_every_combination_ships_one_copy_for_each_decode_gpu_that_needs_it(engine, prefill, decode, connector):
    layers, requests = ({}, 2) if engine == "tilert" else ({"layers": 5}, 3)
    trace = made(
        engine, prefill_layout=prefill, decode_layout=decode, connector=connector, prefill_nodes=2, decode_nodes=2,
        requests=requests, new_tokens=2048, cached_tokens=1024, chunk_tokens=1024, **layers,
    )  # fmt: skip
    assert trace.ranks == 32
    assert computes_one_at_a_time(trace)
    sent = np.concatenate([named(trace, "kv-write"), named(trace, "kv-read")])
    copies = 8 if decode == "tp8" else 1
    assert trace.size_bytes[sent].sum() == requests * copies * kv_bytes(GLM, 3072, FP8_MTP)
    # Request r goes from prefill node r % 2 to decode node r % 2; decode nodes are numbered after prefill nodes.
    assert set(zip((trace.source[sent] // 8).tolist(), (trace.target[sent] // 8).tolist())) == {(0, 2), (1, 3)}
    assert set((trace.source[phase_rows(trace, "prefill")] // 8).tolist()) <= {-1, 0, 1}
    # Nothing decodes before its node's cache has come.
    ends = ends_by_hand(trace, lambda row: 0.01)
    decoding = phase_rows(trace, "decode")
    decoding = decoding[trace.kind[decoding] == Kind.COMPUTE]
    for node in (2, 3):
        come = ends[sent[trace.target[sent] // 8 == node]]
        begins = ends[decoding] - trace.duration_s[decoding]
        first = begins[trace.source[decoding] // 8 == node].min()
        assert first >= (come.min() if engine == "tilert" else come.max()) - 1e-12


@pytest.mark.parametrize("prefill", ["tp8", "cp8", "cp8-layersplit"])
def test_collectives_expanded_into_transfers_keep_the_order_of_computation(prefill):
    trace = made("sglang", prefill_layout=prefill, decode_layout="tp8", layers=4, new_tokens=3000, chunk_tokens=1024)
    expanded = expand(trace)
    assert not len(expanded.rows(Kind.COLLECTIVE))
    assert ends_by_hand(expanded).max() == pytest.approx(ends_by_hand(trace).max())
    assert computes_one_at_a_time(expanded)


def test_metadata_tells_how_the_trace_came_about():
    trace = made("sglang", layers=1, seed=9)
    assert trace.metadata["engine"] == "sglang"
    assert (trace.metadata["prefill_layout"], trace.metadata["decode_layout"]) == ("cp8", "dp8")
    assert trace.metadata["connector"] == "mooncake-push"
    assert "b200" in trace.metadata["compute"]["model"]
    assert EngineOptions.model_validate(trace.metadata["options"]) == EngineOptions(layers=1, seed=9)


def test_same_options_same_trace():
    options = {"prefill_layout": "dp8", "prefill_nodes": 2, "expert_counts": "sampled", "layers": 6, "requests": 2, "seed": 5}
    one, other = made("sglang", **options), made("sglang", **options)
    for column in ("kind", "source", "target", "size_bytes", "duration_s", "dependency"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


def test_ep32_prefill_of_four_nodes():
    trace = made(
        "sglang", prefill_layout="dp8", prefill_nodes=4, decode_nodes=0, requests=4, new_tokens=8192, chunk_tokens=8192
    )
    rows = between_nodes(trace)
    assert trace.size_bytes[rows].sum() / (4 * 8192) / 1e6 == pytest.approx(3.8, abs=0.01)
    assert trace.phases == ("prefill",)


def test_ep144_decode_of_eighteen_nodes():
    trace = made("sglang", DEEPSEEK, decode_nodes=18, prefill_nodes=0, decode_batch=32, layers=5)
    assert trace.phases == ("decode",)
    dispatched = trace.size_bytes[named(trace, "dispatch")].sum()
    # 7,408 bytes a message; 1 of 144 stays on its GPU.
    assert dispatched / (144 * 32 * 8 * 2 * 7408) == pytest.approx(143 / 144, rel=0.01)


def test_chunks_pack_prompts_and_push_one_by_one():
    trace = made("sglang", prefill_layout="tp8", requests=3, new_tokens=1536, chunk_tokens=1024, layers=4, drafts=0)
    # 3 prompts of 1.5 chunks on one node: 5 iterations of 1024, 512 + 512, 1024, 1024 and 512 tokens.
    rows = named(trace, "all-reduce")
    prefill = rows[trace.phase[rows] == trace.phases.index("prefill")]
    assert (trace.size_bytes[prefill][::8] // 12_288).tolist() == [1024, 1024, 1024, 1024, 512]
    # Two chunks each: whole pages after the first, the rest after the second.
    assert len(named(trace, "kv-setup")) == 3 * 2


def test_tilert_receives_one_request_at_a_time():
    trace = made("tilert", requests=2, new_tokens=1024)
    ends = ends_by_hand(trace, lambda row: 0.5, lambda row: 1e-5)
    writes = named(trace, "kv-write").reshape(2, 2)
    decoding = phase_rows(trace, "decode")
    first = decoding[decoding < writes[1, 0]]
    assert ends[writes[1]].min() >= ends[first].max() + 0.5
    assert trace.source[writes].max() == 0
    assert set(trace.target[writes].ravel().tolist()) == {8}


def test_decode_keeps_its_pace_step_by_step():
    trace = made("vllm", prefill_nodes=0, decode_steps=3, decode_batch=4, context_tokens=5000, layers=2)
    heads = named(trace, "output-head")
    ends = ends_by_hand(trace, collective_s=lambda row: 5e-6)[heads].reshape(3, 8)
    assert (np.diff(ends[:, 0]) > 0).all()
    rows = trace.rows(Kind.COLLECTIVE)
    assert len(rows) == 3 * 2 * 2
    assert set(trace.size_bytes[rows].tolist()) == {4 * 12_288}


def test_a_layer_split_engine_broadcasts_every_layer():
    trace = made("sglang", prefill_layout="cp8-layersplit", new_tokens=8192, cached_tokens=57_344, decode_nodes=0)
    rows = named(trace, "broadcast")
    # The shipped layout has 788 bytes a token and layer.
    assert trace.size_bytes[rows].sum() == 78 * 788 * 65_536


@pytest.mark.parametrize(
    ("engine", "options", "where"),
    [
        ("tilert", {"prefill_layout": "cp8", "decode_layout": "dp8", "connector": "nixl-pull"}, "prefill_layout"),
        ("tilert", {"decode_batch": 2, "layers": 3}, "layers"),
        ("vllm", {"prefill_layout": "cp8"}, "prefill_layout"),
        ("sglang", {"connector": "tilert"}, "connector"),
        ("sglang", {"decode_nodes": 128, "decode_steps": 1024}, "options"),
        ("dynamo", {}, "engine"),
    ],
)
def test_what_an_engine_does_not_offer_is_refused(engine, options, where):
    with pytest.raises(InputError) as caught:
        made(engine, **options)
    assert caught.value.faults[0].where == where


def test_options_that_disagree_are_all_listed():
    with pytest.raises(ValidationError) as caught:
        EngineOptions(
            prefill_nodes=0, decode_nodes=0, accepted_tokens=3, decode_prefix_tokens=9000, layer_split_rows="whole-buffer",
            requests=65_536, new_tokens=1 << 22, chunk_tokens=64,
        )  # fmt: skip
    for part in ("at least one prefill", "at most drafts", "layer_split_buffer_tokens", "chunks of all prompts"):
        assert part in str(caught.value)
