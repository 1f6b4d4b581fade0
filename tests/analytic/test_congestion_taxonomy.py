"""Type 1 is what a transfer loses at its own NICs, type 2 what the fabric adds: cases whose factors follow from counting."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import fabric_of, run_by_hand, settings_of, trace_of

from zcube.network.flow_model import flow_model
from zcube.routing.catalog import routing_for
from zcube.serving.metrics import run_metrics

BIG = 32_000
#: Large transfers make the microseconds by which fabrics differ in delay vanish.
CLOSE = {"rel": 1e-4}


def congestion(trace, settings, fabric, *, routing="default", path_split="pooled", queue_pairs=1, seed=0):
    wired = fabric_of(fabric)
    policy = routing_for(wired, routing, queue_pairs=queue_pairs, seed=seed)
    run = run_by_hand(trace, settings, fabric=fabric, model=flow_model(wired, policy, path_split))
    return run_metrics(run)["congestion"]


@pytest.mark.parametrize("fabric", ["roft-256", "zcube-256"])
def test_a_transfer_alone_is_not_slowed(fabric):
    found = congestion(trace_of([0.0], [BIG], [1]), settings_of(), fabric)
    for key in ("type1_slowdown", "type2_slowdown", "type1_slowdown_p99", "type2_slowdown_p99"):
        assert found[key] == pytest.approx(1.0, **CLOSE), key


@pytest.mark.parametrize("fabric", ["roft-256", "zcube-256"])
@pytest.mark.parametrize("senders", [2, 4, 7])
def test_incast_into_one_gpu_is_type_1(fabric, senders):
    # TileRT's rule sends GPU 0 to GPU 0: equal prompts on equal nodes reach one NIC at the same moment.
    prefill, decode = {"nodes": senders, "layout": "tp8"}, {"layout": "tp8"}
    settings = settings_of(prefill=prefill, decode=decode, kv={"rank_map": "tp8-tilert", "push": "after-prefill"})
    found = congestion(trace_of(np.zeros(senders), [BIG] * senders, [1] * senders), settings, fabric)
    assert found["type1_slowdown"] == pytest.approx(senders, **CLOSE)
    assert found["type1_slowdown_p99"] == pytest.approx(senders, **CLOSE)
    assert found["type2_slowdown"] == pytest.approx(1.0, **CLOSE)
    assert found["type2_slowdown_p99"] == pytest.approx(1.0, **CLOSE)


def test_fan_out_of_one_gpu_is_type_1():
    settings = settings_of(
        prefill={"layout": "dp8"}, decode={"layout": "tp8"}, kv={"rank_map": "dp8-tp8", "push": "after-prefill"}
    )
    for fabric in ("roft-256", "zcube-256"):
        found = congestion(trace_of([0.0], [BIG], [1]), settings, fabric)
        assert found["type1_slowdown"] == pytest.approx(8.0, **CLOSE)


def spine_collision_seeds(count: int, colliding: bool) -> list[int]:
    """Return ECMP seeds under which GPU 0 -> 17 and GPU 8 -> 25 of roft-256 share links of the spine, or none."""
    fabric = fabric_of("roft-256")
    seeds = []
    for seed in range(2000):
        routes = routing_for(fabric, "ecmp", queue_pairs=1, seed=seed).routes(np.array([0, 8]), np.array([17, 25]))
        first, second = (set(routes.link[routes.first_hop[row] : routes.first_hop[row + 1]]) for row in (0, 1))
        if bool(first & second) == colliding:
            seeds.append(seed)
        if len(seeds) == count:
            return seeds
    raise AssertionError("2000 seeds hold no such pair of paths")


def cross_rail_pair() -> tuple:
    """Two small transfers on rail 0, which give each decode node's GPU 0 its turn; then two large ones to the GPUs 1."""
    trace = trace_of([0.0, 0.0, 10.0, 10.0], [64, 64, BIG, BIG], [1, 1, 1, 1])
    return trace, settings_of(prefill={"nodes": 2}, decode={"nodes": 2}, kv={"push": "after-prefill"})


@pytest.mark.parametrize(("colliding", "factor"), [(True, 2.0), (False, 1.0)])
def test_a_collision_on_one_spine_link_is_type_2(colliding, factor):
    trace, settings = cross_rail_pair()
    for seed in spine_collision_seeds(3, colliding):
        found = congestion(trace, settings, "roft-256", routing="ecmp", seed=seed)
        assert found["type1_slowdown_p99"] == pytest.approx(1.0, **CLOSE)
        # Two of four transfers collide.
        assert found["type2_slowdown"] == pytest.approx((2 + 2 * factor) / 4, **CLOSE)
        assert found["type2_slowdown_p99"] == pytest.approx(factor, **CLOSE)


@pytest.mark.parametrize(("path_split", "factor"), [("pooled", 4 / 3), ("fixed", 2.0)])
def test_a_collision_on_one_zcube_path_is_type_2(path_split, factor):
    # Sources of one segment, destinations 64 GPUs apart: one of the two 200 Gb/s paths is shared, 300 of 400 Gb/s remain.
    # Long answers hold the decode nodes 1 .. 7, so that the large requests go to nodes 0 and 8 (servers 2 and 10).
    trace = trace_of([0.0] * 8 + [10.0] * 2, [64] * 8 + [BIG] * 2, [1] + [100_000] * 7 + [1, 1])
    settings = settings_of(
        prefill={"nodes": 2, "chunk_tokens": 64, "layout": "tp8"},
        decode={"nodes": 9, "layout": "tp8"},
        kv={"rank_map": "tp8-tilert", "push": "after-prefill"},
        load={"horizon_s": 20.0},
    )
    found = congestion(trace, settings, "zcube-256", path_split=path_split)
    assert found["type1_slowdown_p99"] == pytest.approx(1.0, **CLOSE)
    assert found["type2_slowdown"] == pytest.approx((8 + 2 * factor) / 10, **CLOSE)
    assert found["type2_slowdown_p99"] == pytest.approx(factor, **CLOSE)


def test_an_ideal_core_has_no_type_2():
    settings = settings_of(prefill={"nodes": 4}, decode={"nodes": 2}, kv={"push": "after-prefill"})
    found = run_metrics(run_by_hand(trace_of(np.zeros(4), [BIG] * 4, [1] * 4), settings))["congestion"]
    assert found["type2_slowdown_p99"] == pytest.approx(1.0, rel=1e-9)
