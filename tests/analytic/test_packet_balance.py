"""Load balancing of packets against what can be reckoned by hand: shares of paths, queues, gaps, ports, and links that fail."""

from __future__ import annotations

import numpy as np
import pytest
from packet_networks import FULL_PS, Network, flows, run
from pydantic import ValidationError

from zcube.errors import InputError, NetworkStoppedError
from zcube.fabric.catalog import load_fabric
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

LATENCY_PS = 500_000
CELL = 4096


def wide(spines, hosts=2, gbps=400.0):
    """Hosts on two leaves in turn, joined by spines whose links are as fast as theirs or slower."""
    cables = [(f"h{host}", f"leaf{host % 2}") for host in range(hosts)]
    cables += [(f"leaf{leaf}", f"spine{spine}", gbps) for leaf in range(2) for spine in range(spines)]
    network = Network(*cables)
    for source in range(hosts):
        for target in range(hosts):
            for spine in range(spines):
                if source % 2 != target % 2:
                    network.path(f"h{source}", f"leaf{source % 2}", f"spine{spine}", f"leaf{target % 2}", f"h{target}")
    return network


def two_planes():
    """Two hosts with a port in each of two planes of one switch, 200 Gb/s each."""
    network = Network(*((f"h{host}", f"plane{plane}", 200.0) for host in range(2) for plane in range(2)))
    return network.path("h0", "plane0", "h1").path("h0", "plane1", "h1")


def packets(model, network, *ends):
    """Return the packets that went from one node to another."""
    return int(model._tables["links"]["packets"][network.number[ends]])


def by_spine(model, network, spines):
    return [packets(model, network, "leaf0", f"spine{spine}") for spine in range(spines)]


def test_in_turn_every_path_takes_as_many():
    network = wide(4)
    model = network.model(path_choice="spray")
    assert run(model, flows((0, 1, 103 * CELL))) == (103 + 3) * FULL_PS + 4 * LATENCY_PS
    assert by_spine(model, network, 4) == [26, 26, 26, 25]


def test_drawn_paths_take_as_many_within_chance_and_follow_the_seed():
    network, count = wide(4), 4000
    counted = []
    for seed in (0, 0, 1):
        model = network.model(path_choice="spray-random", seed=seed)
        run(model, flows((0, 1, count * CELL)))
        counted.append(by_spine(model, network, 4))
    assert counted[0] == counted[1] != counted[2]
    sigma = np.sqrt(count * 3) / 4
    assert np.abs(np.array(counted) - count / 4).max() < 4 * sigma


@pytest.mark.parametrize(("gap_s", "spread"), [(2e-6, True), (1e-4, False)])
def test_a_flowlet_ends_with_a_gap(gap_s, spread):
    """A transfer capped at 10 Gb/s sends a packet each 3.3 us."""
    network = wide(4)
    model = network.model(path_choice="flowlet", flowlet_gap_s=gap_s)
    run(model, flows((0, 1, 200 * CELL), cap_bps=np.array([1e10])))
    assert (min(by_spine(model, network, 4)) > 20) == spread
    assert sorted(by_spine(model, network, 4))[-1] == 200 or spread


def test_every_switch_sends_where_the_queue_is_shortest():
    """Three hosts by three spines: nothing waits but for packets of one instant, and all end as if each were alone."""
    network = wide(3, hosts=6)
    table = flows(*((host, host + 1, 200 * CELL) for host in (0, 2, 4)))
    model = network.model(path_choice="adaptive-every-switch")
    alone_ps = (200 + 3) * FULL_PS + 4 * LATENCY_PS
    assert run(model, table).max() <= alone_ps + 3 * FULL_PS
    queues = model.queue_table()
    assert queues.peak_bytes.max() <= 3 * (CELL + 82)


def test_ways_are_chosen_beyond_the_first_switch():
    """The leaf has one way up; above it one of two ways is held by another transfer at half the rate."""
    names = (("h0", "leaf0"), ("leaf0", "up"), ("up", "top0", 200.0), ("up", "top1", 200.0), ("h2", "up", 200.0))
    network = Network(*names, ("top0", "leaf1"), ("top1", "leaf1"), ("leaf1", "h1"), ("leaf1", "h3"))
    for top in ("top0", "top1"):
        network.path("h0", "leaf0", "up", top, "leaf1", "h1")
    network.path("h2", "up", "top0", "leaf1", "h3")
    model = network.model(path_choice="adaptive-every-switch")
    run(model, flows((0, 1, 3000 * CELL), (2, 3, 1500 * CELL)))
    # 400 Gb/s and 200 Gb/s want 400 Gb/s: the second way carries what the other transfer leaves of the first.
    shares = [packets(model, network, "up", top) for top in ("top0", "top1")]
    assert sum(shares) == 4500 and abs(shares[0] - shares[1]) < 100


@pytest.mark.parametrize("choice", ["spray", "adaptive-every-switch"])
def test_one_queue_pair_fills_all_ports(choice):
    network = two_planes()
    model = network.model(path_choice=choice, queue_pair_ports="all")
    # Two ports of 200 Gb/s and a switch each: a packet takes twice its time on each link.
    assert run(model, flows((0, 1, 100 * CELL))) == 100 * FULL_PS + 2 * FULL_PS + 2 * LATENCY_PS
    assert model._postings.pairs == 1


