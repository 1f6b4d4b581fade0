"""Paths of every policy: connected walks, the ZCube rule, balance over parallel links, and the ECMP hash.

The ZCube rule, for (a, b) -> (c, d) with port 0 on A[a] and port 1 on B[b]: P1 leaves port 0 and crosses A[a], B[d] to port 1;
P2 leaves port 1 and crosses B[b], A[c] to port 0.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routes
from zcube.seeds import stream


def zcube(gpus: int, gpus_per_switch: int, gpus_per_server: int = 8) -> Fabric:
    switch = {"model": "test", "ports": 2 * gpus_per_switch, "port_gbps": 200.0}
    spec = ZCubeSpec(gpus=gpus, gpus_per_switch=gpus_per_switch, gpus_per_server=gpus_per_server, switch=switch)
    return spec.build("test")


def three_tier() -> Fabric:
    switch = {"model": "test", "ports": 16, "port_gbps": 400.0}
    return SpineLeafSpec(gpus=512, tiers=3, switch=switch).build("test")


def all_pairs(gpus: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = (axis.ravel() for axis in np.indices((gpus, gpus)))
    return source[source != target], target[source != target]


def random_pairs(fabric: Fabric, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source = stream(seed, "pairs").integers(0, fabric.gpus, count)
    target = (source + stream(seed, "distance").integers(1, fabric.gpus, count)) % fabric.gpus
    return source, target


def remote(fabric: Fabric, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return source // fabric.gpus_per_server != target // fabric.gpus_per_server


def paths(routes: Routes, flow: int) -> list[list[int]]:
    subflows = range(routes.first_subflow[flow], routes.first_subflow[flow + 1])
    return [routes.link[routes.first_hop[s] : routes.first_hop[s + 1]].tolist() for s in subflows]


def nodes_on(fabric: Fabric, path: list[int]) -> list[int]:
    return [int(fabric.link_source[path[0]]), *(int(fabric.link_target[link]) for link in path)]


def check_walks(fabric: Fabric, routes: Routes, source: np.ndarray, target: np.ndarray) -> None:
    flow_of_subflow = np.repeat(np.arange(routes.flows), np.diff(routes.first_subflow))
    first, last = routes.first_hop[:-1], routes.first_hop[1:] - 1
    assert np.all(last >= first)
    np.testing.assert_array_equal(fabric.link_source[routes.link[first]], source[flow_of_subflow])
    np.testing.assert_array_equal(fabric.link_target[routes.link[last]], target[flow_of_subflow])
    inner = np.setdiff1d(np.arange(len(routes.link)), first)
    joints = fabric.link_source[routes.link[inner]]
    np.testing.assert_array_equal(joints, fabric.link_target[routes.link[inner - 1]])
    assert joints.min() >= fabric.gpus, "hosts do not forward"
    np.testing.assert_allclose(np.add.reduceat(routes.share, routes.first_subflow[:-1]), 1.0, rtol=1e-12)
    assert routes.flows == len(source)


@pytest.mark.parametrize("name", ["zcube-256", "zcube-n16", "zcube-1024", "zcube-n32", "roft-256", "roft-1024"])
@pytest.mark.parametrize("policy", ["default", "ecmp", "shortest-path"])
def test_every_route_is_a_walk_between_its_gpus(name: str, policy: str) -> None:
    fabric = load_fabric(name)
    source, target = random_pairs(fabric, 20_000)
    check_walks(fabric, routing_for(fabric, policy, queue_pairs=3).routes(source, target), source, target)


def test_three_tier_routes_are_shortest_walks() -> None:
    fabric = three_tier()
    source, target = random_pairs(fabric, 5_000)
    routes = routing_for(fabric, "ecmp", queue_pairs=1).routes(source, target)
    check_walks(fabric, routes, source, target)
    # Radix 16: 8 servers of 8 GPUs share their leaves, two such units are a pod.
    leaf = source // 8 // 8 * 8 + source % 8, target // 8 // 8 * 8 + target % 8
    hops = np.where(leaf[0] == leaf[1], 2, np.where(leaf[0] // 8 == leaf[1] // 8, 4, 6))
    hops[~remote(fabric, source, target)] = 2
    np.testing.assert_array_equal(np.diff(routes.first_hop), hops)


@pytest.mark.parametrize("gpus_per_server", [1, 8])
def test_zcube_paths_are_p1_and_p2_for_all_pairs(gpus_per_server: int) -> None:
    n = 8
    fabric = zcube(n * n, n, gpus_per_server)
    source, target = all_pairs(n * n)
    routes = routing_for(fabric, "zcube-paths").routes(source, target)
    group_a, group_b = n * n, n * n + n
    for flow, (x, y) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        (a, b), (c, d) = divmod(x, n), divmod(y, n)
        found = paths(routes, flow)
        if x // gpus_per_server == y // gpus_per_server:
            assert len(found) == 1
            continue
        assert [nodes_on(fabric, path) for path in found] == [
            [x, group_a + a, group_b + d, y],
            [x, group_b + b, group_a + c, y],
        ]
        assert not set(found[0]) & set(found[1])
        ports = [(fabric.cables.a_port[path[0] // 2], fabric.cables.a_port[path[-1] // 2]) for path in found]
        assert ports == [(0, 1), (1, 0)]


@pytest.mark.parametrize(("gpus", "k"), [(32, 8), (64, 16), (256, 64)])
def test_zcube_paths_with_parallel_links_are_p1_and_p2_and_disjoint(gpus: int, k: int) -> None:
    fabric = zcube(gpus, k)
    m = gpus // k
    source, target = all_pairs(gpus)
    keep = remote(fabric, source, target)
    source, target = source[keep], target[keep]
    routes = routing_for(fabric, "zcube-paths").routes(source, target)
    check_walks(fabric, routes, source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 2)
    hops = routes.link.reshape(-1, 2, 3)
    through = fabric.link_target[hops]
    expected_p1 = np.stack([gpus + source // k, gpus + m + target % m, target], axis=1)
    expected_p2 = np.stack([gpus + m + source % m, gpus + target // k, target], axis=1)
    np.testing.assert_array_equal(through[:, 0], expected_p1)
    np.testing.assert_array_equal(through[:, 1], expected_p2)
    assert not np.any(hops[:, 0, :, None] == hops[:, 1, None, :])


def trunk_counts(fabric: Fabric, source: np.ndarray, target: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Subflows on each parallel link of each ordered switch pair."""
    routes = routing_for(fabric, "zcube-paths").routes(source, target)
    carried = np.bincount(routes.link, minlength=fabric.links)
    trunks = np.flatnonzero(np.repeat(fabric.cables.kind == CableKind.SWITCH, 2))
    found: dict[tuple[int, int], list[int]] = {}
    for link in trunks:
        found.setdefault((int(fabric.link_source[link]), int(fabric.link_target[link])), []).append(int(carried[link]))
    return found


