"""Prefill schedules against their closed forms: bytes per layer, bytes per token, what overlaps what."""

import time

import numpy as np
import pytest
from expert_by_hand import bytes_between_nodes
from trace_by_hand import StatedTimes, between_nodes, computes_one_at_a_time, ends_by_hand, named

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.schedules.expert_prefill import append_expert_prefill
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.node_prefill import LayerSplit, append_context_parallel, append_tensor_parallel
from zcube.llm.schedules.pieces import Piece, chunks, halves
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import Kind

GLM = load_card("glm-5.1")
ALL_MOE = GLM.model_copy(update={"first_dense_layers": 0, "layers": 6})
K = 1024


def in_node(append, pieces, times=None, card=GLM, **choices):
    builder = TraceBuilder(8)
    append(builder, card, times or StatedTimes(1e-6, 1e-6, 2e-7, 3e-7), pieces, **choices)
    return builder.build({})


def over_nodes(nodes, pieces, times=None, card=GLM, routing=None, **choices):
    builder = TraceBuilder(8 * nodes)
    times = times or StatedTimes(1e-6, 1e-6)
    append_expert_prefill(builder, card, times, pieces, routing or ExpertRouting(card, nodes), **choices)
    return builder.build({})


def test_tensor_parallel_layer_has_two_all_reduces_of_the_hidden_states():
    trace = in_node(append_tensor_parallel, [Piece(1000, 50), Piece(24)])
    rows = trace.rows(Kind.COLLECTIVE)
    assert np.bincount(trace.layer[rows]).tolist() == [2] * 78
    assert set(trace.size_bytes[rows].tolist()) == {1024 * 12_288}
    assert not len(trace.rows(Kind.TRANSFER))


def test_context_parallel_layer_has_the_four_published_collectives():
    # NVIDIA's GLM-5 profile at 32 K: all-gathers of 256, 1152 and 12,288 bytes a token in all, reduce-scatter of 12,288.
    tokens = 32 * K
    trace = in_node(append_context_parallel, [Piece(tokens)])
    for layer in (0, 3, 77):
        rows = np.flatnonzero((trace.layer == layer) & (trace.kind == Kind.COLLECTIVE))
        gathers, scatters = rows[:3], rows[3:]
        assert [trace.names[name] for name in trace.name[rows]] == ["all-gather"] * 3 + ["reduce-scatter"]
        assert (8 * trace.size_bytes[gathers]).tolist() == [tokens * 256, tokens * 1152, tokens * 12_288]
        assert trace.size_bytes[scatters].tolist() == [tokens * 12_288]
    assert len(trace.rows(Kind.COLLECTIVE)) == 4 * 78


def test_context_parallel_tokens_are_padded_to_eight():
    trace = in_node(append_context_parallel, [Piece(13)], layers=1)
    assert sorted(trace.size_bytes[trace.rows(Kind.COLLECTIVE)].tolist()) == [512, 2304, 2 * 12_288, 16 * 12_288]


@pytest.mark.parametrize("append", [append_tensor_parallel, append_context_parallel])
def test_a_node_runs_its_layer_in_series_for_the_time_of_its_parts(append):
    times = StatedTimes(3e-6, 2e-6, 1e-6, 1e-6)
    trace = in_node(append, [Piece(100)], times)
    collectives = 2 if append is append_tensor_parallel else 4
    ends = ends_by_hand(trace, collective_s=lambda row: 1e-3)
    assert ends.max() == pytest.approx(78 * (100 * 5e-6 + collectives * 1e-3))
    assert computes_one_at_a_time(trace)


def test_layer_split_moves_52_megabytes_a_layer_and_4_gigabytes_a_forward_at_64k():
    trace = in_node(append_context_parallel, [Piece(8 * K, 56 * K)], split=LayerSplit())
    rows = named(trace, "broadcast")
    assert set(trace.size_bytes[rows].tolist()) == {788 * 64 * K}
    assert trace.size_bytes[rows[0]] / 1e6 == pytest.approx(51.6, abs=0.05)
    assert trace.size_bytes[rows].sum() / 1e9 == pytest.approx(4.0, abs=0.05)
    # Each GPU owns whole layers, one range after the other.
    assert np.bincount(trace.source[rows]).tolist() == [10] * 6 + [9] * 2
    assert (np.diff(trace.source[rows]) >= 0).all()


def test_layer_split_may_broadcast_the_whole_buffer():
    trace = in_node(append_context_parallel, [Piece(64)], split=LayerSplit("whole-buffer", 100_000))
    assert set(trace.size_bytes[named(trace, "broadcast")].tolist()) == {78_800_000}
    with pytest.raises(InputError, match="at least the 64 tokens"):
        in_node(append_context_parallel, [Piece(64)], split=LayerSplit("whole-buffer", 63))


