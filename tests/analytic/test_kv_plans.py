"""KV transfer plans: the table of senders, TileRT's descriptors, pages, slices, and when pushes may leave."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_by_hand import ends_by_hand, named

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kv import KvLayout, kv_bytes
from zcube.llm.rankmap import rank_map
from zcube.llm.schedules.kv_plans import kv_plan
from zcube.llm.schedules.kv_push import KvTiming, append_kv
from zcube.llm.schedules.pieces import chunks
from zcube.llm.schedules.slices import Slicing
from zcube.trace.builder import TraceBuilder

GLM = load_card("glm-5.1")
FP8, FP8_MTP = KvLayout("fp8"), KvLayout("fp8", with_mtp_layer=True)
ALL = tuple(range(8))
K = 1024

# name -> (copies on the wire, source rails, destination rails) for prefill rank 2 and decode rank 5
ROWS = {
    "tp8-tp8": (8, ALL, ALL),
    "tp8-dp8": (1, (0,), (5,)),
    "dp8-dp8": (1, (2,), (5,)),
    "dp8-tp8": (8, (2,), ALL),
    "cp8-dp8": (1, (0,), (5,)),
    "cp8-layersplit-dp8": (1, ALL, (5,)),
}


@pytest.mark.parametrize("connector", ["mooncake-push", "nixl-pull", "after-prefill"])
@pytest.mark.parametrize("name", ROWS)
def test_copies_and_rails_of_every_layout(name, connector):
    copies, sources, targets = ROWS[name]
    ends = [8 * K, 16 * K, 32 * K]
    plan = kv_plan(GLM, connector, rank_map(name, 79), ends, FP8_MTP, source_rank=2, target_rank=5)
    assert plan.size_bytes == copies * kv_bytes(GLM, 32 * K, FP8_MTP)
    assert {transfer.source_rank for transfer in plan.transfers} == set(sources)
    assert {transfer.target_rank for transfer in plan.transfers} == set(targets)
    assert {transfer.chunk for transfer in plan.transfers} == ({0, 1, 2} if connector == "mooncake-push" else {2})
    if name == "tp8-tp8":
        assert all(transfer.source_rank == transfer.target_rank for transfer in plan.transfers)


def test_layer_split_sends_whole_layers():
    plan = kv_plan(GLM, "after-prefill", rank_map("cp8-layersplit-dp8", 78), [64 * K], FP8)
    per_layer = kv_bytes(GLM, 64 * K, FP8) // 78
    assert [transfer.size_bytes // per_layer for transfer in plan.transfers] == [10] * 6 + [9] * 2
    with pytest.raises(InputError, match="79, those shipped"):
        kv_plan(GLM, "after-prefill", rank_map("cp8-layersplit-dp8", 78), [64], FP8_MTP)


@pytest.mark.parametrize("tokens", [1, 1000, 32 * K, 202_752])
def test_tilert_writes_237_descriptors_from_rail_0_to_rail_0(tokens):
    (write,) = kv_plan(GLM, "tilert", rank_map("tp8-tilert"), [tokens]).transfers
    assert (write.source_rank, write.target_rank, write.descriptors) == (0, 0, 237)
    assert write.size_bytes == kv_bytes(GLM, tokens, FP8_MTP)
    assert write.descriptor_bytes[:3].tolist() == [528 * tokens, 128 * tokens, 8448 * -(-tokens // 64)]


@pytest.mark.parametrize("connector", ["mooncake-push", "nixl-pull", "after-prefill"])
def test_a_cache_without_index_keys_is_sent_as_latents_alone(connector):
    card, layout = load_card("kimi-k2"), KvLayout("bf16")
    plan = kv_plan(card, connector, rank_map("tp8-dp8", card.layers), [1000, 1024], layout)
    assert plan.size_bytes == kv_bytes(card, 1024, layout) == 61 * 1152 * 1024
    assert all(transfer.descriptor_bytes.min() > 0 for transfer in plan.transfers)
    with pytest.raises(InputError, match="tilert with kimi-k2"):
        kv_plan(card, "tilert", rank_map("tp8-tilert", card.layers), [1000])


def test_chunks_carry_whole_pages_and_the_last_one_the_rest_and_the_indexer():
    # 100 tokens make one whole page; the 28 of the second wait for the next chunk.
    plan = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [100, 150, 300], FP8)
    latent, index = 64 * 656, 64 * 132
    sizes = [transfer.descriptor_bytes for transfer in plan.transfers]
    assert [set(size.tolist()) for size in sizes] == [{latent}, {latent}, {3 * latent, 5 * index}]
    assert [len(size) for size in sizes] == [78, 78, 156]
    # Only the last page goes out whole although it is not full.
    assert plan.size_bytes == kv_bytes(GLM, 300, FP8) + 78 * 656 * (320 - 300)


def test_the_last_page_may_be_cut():
    plan = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [100, 300], FP8, whole_last_page=False)
    assert plan.size_bytes == kv_bytes(GLM, 300, FP8)


def test_a_chunk_without_a_whole_page_sends_nothing():
    plan = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [40, 60, 70], FP8)
    assert [transfer.chunk for transfer in plan.transfers] == [2]


def test_what_decode_has_cached_stays():
    whole, rest = (
        kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [8 * K, 16 * K], FP8, decode_prefix_tokens=prefix).size_bytes
        for prefix in (0, 12 * K + 5)
    )
    assert whole - rest == kv_bytes(GLM, 12 * K, FP8)


@given(
    ends=st.lists(st.integers(1, 5000), min_size=1, max_size=6, unique=True).map(sorted),
    page=st.sampled_from([1, 16, 64, 128]), runs=st.integers(1, 5), name=st.sampled_from(list(ROWS)), data=st.data(),
)  # fmt: skip
def test_any_cutting_ships_one_copy_of_whole_pages(ends, page, runs, name, data):
    prefix = data.draw(st.integers(0, ends[-1]))
    plan = kv_plan(
        GLM, "mooncake-push", rank_map(name, 78), ends, FP8, decode_prefix_tokens=prefix, page_tokens=page, page_runs=runs
    )
    pages = -(-ends[-1] // page) - prefix // page
    assert plan.size_bytes == ROWS[name][0] * 78 * 788 * page * pages
    assert all(transfer.descriptor_bytes.min() >= 132 * page for transfer in plan.transfers)


def test_a_pull_reads_page_by_page():
    (read,) = kv_plan(GLM, "nixl-pull", rank_map("tp8-dp8"), [1000], FP8).transfers
    assert read.descriptors == read.slices == 78 * 2 * 16
    assert set(read.descriptor_bytes.tolist()) == {64 * 656, 64 * 132}


def slices_by_hand(length, size, ratio):
    """Mooncake's loop over a request."""
    made, offset = [], 0
    while offset < length:
        last = length - offset <= size + size // ratio
        made.append(length - offset if last else size)
        offset += made[-1]
    return made