#: (GPUs, GPUs per switch, GPUs per server); in the last two the switches of a group are no multiple of a server's GPUs.
BALANCED = [(32, 8, 8), (64, 8, 8), (64, 16, 8), (256, 64, 8), (1024, 64, 8), (512, 64, 8), (64, 32, 8), (128, 16, 4),
            (144, 24, 1), (36, 12, 1), (288, 24, 8), (648, 36, 4)]  # fmt: skip


@pytest.mark.parametrize("same_server", [True, False])
@pytest.mark.parametrize(("gpus", "k", "gpus_per_server"), BALANCED)
def test_all_to_all_loads_parallel_links_equally(gpus: int, k: int, gpus_per_server: int, same_server: bool) -> None:
    """The pairs on each ordered switch pair split evenly over its parallel links.

    With same-server pairs kept on the network, the fabric is taken as one of one-GPU servers and only self-pairs are left out.
    """
    fabric = zcube(gpus, k, 1 if same_server else gpus_per_server)
    source, target = all_pairs(gpus)
    keep = remote(fabric, source, target)
    found = trunk_counts(fabric, source[keep], target[keep])
    assert all(len(set(members)) == 1 for members in found.values()), {
        pair: members for pair, members in found.items() if len(set(members)) > 1
    }


@pytest.mark.parametrize("name", ["zcube-256", "zcube-1024", "zcube-n16"])
def test_bundled_zcubes_balance_all_to_all(name: str) -> None:
    """All 2N directed trunk links together carry both subflows of N (N - 8) pairs."""
    fabric = load_fabric(name)
    source, target = all_pairs(fabric.gpus)
    found = trunk_counts(fabric, source, target)
    loads = np.array([load for members in found.values() for load in members])
    keep = remote(fabric, source, target)
    assert loads.sum() == 2 * keep.sum()
    assert all(len(set(members)) == 1 for members in found.values())
    assert loads.mean() == fabric.gpus - 8


