"""Adversarial patterns against closed forms, against independently computed shares, and against what a search must reach."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.failures import with_failures
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import skewed_twin
from zcube.fabric.model import Fabric
from zcube.network.adversary.funnels import funnel_load, to_any, to_same
from zcube.network.adversary.patterns import PATTERNS, segment_gpus
from zcube.network.adversary.report import AdversarialReport, adversarial_report
from zcube.network.adversary.shares import PatternShare, pattern_shares
from zcube.network.adversary.worst import fullest_link_permutation, worst_permutation
from zcube.network.settings import Network
from zcube.report.adversary_table import adversary_table
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routing


@cache
def bound(name: str, policy: str = "default", queue_pairs: int = 1) -> tuple[Fabric, Routing]:
    fabric = load_fabric(name)
    return fabric, routing_for(fabric, policy, queue_pairs=queue_pairs)


def share(name: str, policy: str, queue_pairs: int, pattern: str, seed: int = 0) -> PatternShare:
    fabric, routing = bound(name, policy, queue_pairs)
    return pattern_shares(fabric, routing, *PATTERNS[pattern](fabric.gpus, segment_gpus(fabric), seed))


@pytest.mark.parametrize(
    ("name", "policy", "queue_pairs", "pattern", "mean"),
    [
        ("zcube-n32", "zcube-paths", 1, "segment-shuffle", 1.0),
        ("zcube-n32", "zcube-paths", 1, "random", 0.65),
        ("zcube-n32", "shortest-path", 1, "segment-shuffle", 0.985),
        ("zcube-n32", "shortest-path", 1, "random", 0.66),
        ("roft-1024", "ecmp", 1, "segment-shift", 0.997),
        ("roft-1024", "ecmp", 1, "segment-shuffle", 0.54),
        ("roft-1024", "ecmp", 1, "random", 0.535),
        ("roft-1024", "ecmp", 1, "transpose", 0.50),
        ("roft-1024", "ecmp", 4, "segment-shift", 1.0),
        ("roft-1024", "ecmp", 4, "segment-shuffle", 0.83),
        ("roft-1024", "ecmp", 4, "random", 0.82),
        ("roft-1024", "ecmp", 4, "transpose", 0.82),
    ],
)
def test_mean_shares_of_patterns(name: str, policy: str, queue_pairs: int, pattern: str, mean: float) -> None:
    """Mean fluid shares of line rate on 1,024 GPUs of 400G, computed independently of this project; three seeds."""
    shares = [share(name, policy, queue_pairs, pattern, seed).mean for seed in range(3)]
    assert np.mean(shares) == pytest.approx(mean, abs=0.03)


@pytest.mark.parametrize(
    ("name", "policy", "pattern", "exact"),
    [
        ("zcube-n32", "zcube-paths", "segment-shift", Fraction(1)),
        ("zcube-n32", "zcube-paths", "reverse", Fraction(1)),
        ("zcube-n32", "zcube-paths", "tornado", Fraction(1)),
        # One common switch, one of two ports.
        ("zcube-n32", "shortest-path", "segment-shift", Fraction(1, 2)),
        # A[i] -> B[i] carries the P1 of the 31 GPUs of segment i but (i, i), which sends to itself.
        ("zcube-n32", "zcube-paths", "transpose", Fraction(1, 31)),
        ("zcube-n16", "zcube-paths", "transpose", Fraction(1, 15)),
    ],
)
def test_structural_shares_are_exact(name: str, policy: str, pattern: str, exact: Fraction) -> None:
    found = share(name, policy, 1, pattern)
    assert (found.mean, found.minimum, found.p1) == pytest.approx((float(exact),) * 3, rel=1e-9)


@pytest.mark.parametrize(("name", "n"), [("zcube-n16", 16), ("zcube-n32", 32)])
def test_no_permutation_puts_more_than_n_flows_on_a_link_and_the_search_finds_n(name: str, n: int) -> None:
    """A[a] -> B[d] carries P1 only, from the n GPUs of A[a] to the n of B[d]: n flows, half of each, n/2 line rates.

    At 200G that is n times its capacity, so the slowest gets 1/n of a port there.
    """
    fabric, routing = bound(name)
    found = fullest_link_permutation(fabric, routing)
    assert found is not None
    assert found.link_flows == n / 2
    assert (found.share.fullest.flows, found.share.fullest.overload) == (n, n)


@pytest.mark.parametrize(("name", "n"), [("zcube-n16", 16), ("zcube-n32", 32), ("zcube-1024", 16)])
def test_the_worst_of_zcube_is_one_part_in_n(name: str, n: int) -> None:
    """Both paths of a flow on links with n flows each: 1/n, n = GPUs of an A switch over its parallel links to a B switch.

    No flow can get less, since a path shares its A-B link with at most n - 1 others. Where GPUs that send to themselves stay
    silent, as under a transpose, those left on a link get 1/(n - 1).
    """
    fabric, routing = bound(name)
    found = worst_permutation(fabric, routing)
    assert found is not None
    assert found.share.minimum in (pytest.approx(1 / n), pytest.approx(1 / (n - 1)))
    assert found.share.flows >= fabric.gpus * (1 - 1 / n)
    assert 1 / n <= found.share.mean + 1e-12 <= 1 / (n - 1) + 1e-9


@pytest.mark.parametrize(("name", "n"), [("zcube-n16", 16), ("zcube-n32", 32)])
def test_the_search_finds_one_part_in_n_where_no_pattern_does(name: str, n: int) -> None:
    """Skewed rails spread a transpose perfectly, but some permutation still meets n flows on both paths of most flows.

    The few pairs that would stay inside a server keep the mean a little above 1/n.
    """
    fabric, routing = bound(name)
    twin = skewed_twin(fabric)
    assert twin is not None
    routing = routing_for(twin, routing.name)
    assert pattern_shares(twin, routing, *PATTERNS["transpose"](twin.gpus, n, 0)).mean > 10 / n
    found = worst_permutation(twin, routing)
    assert found is not None
    assert found.search.startswith("one cable")
    assert found.share.flows == twin.gpus
    assert found.share.minimum == pytest.approx(1 / n)
    assert found.share.mean < 2 / n


def test_the_worst_of_hashed_spine_leaf_sends_a_leaf_up_one_cable() -> None:
    """With one queue pair, each of a leaf's 32 GPUs finds targets whose hash takes one given uplink of 32: 1/32 for all."""
    fabric, routing = bound("roft-1024", "ecmp", 1)
    found = worst_permutation(fabric, routing)
    assert found is not None
    assert found.share.mean == pytest.approx(1 / 32)
    assert found.link_flows == 32


