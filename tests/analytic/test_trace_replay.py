"""A trace over a network: what each operation waits for, against times worked out by hand."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.network.settings import Network
from zcube.replays.operations import replay_trace
from zcube.trace.builder import TraceBuilder

GB = 10**9


@pytest.fixture(scope="module")
def fabric():
    return load_fabric("roft-256")


def times(fabric, builder, **options):
    done = replay_trace(Network(fidelity="ideal").on(fabric), builder.build({}), **options)
    return done, done.times.start_s, done.times.finish_s


def nic_s(fabric, size_bytes):
    return size_bytes * 8 / (fabric.nic_gbps * 1e9) + 2 * fabric.cables.latency_s[fabric.nic_cable[0, 0]]


def test_a_chain_takes_the_sum_of_its_parts(fabric):
    trace = TraceBuilder(16)
    first = trace.compute("attention", 0, 0.5)
    sent = trace.transfer("kv-write", 0, 8, GB, after=[first])
    trace.compute("attention", 8, 0.25, after=[sent])
    _, start, finish = times(fabric, trace)
    over = nic_s(fabric, GB)
    assert start == pytest.approx([0, 0.5, 0.5 + over], rel=1e-12)
    assert finish == pytest.approx([0.5, 0.5 + over, 0.75 + over], rel=1e-12)


def test_independent_branches_overlap_and_a_join_waits_for_the_later(fabric):
    trace = TraceBuilder(16)
    slow = trace.compute("experts", 0, 2.0)
    sent = trace.transfer("dispatch", 1, 9, GB)
    trace.compute("combine", 0, 0.5, after=[slow, sent])
    done, _, finish = times(fabric, trace)
    assert finish[2] == pytest.approx(2.5)
    assert done.document()["trace"]["waiting_for_network_s"] == pytest.approx(0.0)


def test_transfers_that_wait_for_nothing_contend_for_the_sender(fabric):
    trace = TraceBuilder(24)
    trace.transfer("kv-write", 0, [8, 16], GB)
    _, _, finish = times(fabric, trace)
    assert finish == pytest.approx([nic_s(fabric, 2 * GB)] * 2, rel=1e-9)


def test_an_operation_does_not_start_before_its_own_time(fabric):
    trace = TraceBuilder(16)
    first = trace.transfer("kv-write", 0, 8, GB, start_s=3.0)
    trace.compute("attention", 8, 1.0, after=[first], start_s=1.0)
    _, start, finish = times(fabric, trace)
    assert start[0] == 3.0
    assert finish[1] == pytest.approx(4.0 + nic_s(fabric, GB))


def test_ranks_keep_their_rail_wherever_the_nodes_lie(fabric):
    trace = TraceBuilder(16)
    trace.transfer("kv-write", 3, 13, GB)
    done, _, _ = times(fabric, trace, first_server=2, server_stride=5)
    assert done.gpu_of_rank[3] == 2 * 8 + 3
    assert done.gpu_of_rank[13] == 7 * 8 + 5
    rails = done.document()["trace"]["rails"]
    assert [rail["rail"] for rail in rails if rail["nic_sent_bytes"]] == [3]
    assert [rail["rail"] for rail in rails if rail["nic_received_bytes"]] == [5]
    assert rails[3]["nic_sent_bytes"] == pytest.approx(GB)


def test_a_collective_is_expanded_and_its_bytes_counted(fabric):
    trace = TraceBuilder(16)
    trace.collective("all-to-all", range(0, 16, 8), GB)
    done, _, finish = times(fabric, trace)
    assert done.transfers.document()["bytes"]["payload"] == GB
    assert finish.max() == pytest.approx(nic_s(fabric, GB / 2), rel=1e-9)


def test_a_trace_without_dependencies_is_a_list_of_flows(fabric):
    """The event loop and the plain replay of the same transfers agree."""
    from zcube.replays.flows import replay
    from zcube.workload.flow_lists import FlowList

    draw = np.random.default_rng(7)
    source = draw.integers(0, 128, 300)
    target = 128 + draw.integers(0, 128, 300)
    size, start = draw.integers(1, 50, 300) * 10**6, np.sort(draw.random(300) * 0.01)
    trace = TraceBuilder(256)
    trace.transfer("kv-write", source, target, size, start_s=start)
    chosen = Network().on(fabric)
    traced = replay_trace(chosen, trace.build({}))
    listed = replay(chosen, FlowList(np.arange(300), source, target, size.astype(float), start))
    np.testing.assert_allclose(traced.times.finish_s, listed.completions.finish_s, rtol=1e-9)


def test_what_does_not_fit_is_refused(fabric):
    trace = TraceBuilder(16)
    trace.transfer("kv-write", 0, 8, GB)
    with pytest.raises(InputError, match="servers 0 to 31"):
        times(fabric, trace, first_server=31)
    empty = TraceBuilder(16)
    empty.compute("attention", 0, 1.0)
    with pytest.raises(InputError, match="no transfer"):
        times(fabric, empty)
    wide = TraceBuilder(32, 16)
    wide.transfer("kv-write", 0, 16, GB)
    with pytest.raises(InputError, match="GPUs a server"):
        times(fabric, wide)


def test_what_a_message_takes_beside_its_bytes_is_added_by_its_size(fabric):
    from zcube.fabric.measured import MeasuredLinks, MessageStart
    from zcube.network.flow_model import flow_model, run_flows
    from zcube.network.link_set import LinkSet
    from zcube.network.packet.model import packet_model
    from zcube.network.packet.settings import PacketSettings
    from zcube.network.protocol import FlowTable
    from zcube.routing.catalog import routing_for

    start = MessageStart((1e4, 1e6), (1e-5, 3e-5))
    np.testing.assert_allclose(start.of(np.array([1.0, 1e4, 1e5, 1e6, 1e9])), [1e-5, 1e-5, 2e-5, 3e-5, 3e-5])
    slow = fabric.with_measured_links(MeasuredLinks(nic_start=start, nvlink_start=MessageStart((1.0,), (5e-6,))))
    flows = FlowTable(np.array([0, 0]), np.array([8, 1]), np.array([1e5, 1e5]), np.zeros(2))
    settings = PacketSettings(congestion_control="none")
    for model in (flow_model, lambda *given: packet_model(*given, settings)):
        before, after = (run_flows(model(wired, routing_for(wired)), flows).finish_s for wired in (fabric, slow))
        np.testing.assert_allclose(after - before, [2e-5, 5e-6], rtol=1e-6)
    assert LinkSet.of_ideal_core(slow).nic_start == start
