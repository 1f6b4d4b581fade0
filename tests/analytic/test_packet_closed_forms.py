"""The packet model against sums of serialisation and delay, thresholds, fair shares and the hash."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, Network, flows, run, star

from zcube.errors import RunError
from zcube.fabric.catalog import load_fabric
from zcube.network.packet.model import ideal_packet_model, packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

LATENCY_PS = 500_000


def chain(*gbps):
    nodes = ["h0", *(f"s{at}" for at in range(len(gbps) - 1)), "h1"]
    return Network(*((a, b, rate) for a, b, rate in zip(nodes, nodes[1:], gbps))).path(*nodes)


@pytest.mark.parametrize("gbps", [(400, 400), (400, 400, 400), (400, 200, 400), (100, 400, 200, 400)])
@pytest.mark.parametrize("packets", [1, 2, 100])
def test_one_flow_of_full_packets_to_the_picosecond(gbps, packets):
    taken_ps = [FULL_PS * 400 // rate for rate in gbps]
    expected = sum(taken_ps) + (packets - 1) * max(taken_ps) + len(gbps) * LATENCY_PS
    assert run(chain(*gbps).model(), flows((0, 1, 4096 * packets))) == expected


def test_a_short_last_packet_waits_behind_full_ones():
    finish = run(chain(400, 400, 400).model(), flows((0, 1, 4096 * 9 + 100)))
    assert finish == (10 + 3 - 2) * FULL_PS + (100 + 82) * 20 + 3 * LATENCY_PS


@pytest.mark.parametrize("packets", [1, 50])
def test_cut_through_takes_a_header_per_switch(packets):
    finish = run(chain(400, 400, 400).model(forwarding="cut-through"), flows((0, 1, 4096 * packets)))
    assert finish == packets * FULL_PS + 2 * 82 * 20 + 3 * LATENCY_PS


def test_cut_through_into_a_faster_link_never_runs_dry():
    finish = run(chain(200, 400).model(forwarding="cut-through"), flows((0, 1, 4096)))
    assert finish == 2 * FULL_PS + 2 * LATENCY_PS


def test_a_cap_paces_packets():
    finish = run(chain(400, 400).model(), flows((0, 1, 4096 * 11), cap_bps=np.array([40e9])))
    assert finish == 10 * 10 * FULL_PS + 2 * FULL_PS + 2 * LATENCY_PS


@pytest.mark.parametrize("senders", [2, 5, 16])
def test_incast_takes_all_bytes_over_the_rate_and_shares_it_evenly(senders):
    packets = 500
    model = star(senders + 1).model()
    finish = run(model, flows(*((sender, senders, 4096 * packets) for sender in range(senders))))
    assert finish.max() == FULL_PS + LATENCY_PS + senders * packets * FULL_PS + LATENCY_PS
    assert finish.min() > 0.97 * finish.max()
    assert model.counts.drops == 0


def test_pauses_begin_at_the_threshold_and_hold_it():
    senders, off = 4, 100_000
    for xoff_bytes, pauses in ((off, True), (10_000_000, False)):
        model = star(senders + 1).model(pfc_threshold="static", xoff_bytes=xoff_bytes)
        run(model, flows(*((sender, senders, 1 << 20) for sender in range(senders))))
        table = model.queue_table().frame()
        into = table[table["to"] == "s"]
        assert (into.pauses.sum() > 0) == pauses and (into.paused_s.sum() > 0) == pauses
        assert model.counts.drops == 0
        if pauses:
            assert np.all(into.ingress_peak_bytes <= off + into.headroom_bytes)
            assert into.ingress_peak_bytes.max() > off
    waits = [h for h in range(senders) if into.ingress_peak_bytes.iloc[h] > off]
    assert waits, "without pauses more than the threshold is held"


def test_pauses_spread_up_a_path():
    network = (
        Network(("h0", "s0"), ("h1", "s1"), ("h2", "s1"), ("s0", "s1")).path("h0", "s0", "s1", "h2").path("h1", "s1", "h2")
    )
    model = network.model(pfc_threshold="static", xoff_bytes=50_000)
    run(model, flows((0, 2, 4 << 20), (1, 2, 4 << 20)))
    pauses = model.queue_table().frame().set_index(["from", "to"]).pauses
    assert pauses["s0", "s1"] > 0 and pauses["h0", "s0"] > 0
    log = model.pause_log()
    first = {network.link_set.source[link]: root for link, root in zip(log.link[::-1], log.root_link[::-1])}
    assert {network.link_set.target[root] for root in first.values()} == {"h2"}
    assert np.all(log.until_s > log.from_s) and log.left_out == 0


def victim_network():
    cables = [(f"h{host}", "s1") for host in (1, 2, 3, 4)]
    network = Network(("h0", "s0"), ("h5", "s0"), ("s0", "s1"), *cables)
    for host in (1, 2):
        network.path(f"h{host}", "s1", "h3")
    return network.path("h0", "s0", "s1", "h3").path("h5", "s0", "s1", "h4")


def test_a_flow_past_the_congested_port_is_a_victim():
    network = victim_network()
    hot = [(0, 3, 4 << 20), (1, 3, 4 << 20), (2, 3, 4 << 20)]
    model = network.model(pfc_threshold="static", xoff_bytes=50_000)
    finish = run(model, flows(*hot, (5, 4, 1 << 20)))
    alone = run(network.model(), flows((5, 4, 1 << 20)))
    delays = model.delays()
    assert delays.victim_s[3] > 0 and finish[3] > 1.5 * alone[0]
    assert delays.victim_s[0] == 0 and delays.blocked_s[0] > 0
    assert delays.victim_s[3] <= delays.blocked_s[3] <= finish[3] / 1e12


@pytest.mark.parametrize("timeout_s", [50e-6, 500e-6])
def test_without_pfc_what_is_dropped_is_sent_again(timeout_s):
    size = 2 << 20
    model = star(9).model(pfc=False, buffer_bytes=1 << 20, retransmit_timeout_s=timeout_s)
    finish = run(model, flows(*((sender, 8, size) for sender in range(8))))
    counts, sent = model.counts, model.link_table().size_bytes
    assert counts.drops > 0 and counts.repeats >= counts.drops and np.all(finish > 0)
    assert counts.pauses == 0
    assert sent[::2][:8].sum() == 8 * size + counts.repeats * 4096


@pytest.mark.parametrize("senders", [2, 8, 32])
def test_dcqcn_shares_a_port_fairly(senders):
    network = star(senders + 1)
    model = network.model(congestion_control="dcqcn")
    model.send(flows(*((sender, senders, 10 << 30, 1e-5 * sender) for sender in range(senders))))
    window_s = (0.05, 0.25)
    carried = []
    for at_s in window_s:
        model.advance(at_s)
        carried.append(model.link_table().size_bytes[: 2 * senders : 2])
    rate = np.diff(carried, axis=0)[0] * 8 / np.diff(window_s)
    assert np.all(np.abs(rate / rate.mean() - 1) < 0.1)
    assert rate.sum() > 0.9 * 400e9
    assert model.counts.rate_cuts > 0 and model.counts.drops == 0


def test_ecmp_loads_what_the_hash_says():
    fabric = load_fabric("roft-256")
    draw = np.random.default_rng(1)
    source = np.arange(fabric.gpus)
    target = (source + 8 * draw.integers(1, fabric.servers, fabric.gpus) + 1) % fabric.gpus
    routing = routing_for(fabric, "ecmp", queue_pairs=2, seed=5)
    size = 64 * 4096
    model = packet_model(fabric, routing, path_split="fixed")
    run(model, FlowTable(source, target, np.full(fabric.gpus, float(size)), np.zeros(fabric.gpus)))
    routes = routing.routes(source, target)
    per_subflow = np.repeat(size / np.diff(routes.first_subflow), np.diff(routes.first_subflow))
    expected = np.bincount(routes.link, np.repeat(per_subflow, np.diff(routes.first_hop)), minlength=fabric.links)
    assert np.array_equal(model.link_table().size_bytes, expected)


def test_both_paths_of_a_pool_carry_half():
    fabric = load_fabric("zcube-n16")
    settings = PacketSettings(congestion_control="none")
    model = packet_model(fabric, routing_for(fabric), settings)
    packets = 1000
    finish = run(model, FlowTable(np.array([0]), np.array([100]), np.array([4096.0 * packets]), np.zeros(1)))
    assert finish == (packets // 2 + 2) * 2 * FULL_PS + 3 * LATENCY_PS


@pytest.mark.parametrize("path_choice", ["spray", "adaptive"])
def test_spread_packets_use_all_paths_and_late_ones_cost(path_choice):
    network = Network(("h0", "s0"), ("s0", "a"), ("s0", "b", 100), ("a", "s1"), ("b", "s1", 100), ("s1", "h1"))
    network.path("h0", "s0", "a", "s1", "h1").path("h0", "s0", "b", "s1", "h1")
    finish = {}
    for cost_s in (0.0, 1e-6):
        model = network.model(path_choice=path_choice, reorder_cost_s=cost_s)
        finish[cost_s] = run(model, flows((0, 1, 4 << 20)))[0]
        carried = model.link_table().size_bytes
        over_a, over_b = carried[network.number["s0", "a"]], carried[network.number["s0", "b"]]
        assert over_a + over_b == 4 << 20
        assert over_b == over_a if path_choice == "spray" else 0.3 < over_b / over_a < 0.36
    assert model.counts.late > 0
    assert finish[1e-6] - finish[0.0] == model.counts.late * 1_000_000


def test_acknowledgements_as_packets_load_the_way_back():
    model = chain(400, 400).model(acknowledgements="packets", ack_every_packets=4)
    finish = run(model, flows((0, 1, 4096 * 100)))
    assert finish == 101 * FULL_PS + 2 * LATENCY_PS
    assert model.counts.control_hops == 2 * 25 and model.counts.packet_hops == 200


def test_cells_take_the_time_of_their_packets():
    packets = run(chain(400, 400, 400).model(), flows((0, 1, 1 << 26)))
    cells = run(chain(400, 400, 400).model(cell_bytes=65536), flows((0, 1, 1 << 26)))
    assert cells - packets == 2 * (16 - 1) * FULL_PS


def test_ideal_core_is_as_fast_as_the_nics():
    fabric = load_fabric("roft-256")
    model = ideal_packet_model(fabric, PacketSettings(congestion_control="none"))
    finish = run(model, flows(*((gpu, 8 + gpu, 4096 * 50) for gpu in range(8))))
    assert np.all(finish == 51 * FULL_PS + 2 * LATENCY_PS)


def test_a_host_relays_in_turn_with_its_own():
    network = Network(("h0", "s0"), ("h1", "s0"), ("h1", "s1"), ("h2", "s1"))
    network.path("h0", "s0", "h1", "s1", "h2").path("h1", "s1", "h2")
    packets = 200
    alone = run(network.model(), flows((0, 2, 4096 * packets)))
    assert alone == (packets + 3) * FULL_PS + 4 * LATENCY_PS
    model = network.model()
    relayed, own = run(model, flows((0, 2, 4096 * packets), (1, 2, 4096 * packets)))
    assert abs(own - 2 * packets * FULL_PS) < 30 * FULL_PS and relayed > own and model.counts.drops == 0


def test_refusals():
    network = star(3)
    model = network.model()
    with pytest.raises(ValueError, match="weights"):
        model.send(flows((0, 1, 100), weight=np.array([2.0])))
    model.send(flows((0, 1, 1 << 20)))
    model.advance(1e-6)
    with pytest.raises(ValueError, match="start"):
        model.send(flows((0, 1, 100)))
    assert np.isnan(model.completions().finish_s[0])
    network.routes = lambda source, target: type(star(2).routes([0], [1]))(
        np.array([0, 0]), np.array([0]), np.zeros(0, dtype=np.int64), np.zeros(0)
    )
    with pytest.raises(RunError, match="no path left from GPU 0 to GPU 1"):
        model.send(flows((0, 1, 100, 1.0)))


def test_too_little_headroom_is_named_as_what_stops_a_run():
    model = star(4).model(headroom_bytes=0, pfc_threshold="static", xoff_bytes=20_000)
    with pytest.raises(RunError, match=r"dropped in spite of PFC: headroom_bytes"):
        run(model, flows(*((sender, 3, 1 << 20) for sender in range(3))))
    assert model.counts.drops > 0


def test_acknowledgements_leave_the_turns_of_priorities_alone():
    network = Network(("h0", "s1"), ("h1", "s1"), ("h2", "s0"), ("h3", "s1"), ("s0", "s1"))
    network.path("h0", "s1", "h3").path("h1", "s1", "h0").path("h2", "s0", "s1", "h0")
    model = network.model(acknowledgements="packets", ack_every_packets=1, priorities=2)
    _, local, remote = run(model, flows((0, 3, 16 << 20), (1, 0, 4 << 20), (2, 0, 4 << 20)))
    assert abs(local - remote) < 10 * FULL_PS


@pytest.mark.parametrize("options", [{"pfc": False, "buffer_bytes": 1 << 17}, {"priorities": 2, "cell_bytes": 262144}])
def test_a_driver_takes_few_steps_to_small_transfers_behind_large_ones(options):
    """From bound to bound, never picosecond by picosecond, also where what is left of a transfer takes no time."""
    network = star(5, latency_s=0.0)
    model = network.model(**options)
    model.send(flows(*((sender, 4, 1 << 20) for sender in range(3)), (3, 4, 1)))
    steps, done = 0, []
    while (next_s := model.next_event_s()) < float("inf"):
        done += model.advance(next_s).tolist()
        steps += 1
        assert steps < 5000
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.parametrize("queue_pairs", [3, 10, 12])
def test_fixed_parts_of_any_size_add_up_to_it(queue_pairs):
    fabric, size = load_fabric("roft-256"), np.arange(1.0, 301.0)
    model = packet_model(fabric, routing_for(fabric, queue_pairs=queue_pairs), path_split="fixed")
    model.send(FlowTable(np.zeros(300, int), np.full(300, 100), size, np.zeros(300)))
    model.advance(float("inf"))
    assert np.isfinite(model.completions().finish_s).all()
    assert model.link_table().size_bytes[model.link_table().enters_gpu].sum() == size.sum()