@pytest.mark.parametrize("queue_pairs", [2, 4])
def test_the_search_is_worse_than_every_collision_by_chance(queue_pairs: int) -> None:
    fabric, routing = bound("roft-256", "ecmp", queue_pairs)
    found = worst_permutation(fabric, routing)
    assert found is not None
    for name, pattern in PATTERNS.items():
        assert found.share.mean < pattern_shares(fabric, routing, *pattern(fabric.gpus, 32, 0)).mean, name


def local_zero_to_all(fabric: Fabric) -> tuple[np.ndarray, np.ndarray]:
    return to_any(fabric.servers, fabric.gpus_per_server)


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-n32", "zcube-1024"])
def test_skewed_rails_spread_the_kv_funnel_ideally(name: str) -> None:
    """KV from GPU 0 of every server to uniform targets over all GPUs.

    A plain ZCube has local GPU 0 on one B switch in 8, so those carry 8 times the ideal spread on P2. Skewed rails meet all B
    switches: the fullest link carries (servers x GPUs) / links, the ideal spread of the whole uniform demand; a server's own 8
    GPUs, which it reaches over NVLink, are only missing on other links.
    """
    fabric, routing = bound(name)
    plain = funnel_load(fabric, routing, *local_zero_to_all(fabric))
    assert plain.concentration == pytest.approx(8.0, rel=1e-12)
    twin = skewed_twin(fabric)
    assert twin is not None
    skewed = funnel_load(twin, routing_for(twin, routing.name), *local_zero_to_all(fabric))
    links = 2 * (twin.cables.kind == 1).sum()
    assert skewed.transfers == fabric.servers * fabric.gpus / links
    assert skewed.ideal_transfers == plain.ideal_transfers
    assert skewed.concentration == pytest.approx(fabric.gpus / (fabric.gpus - fabric.gpus_per_server), rel=1e-12)


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-n32"])
def test_same_to_same_narrows_at_both_ends(name: str) -> None:
    """GPU 0 to GPU 0: P1 arrives and P2 leaves on one B switch in 8, each loaded 8 times the ideal."""
    fabric, routing = bound(name)
    plain = funnel_load(fabric, routing, *to_same(fabric.servers, 8))
    assert plain.concentration == pytest.approx(8.0, rel=1e-12)