@pytest.mark.parametrize(("broadcast_s", "exposed_s"), [(2e-3, 0.0), (3e-3, 0.0), (5e-3, 2e-3)])
def test_broadcast_hides_behind_the_indexer(broadcast_s, exposed_s):
    times = StatedTimes(10e-6, 4e-6, 1e-6, 3e-6)
    trace = in_node(append_context_parallel, [Piece(K)], times, split=LayerSplit(), layers=5)
    size_of = {"broadcast": broadcast_s}
    ends = ends_by_hand(trace, collective_s=lambda row: size_of.get(trace.names[trace.name[row]], 0.0))
    # 1024 tokens: the indexer takes 3.07 ms.
    slack_s = K * 3e-6 - 3e-3
    expected_s = 5 * (K * 14e-6 + max(0.0, exposed_s - slack_s))
    assert ends.max() == pytest.approx(expected_s)


def test_prefetched_broadcast_hides_behind_all_but_the_sparse_attention():
    times = StatedTimes(10e-6, 4e-6, 1e-6, 3e-6)
    trace = in_node(append_context_parallel, [Piece(K)], times, split=LayerSplit(beside="previous-layer"), layers=5)
    long_s = K * 8e-6
    ends = ends_by_hand(trace, collective_s=lambda row: long_s if row in set(named(trace, "broadcast")) else 0.0)
    # Experts, projections and indexer take 8 us a token: only the first layer's, with nothing before, is exposed by half.
    assert ends.max() == pytest.approx(5 * K * 14e-6 + K * (8 - 4) * 1e-6)


@pytest.mark.parametrize("overlap", ["two-batch", "none"])
@pytest.mark.parametrize("chunked", [1, 3])
def test_ep32_prefill_sends_3_8_megabytes_a_token_over_the_rails(overlap, chunked):
    trace = over_nodes(4, [[Piece(8 * K)]] * 4, overlap=overlap, chunks=chunked)
    rows = between_nodes(trace)
    remote = 4 * (1 - (3 / 4) ** 8) * 3 / 4
    per_token = trace.size_bytes[rows].sum() / (4 * 8 * K)
    assert per_token == pytest.approx(75 * remote * (6416 + 12_336), rel=1e-6)
    assert per_token / 1e6 == pytest.approx(3.8, abs=0.01)
    assert (trace.source[rows] % 8 == trace.target[rows] % 8).all()
    # Every GPU of every node carries an equal part.
    sent = np.bincount(trace.source[rows], trace.size_bytes[rows], minlength=32)
    np.testing.assert_allclose(sent, sent[0], rtol=1e-6)