@given(
    requests=st.lists(st.integers(0, 2_000_000), max_size=8), size=st.sampled_from([4096, 65_536, 100_000]),
    ratio=st.sampled_from([1, 4, 7]), pairs=st.integers(1, 5),
)  # fmt: skip
def test_slices_are_those_of_mooncake(requests, size, ratio, pairs):
    slicing = Slicing(slice_bytes=size, fragment_ratio=ratio, queue_pairs=pairs)
    expected = [slices_by_hand(length, size, ratio) for length in requests]
    assert slicing.sizes(requests).tolist() == [piece for made in expected for piece in made]
    assert slicing.counts(requests).tolist() == [len(made) for made in expected]
    sent, count = slicing.per_queue_pair(requests)
    assert (sent.sum(), count.sum()) == (sum(requests), sum(map(len, expected)))
    assert count.max() - count.min() <= 1


@pytest.mark.parametrize(("size", "pieces"), [(65_536, [65_536]), (81_920, [81_920]), (81_921, [65_536, 16_385]), (1, [1])])
def test_a_remainder_up_to_a_quarter_joins_the_last_slice(size, pieces):
    assert Slicing().sizes(size).tolist() == pieces


def test_a_page_of_latents_is_one_slice():
    (push,) = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [64], FP8).transfers
    assert push.slices == push.descriptors == 2 * 78
    sent, slices = push.per_queue_pair()
    assert sent.sum() == push.size_bytes
    assert slices.tolist() == [78, 78]


@pytest.fixture(scope="module")
def node():
    return roofline(GLM, load_device("h200"), EngineLayout("tp8", "dp8"))