def test_the_twin_keeps_failures_and_a_twin_has_none() -> None:
    broken = with_failures(load_fabric("zcube-n16"), ["link:A0-B5"])
    twin = skewed_twin(broken)
    assert twin is not None
    assert (twin.cable_up == broken.cable_up).all()
    assert skewed_twin(twin) is None
    assert skewed_twin(load_fabric("roft-256")) is None


def test_flows_without_a_path_count_as_zero() -> None:
    """GPU 0 of server 0 has lost both ports: one flow out and one in of 256."""
    fabric = with_failures(load_fabric("zcube-n16"), ["nic:s0g0"])
    found = pattern_shares(fabric, routing_for(fabric), *PATTERNS["segment-shift"](256, 16, 0))
    assert (found.flows, found.unreachable, found.minimum) == (256, 2, 0.0)
    assert found.mean == pytest.approx(254 / 256)


def test_a_report_is_json_and_a_table() -> None:
    fabric, _ = bound("zcube-n16")
    steps: list[tuple[float, float]] = []
    carrier = Network().on(fabric)
    report: AdversarialReport = adversarial_report(
        carrier, progress=lambda phase, done, total, unit: steps.append((done, total))
    )
    total = steps[0][1]
    assert steps == [(step, total) for step in range(1, total + 1)]
    document = json.loads(json.dumps(report.document(with_targets=True), allow_nan=False))
    assert sorted(document["worst_permutation"]["target_gpu"]) == list(range(256))
    assert document["funnels"]["to-any"]["fullest_over_ideal"] == pytest.approx(8.0)
    table = adversary_table(report)
    assert max(len(line) for line in table.splitlines()) <= 120
    for name in (*PATTERNS, "worst found", "skewed rails"):
        assert name in table


def test_one_switch_has_no_links_to_attack() -> None:
    switch = {"model": "test", "ports": 64, "port_gbps": 400}
    fabric = SpineLeafSpec(gpus=16, rail_optimised=False, switch=switch).build("one leaf")
    assert fabric.switches == 1
    report = adversarial_report(Network().on(fabric), segment=8)
    assert report.worst is None and report.fullest_link is None
    assert report.patterns["segment-shift"].mean == pytest.approx(1.0)
    json.dumps(report.document(), allow_nan=False)
    assert "none" in adversary_table(report)


def test_one_server_is_refused() -> None:
    switch = {"model": "test", "ports": 64, "port_gbps": 400}
    fabric = SpineLeafSpec(gpus=8, rail_optimised=False, switch=switch).build("one server")
    with pytest.raises(InputError, match=r"at least 2 servers(.|\n)*1 to 8 GPUs"):
        adversarial_report(Network().on(fabric), segment=9)