def test_queue_pairs_and_paths_are_two_things():
    network = wide(4)
    for settings, pairs, paths in (
        ({"path_choice": "static"}, 4, 4),
        ({"path_choice": "spray"}, 1, 4),
        ({"path_choice": "spray", "spread_queue_pairs": 3}, 3, 12),
    ):
        model = network.model(**settings)
        finish_ps = run(model, flows((0, 1, 40 * CELL)))
        table = model._tables["pairs"][: model._postings.pairs]
        assert (len(table), table["paths"].sum()) == (pairs, paths)
        assert finish_ps == (40 + 3) * FULL_PS + 4 * LATENCY_PS


@pytest.mark.parametrize("split", ["pooled", "fixed"])
def test_zcube_paths_fill_both_ports_pooled_or_split(split):
    fabric, size = load_fabric("zcube-n16"), 1 << 22
    model = packet_model(fabric, routing_for(fabric), PacketSettings(congestion_control="none"), split)
    model.send(FlowTable(np.array([0]), np.array([200]), np.array([float(size)]), np.zeros(1)))
    model.advance(float("inf"))
    line_s = size * (4178 / 4096) * 8 / 400e9
    assert line_s < model.completions().finish_s[0] < line_s + 4e-6


# Reordering


def two_lengths(latency_s):
    """Two spines between two leaves, the way over one of them longer by a delay."""
    network = wide(2)
    network.link_set.latency_s[network.number["leaf0", "spine1"]] += latency_s
    return network


@pytest.mark.parametrize(
    ("further_s", "settings", "repeats"),
    [
        (2e-6, {}, False),
        (2e-6, {"reorder": "buffer", "reorder_buffer_packets": 64}, False),
        (2e-6, {"reorder": "go-back-n"}, True),
        (20e-6, {"reorder": "buffer", "reorder_buffer_packets": 64}, True),
        (20e-6, {"reorder": "buffer", "reorder_buffer_packets": 256}, False),
    ],
)
def test_a_receiver_holds_what_its_buffer_has_room_for(further_s, settings, repeats):
    """A path 2 us longer puts some 24 packets behind later ones, one 20 us longer 240."""
    network = two_lengths(further_s)
    model = network.model(path_choice="spray", **settings)
    alone_ps = (1000 + 3) * FULL_PS + 4 * LATENCY_PS + round(further_s * 1e12)
    finish_ps = run(model, flows((0, 1, 1000 * CELL)))
    assert (model.counts.repeats > 0) == repeats
    assert model.received_bytes == 1000 * CELL
    assert finish_ps > 1.2 * alone_ps if repeats else finish_ps == alone_ps
    assert repeats or model.counts.late > 400


# Failures


def test_what_crosses_a_link_while_it_is_down_is_lost_and_sent_again():
    """One path, down for 20 us. What comes first behind the gap has the receiver ask for what is missing."""
    network = wide(1)
    down = {"link": "leaf0->spine0", "down_s": 10e-6, "up_s": 30e-6}
    model = network.model(link_failures=[down], retransmit_timeout_s=40e-6)
    size = 400 * CELL
    finish_ps = run(model, flows((0, 1, size)))
    lost_ps = 20e6
    assert model.counts.lost == pytest.approx(lost_ps / FULL_PS, abs=2)
    alone_ps, round_trip_ps = (400 + 3) * FULL_PS + 4 * LATENCY_PS, 8 * LATENCY_PS + 4 * FULL_PS
    assert alone_ps + lost_ps < finish_ps <= alone_ps + lost_ps + round_trip_ps + 2 * FULL_PS
    assert model.counts.repeats > model.counts.lost and model.received_bytes == size


@pytest.mark.parametrize("up_s", [5e-6, 8e-6, 14e-6, 24e-6])
def test_a_link_that_comes_back_while_its_headroom_is_full_drops_what_comes_until_the_pause_arrives(up_s):
    """The pause ends with the link; its sender goes on at once, and sends what needs a second headroom until it is stopped."""
    gbps, count = 25.0, 400
    network = Network(("h0", "s"), ("h1", "s", gbps)).path("h0", "s", "h1")
    failure = [{"link": "h0->s", "down_s": 4e-6, "up_s": up_s}]
    settings = {"pfc_threshold": "static", "xoff_bytes": 20_000, "retransmit_timeout_s": 1e-3}
    whole, model = network.model(**settings), network.model(**settings, link_failures=failure)
    table = flows((0, 1, count * CELL))
    run(whole, table)
    run(model, table)
    assert whole.counts.drops == 0 and whole.counts.pauses > 1
    # The packet that exceeds XOFF, those sent until its frame arrives, twice; less those that left until the last arrived.
    headroom_bytes = model.settings.headroom_of(network.link_set.capacity_bps, network.link_set.latency_s)[0]
    room, round_trip = headroom_bytes // model.settings.unit_bytes, 2 * LATENCY_PS / FULL_PS
    left = (up_s * 1e12 + 2 * LATENCY_PS - 5 * FULL_PS) / (FULL_PS * 400 / gbps)
    expected = max(2 * (1 + round_trip) - room - left, 0)
    assert model.counts.drops == pytest.approx(expected, abs=1) and (model.counts.drops > 0) == (up_s < 20e-6)
    assert model.counts.repeats >= model.counts.drops + model.counts.lost and model.received_bytes == count * CELL


