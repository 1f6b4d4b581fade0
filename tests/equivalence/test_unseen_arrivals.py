"""Arrivals counted ahead of their time leave what arrivals that are events leave, whenever one looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packet_engines import PLAIN_DRAWS
from test_packet_twin import draw_flows, draw_settings

from zcube.compile_cache import compiled
from zcube.fabric.catalog import load_fabric
from zcube.network.packet import model
from zcube.network.packet.arrivals import put_on_last
from zcube.network.packet.calendar import give_back, next_time, take_free, take_next
from zcube.network.packet.records import net_of, packet_of
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.state import LARGEST_NUMBER, NEVER
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for


def run_in_steps(seed, unseen, fabric="zcube-n16", **more):
    """Run some flows in steps, post more on the way, and return the model and what was seen after each step."""
    draw = np.random.default_rng(seed)
    draw.random()
    parameters = PacketSettings.model_validate({**draw_settings(draw).model_dump(), **more})
    on = load_fabric(fabric)
    routing = routing_for(on, queue_pairs=int(draw.integers(1, 5)), seed=3)
    split = str(draw.choice(["pooled", "fixed"]))
    run = model.PacketModel(model.LinkSet.of_fabric(on), routing, parameters, split, bin_s=float(draw.choice([0.0, 1e-7])))
    run._tables.net["unseen"] &= unseen
    run.send(draw_flows(draw, 40))
    seen, now_s = [], 0.0
    for step in range(40):
        now_s += float(draw.uniform(0, 3e-6))
        done = run.advance(now_s).tolist()
        bound_s = run.next_event_s()
        binned = run.depth_bins().tobytes() if run.bin_s else b""
        seen.append((done, run.counts, run.received_bytes, run.under_way, run.queue_table().paused_s.tolist(), binned))
        assert bound_s >= now_s
        if step == 10:
            run.send(FlowTable(np.array([3, 5]), np.array([70, 70]), np.array([5e4, 1e5]), np.full(2, now_s)))
    seen.append((run.advance(float("inf")).tolist(), run.counts, run.received_bytes, run.completions().finish_s.tolist()))
    return run, seen


@pytest.mark.parametrize("seed", PLAIN_DRAWS[:12])
def test_whoever_looks_finds_the_same(seed):
    more = [{}, {"cell_bytes": 20_000}, {"priorities": 2}][seed % 3]
    (one, unseen), (other, seen) = (run_in_steps(seed, choice, **more) for choice in (1, 0))
    assert one._tables.net["unseen"][0] == 1
    assert unseen == seen
    # Of queues and flows all but the numbers of records, and whether an arrival was an event.
    for name, left_out in (
        ("links", ""),
        ("queues", "head tail"),
        ("switches", ""),
        ("pairs", ""),
        ("flows", "latest_seen"),
        ("log", ""),
    ):
        for field in set(one._tables[name].dtype.names) - set(left_out.split()):
            assert (one._tables[name][field] == other._tables[name][field]).all(), (name, field)


@compiled()
def put_all(table, due_ps, link, is_marked, payload):
    """Put packets of flow 0 on last links in turn, and return the arrivals that are events, in order."""
    net = net_of(table)
    net.until_ps = 1 << 40
    for at in range(len(due_ps)):
        slot = take_free(net)
        packet_of(net, slot).pair, packet_of(net, slot).number = 0, at
        packet_of(net, slot).size = 2 * net.mtu + is_marked[at]
        put_on_last(net, link[at], slot, payload, due_ps[at])
    taken = np.empty((len(due_ps), 3), np.int64)
    count = 0
    while next_time(net, NEVER - 1) < NEVER:
        slot = take_next(net)
        row = packet_of(net, slot)
        taken[count, 0], taken[count, 1], taken[count, 2] = row.time_ps, row.key & LARGEST_NUMBER, row.size & 1
        count += 1
        give_back(net, slot)
    return taken[:count]


@pytest.fixture(scope="module")
def idle():
    run = model.packet_model(load_fabric("roft-32"), routing_for(load_fabric("roft-32"), queue_pairs=1))
    run.send(FlowTable(np.array([0]), np.array([9]), np.array([4096.0]), np.zeros(1)))
    return run._tables


@settings(max_examples=300)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(1_000_000, 1_000_004), st.integers(0, 3), st.integers(0, 1)),
        min_size=1, max_size=7, unique_by=lambda arrival: arrival[:2],
    )
)  # fmt: skip
def test_events_are_the_marked_and_the_last_one(idle, arrivals):
    """In whatever order packets are put on their last links, by several of which they may arrive at once."""
    due_ps, link, is_marked = np.array(arrivals).T
    payload, net, flow = 100, idle.net, idle["flows"][0]
    flow["size"], flow["received"], flow["delivering"], flow["latest_ps"] = payload * len(arrivals), 0, 0, 0
    net["events"], net["bucket"], net["unseen_ps"] = 0, 0, 0
    taken = put_all(net, due_ps, link, is_marked, payload)
    last = max(arrivals)[:2]
    marked = [arrival for arrival in arrivals if arrival[2]]
    expected = sorted(marked + ([] if (*last, 1) in marked else [(*last, 0)]))
    assert [tuple(row) for row in taken.tolist()] == expected
    assert flow["received"] + payload * len(expected) == flow["size"] == flow["delivering"]
    assert net["events"][0] + len(expected) == len(arrivals)
    assert flow["latest_ps"] == last[0]


def counted_ahead(run):
    """Return how many arrivals were none of the events taken from the calendar."""
    return run._tables.net["unseen_ps"][0] > 0


def test_a_flow_ends_with_the_latest_arrival_by_any_of_its_links():
    """Two ports of a NIC, of which one waits behind others: what is put last on a last link need not arrive last."""
    on = load_fabric("zcube-n16")
    routing = routing_for(on, queue_pairs=4, seed=1)
    found = []
    for unseen in (1, 0):
        run = model.packet_model(on, routing, PacketSettings(congestion_control="none", pfc_alpha=8.0))
        run._tables.net["unseen"] &= unseen
        source, size = np.arange(1, 25), np.random.default_rng(2).integers(1, 300_000, 24).astype(float)
        run.send(FlowTable(source, np.zeros(24, dtype=np.int64), size, source * 1e-8))
        run.advance(float("inf"))
        assert counted_ahead(run) == bool(unseen)
        found.append((run.completions().finish_s, run.counts))
    assert np.array_equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def test_bins_of_time_reach_as_far_as_what_has_arrived():
    """Also where nothing has happened in the last ones but an arrival."""
    on, rows = load_fabric("roft-32"), []
    for unseen in (1, 0):
        for step in range(40):
            run = model.packet_model(
                on,
                routing_for(on, queue_pairs=1),
                PacketSettings(congestion_control="none"),
                bin_s=(2e-6 + step * 2e-8) / 64,
            )
            run._tables.net["unseen"] &= unseen
            run.send(FlowTable(np.array([0]), np.array([9]), np.full(1, 4 * 4096.0), np.zeros(1), np.array([1e9])))
            run.advance(3e-6)
            rows.append(len(run.depth_bins()))
    assert rows[:40] == rows[40:]
    assert len(set(rows)) > 1
