"""A serving run and a generated trace of the same engine send the same bytes: KV after every chunk, and every exchange."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_by_hand import run_by_hand, settings_of, trace_of
from trace_by_hand import StatedTimes, between_nodes

from zcube.llm.cards import load_card
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kv import KvLayout
from zcube.llm.rankmap import rank_map
from zcube.llm.schedules.expert_prefill import append_expert_prefill
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.kv_plans import KvPushes, kv_plan
from zcube.llm.schedules.pieces import Piece
from zcube.serving.transfers import EXPERT
from zcube.trace.builder import TraceBuilder

GLM, DEEPSEEK = load_card("glm-5.1"), load_card("deepseek-v3.2")
LAYOUTS = {
    "tp8-tp8": ("tp8", "tp8"),
    "dp8-dp8": ("dp8", "dp8"),
    "dp8-tp8": ("dp8", "tp8"),
    "cp8-dp8": ("cp8", "dp8"),
    "cp8-layersplit-dp8": ("cp8", "dp8"),
    "tp8-tilert": ("tp8", "tp8"),
}


def served(name, push, tokens, chunk_tokens, dtype="fp8"):
    """Return (source rail, target rail, bytes) of every push a run sends for one prompt."""
    prefill, decode = LAYOUTS[name]
    chosen = settings_of(
        prefill={"layout": prefill, "chunk_tokens": chunk_tokens},
        decode={"layout": decode},
        kv={"rank_map": name, "push": push, "dtype": dtype},
    )
    run = run_by_hand(trace_of([0.0], [tokens], [2]), chosen)
    return list(zip(run.flows.source % 8, run.flows.target % 8, run.flows.size_bytes, strict=True)), chosen


def test_20000_tokens_in_chunks_of_8192_push_425_425_and_398_megabytes():
    rows, _ = served("cp8-dp8", "per-chunk", 20_000, 8192)
    by_hand = [79 * 128 * 64 * 656] * 2 + [79 * (57 * 64 * 656 + 313 * 8448)]
    assert [size for _, _, size in rows] == by_hand
    assert [round(size / 1e6) for _, _, size in rows] == [425, 425, 398]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("push", [None, "after-prefill"])
@pytest.mark.parametrize("dtype", ["fp8", "bf16"])
@pytest.mark.parametrize(("tokens", "chunk_tokens"), [(20_000, 8192), (100, 64), (1, 64), (640, 128)])
def test_serving_pushes_what_the_plan_says(name, push, dtype, tokens, chunk_tokens):
    rows, chosen = served(name, push, tokens, chunk_tokens, dtype)
    ends = [*range(chunk_tokens, tokens, chunk_tokens), tokens]
    layout = KvLayout(dtype, with_mtp_layer=True)
    plan = kv_plan(GLM, chosen.kv.connector, rank_map(name, 79), ends, layout)
    assert rows == [(row.source_rank, row.target_rank, row.size_bytes) for row in plan.transfers]


@given(
    connector=st.sampled_from(["mooncake-push", "after-prefill", "nixl-pull"]), page=st.sampled_from([1, 16, 64, 100]),
    runs=st.integers(1, 4), whole=st.booleans(), dtype=st.sampled_from(["fp8", "bf16", "bf16+fp8-index"]),
    span=st.tuples(st.integers(0, 30), st.integers(1, 5000)), is_last=st.booleans(),
)  # fmt: skip
def test_descriptors_add_up_to_the_bytes(connector, page, runs, whole, dtype, span, is_last):
    pushes = KvPushes(
        GLM, connector, rank_map("cp8-dp8"), KvLayout(dtype), page_tokens=page, page_runs=runs, whole_last_page=whole
    )
    sent, existing = span[0] * page, span[0] * page + span[1]
    push = pushes.ready(sent, existing, existing if is_last else existing + 1)
    if push is None:
        assert not is_last and (connector != "mooncake-push" or span[1] < page)
        return
    assert sum(pushes.descriptors(push)) == pushes.unit_bytes(push)[0]


def generated(card, tokens, overlap):
    """Return the bytes a generated iteration sends from each GPU to each other one, between nodes."""
    builder = TraceBuilder(8 * len(tokens))
    pieces = [[Piece(count)] if count else [] for count in tokens]
    append_expert_prefill(builder, card, StatedTimes(1e-6, 1e-6), pieces, ExpertRouting(card, len(tokens)), overlap=overlap)
    trace = builder.build({})
    rows = between_nodes(trace)
    sent = np.zeros((trace.ranks, trace.ranks), dtype=np.int64)
    np.add.at(sent, (trace.source[rows], trace.target[rows]), trace.size_bytes[rows])
    return sent


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("bursts", [1, 8, 1000])
@pytest.mark.parametrize("tokens", [(1, 0), (8192, 8192), (4097, 13, 0, 640)])
def test_an_iterations_bursts_add_up_to_the_generated_exchanges(tokens, bursts, overlap):
    pool = {
        "nodes": len(tokens), "nodes_per_instance": len(tokens), "layout": "dp8", "expert_overlap": overlap,
        "expert_bursts": bursts,
    }  # fmt: skip
    prompts = [count for count in tokens if count]
    # The emptiest node takes the next prompt, so that prompts that come together go to nodes in order, longest first or not.
    run = run_by_hand(
        trace_of([0.0] * len(prompts), prompts, [2] * len(prompts)), settings_of(prefill=pool, kv={"rank_map": "dp8-dp8"})
    )
    node = run.journeys.prefill_node
    here = [sum(count for count, at in zip(prompts, node, strict=True) if at == place) for place in range(len(tokens))]
    experts = run.flow_kind == EXPERT
    sent = np.zeros((8 * len(tokens),) * 2, dtype=np.int64)
    np.add.at(sent, (run.flows.source[experts], run.flows.target[experts]), run.flows.size_bytes[experts].astype(np.int64))
    assert np.array_equal(sent, generated(GLM, here, "two-batch" if overlap else "none"))
    assert np.array_equal(run.flows.size_bytes[experts], np.rint(run.flows.size_bytes[experts]))


@settings(max_examples=25)
@given(
    card=st.sampled_from([GLM, DEEPSEEK]), tokens=st.lists(st.integers(0, 20_000), min_size=4, max_size=4),
    overlap=st.booleans(),
)  # fmt: skip
def test_a_layer_times_the_layers_is_a_generated_iteration(card, tokens, overlap):
    from zcube.llm.schedules.normal_plan import dealt
    from zcube.llm.schedules.pieces import first_half

    if not any(tokens):
        return
    plan = EngineLayout("dp8", "dp8", prefill_ep_nodes=4).prefill_exchange(card)
    count = np.array(tokens)
    half = first_half(count)
    rails = plan.layer_rails([dealt(half), dealt(count - half)] if overlap else [dealt(count)])
    sent = np.zeros((32, 32), dtype=np.int64)
    sent[rails.source, rails.target] = card.moe_layers * rails.size_bytes
    assert np.array_equal(sent, generated(card, tokens, "two-batch" if overlap else "none"))
