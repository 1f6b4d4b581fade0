"""One definition for every fidelity: what start, message start, latency, rate and slow-down of a transfer are.

A transfer that has the network to itself ends at ``start + message start + size / rate + latency``. Packets add the headers of
every packet, and the forwarding of a whole one at each further link of the way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.measured import MeasuredLinks, MessageStart
from zcube.llm.cards import load_card
from zcube.llm.stated_error import StatedError
from zcube.network.settings import Network
from zcube.replays.flows import replay
from zcube.serving.metrics import run_metrics
from zcube.serving.run import serve
from zcube.serving.settings import ServingSettings
from zcube.workload.flow_lists import FlowList
from zcube.workload.requests import RequestTrace

FIDELITIES = ("ideal", "flow", "lossless", "packet")
MEASURED = MeasuredLinks(
    nic_efficiency=0.9,
    nic_start=MessageStart((1e4, 1e7), (2e-5, 5e-5)),
    nvlink_gbps=1600.0,
    nvlink_start=MessageStart((1.0,), (5e-6,)),
)
#: In a server over NVLink, under one switch (rail 0 of servers 0 and 1), across switches.
PAIRS = {"nvlink": (0, 1), "same-switch": (0, 8), "across": (3, 205)}
SIZES = (1.0, 4096.0, 1e5, 8e6)


def carried(fabric, fidelity, measured, path_split="pooled"):
    """Return transfers of every size between every pair, one after the other, and their replay."""
    network = Network(fidelity=fidelity, path_split=path_split)
    source, target = (np.repeat([pair[end] for pair in PAIRS.values()], len(SIZES)) for end in range(2))
    size = np.tile(SIZES, len(PAIRS))
    flows = FlowList(np.arange(len(size)), source, target, size, 3.0 + 0.01 * np.arange(len(size)))
    return flows, replay(network.on(load_fabric(fabric), seed=1, measured=measured), flows)


def overhead_s(done, flows):
    """Return what packets may take beside a transfer's bytes: all headers, and a whole packet at each further link."""
    carrier = done.carrier
    if carrier.packet is None:
        return np.zeros(len(flows))
    routes, settings = carrier.routing.routes(flows.source, flows.target), carrier.packet
    packets = np.ceil(flows.size_bytes / settings.packet_payload_bytes) + len(routes.share)
    slowest = np.minimum.reduceat(carrier.link_set.capacity_bps[routes.link], routes.first_hop[:-1])
    per_flow = np.minimum.reduceat(slowest, routes.first_subflow[:-1])
    hops = np.maximum.reduceat(np.diff(routes.first_hop), routes.first_subflow[:-1])
    headers = packets * settings.header_bytes * 8 / per_flow
    return headers + hops * settings.unit_bytes * 8 / per_flow


