"""Average path length, diameter and bisection, searched on the built fabric, against published figures.

Source of the table: ATOP/ZCube (SIGCOMM 2025), average path lengths to five decimals; the closed forms are theirs too.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

import networkx
import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families import families
from zcube.fabric.model import CableKind
from zcube.routing import bisection
from zcube.routing import path_lengths as lengths
from zcube.routing.bisection import halving_bisection
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import equal_paths, path_lengths


@pytest.mark.parametrize(
    ("name", "mean_links", "diameter"),
    [
        ("zcube-n32", 2.93939, 2),
        ("zcube-n64", 2.96923, 2),
        ("zcube-n128", 2.98450, 2),
        ("roft3-1024", 5.47214, 5),
        ("roft3-4096", 5.48523, 5),
        ("roft-16384", 5.49240, 5),
    ],
)
def test_average_path_length_is_the_published_one(name, mean_links, diameter):
    lengths = path_lengths(load_fabric(name))
    assert round(lengths.mean_links, 5) == mean_links
    assert lengths.diameter_switches == diameter
    assert lengths.unreachable_pairs == 0


@pytest.mark.parametrize(
    ("name", "n", "published"), [("zcube-n32", 32, 2.94129), ("zcube-n64", 64, 2.96971), ("zcube-n128", 128, 2.98462)]
)
@pytest.mark.parametrize("failed", ["switch:A0", "switch:B1"])
def test_average_path_length_after_one_switch_failure(name, n, published, failed):
    lengths = path_lengths(load_fabric(name, [failed]))
    assert lengths.mean_links == pytest.approx((3 * n + 1) / (n + 1) + 2 / (n * (n + 1)), abs=1e-12)
    assert round(lengths.mean_links, 5) == published
    assert lengths.unreachable_pairs == 0


def test_same_server_pairs_as_one_link():
    n, lengths = 32, path_lengths(load_fabric("zcube-n32"))
    pairs = n * n - 1
    assert lengths.mean_links_with_nvlink == pytest.approx((lengths.mean_links * pairs - 7) / pairs, abs=1e-12)


@pytest.mark.parametrize(("n", "levels"), [(2, 2), (4, 2), (8, 2), (2, 3), (4, 3), (5, 3), (2, 4), (3, 4)])
def test_recursive_zcube(n, levels):
    spec = families()["zcube-levels"](
        gpus=n**levels, gpus_per_server=n, n=n, levels=levels, switch={"model": "x", "ports": 3 * n, "port_gbps": 400 / levels}
    )
    fabric = spec.build("recursive")
    assert fabric.gpus == n**levels
    assert fabric.switches == levels * n ** (levels - 1)
    assert fabric.nic_ports == levels
    ends = np.concatenate([fabric.cables.a, fabric.cables.b])
    ports = np.bincount(ends, minlength=fabric.nodes)[fabric.gpus : fabric.gpus + fabric.switches].reshape(levels, -1)
    for level in range(levels):
        assert set(ports[level]) == {2 * n if level in (0, levels - 1) else 3 * n}
    assert path_lengths(fabric).diameter_switches == levels


def test_recursive_zcube_of_two_levels_is_the_two_port_zcube():
    switch = {"model": "x", "ports": 16, "port_gbps": 200}
    two_port = families()["zcube"](gpus=64, switch=switch).build("two-port")
    recursive = families()["zcube-levels"](gpus=64, n=8, levels=2, switch=switch).build("recursive")

    def edges(fabric):
        return {frozenset(pair) for pair in zip(fabric.cables.a.tolist(), fabric.cables.b.tolist(), strict=True)}

    assert edges(two_port) == edges(recursive)


@pytest.mark.parametrize("n", [2, 4, 6])
def test_pods_of_zcube(n):
    spec = families()["zcube-pods"](gpus=n**3, gpus_per_server=n, n=n, switch={"model": "x", "ports": 3 * n, "port_gbps": 200})
    fabric = spec.build("pods")
    assert fabric.switches == 2 * n * n + n * n // 2
    lengths = path_lengths(fabric)
    assert lengths.diameter_switches == 4
    first_pod = range(n * n)
    inside = routing_for(fabric).routes(*(axis.ravel()[1:] for axis in np.meshgrid([0], first_pod, indexing="ij")))
    assert np.diff(inside.first_hop).max() == 3
    # A pod's n^2 uplinks have half a GPU's rate each, and half the pods send to the other half.
    assert halving_bisection(fabric) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["zcube-n16", "zcube-n32", "zcube-1024", "roft-256", "roft-1024", "roft3-1024"])
def test_halving_bisection_is_the_nic_bandwidth(name):
    assert halving_bisection(load_fabric(name)) == 1.0


def test_bisection_of_an_oversubscribed_leaf_is_cut_by_the_ratio():
    switch = {"model": "x", "ports": 64, "port_gbps": 400}
    spec = families()["spine-leaf"](gpus=384, rail_optimised=False, oversubscription=3.0, switch=switch)
    assert halving_bisection(spec.build("thin")) == pytest.approx(1 / 3, rel=0.02)


def test_number_of_shortest_paths():
    roft, zcube = load_fabric("roft-1024"), load_fabric("zcube-n32")
    source = np.array([0, 0, 0])
    # Same leaf; 16 spines, two links up and two down each.
    assert list(equal_paths(roft, source, np.array([8, 9, 500]))) == [1, 64, 64]
    # Same segment: one switch; same rail: one switch; else P1 and P2.
    assert list(equal_paths(zcube, source, np.array([9, 64, 500]))) == [1, 1, 2]


@pytest.mark.parametrize(
    "failed", [[], ["random-links:0.02"], ["random-switches:0.05"]], ids=["whole", "links failed", "switches failed"]
)
@pytest.mark.parametrize("name", ["roft-256", "roft3-1024", "zcube-n16", "zcube-1024-skewed", "bcube-1024", "dragonfly-1056"])
def test_what_switches_carry_evenly_is_the_largest_flow(name, failed, monkeypatch):
    fabric = load_fabric(name, failed)
    found = halving_bisection(fabric)
    monkeypatch.setattr(bisection, "_carried_evenly", lambda *arguments: None)
    assert halving_bisection(fabric) == found


def test_nothing_but_nics_bounds_fabrics_whose_switches_carry_all_evenly(monkeypatch):
    monkeypatch.setattr(bisection, "_largest_flow", lambda *arguments: pytest.fail("solved"))
    assert halving_bisection(load_fabric("roft-256")) == halving_bisection(load_fabric("zcube-n64")) == 1.0


def test_paths_are_as_many_by_either_kind_of_matrix(monkeypatch):
    fabric = load_fabric("zcube-n16", ["random-links:0.05"])
    source, target = np.divmod(np.arange(fabric.gpus**2), fabric.gpus)
    dense = equal_paths(fabric, source, target)
    monkeypatch.setattr(lengths, "_DENSE_SWITCHES", 0)
    assert (equal_paths(fabric, source, target) == dense).all() and dense.max() > 1


@pytest.mark.parametrize("counts_bits", [lengths._ones, lengths._ONES_OF_BYTE.take], ids=["numpy", "table"])
@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("roft-256", ["random-links:0.2"]),
        ("zcube-n16", ["random-links:0.2", "random-switches:0.1"]),
        ("superpod-248", ["random-links:0.3"]),
        ("zcube-288-nvl72", []),
        ("slim-fly-1024", []),
    ],
)
def test_pairs_by_length_are_those_of_networkx(name, failed, counts_bits, monkeypatch):
    monkeypatch.setattr(lengths, "_ones", counts_bits)
    monkeypatch.setattr(lengths, "_PAIRS_AT_ONCE", 1 << 9)
    monkeypatch.setattr(lengths, "_BYTES_AT_ONCE", 1 << 5)
    fabric = load_fabric(name, failed)
    up = fabric.cable_up & (fabric.cables.kind != CableKind.NVLINK)
    graph = networkx.Graph(list(zip(fabric.cables.a[up].tolist(), fabric.cables.b[up].tolist(), strict=True)))
    graph.add_nodes_from(range(fabric.gpus))
    alike = Counter(tuple(graph[gpu]) for gpu in range(fabric.gpus))
    graph.remove_nodes_from(range(fabric.gpus))
    hops = dict(networkx.all_pairs_shortest_path_length(graph))
    pairs = Counter()
    for source, target in product(alike, alike):
        ways = [hops[at][to] + 2 for at, to in product(source, target) if to in hops[at]]
        if ways:
            pairs[min(ways)] += alike[source] * (alike[target] - (source == target))
    assert path_lengths(fabric).pairs_by_links == {links: many for links, many in pairs.items() if many}