def kv_trace(plan, times, pieces, timing=None):
    """Return the trace of one request: its prefill chunks on node 0, each one computation, and its pushes to node 1."""
    builder, ready, ends = TraceBuilder(16), [], np.full(8, -1)
    for piece in pieces:
        seconds = times.prefill_iteration_s(np.array([piece.new_tokens]), np.array([piece.cached_tokens]))
        ends = builder.compute("prefill-chunk", np.arange(8), seconds, phase="prefill", after=[ends])
        ready.append([ends])
    append_kv(builder, plan, ready, 0, 1, timing or KvTiming())
    return builder.build({})


def test_pushes_leave_after_their_chunk_and_do_not_hold_up_the_next(node):
    pieces = chunks(20 * K, 4 * K, 8 * K)
    ends = np.cumsum([piece.new_tokens for piece in pieces]) + 4 * K
    plan = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), ends.tolist(), FP8_MTP, target_rank=3)
    trace = kv_trace(plan, node, pieces, timing=KvTiming(setup_s=0.5))
    finish = ends_by_hand(trace, lambda row: 10.0)
    computed = finish[named(trace, "prefill-chunk")].reshape(3, 8)
    iterations = [node.prefill_iteration_s([piece.new_tokens], [piece.cached_tokens]) for piece in pieces]
    np.testing.assert_allclose(computed[:, 0], np.cumsum(iterations))
    # Each push: set-up, then 10 s on two queue pairs, one push after the other.
    writes = finish[named(trace, "kv-write")].reshape(3, 2)
    np.testing.assert_allclose(writes[:, 0], computed[0, 0] + 10.5 * np.arange(1, 4))
    assert (writes[:, 0] == writes[:, 1]).all()
    rows = named(trace, "kv-write")
    assert trace.size_bytes[rows].sum() == plan.size_bytes
    assert set(trace.source[rows].tolist()) == {0}
    assert set(trace.target[rows].tolist()) == {8 + 3}


def test_a_pull_is_set_up_by_the_decode_gpu_after_the_last_chunk(node):
    pieces = chunks(16 * K, 0, 8 * K)
    plan = kv_plan(GLM, "nixl-pull", rank_map("tp8-tp8"), [8 * K, 16 * K], FP8)
    trace = kv_trace(plan, node, pieces)
    assert trace.source[named(trace, "kv-setup")].tolist() == list(range(8, 16))
    rows = named(trace, "kv-read")
    assert trace.source[rows].tolist() == list(range(8))
    assert trace.target[rows].tolist() == list(range(8, 16))
    finish = ends_by_hand(trace)
    np.testing.assert_allclose(finish[rows], finish[named(trace, "prefill-chunk")].max() + 0.00037)


def test_tilert_copies_latents_to_seven_peers_over_nvlink(node):
    plan = kv_plan(GLM, "tilert", rank_map("tp8-tilert"), [8 * K, 16 * K])
    trace = kv_trace(plan, node, chunks(16 * K, 0, 8 * K), timing=KvTiming(setup_s=1, staging_s=2, convert_s=4))
    rows = named(trace, "kv-inject")
    assert trace.size_bytes[rows].sum() == 7 * 1152 * 16 * K * 79
    assert set(trace.source[rows].tolist()) == {8}
    assert trace.target[rows].tolist() == list(range(9, 16))
    finish = ends_by_hand(trace, lambda row: 8.0)
    np.testing.assert_allclose(finish[rows], finish[named(trace, "prefill-chunk")].max() + 1 + 2 + 8 + 4 + 8)


def test_queue_pairs_may_be_one_transfer(node):
    plan = kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [1000], FP8)
    trace = kv_trace(plan, node, chunks(1000, 0, 8 * K), timing=KvTiming(rows_per_queue_pair=False))
    assert trace.size_bytes[named(trace, "kv-write")].tolist() == [plan.size_bytes]


def test_every_fault_is_listed():
    with pytest.raises(InputError) as caught:
        kv_plan(GLM, "udp", rank_map("tp8-tilert"), [64, 64], page_tokens=0, page_runs=0)
    assert [fault.where for fault in caught.value.faults] == [
        "connector", "rank map", "chunk_ends", "page_tokens", "page_runs",
    ]  # fmt: skip
    with pytest.raises(InputError, match="decode_prefix_tokens"):
        kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [64], decode_prefix_tokens=65)
    with pytest.raises(InputError, match="pages large enough"):
        kv_plan(GLM, "mooncake-push", rank_map("tp8-dp8"), [1 << 20], page_tokens=1)
