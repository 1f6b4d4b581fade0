"""ZCube's two paths over every parallel link: all of them, none twice, none that is down, by turns over the ports."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.network.protocol import FlowTable
from zcube.network.transports import checked_network, load_transport
from zcube.routing.catalog import routing_for


@pytest.mark.parametrize(("name", "parallel"), [("zcube-32", 2), ("zcube-n16", 1), ("zcube-256", 16)])
def test_both_paths_take_every_parallel_link_once(name, parallel):
    fabric = load_fabric(name)
    source, target = np.divmod(np.arange(fabric.gpus**2), fabric.gpus)
    apart = source // 8 != target // 8
    source, target = source[apart], target[apart]
    few, all_links = (routing_for(fabric, policy).routes(source, target) for policy in ("zcube-paths", "zcube-all-links"))
    assert set(all_links.paths_per_flow) == {2 * parallel}
    hops = all_links.link.reshape(len(source), 2 * parallel, 3)
    assert all(len(np.unique(hops[:, :, 1][row])) == 2 * parallel for row in range(0, len(source), 97))
    # The first member of each is the one that is taken by itself.
    assert np.array_equal(hops[:, [0, 1]], few.link.reshape(len(source), 2, 3))


@pytest.mark.parametrize("name", ["zcube-32", "zcube-256"])
def test_one_queue_pair_over_both_ports_has_the_rate_of_both(name):
    """Paths listed port by port would leave one idle while packets in turn wait for the other."""
    fabric = load_fabric(name)
    network = checked_network({}, load_transport("mrc-2026"), fabric.family, "packet", fabric.nic_ports)
    model = network.on(fabric).model()
    model.send(FlowTable(np.array([0]), np.array([fabric.gpus - 8]), np.array([4e6]), np.zeros(1)))
    model.advance(float("inf"))
    wire_s = 4e6 * 8 / 400e9 * network.packet.wire_bytes(4096) / 4096
    assert model.completions().finish_s[0] == pytest.approx(wire_s, rel=0.15)


@pytest.mark.parametrize("senders", [2, 3])
@pytest.mark.parametrize("name", ["zcube-32", "planes8-1024", "zcube-1024"])
def test_an_incast_by_one_queue_pair_over_all_ports_takes_what_its_bytes_take(name, senders):
    """A queue pair that its window holds loses no turn: ports that one sender left out would idle at the receiver."""
    fabric = load_fabric(name)
    network = checked_network({}, load_transport("mrc-2026"), fabric.family, "packet", fabric.nic_ports)
    source, target, size = fabric.gpus - 8 * np.arange(1, senders + 1), np.zeros(senders, dtype=np.int64), 4_000_000
    carrier = network.on(fabric)
    model = carrier.model()
    model.send(FlowTable(source, target, np.full(senders, float(size)), np.zeros(senders)))
    model.advance(float("inf"))
    packets, links = -(-size // network.packet.packet_payload_bytes), model.link_set
    bits = senders * 8 * (size + packets * network.packet.header_bytes)
    path = carrier.routing.routes(source[:1], target[:1])
    path = path.link[path.first_hop[0] : path.first_hop[1]]
    packet_s = 8 * network.packet.unit_bytes / links.capacity_bps[path]
    way_s = float((packet_s + links.latency_s[path]).sum())
    finish_s = model.completions().finish_s.max()
    assert bits / 400e9 < finish_s < bits / 400e9 + way_s + senders * packet_s.max()


def test_a_link_that_is_down_is_left_out():
    whole, broken = load_fabric("zcube-256"), load_fabric("zcube-256@link:A0-B0#3")
    source, target = np.zeros(248, dtype=np.int64), np.arange(8, 256)
    before, after = (routing_for(fabric, "zcube-all-links").routes(source, target) for fabric in (whole, broken))
    lost = before.paths_per_flow - after.paths_per_flow
    down = np.flatnonzero(~broken.cable_up)
    crosses = np.isin(before.link // 2, down).reshape(248, 32, 3).any(axis=2).sum(axis=1)
    assert np.array_equal(lost, crosses) and lost.any() and not np.isin(after.link // 2, down).any()
