"""Placements judged by the same transfers, and NIC-affinity maps against the paths they come from."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.llm.rankmap import rank_map
from zcube.plan.placement.kv_sample import KvLoad, kv_sample
from zcube.plan.placement.nic_affinity import NicPair, nic_affinity
from zcube.plan.placement.placing import placement_report
from zcube.routing.catalog import routing_for
from zcube.serving.placement import seats


@pytest.fixture(scope="module")
def fabric():
    return load_fabric("zcube-256")


@pytest.fixture(scope="module")
def report(fabric):
    return placement_report(fabric, routing_for, KvLoad(prefill_nodes=8, decode_nodes=12, transfers=200), trials=30)


def test_three_placements_shortest_first(fabric, report):
    means = [row.transfer_s["mean"] for row in report.rows]
    assert means == sorted(means)
    assert {row.name for row in report.rows} == {"contiguous", "striped", "traffic-aware"}
    for row in report.rows:
        seated = [*row.placed.prefill, *row.placed.decode]
        assert (len(row.placed.prefill), len(row.placed.decode)) == (8, 12)
        assert len(set(seated)) == 20
        assert min(seated) >= 0
        assert max(seated) < fabric.servers


def test_the_search_never_ends_worse_on_what_it_searched_with(fabric):
    """Judged by the sample of the search itself, which the next seed's report judges by."""
    load = KvLoad(prefill_nodes=8, decode_nodes=12, transfers=200)
    found = placement_report(fabric, routing_for, load, trials=30, seed=4)
    none = placement_report(fabric, routing_for, load, trials=0, seed=4)
    assert found.kept > 0
    assert none.kept == 0
    aware = next(row.placed for row in none.rows if row.name == "traffic-aware")
    assert aware in [row.placed for row in none.rows if row.name != "traffic-aware"]


def test_a_seed_gives_the_same_placement_again(fabric, report):
    again = placement_report(fabric, routing_for, report.load, trials=30)
    assert again.document() == report.document()


def test_where_only_the_nic_limits_nothing_is_gained():
    """One prefill node sends by one NIC, which no link behind it is slower than: every placement takes the same time."""
    fabric = load_fabric("roft-256", changes={"gpus": 32})
    report = placement_report(fabric, routing_for, KvLoad(prefill_nodes=1, decode_nodes=1, transfers=50), trials=20)
    means = [row.transfer_s["mean"] for row in report.rows]
    assert np.allclose(means, means[0], rtol=1e-4)


def test_a_sample_is_what_the_load_says():
    load = KvLoad(prefill_nodes=4, decode_nodes=4, transfers=20_000, mean_bytes=1e9, utilisation=0.5)
    sample = kv_sample(load, 400, seed=3)
    assert sample.size_bytes.mean() == pytest.approx(1e9, rel=0.02)
    assert set(sample.source_rank) == {0}
    assert set(sample.target_rank) == set(range(8))
    # All of a node's KV leaves by NIC 0: 4 nodes x 50 GB/s, half used.
    assert 1e9 * 20_000 / sample.start_s[-1] == pytest.approx(4 * 50e9 * 0.5, rel=0.03)


def test_a_zcube_pairs_each_port_with_the_other(fabric):
    """P1 leaves by port 0 and arrives at port 1, P2 the other way round: the non-diagonal map."""
    found = nic_affinity(fabric, routing_for(fabric), seats("blocked", 8, 24), rank_map("cp8-dp8"))
    assert set(found.rules) == {(0, target) for target in range(8)}
    for (source, target), pairs in found.rules.items():
        assert set(pairs) == {NicPair(source, 0, target, 1), NicPair(source, 1, target, 0)}
    assert found.exception_count == 0
    assert found.document()["rules"][3]["paths"][0]["peer"]["nic"] == "gpu3p1"


def test_a_spine_leaf_keeps_to_its_one_port():
    fabric = load_fabric("roft-256")
    found = nic_affinity(
        fabric, routing_for(fabric), seats("striped", 16, 16), rank_map("tp8-tp8"), [f"mlx5_{n}" for n in range(8)]
    )
    assert found.rules == {(gpu, gpu): (NicPair(gpu, 0, gpu, 0),) for gpu in range(8)}
    path = found.document()["rules"][5]["paths"][0]
    assert path["local"] == path["peer"] == {"gpu": 5, "port": 0, "nic": "mlx5_5"}


def test_rails_apart_leave_by_the_gpu_that_relays():
    """Rail-only: GPU 0 reaches GPU 3 of another server by the NIC of its own server's GPU 3, over NVLink (PXN)."""
    fabric = load_fabric("rail-only-1024", changes={"gpus": 128})
    found = nic_affinity(fabric, routing_for(fabric), seats("blocked", 8, 8), rank_map("cp8-dp8"))
    assert found.rules[0, 3] == (NicPair(3, 0, 3, 0),)


def test_failures_are_exceptions_to_the_rule():
    fabric = load_fabric("zcube-256@nic:s0g0/0")
    found = nic_affinity(fabric, routing_for(fabric), seats("blocked", 8, 24), rank_map("cp8-dp8"))
    assert found.exception_count == 24 * 8
    assert {row[0] for row in found.exceptions} == {0}
    assert all(pair.local_port == 1 for *_, pairs in found.exceptions for pair in pairs)


def test_what_does_not_fit_is_refused_at_once(fabric):
    with pytest.raises(InputError) as caught:
        placement_report(fabric, routing_for, KvLoad(prefill_nodes=30, decode_nodes=3), trials=-1)
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="16, one a NIC port"):
        nic_affinity(fabric, routing_for(fabric), seats("blocked", 1, 1), rank_map("tp8-tp8"), ["a"])