def test_timeouts_bring_back_what_nothing_follows():
    network = wide(1)
    down = {"link": "spine0->leaf1", "down_s": 1e-6, "up_s": 80e-6}
    model = network.model(link_failures=[down], retransmit_timeout_s=50e-6)
    finish_ps = run(model, flows((0, 1, 10 * CELL)))
    assert model.counts.timeouts >= 1
    assert 80e6 < finish_ps < 80e6 + 2 * 50e6


def test_a_queue_pair_gives_up_after_its_last_retry():
    network = wide(1)
    model = network.model(link_failures=[{"link": "spine0->*", "down_s": 1e-6}], retransmit_timeout_s=1e-5, retry_limit=3)
    model.send(flows((0, 1, 100 * CELL)))
    with pytest.raises(NetworkStoppedError, match=r"transfer 0 gives up .* 4 timeouts in a row"):
        model.advance(float("inf"))


@pytest.mark.parametrize("choice", ["adaptive", "adaptive-every-switch"])
def test_paths_over_a_link_known_to_be_down_are_left_out(choice):
    network = wide(2)
    failure = [{"link": "spine1->leaf1", "down_s": 0.0}]
    model = network.model(path_choice=choice, link_failures=failure, failure_detection_s=0.0)
    model.send(flows((0, 1, 100 * CELL, 1e-6)))
    model.advance(float("inf"))
    assert by_spine(model, network, 2) == [100, 0] and model.counts.lost == 0


@pytest.mark.parametrize("choice", ["spray", "adaptive-every-switch"])
def test_a_plane_that_is_down_costs_its_share_of_bandwidth(choice):
    network = two_planes()
    failure = [{"link": "h*->plane1", "down_s": 0.0}]
    model = network.model(path_choice=choice, queue_pair_ports="all", link_failures=failure, failure_detection_s=0.0)
    model.send(flows((0, 1, 100 * CELL, 1e-6)))
    model.advance(float("inf"))
    finish_ps = round(model.completions().finish_s[0] * 1e12) - 1_000_000
    assert finish_ps == (100 + 1) * 2 * FULL_PS + 2 * LATENCY_PS
    assert model.counts.lost == 0


@pytest.mark.parametrize("choice", ["spray", "spray-random", "adaptive-every-switch"])
def test_a_plane_that_fails_on_the_way_stalls_nothing(choice):
    """What was under way in the plane is asked for; from the detection on the other plane carries all."""
    network, count, down_s, known_s = two_planes(), 2000, 30e-6, 5e-6
    failure = [{"link": "h*->plane1", "down_s": down_s}]
    model = network.model(
        path_choice=choice,
        queue_pair_ports="all",
        link_failures=failure,
        failure_detection_s=known_s,
        recovery="selective",
        reorder_gap_packets=32,
        retransmit_timeout_s=20e-6,
    )
    finish_ps = run(model, flows((0, 1, count * CELL)))
    sent = down_s * 1e12 / FULL_PS
    floor_ps = down_s * 1e12 + (count - sent) * 2 * FULL_PS
    assert floor_ps < finish_ps < floor_ps + known_s * 1e12 + 60e6
    assert 0 < model.counts.lost <= model.counts.repeats < 200


def test_failures_that_name_no_link_or_overlap_are_refused():
    network = wide(2)
    with pytest.raises(InputError) as caught:
        network.model(
            link_failures=[
                {"link": "leaf7->spine0", "down_s": 0.0},
                {"link": "leaf0->spine0", "down_s": 1e-3},
                {"link": "*->spine0", "down_s": 2e-3, "up_s": 3e-3},
            ]
        )
    places = [fault.where for fault in caught.value.faults]
    assert places == ["packet.link_failures[0].link", "packet.link_failures[2]"]


@pytest.mark.parametrize(
    "given",
    [
        {"spread_queue_pairs": 2},
        {"queue_pair_ports": "all"},
        {"queue_pair_ports": "all", "path_choice": "adaptive"},
        {"link_failures": [{"link": "a->b", "down_s": 1.0, "up_s": 1.0}]},
        {"link_failures": [{"link": "a->b", "down_s": 1.0}], "acknowledgements": "packets"},
        {"link_failures": [{"link": "a->b", "down_s": 1.0}], "skip": {"mode": "steady"}},
        {"path_choice": "spray-random", "skip": {"mode": "steady"}},
        {"path_choice": "spray", "spread_queue_pairs": 2, "skip": {"mode": "reuse"}},
        {"reorder": "go-back-n", "skip": {"mode": "steady"}},
    ],
)
def test_what_does_not_go_together_is_refused(given):
    with pytest.raises((InputError, ValidationError)):
        PacketSettings(**given)
