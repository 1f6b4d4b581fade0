"""Circular waits under PFC: built on purpose they deadlock and are named, P1 and P2 never do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from packet_networks import Network, flows, run

from zcube.errors import RunError
from zcube.fabric.catalog import load_fabric
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.routing.deadlock import dependencies_of
from zcube.routing.routes import assemble

SETTINGS = {"congestion_control": "none", "pfc_threshold": "static", "xoff_bytes": 30_000}


def ring(**settings):
    """Four switches in a ring, two transfers into each, every one two switches on: each link is shared by two of them."""
    switches = range(4)
    hosts = [(f"h{4 * port + at}", f"s{at}") for at in switches for port in range(3)]
    network = Network(*hosts, *((f"s{at}", f"s{(at + 1) % 4}") for at in switches))
    rows = []
    for at in switches:
        for port in range(2):
            target = 8 + (at + 2) % 4
            network.path(f"h{4 * port + at}", f"s{at}", f"s{(at + 1) % 4}", f"s{(at + 2) % 4}", f"h{target}")
            rows.append((4 * port + at, target, 8 << 20))
    return network.model(**(SETTINGS | settings)), flows(*rows)


def closes(ports):
    ends = [port.split("->") for port in ports]
    return all(a[1] == b[0] for a, b in zip(ends, ends[1:] + ends[:1]))


def test_a_ring_deadlocks_and_is_named():
    model, table = ring()
    with pytest.raises(RunError, match=r"deadlock.*s0->s1"):
        run(model, table)
    ports = model.deadlock()
    assert sorted(ports) == ["s0->s1", "s1->s2", "s2->s3", "s3->s0"] and closes(ports)
    assert model.counts.drops == 0
    with pytest.raises(RunError, match="deadlock"):
        model.next_event_s()


@pytest.mark.parametrize("recovery", ["go-back-n", "selective"])
def test_the_pfc_watchdog_frees_the_ring_by_dropping(recovery):
    model, table = ring(pfc_watchdog_s=200e-6, recovery=recovery)
    finish = run(model, table)
    assert np.all(finish > 200e6) and model.received_bytes == model.posted_bytes
    assert model.counts.storms > 0 and model.counts.drops > 0 and model.counts.repeats >= model.counts.drops


def test_the_pfc_watchdog_frees_the_ring_by_forwarding():
    """Nothing is dropped where it waits; what is forwarded in spite of a pause may find the next buffer full, or go through."""
    model, table = ring(pfc_watchdog_s=200e-6, pfc_watchdog_action="forward")
    finish = run(model, table)
    assert np.all(finish > 200e6) and model.received_bytes == model.posted_bytes
    dropping = ring(pfc_watchdog_s=200e-6)[0]
    run(dropping, table)
    assert model.counts.storms > 0 and model.counts.drops < dropping.counts.drops


def test_a_ring_whose_pauses_are_refreshed_is_a_deadlock_and_one_whose_pauses_expire_is_not():
    model, table = ring(pause_quanta=65535)
    with pytest.raises(RunError, match=r"deadlock.*s0->s1"):
        run(model, table)
    assert model.counts.expiries == model.counts.drops == 0
    model, table = ring(pause_quanta=65535, pause_refresh=None)
    assert np.all(run(model, table) > 65535 * 512 / 400e9 * 1e12)
    assert model.counts.expiries > 0 and model.received_bytes == model.posted_bytes


def test_a_priority_per_switch_link_frees_the_ring():
    model, table = ring(priorities=2)
    assert np.all(run(model, table) > 0) and model.counts.drops == 0
    assert model.deadlock() == ()


def detour_traffic():
    """Return transfers over detours of both kinds on ZCube(16,2) that close A0 -> B1 -> A1 -> B0 -> A0, and their paths.

    Each detour crosses two of these links, in at a host of its first switch and out at one of its last. Three hosts send into
    each, so that a link is asked for more than it has.
    """
    fabric = load_fabric("zcube-n16")
    n = 16
    a, b = (lambda at: fabric.gpus + at), (lambda at: fabric.gpus + n + at)
    turns = [a(0), b(1), a(1), b(0)]
    number = {(int(s), int(t)): link for link, (s, t) in enumerate(zip(fabric.link_source, fabric.link_target))}

    def host(switch, at):
        # GPU (row, column) is on A[row] and B[column]; rows and columns 4 and up take no part in the ring itself.
        return (switch - a(0)) * n + 4 + at if switch < b(0) else (4 + at) * n + switch - b(0)

    rows, source, target = [], [], []
    for at in range(4):
        first, over, last = (turns[(at + step) % 4] for step in range(3))
        for sender in range(3):
            source.append(host(first, sender))
            target.append(host(last, 6 + sender))
            nodes = [source[-1], first, over, last, target[-1]]
            rows.append([number[pair] for pair in pairwise(nodes)])
    table = FlowTable(np.array(source), np.array(target), np.full(12, float(4 << 20)), np.zeros(12))
    return fabric, table, np.array(rows)


class Given:
    """Routing that gives one path per transfer, in order."""

    name = "given"

    def __init__(self, rows):
        self.rows = rows

    def routes(self, source, target):
        return assemble(np.ones(len(source), dtype=np.int64), self.rows)


def test_detours_of_both_kinds_deadlock():
    fabric, table, rows = detour_traffic()
    model = packet_model(fabric, Given(rows), PacketSettings(**SETTINGS))
    with pytest.raises(RunError, match="deadlock"):
        run(model, table)
    ports = model.deadlock()
    assert sorted(ports) == ["A0->B1", "A1->B0", "B0->A0", "B1->A1"] and closes(ports)


def test_detours_of_one_kind_do_not():
    fabric, table, rows = detour_traffic()
    one_kind = np.flatnonzero(fabric.link_source[rows[:, 1]] < fabric.gpus + 16)
    model = packet_model(fabric, Given(rows[one_kind]), PacketSettings(**SETTINGS))
    part = FlowTable(*(column[one_kind] for column in (table.source, table.target, table.size_bytes, table.start_s)))
    assert np.all(run(model, part) > 0) and model.counts.drops == 0


def test_a_higher_priority_on_the_second_switch_link_frees_the_detours():
    fabric, table, rows = detour_traffic()
    model = packet_model(fabric, Given(rows), PacketSettings(**SETTINGS, priorities=2))
    assert np.all(run(model, table) > 0) and model.counts.drops == 0


@pytest.fixture(scope="module")
def ring_traffic():
    """Fabric, the ring that routing over detours of both kinds allows, and a transfer for each pair that turns inside it."""
    fabric = load_fabric("zcube-n16")
    routing = routing_for(fabric, "zcube-detours")
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    source, target = source[source != target], target[source != target]
    cycle = dependencies_of(fabric, routing, source, target).cycle
    routes = routing.routes(source, target)
    after = dict(zip(cycle, cycle[1:] + cycle[:1]))
    turns = np.array([after.get(link, -1) for link in routes.link[:-1].tolist()]) == routes.link[1:]
    turns[routes.first_hop[1:-1] - 1] = False
    flow_of_hop = np.repeat(np.repeat(np.arange(routes.flows), np.diff(routes.first_subflow)), np.diff(routes.first_hop))
    chosen = np.unique(flow_of_hop[:-1][turns])
    size = np.full(len(chosen), float(16 << 20))
    names = [f"{fabric.node_name(fabric.link_source[link])}->{fabric.node_name(fabric.link_target[link])}" for link in cycle]
    return fabric, names, FlowTable(source[chosen], target[chosen], size, np.zeros(len(chosen)))


@pytest.mark.parametrize("threshold", ["static", "dynamic"])
def test_the_ring_found_in_the_routing_is_the_one_that_deadlocks(ring_traffic, threshold):
    fabric, names, table = ring_traffic
    settings = PacketSettings(congestion_control="none", pfc_threshold=threshold)
    model = packet_model(fabric, routing_for(fabric, "zcube-detours"), settings)
    with pytest.raises(RunError, match="deadlock"):
        run(model, table)
    assert sorted(model.deadlock()) == sorted(names) and closes(model.deadlock())
    plain = packet_model(fabric, routing_for(fabric, "zcube-paths"), settings)
    assert np.all(run(plain, table) > 0) and plain.counts.pauses > 0


@pytest.mark.parametrize("seed", range(3))
def test_p1_and_p2_never_do(seed):
    fabric = load_fabric("zcube-n16")
    draw = np.random.default_rng(seed)
    source = np.repeat(np.arange(fabric.gpus), 2)
    target = draw.choice(24, len(source)) * 8 % fabric.gpus + draw.integers(0, 2, len(source))
    kept = source != target
    table = FlowTable(source[kept], target[kept], np.full(kept.sum(), 256.0 * 1024), np.zeros(kept.sum()))
    model = packet_model(fabric, routing_for(fabric), PacketSettings(**SETTINGS))
    assert np.all(run(model, table) > 0)
    assert model.counts.pauses > 1000 and model.counts.drops == 0


@pytest.mark.parametrize(("seed", "size_bytes", "buffer_mib"), [(10, 1e6, 2), (24, 5e5, 4), (30, 1e6, 2), (33, 1e6, 4)])
def test_a_ring_that_is_named_stays(ring_traffic, seed, size_bytes, buffer_mib):
    """A ring that ends when other packets leave the shared buffer, and thresholds rise, is none."""
    fabric, _, table = ring_traffic
    draw = np.random.default_rng(seed)
    source, target = draw.integers(0, 256, (2, 400))
    target = np.where(draw.random(400) < 0.6, draw.choice(target[:5], 400), target)
    apart = source != target
    ends = np.concatenate([table.source, source[apart]]), np.concatenate([table.target, target[apart]])
    settings = PacketSettings(
        congestion_control="none", pfc_alpha=1 / 8, buffer_bytes=buffer_mib << 20, headroom_bytes=60_000, seed=seed
    )
    model = packet_model(fabric, routing_for(fabric, "zcube-detours"), settings)
    model.send(FlowTable(*ends, np.full(len(ends[0]), size_bytes), np.zeros(len(ends[0]))))
    named = []
    for step in range(1, 60):
        model.advance(2e-6 * step)
        named.append(bool(model.deadlock()))
    assert named == sorted(named)


def test_the_watchdog_looks_while_other_traffic_goes_on_in_short_steps():
    model, table = ring()
    ends = np.append(table.source, 8), np.append(table.target, 4)
    model.routing.path("h8", "s0", "h4")
    model.send(FlowTable(*ends, np.append(table.size_bytes, 20e9), np.zeros(len(ends[0]))))
    with pytest.raises(RunError, match="deadlock"):
        for step in range(1, 400):
            model.advance(1e-3 * step)
    assert model.under_way == 9
    assert model.counts.events < 5_000_000