@pytest.mark.parametrize("measured", [None, MEASURED], ids=["line rates", "measured"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("fabric", ["roft-256", "zcube-n16"])
def test_a_transfer_alone_ends_when_its_parts_add_up(fabric, fidelity, measured):
    flows, done = carried(fabric, fidelity, measured)
    links, times = done.carrier.link_set, done.completions
    routes = done.carrier.routing.routes(flows.source, flows.target)
    wire = load_fabric(fabric)
    inside = wire.server_of(flows.source) == wire.server_of(flows.target)
    nvlink_gbps = float(wire.cables.gbps[wire.nvlink_cable[0]])
    rate = np.where(inside, nvlink_gbps, wire.nic_gbps) * 1e9
    started = np.zeros(len(flows))
    if measured:
        rate = np.where(inside, 1600.0, 0.9 * wire.nic_gbps) * 1e9
        started = np.where(inside, 5e-6, measured.nic_start.of(flows.size_bytes))
    latency = np.array([max(links.latency_s[path].sum() for path in np.split(one.link, one.first_hop[1:-1]))
                        for one in (routes.take(np.array([flow])) for flow in range(len(flows)))])  # fmt: skip
    np.testing.assert_allclose(times.message_start_s, started, rtol=1e-12)
    np.testing.assert_allclose(times.latency_s, latency, rtol=1e-12)
    # Sending is what is left, and what the mean rate and every slow-down count.
    sending, over = times.sending_s(flows.start_s), overhead_s(done, flows)
    bytes_s = flows.size_bytes * 8 / rate
    rounding = 1e-12 + 4e-16 * flows.start_s
    if fidelity != "packet":
        # Paths of a spine-leaf with one port are no faster than the port; a ZCube's two together are as fast as both ports.
        np.testing.assert_allclose(sending, bytes_s, rtol=1e-6, atol=5e-15)
    assert np.all(sending >= bytes_s - rounding)
    assert np.all(sending <= bytes_s + over + rounding)
    large = flows.size_bytes > 1e4
    np.testing.assert_allclose(times.mean_rate_bps[large], (flows.size_bytes * 8 / sending)[large], rtol=1e-6)
    slowdown = done.flow_columns()["slowdown"]
    assert np.all(slowdown >= 1 - 1e-6)
    assert np.all(slowdown <= 1 + over / done.alone_s + 1e-6)


@pytest.mark.parametrize("measured", [None, MEASURED], ids=["line rates", "measured"])
@pytest.mark.parametrize("fabric", ["roft-256", "zcube-n16"])
def test_every_fidelity_tells_the_same_start_and_latency(fabric, measured):
    runs = {fidelity: carried(fabric, fidelity, measured)[1].completions for fidelity in FIDELITIES}
    for other in ("ideal", "packet"):
        np.testing.assert_array_equal(runs[other].message_start_s, runs["flow"].message_start_s)
    np.testing.assert_array_equal(runs["packet"].latency_s, runs["flow"].latency_s)
    # The ideal core is one switch, so its paths are those under one switch.
    short = np.repeat([name != "across" for name in PAIRS], len(SIZES))
    on_one_switch = short if fabric == "roft-256" else np.repeat([name == "nvlink" for name in PAIRS], len(SIZES))
    np.testing.assert_allclose(runs["ideal"].latency_s[on_one_switch], runs["flow"].latency_s[on_one_switch], rtol=1e-12)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_message_that_has_not_begun_takes_nothing_from_others(fidelity):
    """1 GB takes a second to begin, 100 MB none: the latter has the NIC they share to itself and is gone by then."""
    fabric = load_fabric("roft-256")
    measured = MeasuredLinks(nic_start=MessageStart((1e8, 1e9), (0.0, 1.0)))
    flows = FlowList(np.arange(2), np.array([0, 0]), np.array([8, 16]), np.array([1e9, 1e8]), np.zeros(2))
    done = replay(Network(fidelity=fidelity).on(fabric, measured=measured), flows)
    alone_s = flows.size_bytes * 8 / (fabric.nic_gbps * 1e9)
    np.testing.assert_allclose(done.duration_s, alone_s + np.array([1.0, 0.0]), rtol=0.025)
    np.testing.assert_allclose(done.flow_columns()["slowdown"], 1.0, rtol=0.025)


class NoTimeToCompute:
    """Prompts and decode steps that take next to no time."""

    name = "constant"
    stated_error: Mapping[str, StatedError] = {}
    exchanges = None

    def prefill_iteration_s(self, new_tokens, prefix_tokens):
        return 1e-3

    def decode_steps_s(self, context_tokens, steps):
        return np.full(steps, 1e-3)


@pytest.mark.parametrize("measured", [None, MEASURED], ids=["line rates", "measured"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_request_that_is_alone_is_not_slowed_down(fidelity, measured):
    """Its KV goes in one push, so that it meets no other transfer."""
    carrier = Network(fidelity=fidelity).on(load_fabric("roft-256"), measured=measured)
    settings = ServingSettings.model_validate({"prefill": {"nodes": 1}, "decode": {"nodes": 1}})
    none, one = np.zeros(0, dtype=int), np.ones(1, dtype=int)
    trace = RequestTrace("one", "by hand", np.zeros(1), 512 * one, 2 * one, 0, np.zeros(2, dtype=int), none, -one)
    ran = serve(carrier.fabric, carrier.model(), trace, settings, load_card("glm-5.1"), NoTimeToCompute())
    congestion = run_metrics(ran)["congestion"]
    assert congestion["type1_slowdown"] == pytest.approx(1.0, rel=1e-9)
    most = 1.0
    if fidelity == "packet":
        packet, size = carrier.packet, ran.flows.size_bytes
        wire = np.ceil(size / packet.packet_payload_bytes) * packet.header_bytes + 6 * packet.unit_bytes
        most = float((1 + wire / size).max())
    assert 1 - 1e-9 <= congestion["type2_slowdown"] <= most + 1e-6
    assert congestion["type2_slowdown_p99"] <= most + 1e-6