def test_uneven_nodes_send_what_the_matrix_of_nodes_says():
    trace = over_nodes(4, [[Piece(4096)], [], [Piece(1000, 7)], [Piece(64), Piece(40)]])
    rows = between_nodes(trace)
    found = np.zeros((4, 4))
    np.add.at(found, (trace.source[rows] // 8, trace.target[rows] // 8), trace.size_bytes[rows])
    np.testing.assert_allclose(found, bytes_between_nodes(GLM, [4096, 0, 1000, 104]), rtol=1e-4)


def test_every_copy_is_forwarded_inside_its_node():
    # A token reaches each of 32 GPUs with 1 - (31/32)**8; 7 of the 8 GPUs of a node take it from another GPU there.
    tokens = 8 * K
    trace = over_nodes(4, [[Piece(tokens)]] * 4)
    copies = 4 * tokens * 32 * (1 - (31 / 32) ** 8) * 7 / 8
    for name, message in (("dispatch-forward", 6416), ("combine-gather", 12_336)):
        rows = named(trace, name)
        assert trace.size_bytes[rows].sum() == pytest.approx(75 * copies * message, rel=1e-6)
        assert (trace.source[rows] // 8 == trace.target[rows] // 8).all()


def test_one_node_keeps_its_experts_traffic_inside():
    trace = over_nodes(1, [[Piece(512)]])
    assert not len(between_nodes(trace))
    assert trace.size_bytes[named(trace, "dispatch-forward")].sum() > 0


def expert_path_s(overlap, rate, tokens=4096):
    """Return the end of a pass when rails run at a rate and NVLink takes no time, and its two rail times per layer."""
    times = StatedTimes(8e-6, 8e-6)
    trace = over_nodes(4, [[Piece(tokens)]] * 4, times, ALL_MOE, overlap=overlap)
    rails = set(between_nodes(trace).tolist())
    ends = ends_by_hand(trace, lambda row: trace.size_bytes[row] / rate if row in rails else 0.0)
    messages = tokens / 8 * (1 - (3 / 4) ** 8) / rate
    assert computes_one_at_a_time(trace)
    return ends.max(), messages * 6416, messages * 12_336


def test_without_overlap_communication_is_exposed():
    found_s, dispatch_s, combine_s = expert_path_s("none", 1e9)
    assert found_s == pytest.approx(6 * (2 * 4096 * 8e-6 + dispatch_s + combine_s), rel=1e-4)


@pytest.mark.parametrize("chunked", [1, 3])
def test_a_message_crosses_the_rail_and_then_nvlink_part_by_part(chunked):
    # Every transfer takes 1 ms: the parts follow each other over the rail, the last is forwarded after it. A combine's
    # parts are gathered at once and then follow each other.
    trace = over_nodes(4, [[Piece(4096)]] * 4, StatedTimes(8e-6, 8e-6), ALL_MOE, overlap="none", chunks=chunked)
    ends = ends_by_hand(trace, lambda row: 1e-3)
    assert ends.max() == pytest.approx(6 * (2 * 4096 * 8e-6 + 2 * (chunked + 1) * 1e-3))


def test_two_microbatches_hide_all_but_the_last_combine():
    # A microbatch's combine takes 3 ms, less than the 16 ms that the other one computes meanwhile.
    found_s, _, combine_s = expert_path_s("two-batch", 1e9)
    assert combine_s / 2 < 4096 * 4e-6
    assert found_s == pytest.approx(6 * 2 * 4096 * 8e-6 + combine_s / 2, rel=1e-4)


def test_two_microbatches_on_a_slow_network_take_the_time_of_their_messages():
    # Each queue pair is busy without a pause: 12 dispatches or combines of half a layer follow one another.
    found_s, dispatch_s, combine_s = expert_path_s("two-batch", 1e7)
    assert 6 * combine_s <= found_s <= 6 * (combine_s + dispatch_s) + 6 * 2 * 4096 * 8e-6


@pytest.mark.parametrize("overlap", ["two-batch", "none"])
def test_layers_come_in_order(overlap):
    trace = over_nodes(2, [[Piece(256)]] * 2, card=GLM.model_copy(update={"layers": 9}), overlap=overlap)
    ends = ends_by_hand(trace, lambda row: 1e-4)
    attention = named(trace, "attention")
    for rank in range(16):
        mine = attention[trace.source[attention] == rank]
        batch = mine[:: 2 if overlap == "two-batch" else 1]
        assert trace.layer[batch].tolist() == list(range(9))
        # Expert layers are 3 .. 8; a layer's attention ends after the combine of the layer before has arrived.
        for layer in range(4, 9):
            came = named(trace, "combine")
            came = came[(trace.target[came] == rank) & (trace.layer[came] == layer - 1)]
            assert ends[batch[layer]] > ends[came[: len(came) // (2 if overlap == "two-batch" else 1)]].max()


def test_an_iteration_of_four_nodes_is_quick_and_small():
    times = roofline(GLM, load_device("h200"), EngineLayout("dp8", "dp8", prefill_ep_nodes=4))
    began_s = time.perf_counter()
    trace = over_nodes(4, [[Piece(16 * K * 8)]] * 4, times)
    assert time.perf_counter() - began_s < 3
    assert len(trace) < 300_000


def test_two_half_batches_compute_no_less_than_one_whole():
    times = roofline(GLM, load_device("h200"), EngineLayout("dp8", "dp8", prefill_ep_nodes=4))
    whole, cut = (
        ends_by_hand(over_nodes(4, [[Piece(8 * K)]] * 4, times, overlap=kind)).max() for kind in ("none", "two-batch")
    )
    assert whole < cut < 1.5 * whole


def test_sampled_prefill_is_repeatable_and_near_the_expectation():
    pieces = [[Piece(8 * K)]] * 4
    even = ExpertRouting(GLM, 4, "sampled", "balanced", seed=3)
    totals = [over_nodes(4, pieces, routing=even).size_bytes.sum() for _ in range(2)]
    assert totals[0] == totals[1]
    assert totals[0] == pytest.approx(over_nodes(4, pieces).size_bytes.sum(), rel=1e-3)
    other = over_nodes(4, pieces, routing=ExpertRouting(GLM, 4, "sampled", "balanced", seed=4))
    assert other.size_bytes.sum() != totals[0]


def test_a_dispatch_comes_back_as_the_combine_of_the_same_tokens():
    routing = ExpertRouting(GLM, 2, "sampled", "power_law_1.2", seed=1)
    trace = over_nodes(2, [[Piece(3000)], [Piece(1000)]], routing=routing)
    for layer in (3, 50):
        tokens = []
        for name, message in (("dispatch", 6416), ("combine", 12_336)):
            rows = named(trace, name)
            rows = rows[trace.layer[rows] == layer]
            ends = (trace.source, trace.target) if name == "dispatch" else (trace.target, trace.source)
            counted = np.zeros((16, 16))
            np.add.at(counted, (ends[0][rows], ends[1][rows]), trace.size_bytes[rows] / message)
            tokens.append(counted)
        np.testing.assert_array_equal(*tokens)


def test_pieces_are_cut_without_loss():
    assert chunks(20_000, 100, 8192) == [Piece(8192, 100), Piece(8192, 8292), Piece(3616, 16_484)]
    assert halves([Piece(10, 5), Piece(3)]) == ([Piece(7, 5)], [Piece(3, 12), Piece(3)])
    assert halves([Piece(1)]) == ([Piece(1)], [])


def test_what_is_not_offered_is_refused():
    with pytest.raises(InputError) as caught:
        over_nodes(2, [[]], chunks=0, overlap="five-stage", routing=ExpertRouting(GLM, 2))
    assert [fault.where for fault in caught.value.faults] == ["pieces", "chunks", "overlap"]
