"""Closed forms through the command line: lists short enough to be worked out by hand.

Delays: 0.5 us a link, 25 ns an NVLink; on roft-256 GPUs of one rail of the first servers share a leaf (two links).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.network.alone import alone_s
from zcube.network.carrier import estimate_bytes
from zcube.routing.catalog import routing_for
from zcube.routing.routes import assemble

HEADER = "src,dst,bytes,start_s"
ONE_LEAF_S = 1e-6
LINE_BPS = 400e9
SIZE = 1e9
ALONE_S = SIZE * 8 / LINE_BPS


@pytest.fixture
def replay(run, tmp_path):
    """Replay rows on a fabric; returns the per-flow table and the summary."""

    def replay_rows(rows: list[str], *options: str, header: str = HEADER, fabric: str = "roft-256"):
        trace, out = tmp_path / "flows.csv", tmp_path / "out.csv"
        trace.write_text("\n".join([header, *rows]) + "\n")
        status, text, err = run("replay", trace, "--fabric", fabric, "--out", out, "--json", *options)
        assert status == 0, err
        return pd.read_csv(out, keep_default_na=False), json.loads(text)

    return replay_rows


@pytest.mark.parametrize("fidelity", ["flow", "ideal"])
def test_one_flow_takes_its_delay_and_its_bytes(replay, fidelity):
    flows, summary = replay([f"s0g0,s1g0,{SIZE},0.25"], "--fidelity", fidelity)
    assert flows.finish_s[0] == pytest.approx(0.25 + ALONE_S + ONE_LEAF_S, rel=1e-12)
    assert flows.mean_rate_gbps[0] == pytest.approx(400, rel=1e-9)
    assert flows.slowdown[0] == pytest.approx(1, rel=1e-9)
    assert summary["makespan_s"] == pytest.approx(ALONE_S + ONE_LEAF_S, rel=1e-12)
    assert summary["bytes"] == {"payload": SIZE, "sent": SIZE, "received": SIZE}
    assert summary["max_link_utilisation"] == pytest.approx(ALONE_S / (ALONE_S + ONE_LEAF_S), rel=1e-9)


def test_flows_inside_a_server_take_nvlink(replay):
    flows, _ = replay([f"s3g1,s3g7,{SIZE},0"])
    assert flows.finish_s[0] == pytest.approx(SIZE * 8 / 3600e9 + 5e-8, rel=1e-12)


def test_an_incast_shares_the_receivers_nic_and_names_it(replay):
    flows, summary = replay([f"s{server}g0,s0g0,{SIZE},0" for server in range(1, 5)])
    np.testing.assert_allclose(flows.finish_s, 4 * ALONE_S + ONE_LEAF_S, rtol=1e-12)
    assert set(flows.bound_link) == {"leaf0>s0g0"}
    assert summary["slowdown"]["mean"] == pytest.approx((4 * ALONE_S + ONE_LEAF_S) / (ALONE_S + ONE_LEAF_S), rel=1e-9)
    hottest = summary["hot_links"][0]
    # Two queue pairs a flow.
    assert (hottest["from"], hottest["to"], hottest["peak_flows"]) == ("leaf0", "s0g0", 8)


def test_a_cap_holds_a_flow_and_leaves_the_rest_to_others(replay):
    rows = [f"s0g0,s1g0,{SIZE},0,100", f"s0g0,s2g0,{3 * SIZE},0,"]
    flows, _ = replay(rows, header=HEADER + ",cap_gbps")
    np.testing.assert_allclose(flows.finish_s, 4 * ALONE_S + ONE_LEAF_S, rtol=1e-12)
    assert flows.bound_link.tolist() == ["", "s0g0>leaf0"]
    # By itself the capped flow would be no faster; the other one would have had the whole line.
    np.testing.assert_allclose(flows.slowdown, [1, 4 / 3], rtol=1e-4)


def test_weights_divide_a_link(replay):
    """Three to one; the light flow has a third of its bytes behind it when the heavy one ends, then has the line to itself."""
    flows, _ = replay([f"s0g0,s1g0,{SIZE},0,3", f"s0g0,s2g0,{SIZE},0,1"], header=HEADER + ",weight")
    np.testing.assert_allclose(flows.finish_s - ONE_LEAF_S, [4 / 3 * ALONE_S, 2 * ALONE_S], rtol=1e-12)


def test_a_coflow_is_done_when_its_last_flow_is(replay):
    rows = [f"s0g0,s1g0,{SIZE},0.5,a", f"s0g1,s1g1,{2 * SIZE},0,b", f"s0g2,s1g2,{SIZE},1,a", f"s0g3,s1g3,{SIZE},9,"]
    _, summary = replay(rows, header=HEADER + ",coflow")
    coflows = {group["coflow"]: group for group in summary["coflows"]["slowest"]}
    assert summary["coflows"]["count"] == 2
    assert list(coflows) == ["a", "b"]
    assert (coflows["a"]["flows"], coflows["a"]["start_s"]) == (2, 0.5)
    assert coflows["a"]["duration_s"] == pytest.approx(0.5 + ALONE_S + ONE_LEAF_S, rel=1e-9)
    assert coflows["b"]["finish_s"] == pytest.approx(2 * ALONE_S + ONE_LEAF_S, rel=1e-12)


def test_both_paths_of_zcube_carry_one_flow(replay):
    """Three links to another segment and rail, each port at half the line rate."""
    flows, _ = replay([f"s0g0,s20g5,{SIZE},0"], fabric="zcube-n16")
    assert flows.finish_s[0] == pytest.approx(ALONE_S + 1.5e-6, rel=1e-12)
    fixed, _ = replay([f"s0g0,s20g5,{SIZE},0"], "--path-split", "fixed", fabric="zcube-n16")
    assert fixed.finish_s[0] == pytest.approx(ALONE_S + 1.5e-6, rel=1e-12)
    one, _ = replay([f"s0g0,s20g5,{SIZE},0"], "--routing", "hash", fabric="zcube-n16")
    assert one.finish_s[0] == pytest.approx(2 * ALONE_S + 1.5e-6, rel=1e-12)
    assert one.slowdown[0] == pytest.approx(1, rel=1e-9)


def test_times_since_1970_lose_no_precision(replay):
    rows = ["s0g0,s1g0,1000,1700000000", "s0g1,s1g1,50000,1700000001.5"]
    flows, summary = replay(rows)
    np.testing.assert_allclose(
        flows.duration_s, [1000 * 8 / LINE_BPS + ONE_LEAF_S, 50000 * 8 / LINE_BPS + ONE_LEAF_S], rtol=1e-9
    )
    assert summary["makespan_s"] == pytest.approx(1.5 + 50000 * 8 / LINE_BPS + ONE_LEAF_S, rel=1e-12)


def test_bytes_sent_are_bytes_received_over_relays(replay):
    _, summary = replay(["s0g0,s1g1,1e6,0", "s0g0,s1g0,1e6,0", "s2g0,s2g1,1e6,0"], "--routing", "pxn", fabric="rail-only-1024")
    # The first flow goes over a relay in its own server, which receives it and sends it on.
    assert summary["bytes"]["sent"] == pytest.approx(4e6, rel=1e-12)
    assert summary["bytes"]["received"] == pytest.approx(summary["bytes"]["sent"], rel=1e-12)


@pytest.mark.parametrize("name", ["roft-256", "zcube-n16", "zcube-256", "hpn-1024", "dragonfly-1056", "zcube-pods-4096"])
def test_hash_gives_each_pair_one_path_that_only_the_seed_changes(name):
    fabric = load_fabric(name)
    source, target = np.divmod(np.arange(256 * 256), 256)
    source, target = source[source != target], target[source != target]
    routes = routing_for(fabric, "hash", seed=5).routes(source, target)
    assert np.all(np.diff(routes.first_subflow) == 1)
    half = routing_for(fabric, "hash", seed=5, queue_pairs=7).routes(source[1000:1100], target[1000:1100])
    np.testing.assert_array_equal(half.link, routes.link[routes.first_hop[1000] : routes.first_hop[1100]])
    other = routing_for(fabric, "hash", seed=6).routes(source, target)
    if name != "dragonfly-1056" and routes.link.shape == other.link.shape:
        assert np.any(other.link != routes.link)


def test_alone_by_hand():
    """Links of 4, 1 and 2 bit/s. Two paths over the first, one of them also over the second: rates 1 and 3, so 4 together."""
    capacity = np.array([4.0, 1.0, 2.0])
    routes = assemble(np.array([2, 2, 1]), np.array([[0, 1], [0, -1], [0, -1], [0, -1], [2, 1]]))
    bits = np.array([12.0, 12.0, 12.0])
    np.testing.assert_allclose(alone_s(routes, capacity, bits, None, True), [3, 3, 12])
    # Fixed halves: the slow path needs 6 s at rate 1; the twins share 4 bit/s evenly to the end.
    np.testing.assert_allclose(alone_s(routes, capacity, bits, None, False), [6, 3, 12])
    # A cap of 3 is split evenly over two paths: 1 (the link) and 1.5, or 1.5 each.
    np.testing.assert_allclose(alone_s(routes, capacity, bits, np.full(3, 3.0), True), [12 / 2.5, 4, 12])
    # A flow that has ended leaves its room to its twin: 1 and 3 bit/s, then the shorter path of 6 bits ends at 2 s.
    uneven = assemble(np.array([2]), np.array([[0, 2], [0, -1]]))
    np.testing.assert_allclose(alone_s(uneven, np.array([3.0, 1.0, 1.0]), np.array([12.0]), None, False), [6])


def test_the_estimate_grows_with_every_part_and_not_below_what_the_arrays_take():
    base = estimate_bytes(1000, 2000, 8000)
    assert estimate_bytes(2000, 2000, 8000) > base
    assert estimate_bytes(1000, 3000, 8000) > base
    assert estimate_bytes(1000, 2000, 9000) > base
    million = estimate_bytes(10**6, 10**6, 4 * 10**6)
    # An all-to-all of a million flows over four links each was measured at 0.86 GB, and must fit into 6 GB.
    assert 0.8e9 < million < 2e9


def test_memory_of_the_run_is_checked_before_it(run, tmp_path):
    trace = tmp_path / "flows.csv"
    trace.write_text(HEADER + "\n0,1,5,0\n")
    status, out, err = run("replay", trace, "--fabric", "roft-256", "--memory-gb", "0.2", "--out", Path(tmp_path) / "out.csv")
    assert status == 2 and out == ""
    assert "GB" in err and "--memory-gb" in err and "1 flows" in err
    assert not (tmp_path / "out.csv").exists()
