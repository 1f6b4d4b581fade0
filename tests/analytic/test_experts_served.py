"""Exchanges of experts over nodes in a serving run: what they take, what they send, who shares the links with them."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import ConstantTimes, close, run_by_hand, settings_of, trace_of
from trace_by_hand import StatedTimes, between_nodes

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.exchanges import low_latency_s, normal_s
from zcube.llm.schedules.decode import append_expert_step
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.network.settings import Network
from zcube.serving.expert_exchange import dealt_to_gpus
from zcube.serving.journey import COMPLETED, FAILED
from zcube.serving.reach import reach_of
from zcube.serving.run import serve
from zcube.serving.transfers import EXPERT
from zcube.trace.builder import TraceBuilder

GLM, H200 = load_card("glm-5.1"), load_device("h200")
LAYERS = 75


class H200Times(ConstantTimes):
    """Constant computation, exchanges as measured on H200."""

    exchanges = H200.exchanges


def decode_settings(span, prefill=1, **decode):
    return settings_of(
        prefill={"nodes": prefill, "layout": "dp8"},
        decode={"nodes": span, "nodes_per_instance": span, **decode},
        kv={"rank_map": "dp8-dp8"},
    )


def served_on(network, trace, settings, compute, fabric="roft-256"):
    carrier = network.on(load_fabric(fabric), 0)
    return serve(carrier.fabric, carrier.model(), trace, settings, GLM, compute)


def step_time(run, request=0):
    life = run.journeys
    return (life.finish_s - life.first_token_s)[request] / (life.trace.output_tokens[request] - 1)


@pytest.mark.parametrize("nodes", [2, 3, 4, 8])
@pytest.mark.parametrize("decode", [{}, {"expert_burst_steps": 1}, {"expert_burst_steps": 7, "expert_pairs": "all"}])
@pytest.mark.parametrize("fabric", ["roft-256", "zcube-256"])
def test_a_step_on_an_idle_fabric_takes_what_was_calibrated(nodes, decode, fabric):
    run = served_on(Network(), trace_of([0.0], [500], [30]), decode_settings(nodes, **decode), H200Times(), fabric)
    dispatch_s, combine_s = low_latency_s(GLM, H200.exchanges, nodes, 1, 400)
    close(step_time(run), 0.01 + LAYERS * (dispatch_s + combine_s))


def test_packets_keep_experts_and_kv_in_classes_of_their_own():
    network = Network(fidelity="packet", packet={"traffic_classes": 2, "cell_bytes": 65536})
    carrier = network.on(load_fabric("roft-256"), 0)
    model = carrier.model()
    run = serve(carrier.fabric, model, trace_of([0.0, 0.1], [500, 700], [20, 20]), decode_settings(2), GLM, H200Times())
    pairs, owners = (model._tables[name][: model._postings.pairs] for name in ("pairs", "owners"))
    of_experts = run.flow_kind[owners] == EXPERT
    assert 0 < of_experts.sum() < len(pairs)
    assert np.array_equal(pairs["queue"] & 1, of_experts)


def middle_burst_s(run):
    """How long a burst lasted while every request was in the batch."""
    life = run.journeys
    starts_s = np.unique(run.flows.start_s[run.flow_kind == EXPERT])
    held = starts_s[(starts_s > life.first_token_s.max()) & (starts_s < life.finish_s.min())]
    assert len(held) > 3
    return held[2] - held[1]


@pytest.mark.parametrize(("requests", "fullest"), [(3, 1), (16, 1), (17, 2), (40, 3)])
def test_the_fullest_gpu_sets_the_pace(requests, fullest):
    together = trace_of([0.0] * requests, [64] * requests, [400] * requests)
    run = served_on(Network(), together, decode_settings(2, prefill=8, expert_burst_steps=3), H200Times())
    close(middle_burst_s(run), 3 * (0.01 + LAYERS * sum(low_latency_s(GLM, H200.exchanges, 2, fullest, 400))))


@pytest.mark.parametrize(("overlap", "step_s"), [(False, 1e-4), (True, 1e-4), (True, 0.01)])
def test_halves_of_a_batch_hide_exchanges_behind_each_other(overlap, step_s):
    # Two requests a GPU: cut in two, each half computes a step of its own, and exchanges twice.
    trace = trace_of([0.0] * 32, [64] * 32, [400] * 32)
    settings = decode_settings(2, prefill=8, expert_overlap=overlap, expert_burst_steps=1)
    run = served_on(Network(), trace, settings, H200Times(step_s=step_s))
    parts = (1, 1) if overlap else (2,)
    exchange_s = LAYERS * sum(sum(low_latency_s(GLM, H200.exchanges, 2, tokens, 400)) for tokens in parts)
    close(middle_burst_s(run), max(2 * step_s, exchange_s) if overlap else step_s + exchange_s)


@pytest.mark.parametrize(("requests", "halves"), [(1, 1), (16, 1), (31, 1), (33, 2)])
def test_a_batch_without_two_requests_for_every_gpu_exchanges_and_computes_in_turn(requests, halves):
    trace = trace_of([0.0] * requests, [64] * requests, [400] * requests)
    settings = decode_settings(2, prefill=8, expert_overlap=True, expert_burst_steps=1)
    run = served_on(Network(), trace, settings, H200Times(step_s=0.02))
    exchange_s = LAYERS * sum(low_latency_s(GLM, H200.exchanges, 2, -(-requests // 16), 400))
    close(middle_burst_s(run), 0.02 + exchange_s if halves == 1 else 2 * 0.02)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("nodes", [2, 4])
@pytest.mark.parametrize("token_s", [1e-7, 1e-4])
def test_an_iteration_on_an_idle_fabric_takes_what_was_calibrated(nodes, overlap, token_s):
    settings = settings_of(
        prefill={"nodes": nodes, "nodes_per_instance": nodes, "layout": "dp8", "expert_overlap": overlap, "chunk_tokens": 8192},
        kv={"rank_map": "dp8-dp8"},
    )
    trace = trace_of([0.0] * nodes, [8192] * nodes, [2] * nodes)
    run = served_on(Network(), trace, settings, H200Times(token_s))
    parts = (512, 512) if overlap else (1024,)
    exchange_s = LAYERS * sum(sum(normal_s(GLM, H200.exchanges, nodes, tokens, 400)) for tokens in parts)
    compute_s = 8192 * token_s
    close(run.journeys.prefill_end_s[0], max(compute_s, exchange_s) if overlap else compute_s + exchange_s)


def test_a_fabric_slower_than_the_calibration_sets_the_time():
    # The NIC is said to have 400 Gb/s, its links give 20.
    fabric = load_fabric("roft-256")
    slow = Network(fidelity="ideal").on(fabric.with_nic_rate(20.0), 0)
    trace, settings = trace_of([0.0], [64], [9]), decode_settings(2, expert_burst_steps=8)
    run = serve(fabric, slow.model(), trace, settings, GLM, H200Times())
    sent = run.flows.size_bytes[run.flow_kind == EXPERT]
    exchanges = H200.exchanges
    latency_us = exchanges.low_latency_dispatch.base_us + exchanges.low_latency_dispatch.doubling_us
    latency_us += exchanges.low_latency_combine.base_us + exchanges.low_latency_combine.cross_us
    # One burst of eight steps; the requesting GPU's dispatch is its largest transfer.
    burst_s = 8 * (0.01 + LAYERS * latency_us * 1e-6) + sent.max() * 8 / 20e9 + 1e-6
    close(run.journeys.finish_s[0] - run.journeys.first_token_s[0], burst_s)


@pytest.mark.parametrize(("whole", "bursts"), [(False, 2), (True, 1)])
def test_a_whole_burst_goes_on_when_a_request_ends(whole, bursts):
    settings = decode_settings(2, prefill=8, expert_burst_steps=20, expert_whole_bursts=whole)
    run = run_by_hand(trace_of([0.0, 0.0], [64, 64], [9, 5]), settings, ConstantTimes(1e-6))
    life, experts = run.journeys, run.flow_kind == EXPERT
    assert len(np.unique(run.flows.start_s[experts])) == bursts
    assert (life.steps_at_end - life.steps_before).tolist() == [8, 4]
    assert (life.finish_s[1] == life.finish_s[0]) == whole
    # What eight steps of both would send, or four of both and four of one.
    sent = run.flows.size_bytes[experts].sum()
    (alone,) = (
        one.flows.size_bytes[one.flow_kind == EXPERT].sum() / 8
        for one in [run_by_hand(trace_of([0.0], [64], [9]), settings, ConstantTimes(1e-6))]
    )
    close(sent / alone, 16 if whole else 12)


@pytest.mark.parametrize("decode", [{}, {"expert_pairs": "all", "expert_burst_steps": 3}, {"expert_overlap": True}])
@pytest.mark.parametrize(("nodes", "batch"), [(2, 1), (2, 2), (3, 3), (4, 1)])
def test_steps_send_what_the_generated_trace_sends(nodes, batch, decode):
    requests = batch * 8 * nodes
    trace = trace_of([0.0] * requests, [64] * requests, [60] * requests)
    settings = decode_settings(nodes, prefill=8, **decode)
    run = run_by_hand(trace, settings, H200Times(1e-6))
    experts = run.flow_kind == EXPERT
    builder = TraceBuilder(8 * nodes)
    overlap = "five-stage" if decode.get("expert_overlap") else "none"
    append_expert_step(builder, GLM, StatedTimes(1e-6, 1e-6), batch, 64, ExpertRouting(GLM, nodes), overlap=overlap)
    generated = builder.build({})
    per_step = generated.size_bytes[between_nodes(generated)].sum()
    starts_s = run.flows.start_s[experts]
    held = starts_s[(starts_s > run.journeys.first_token_s.max()) & (starts_s < run.journeys.finish_s.min())]
    sent = run.flows.size_bytes[experts][starts_s == np.unique(held)[1]]
    assert sent.sum() == settings.decode.expert_burst_steps * per_step


@pytest.mark.parametrize("nodes", [2, 3, 4, 8])
@pytest.mark.parametrize("requests", [1, 9, 40, 129])
def test_a_steps_bytes_are_the_generated_traces_pair_by_pair(nodes, requests):
    from zcube.llm.schedules.low_latency_exchange import LowLatencyExchange
    from zcube.llm.schedules.low_latency_plan import LowLatencyPlan

    routing = ExpertRouting(GLM, nodes)
    tokens, none = dealt_to_gpus(requests, nodes), np.full(routing.ranks, -1)
    assert tokens.sum() == requests and tokens.max() - tokens.min() <= 1
    by_node = tokens.reshape(nodes, 8).sum(axis=1)
    assert by_node.max() - by_node.min() <= 1
    builder = TraceBuilder(routing.ranks)
    exchange = LowLatencyExchange(builder, routing, 0, [tokens])
    for layer in range(GLM.first_dense_layers, GLM.layers):
        exchange.dispatch(layer, 0, none)
        exchange.combine(layer, 0, none)
    trace = builder.build({})
    sent = np.zeros((routing.ranks, routing.ranks), dtype=np.int64)
    np.add.at(sent, (trace.source, trace.target), trace.size_bytes)
    plan = LowLatencyPlan(routing)
    served = np.zeros_like(sent)
    served[plan.source, plan.target] = plan.step_bytes([tokens])
    node = np.arange(routing.ranks) // 8
    assert np.array_equal(served, np.where(node[:, None] == node, 0, sent))


def test_a_burst_of_turned_pairs_loads_every_nic_as_all_pairs_do():
    loads = {}
    for pairs in ("turned", "all"):
        settings = decode_settings(4, prefill=8, expert_pairs=pairs, expert_burst_steps=8)
        run = run_by_hand(trace_of([0.0] * 64, [64] * 64, [10] * 64), settings, ConstantTimes(1e-9, 5.0))
        experts = run.flow_kind == EXPERT
        last = run.flows.start_s[experts] == run.flows.start_s[experts].max()
        loads[pairs] = [
            np.bincount(ends[experts][last], run.flows.size_bytes[experts][last], 256)
            for ends in (run.flows.source, run.flows.target)
        ]
    for turned, everyone in zip(loads["turned"], loads["all"], strict=True):
        np.testing.assert_allclose(turned, everyone, rtol=0.01)


def test_eight_bursts_of_turned_pairs_join_every_two_gpus_of_different_nodes():
    run = run_by_hand(trace_of([0.0], [64], [9]), decode_settings(3, expert_burst_steps=1), ConstantTimes())
    experts = run.flow_kind == EXPERT
    pairs = set(zip(run.flows.source[experts].tolist(), run.flows.target[experts].tolist()))
    gpus = range(8, 32)
    # A sole request's dispatch leaves from one GPU, its combine from all of the other nodes.
    first = min(run.flows.source[experts])
    assert pairs == {(a, b) for a in gpus for b in gpus if a // 8 != b // 8 and (a == first or b // 8 == first // 8)}


def test_kv_and_experts_slow_each_other_down():
    # 32 requests decode; 200,000 tokens of KV of another one come to one of their GPUs.
    prompts = [0.0] * 32, [64] * 32, [200] * 32
    alone, both = trace_of(*prompts), trace_of(*([*row, more] for row, more in zip(prompts, (0.5, 200_000, 2))))
    steps_s, kv_s = {}, {}
    for span in (1, 2):
        for name, trace in (("alone", alone), ("both", both)):
            settings = settings_of(
                prefill={"nodes": 4, "layout": "dp8", "chunk_tokens": 262_144},
                decode={"nodes": 2, "nodes_per_instance": span},
                kv={"rank_map": "dp8-dp8"},
            )
            run = served_on(Network(nic_gbps=20.0), trace, settings, H200Times(1e-6))
            steps_s[span, name] = np.median([step_time(run, request) for request in range(32)])
            kv_s[span, name] = run.journeys.kv_transfer_s()[-1]
    # Nodes by themselves do not feel it.
    close(steps_s[1, "both"], steps_s[1, "alone"])
    assert steps_s[2, "both"] > 1.1 * steps_s[2, "alone"] > 1.1 * 0.01
    assert kv_s[2, "both"] > 1.1 * kv_s[1, "both"]


def test_a_group_of_one_node_is_as_it_was():
    trace = trace_of([0.0, 0.0, 0.3], [500, 4000, 900], [200, 20, 3])
    runs = [
        run_by_hand(trace, settings_of(decode={"nodes": 2, "expert_overlap": overlap, "expert_burst_steps": 9}), compute())
        for overlap, compute in ((False, ConstantTimes), (True, H200Times))
    ]
    assert runs[0].journeys.frame().equals(runs[1].journeys.frame())
    assert not (runs[0].flow_kind == EXPERT).any()


GROUPS = settings_of(
    prefill={"nodes": 4, "layout": "dp8"}, decode={"nodes": 4, "nodes_per_instance": 2}, kv={"rank_map": "dp8-dp8"}
)


def run_broken(failed, settings, trace, fall_back):
    fabric = with_failures(load_fabric("roft-256"), failed)
    carrier = Network(fall_back=fall_back).on(fabric, 0)
    reach = reach_of(carrier.fabric, carrier.routing, settings, GLM)
    return serve(carrier.fabric, carrier.model(), trace, settings, GLM, H200Times(1e-6), reach=reach)


@pytest.mark.parametrize(("failed", "nodes"), [(["nic:s5g3"], {2, 3}), (["nic:s5g3", "nic:s6g0"], {-1})])
def test_a_group_whose_nodes_do_not_reach_each_other_takes_no_request(failed, nodes):
    trace = trace_of([0.0, 0.0, 0.1, 5.0], [500] * 4, [20] * 4)
    run = run_broken(failed, GROUPS, trace, "none")
    assert set(run.journeys.decode_node.tolist()) == nodes
    assert set(run.journeys.outcome.tolist()) == {FAILED if nodes == {-1} else COMPLETED}


def test_an_exchange_over_a_failed_nic_takes_as_long_as_the_one_that_relays_it():
    # Over NVLink to another GPU of the node, whose NIC then carries twice the bytes.
    trace = trace_of([0.0] * 64, [64] * 64, [300] * 64)
    settings = settings_of(
        prefill={"nodes": 4, "layout": "dp8"}, decode={"nodes": 2, "nodes_per_instance": 2}, kv={"rank_map": "dp8-dp8"}
    )
    whole, broken = (middle_burst_s(run_broken(failed, settings, trace, "nvlink-relay")) for failed in ([], ["nic:s5g3"]))
    # Two steps a burst, four requests a GPU, half of whose eight experts lie in the other node.
    sent_s = 2 * LAYERS * 4 * 8 / 2 * (6352 + 12_288) / 50e9
    exchange = H200.exchanges.low_latency_dispatch
    assert broken - whole == pytest.approx(2 * sent_s - sent_s / exchange.rail_efficiency, rel=0.02)


def test_spans_are_checked():
    for layout, span in (("tp8", 2), ("dp8", 0), ("dp8", 129)):
        with pytest.raises(InputError, match="decode_ep_nodes"):
            roofline(GLM, H200, EngineLayout("dp8", layout, decode_ep_nodes=span))
