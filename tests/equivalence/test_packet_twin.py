"""The packet kernels against the plain-Python twin: equal completion times, to the picosecond, on random small cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from many_seeds import seeds
from packet_twin import Twin

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.spec import SwitchSpec
from zcube.network.link_set import LinkSet
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

#: Quick to mark, to cut and to recover, so that short transfers see all of it.
EAGER = {
    "marking": [{"up_to_gbps": 400, "kmin_bytes": 20_000, "kmax_bytes": 100_000, "pmax": 0.5}],
    "dcqcn": {
        "byte_counter_bytes": 100_000,
        "notification_interval_s": 5e-6,
        "rate_timer_s": 6e-6,
        "alpha_timer_s": 7e-6,
        "gain": 1 / 16,
        "fast_recovery_steps": 2,
    },
    "retransmit_timeout_s": 5e-5,
}


def leaf_spine():
    switch = SwitchSpec(model="test", ports=8, port_gbps=400)
    return SpineLeafSpec(gpus=16, gpus_per_server=2, nic_gbps=400, switch=switch).build("leaf-spine-16")


#: As quick, for the controls that are not drawn.
EAGER_TABLES = {
    "dcqcn_nvidia": {**EAGER["dcqcn"], "clamp_target": False, "notification_interval_s": 2e-6, "rate_timer_s": 9e-6},
    "swift": {
        "base_target_s": 3e-6,
        "hop_target_s": 5e-7,
        "scaling_range_s": 4e-6,
        "scaling_least_window": 0.3,
        "scaling_most_window": 20.0,
        "least_window": 0.2,
        "reset_timeouts": 2,
    },
    "hpcc": {"base_rtt_s": 3e-6, "additive_increase_bytes": 500.0, "increase_stages": 2},
    "nscc": {"target_delay": 0.2, "fast_delay_s": 2e-7, "quick_adapt_delay": 2.0, "quick_adapt_window": 0.5},
    "mrc": {"target_delay": 0.2, "quick_adapt_window": 0.5, "mark_rest": 0.5, "trim_rest": 0.2, "loss_rest_s": 8e-6},
    "aimd": {"first_window_bytes": 30_000, "least_window_bytes": 5_000, "increase_bytes": 9_000},
    "ramp": {"first_rate": 1 / 20, "period_s": 2e-6},
}


def draw_settings(draw, control=None, **more):
    pfc = bool(draw.random() < 0.65)
    drawn = str(draw.choice(["none", "dcqcn"]))
    chosen = dict(
        **EAGER,
        **({} if control is None else {control: EAGER_TABLES[control], "ack_every_packets": int(draw.integers(1, 6))}),
        pfc=pfc,
        congestion_control=control or drawn,
        forwarding=str(draw.choice(["store-and-forward", "cut-through"])),
        path_choice=str(draw.choice(["static", "spray", "adaptive"])) if pfc else "static",
        priorities=int(draw.choice([1, 2, 4])),
        pfc_threshold=str(draw.choice(["dynamic", "static"])),
        xoff_bytes=int(draw.integers(5_000, 100_000)),
        buffer_bytes=int(draw.choice([300_000, 1 << 20, 1 << 25])) if control is None or pfc else 1 << 16,
        reorder_cost_s=float(draw.choice([0, 1e-7])),
        seed=int(draw.integers(0, 1000)),
    )
    return PacketSettings(**chosen | more)


def draw_recovery(draw):
    """Return settings under which packets are repeated one by one, half of them with trimming, all of them with losses."""
    trimming, gap = bool(draw.random() < 0.5), int(draw.integers(0, 20))
    choices = ["static", "spray", "spray-random", "flowlet", "adaptive", "adaptive-every-switch"]
    choice, spread = str(draw.choice(choices)), int(draw.integers(1, 3))
    return {
        "pfc": False,
        "recovery": "selective",
        "trimming": trimming,
        "trim_bytes": int(draw.choice([20, 84, 700])),
        "trim_run": int(draw.choice([1, 3, 10])),
        "trim_queue_bytes": int(draw.choice([100, 500, 1 << 20])),
        "selective_window_packets": int(draw.choice([64, 256])),
        "reorder_gap_packets": None if draw.random() < 0.5 else gap,
        "ack_every_packets": int(draw.choice([1, 4, 100])),
        "path_choice": choice,
        "spread_queue_pairs": 1 if choice == "static" else spread,
        "queue_pair_ports": "one" if choice in ("static", "adaptive") else str(draw.choice(["one", "all"])),
        "buffer_bytes": int(draw.choice([1 << 16, 300_000])),
        "drop_alpha": float(draw.choice([0.2, 1.0])),
        "retransmit_timeout_s": float(draw.choice([3e-6, 2e-5, 1e-4])),
    }


def draw_flows(draw, gpus):
    count = int(draw.integers(1, 40))
    source = draw.integers(0, gpus, count)
    target = draw.integers(0, gpus if draw.random() < 0.5 else 3, count)
    kept = np.flatnonzero(source != target)
    kept = kept if len(kept) else np.array([0])
    source, target = source[kept], np.where(source == target, (target + 1) % gpus, target)[kept]
    start_s = draw.choice([0.0, 1e-6, 5e-6], len(kept)) + draw.choice([0, 1e-7], len(kept)) * draw.random(len(kept))
    cap_bps = None if draw.random() < 0.6 else draw.choice([1e10, 1e11, np.inf], len(kept))
    return FlowTable(source, target, draw.integers(1, 200_000, len(kept)).astype(float), start_s, cap_bps=cap_bps)


@pytest.mark.parametrize("seed", range(80))
def test_twins_agree(seed):
    assert_twins_agree(np.random.default_rng(seed))


@pytest.mark.parametrize("control", EAGER_TABLES)
def test_twins_of_other_controls_agree(installed, control):
    """Also of controls from another package: with a window and acknowledgements, and with alarms."""
    installed("window_control")
    seen = np.zeros(4)
    for seed in seeds(40):
        counts = assert_twins_agree(np.random.default_rng(seed), control)
        seen += np.array([counts.marks, counts.rate_cuts, counts.repeats, counts.late]) > 0
    marks = PacketSettings(congestion_control=control).control.marks
    assert np.all(seen[1:] >= 3) and (seen[0] >= 3) == marks, seen


#: Those of zcube are drawn where none is named; each by itself takes longer.
ONE_BY_ONE = [pytest.param(name, marks=() if name in ("aimd", "ramp") else pytest.mark.slow) for name in EAGER_TABLES]


@pytest.mark.parametrize("control", [None, *ONE_BY_ONE])
def test_twins_of_selective_recovery_and_trimming_agree(installed, control):
    installed("window_control")
    seen = np.zeros(7)
    for seed in seeds(32):
        draw = np.random.default_rng(seed)
        more = draw_recovery(draw)
        counts = assert_twins_agree(draw, control, **more)
        seen += np.array([counts.drops, counts.repeats, counts.timeouts, counts.late, counts.duplicates, counts.trims,
                          counts.headers_lost]) > 0  # fmt: skip
    assert np.all(seen >= 2), seen


@pytest.mark.parametrize("service", ["strict", "weighted"])
def test_twins_of_two_traffic_classes_agree(installed, service):
    for seed in seeds(14):
        draw = np.random.default_rng(seed)
        more = draw_recovery(draw) if seed % 3 == 0 else {}
        more |= {"traffic_classes": 2, "class_service": service, "class_weights": tuple(draw.integers(1, 5, 2).tolist())}
        assert_twins_agree(draw, None, **more)


@pytest.mark.parametrize(("action", "cases"), [("drop", 40), ("forward", 24)])
def test_twins_of_the_pfc_watchdog_agree(action, cases):
    storms = 0
    for seed in seeds(cases):
        draw = np.random.default_rng(seed)
        more = {"pfc": True, "pfc_watchdog_s": float(draw.choice([2e-7, 1e-6, 3e-6])), "path_choice": "static"}
        more |= {"recovery": str(draw.choice(["selective", "go-back-n"])), "pfc_threshold": "static"}
        more |= {"xoff_bytes": int(draw.integers(5_000, 40_000)), "retransmit_timeout_s": 2e-5}
        more |= {"pfc_watchdog_action": action}
        counts = assert_twins_agree(draw, None, **more)
        assert counts.storms == 0 or more["recovery"] == "go-back-n" or counts.repeats == counts.drops + counts.duplicates
        storms += counts.storms > 0
    assert storms > 3


@pytest.mark.parametrize("refreshed", [True, False])
def test_twins_where_pauses_expire_agree(refreshed):
    seen = np.zeros(3)
    for seed in seeds(16):
        draw = np.random.default_rng(seed)
        more = {"pfc": True, "path_choice": "static", "pfc_threshold": "static", "retransmit_timeout_s": 2e-5}
        more |= {"pause_quanta": int(draw.choice([20, 150, 500, 3000])), "xoff_bytes": int(draw.integers(5_000, 40_000))}
        more |= {"pause_refresh": float(draw.choice([0.05, 0.5, 0.99])) if refreshed else None}
        more |= {"recovery": str(draw.choice(["selective", "go-back-n"]))}
        if draw.random() < 0.3:
            more |= {"pfc_watchdog_s": 2e-6, "pfc_watchdog_action": str(draw.choice(["drop", "forward"]))}
        counts = assert_twins_agree(draw, None, **more)
        assert not refreshed or counts.expiries == 0
        assert not refreshed or counts.drops == 0 or "pfc_watchdog_s" in more
        seen += np.array([counts.pauses, counts.expiries, counts.drops]) > 0
    assert seen[0] > 5 and (refreshed or np.all(seen > 2)), seen


def test_twins_of_hpcc_with_several_queue_pairs_on_the_same_paths_agree():
    cuts = 0
    for seed in seeds(6):
        draw = np.random.default_rng(seed)
        more = {"pfc": True, "path_choice": str(draw.choice(["spray", "spray-random", "adaptive-every-switch"]))}
        more |= {"spread_queue_pairs": int(draw.integers(2, 4)), "queue_pair_ports": str(draw.choice(["one", "all"]))}
        cuts += assert_twins_agree(draw, "hpcc", **more).rate_cuts
    assert cuts > 20


def test_twins_of_buffers_by_tier_agree():
    paused = 0
    for seed in seeds(6):
        draw = np.random.default_rng(seed)
        tiers = [{"tier": tier, "buffer_bytes": int(draw.choice([1 << 16, 1 << 19]))} for tier in (1, 2) if draw.random() < 0.7]
        paused += assert_twins_agree(draw, None, pfc_threshold="dynamic", tier_buffers=tiers).pauses > 0
    assert paused > 1


def run_both(fabric, routing, settings, flows, split):
    """Run the model and its twin to their ends, which are the same, within the memory foreseen; return both."""
    link_set = LinkSet.of_fabric(fabric)
    routes = routing.routes(flows.source, flows.target)
    twin = Twin(link_set, routes, flows, settings, split)
    model = PacketModel(link_set, routing, settings, split)
    model.send(flows)
    model.advance(float("inf"))
    found = np.round(model.completions().finish_s * 1e12).astype(np.int64)
    assert found.tolist() == twin.finish
    assert model.memory_bytes <= memory_bound_bytes(link_set, settings, flows.size_bytes, len(routes.share), len(routes.link))
    return model, twin


def assert_twins_agree(draw, control=None, **more):
    fabric = leaf_spine() if draw.random() < 0.6 else load_fabric("zcube-n16")
    settings, flows = draw_settings(draw, control, **more), draw_flows(draw, 16)
    if settings.traffic_classes == 2:
        flows = replace(flows, traffic_class=draw.integers(0, 2, len(flows)))
    names = [name for name in fabric.routings if name != "zcube-detours"]
    routing = routing_for(fabric, str(draw.choice(names)), queue_pairs=int(draw.integers(1, 4)), seed=3)
    split = str(draw.choice(["pooled", "fixed"]))
    model, twin = run_both(fabric, routing, settings, flows, split)
    counts = model.counts
    ours = (counts.packet_hops, counts.marks, counts.drops, counts.repeats, counts.pauses, counts.rate_cuts)
    cuts = sum(pair.cuts for flow in twin.flows for pair in flow.pairs)
    assert ours == (twin.hops, twin.marks, twin.drops, twin.repeats, twin.pauses, cuts)
    again = (counts.trims, counts.headers_lost, counts.duplicates, counts.control_hops, counts.storms, counts.expiries)
    assert again == (twin.trims, twin.headers_lost, twin.duplicates, twin.header_hops, twin.storms, twin.expiries)
    assert model.received_bytes == model.posted_bytes
    links = model.link_table()
    assert links.size_bytes.tolist() == [link.payload for link in twin.links]
    assert links.peak_flows.tolist() == [link.peak for link in twin.links]
    return counts


def test_the_cases_see_everything():
    """Over all seeds every mechanism is at work, so that the agreement means something."""
    seen = np.zeros(5)
    for seed in range(80):
        draw = np.random.default_rng(seed)
        fabric = leaf_spine() if draw.random() < 0.6 else load_fabric("zcube-n16")
        model = PacketModel(LinkSet.of_fabric(fabric), routing_for(fabric), draw_settings(draw))
        model.send(draw_flows(draw, 16))
        model.advance(float("inf"))
        counts = model.counts
        seen += np.array([counts.marks, counts.rate_cuts, counts.drops, counts.pauses, counts.late]) > 0
    assert np.all(seen >= 5), seen


@pytest.mark.parametrize("seed", [0, 36])
def test_frames_of_one_picosecond_keep_their_order(seed):
    """Thresholds near nothing, so that one ingress queue often lets go and stops in the same instant."""
    draw, fabric = np.random.default_rng(seed), load_fabric("zcube-n16")
    settings = PacketSettings(
        congestion_control="none", packet_payload_bytes=9000, forwarding="cut-through", buffer_bytes=1 << 17, pfc_alpha=1 / 64
    )
    source, target = draw.integers(0, fabric.gpus, 40), draw.choice(draw.integers(0, fabric.gpus, 2), 40)
    source = np.where(source == target, (source + 1) % fabric.gpus, source)
    flows = FlowTable(source, target, draw.choice([60_000.0, 200_000.0], 40), np.zeros(40))
    link_set, routing = LinkSet.of_fabric(fabric), routing_for(fabric)
    twin = Twin(link_set, routing.routes(source, target), flows, settings, "fixed")
    model = PacketModel(link_set, routing, settings, "fixed")
    model.send(flows)
    model.advance(float("inf"))
    assert np.round(model.completions().finish_s * 1e12).astype(np.int64).tolist() == twin.finish
    assert model.counts.pauses == twin.pauses
