"""Load balancing of the packet kernels against the plain-Python twin: equal to the picosecond, and told of the same paths."""

from __future__ import annotations

import numpy as np
import pytest
from many_seeds import seeds
from test_packet_twin import EAGER, draw_flows, draw_recovery, leaf_spine, run_both

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.spec import SwitchSpec
from zcube.network.link_set import LinkSet
from zcube.network.packet.settings import PacketSettings
from zcube.routing.catalog import routing_for

CHOICES = ("spray", "spray-random", "flowlet", "adaptive", "adaptive-every-switch")


def three_tiers():
    switch = SwitchSpec(model="test", ports=4, port_gbps=400)
    return SpineLeafSpec(gpus=16, gpus_per_server=1, nic_gbps=400, tiers=3, switch=switch).build("three-tiers")


def two_ports():
    return load_fabric("hpn-1024")


FABRICS = {"leaf-spine": leaf_spine, "three-tiers": three_tiers, "zcube": lambda: load_fabric("zcube-n16"), "hpn": two_ports}


def draw_balance(draw, choice, control):
    ports = "one" if choice == "adaptive" else str(draw.choice(["one", "all"]))
    return PacketSettings(
        **EAGER,
        congestion_control=control,
        path_choice=choice,
        queue_pair_ports=ports,
        spread_queue_pairs=int(draw.integers(1, 4)),
        flowlet_gap_s=float(draw.choice([0, 2e-7, 2e-6])),
        forwarding=str(draw.choice(["store-and-forward", "cut-through"])),
        priorities=int(draw.choice([1, 2])),
        pfc_threshold=str(draw.choice(["dynamic", "static"])),
        xoff_bytes=int(draw.integers(5_000, 100_000)),
        ack_every_packets=int(draw.integers(1, 4)),
        seed=int(draw.integers(0, 1000)),
        reorder=str(draw.choice(["cost", "cost", "buffer", "go-back-n"])),
        reorder_buffer_packets=64,
    )


def draw_failures(draw, link_set, routes):
    """Return a few cables on the way of some transfers that go down for a while."""
    ends = {"->".join(sorted((link_set.source[link], link_set.target[link]))) for link in routes.link}
    failures = []
    for name in draw.choice(sorted(ends), min(3, len(ends)), replace=False):
        down_s = float(draw.integers(0, 20)) * 1e-6
        failures.append({"link": name, "down_s": down_s, "up_s": down_s + float(draw.choice([1e-6, 2e-5, 1e-4]))})
    return failures


def late_of(twin):
    return sum(pair.late for flow in twin.flows for pair in flow.pairs)


def assert_agree(fabric, routing, settings, flows, split):
    """Run both and compare all that both count; return the model."""
    model, twin = run_both(fabric, routing, settings, flows, split)
    counts = model.counts
    cuts = sum(pair.cuts for flow in twin.flows for pair in flow.pairs)
    again = (counts.lost, counts.trims, counts.headers_lost, counts.duplicates)
    assert again == (twin.lost, twin.trims, twin.headers_lost, twin.duplicates)
    ours = (counts.packet_hops, counts.marks, counts.drops, counts.repeats, counts.pauses, counts.rate_cuts)
    assert ours == (twin.hops, twin.marks, twin.drops, twin.repeats, twin.pauses, cuts)
    assert model.link_table().size_bytes.tolist() == [link.payload for link in twin.links]
    assert model.link_table().peak_flows.tolist() == [link.peak for link in twin.links]
    return model


@pytest.mark.parametrize("name", FABRICS)
@pytest.mark.parametrize("choice", CHOICES)
def test_twins_agree(name, choice):
    fabric = FABRICS[name]()
    for seed in seeds(2):
        draw = np.random.default_rng(seed)
        settings, flows = draw_balance(draw, choice, str(draw.choice(["none", "dcqcn"]))), draw_flows(draw, 16)
        routing = routing_for(fabric, "equal-paths", most_paths=int(draw.choice([3, 8, 256])), seed=seed)
        assert_agree(fabric, routing, settings, flows, str(draw.choice(["pooled", "fixed"])))


@pytest.mark.parametrize("name", FABRICS)
@pytest.mark.parametrize("choice", ["static", *CHOICES])
def test_twins_agree_where_links_fail(name, choice):
    fabric, lost = FABRICS[name](), 0
    link_set = LinkSet.of_fabric(fabric)
    for seed in seeds(3):
        draw = np.random.default_rng(seed)
        chosen = draw_balance(draw, "spray" if choice == "static" else choice, str(draw.choice(["none", "dcqcn"])))
        further = {"path_choice": "static", "spread_queue_pairs": 1, "queue_pair_ports": "one"} if choice == "static" else {}
        flows = draw_flows(draw, 16)
        routing = routing_for(fabric, "equal-paths", most_paths=int(draw.choice([3, 8])), seed=seed)
        failures = draw_failures(draw, link_set, routing.routes(flows.source, flows.target))
        further |= {"link_failures": failures, "failure_detection_s": float(draw.choice([0, 3e-6]))}
        settings = PacketSettings(**{**chosen.model_dump(), **further})
        lost += assert_agree(fabric, routing, settings, flows, "pooled").counts.lost
    assert lost > 0


@pytest.mark.parametrize("name", FABRICS)
def test_twins_agree_where_links_fail_and_packets_are_sent_again_one_by_one(name):
    fabric, seen = FABRICS[name](), np.zeros(2)
    link_set = LinkSet.of_fabric(fabric)
    for seed in seeds(8):
        draw = np.random.default_rng(seed)
        control = str(draw.choice(["none", "dcqcn", "mrc"]))
        chosen, more = draw_balance(draw, str(draw.choice(CHOICES)), control), draw_recovery(draw)
        flows = draw_flows(draw, 16)
        routing = routing_for(fabric, "equal-paths", most_paths=int(draw.choice([3, 8])), seed=seed)
        failures = draw_failures(draw, link_set, routing.routes(flows.source, flows.target))
        more |= {"link_failures": failures, "failure_detection_s": float(draw.choice([0, 3e-6])), "retry_limit": 1000}
        more |= {"pfc": not more["trimming"] and seed % 2 == 0, "reorder": "cost"}
        settings = PacketSettings(**chosen.model_dump() | more)
        counts = assert_agree(fabric, routing, settings, flows, "pooled").counts
        assert counts.repeats == counts.drops + counts.trims + counts.duplicates + counts.lost
        seen += np.array([counts.lost, counts.trims]) > 0
    assert np.all(seen >= 2), seen


@pytest.mark.parametrize("choice", CHOICES)
def test_a_control_is_told_of_paths_and_rests_them(installed, choice):
    installed("window_control")
    fabric, rested = leaf_spine(), 0
    for seed in seeds(8):
        draw = np.random.default_rng(seed)
        settings, flows = draw_balance(draw, choice, "resting"), draw_flows(draw, 16)
        routing = routing_for(fabric, "ecmp", queue_pairs=7) if seed % 2 else routing_for(fabric, "equal-paths")
        model = assert_agree(fabric, routing, settings, flows, "pooled")
        rested += int((model._tables["rests"] > 0).sum())
    assert rested > 20