def test_same_server_pairs_use_nvlink_only() -> None:
    for name in ("zcube-256", "roft-256"):
        fabric = load_fabric(name)
        source, target = all_pairs(fabric.gpus)
        local = ~remote(fabric, source, target)
        for policy in ("default", "ecmp", "shortest-path"):
            routes = routing_for(fabric, policy).routes(source[local], target[local])
            check_walks(fabric, routes, source[local], target[local])
            np.testing.assert_array_equal(np.diff(routes.first_subflow), 1)
            assert set(fabric.cables.kind[routes.link // 2]) == {CableKind.NVLINK}
            routes = routing_for(fabric, policy).routes(source[~local], target[~local])
            assert CableKind.NVLINK not in set(fabric.cables.kind[routes.link // 2])


def test_shortest_path_takes_the_common_switch() -> None:
    n = 16
    fabric = zcube(n * n, n)
    source = np.arange(n * n)
    routing = routing_for(fabric, "shortest-path")
    same_rail = (source + n) % (n * n)
    routes = routing.routes(source, same_rail)
    for flow in range(n * n):
        found = [nodes_on(fabric, path) for path in paths(routes, flow)]
        assert found == [[flow, n * n + n + flow % n, same_rail[flow]]]
    same_segment = source // n * n + (source + 8) % n
    routes = routing.routes(source, same_segment)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 1)
    np.testing.assert_array_equal(fabric.link_target[routes.link[routes.first_hop[:-1]]], n * n + source // n)


def test_shortest_path_of_other_pairs_uses_both_ports() -> None:
    fabric = load_fabric("zcube-n16")
    routes = routing_for(fabric, "shortest-path").routes(np.array([0]), np.array([16 * 3 + 5]))
    assert sorted(nodes_on(fabric, path)[1:-1] for path in paths(routes, 0)) == [[256, 272 + 5], [272, 256 + 3]]


def pods_apart(fabric: Fabric, flows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct random pairs of the 1,024-GPU ROFT in different scalable units, so that every flow goes up."""
    rng = stream(seed, "pairs")
    source, target = rng.integers(0, 1024, 4 * flows), rng.integers(0, 1024, 4 * flows)
    keep = source // 256 != target // 256
    pairs = np.unique(np.stack([source[keep], target[keep]], axis=1), axis=0)
    chosen = rng.permutation(len(pairs))[:flows]
    return pairs[chosen, 0], pairs[chosen, 1]


def chi_square_tail(observed: np.ndarray) -> float:
    """Probability of a chi-square as large as observed, each row uniform over its columns."""
    expected = np.broadcast_to(observed.sum(axis=1, keepdims=True) / observed.shape[1], observed.shape)
    assert expected.min() >= 5
    statistic = ((observed - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, observed.shape[0] * (observed.shape[1] - 1)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ecmp_is_a_uniform_hash(seed: int) -> None:
    """Uplinks of every leaf, members at the spine given the uplink, and the second queue pair given the first.

    A true uniform hash fails one of these nine checks with probability below 2 %, both tails counted.
    """
    fabric = load_fabric("roft-1024")
    source, target = pods_apart(fabric, 40_000, seed)
    routes = routing_for(fabric, "ecmp", queue_pairs=2, seed=seed).routes(source, target)
    links = routes.link.reshape(-1, 2, 4)
    up_port = fabric.cables.a_port[links[:, :, 1] // 2] - 32
    assert up_port.min() == 0
    assert up_port.max() == 31
    leaf = fabric.link_source[links[:, 0, 1]] - 1024
    by_leaf = np.bincount(leaf * 32 + up_port[:, 0], minlength=1024).reshape(32, 32)
    # A spine has two cables to each leaf; the choice among them must not follow the uplink's.
    spine_port = fabric.cables.b_port[links[:, 0, 2] // 2]
    by_uplink = np.bincount(up_port[:, 0] * 2 + spine_port % 2, minlength=64).reshape(32, 2)
    by_first = np.bincount(up_port[:, 0] * 32 + up_port[:, 1], minlength=1024).reshape(32, 32)
    for table in (by_leaf, by_uplink, by_first):
        assert 1e-3 < chi_square_tail(table) < 1 - 1e-3


def test_ecmp_is_uniform_for_regular_pairs() -> None:
    """Structured traffic (GPU g to g + 256 and all multiples) must hash as well as random traffic."""
    fabric = load_fabric("roft-1024")
    source = np.tile(np.arange(1024), 3)
    target = (source + np.repeat([256, 512, 768], 1024)) % 1024
    routes = routing_for(fabric, "ecmp", queue_pairs=4).routes(source, target)
    link = routes.link.reshape(-1, 4)[:, 1]
    spine = fabric.link_target[link] - 1024 - 32
    assert 1e-3 < chi_square_tail(np.bincount(spine, minlength=16)[None, :]) < 1 - 1e-3
    # Queue pairs of one flow share an uplink as often as chance has it: 6 pairs of queue pairs, 1/32 each.
    up = link.reshape(-1, 4)
    same = sum(int((up[:, i] == up[:, j]).sum()) for i in range(4) for j in range(i))
    trials = 6 * len(up)
    assert abs(same - trials / 32) < 4 * np.sqrt(trials / 32 * 31 / 32)


def test_ecmp_on_zcube_uses_all_port_pairs_alike() -> None:
    """Two GPUs of other segments and rails: four port pairs, two of them nearest (0 to 1 and 1 to 0), each half the time."""
    fabric = load_fabric("zcube-n16")
    source, target = all_pairs(256)
    keep = (source // 16 != target // 16) & (source % 16 != target % 16)
    routes = routing_for(fabric, "ecmp", queue_pairs=1).routes(source[keep], target[keep])
    np.testing.assert_array_equal(np.diff(routes.first_hop), 3)
    port = fabric.cables.a_port[routes.link[::3] // 2]
    assert 1e-3 < chi_square_tail(np.bincount(port, minlength=2)[None, :]) < 1 - 1e-3
    np.testing.assert_array_equal(fabric.cables.a_port[routes.link[2::3] // 2], 1 - port)


def test_ecmp_depends_on_nothing_but_pair_and_seed() -> None:
    fabric = load_fabric("roft-1024")
    source, target = random_pairs(fabric, 2_000)
    whole = routing_for(fabric, "ecmp", queue_pairs=2, seed=5).routes(source, target)
    again = routing_for(load_fabric("roft-1024"), "ecmp", queue_pairs=2, seed=5).routes(source[::-1], target[::-1])
    for flow in range(0, 2_000, 50):
        assert paths(whole, flow) == paths(again, 1_999 - flow)
    other = routing_for(fabric, "ecmp", queue_pairs=2, seed=6).routes(source, target)
    assert not np.array_equal(whole.link, other.link)


@pytest.mark.parametrize("queue_pairs", [1, 2, 5])
def test_ecmp_gives_each_transfer_its_queue_pairs(queue_pairs: int) -> None:
    fabric = load_fabric("roft-256")
    source, target = random_pairs(fabric, 500)
    routes = routing_for(fabric, "ecmp", queue_pairs=queue_pairs).routes(source, target)
    away = remote(fabric, source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), np.where(away, queue_pairs, 1))


@pytest.mark.parametrize("queue_pairs", [0, -1])
def test_refuses_transfers_without_queue_pairs(queue_pairs: int) -> None:
    """A transfer with no path would never end."""
    fabric = load_fabric("roft-256")
    with pytest.raises((InputError, ValueError), match="queue"):
        routing_for(fabric, "ecmp", queue_pairs=queue_pairs).routes(np.array([0]), np.array([9]))


def test_refusals() -> None:
    fabric = load_fabric("roft-256")
    with pytest.raises(InputError, match="zcube-paths"):
        routing_for(fabric, "zcube-paths")
    with pytest.raises(InputError, match="shortest-path"):
        routing_for(fabric, "magic")
    for source, target in (([0], [0]), ([0], [256]), ([-1], [3]), ([0, 1], [2])):
        with pytest.raises(ValueError):
            routing_for(fabric).routes(np.array(source), np.array(target))


@pytest.mark.parametrize("name", ["roft-256", "zcube-256"])
@pytest.mark.parametrize("policy", ["default", "ecmp", "shortest-path"])
def test_no_pairs_give_no_routes(name: str, policy: str) -> None:
    none = np.zeros(0, dtype=np.int64)
    assert routing_for(load_fabric(name), policy).routes(none, none).flows == 0
