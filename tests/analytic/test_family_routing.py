"""Paths of PXN, BCube, dragonfly and both planes of HPN: connected walks, their rules, and failed cables avoided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.dragonfly import DragonflySpec, capacity_gpus
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import MultiPlaneSpec, RailOnlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.bcube_paths import BCubePaths
from zcube.routing.dragonfly_paths import DragonflyPaths
from zcube.routing.pxn import PxnPaths
from zcube.routing.routes import Routes, Routing
from zcube.routing.shortest import ShortestPaths
from zcube.seeds import stream


def switch(ports: int, port_gbps: float = 400.0) -> dict[str, object]:
    return {"model": "test", "ports": ports, "port_gbps": port_gbps}


def rail_only(gpus: int = 256, radix: int = 16) -> Fabric:
    return RailOnlySpec(gpus=gpus, switch=switch(radix)).build("rails")


def bcube(n: int = 8, **keys: object) -> Fabric:
    return BCubeSpec(gpus=n * n, switch=switch(n, 200.0), **keys).build("bcube")


def dragonfly(p: int = 2, **keys: object) -> Fabric:
    return DragonflySpec(gpus=capacity_gpus(p), gpus_per_switch=p, switch=switch(4 * p - 1), **keys).build("dragonfly")


def hpn() -> Fabric:
    """Four segments of 16 servers."""
    return HpnSpec(gpus=512, tor_down_ports=16, switch=switch(32)).build("hpn")


def both_planes(fabric: Fabric) -> ShortestPaths:
    return ShortestPaths(fabric, "dual-plane", queue_pairs=3, all_ports=True, seed=1)


def pxn(fabric: Fabric) -> PxnPaths:
    return PxnPaths(fabric, queue_pairs=2, seed=1)


CASES: dict[str, tuple[Callable[[], Fabric], Callable[[Fabric], Routing]]] = {
    "rail-only": (rail_only, pxn),
    "rail-only of single switches": (lambda: rail_only(128, 16), pxn),
    "multi-plane": (lambda: MultiPlaneSpec(gpus=256, planes=4, switch=switch(16)).build("planes"), pxn),
    "spine-leaf": (lambda: SpineLeafSpec(gpus=256, switch=switch(32)).build("roft"), pxn),
    "hpn": (hpn, both_planes),
    "all planes": (
        lambda: MultiPlaneSpec(gpus=128, planes=4, ports_per_gpu=4, nic_gbps=1600, switch=switch(16)).build("planes"),
        both_planes,
    ),
    "bcube": (lambda: bcube(16), BCubePaths),
    "dragonfly": (lambda: dragonfly(3, gpus_per_server=6), DragonflyPaths),
}


def all_pairs(gpus: int) -> tuple[np.ndarray, np.ndarray]:
    source, target = (axis.ravel() for axis in np.indices((gpus, gpus)))
    return source[source != target], target[source != target]


def paths(routes: Routes, flow: int) -> list[list[int]]:
    subflows = range(routes.first_subflow[flow], routes.first_subflow[flow + 1])
    return [routes.link[routes.first_hop[s] : routes.first_hop[s + 1]].tolist() for s in subflows]


def nodes_on(fabric: Fabric, path: list[int]) -> list[int]:
    return [int(fabric.link_source[path[0]]), *(int(fabric.link_target[link]) for link in path)]


def check_walks(fabric: Fabric, routes: Routes, source: np.ndarray, target: np.ndarray) -> None:
    flow = np.repeat(np.arange(routes.flows), np.diff(routes.first_subflow))
    first, last = routes.first_hop[:-1], routes.first_hop[1:] - 1
    assert routes.flows == len(source)
    assert np.all(last >= first)
    np.testing.assert_array_equal(fabric.link_source[routes.link[first]], source[flow])
    np.testing.assert_array_equal(fabric.link_target[routes.link[last]], target[flow])
    inner = np.setdiff1d(np.arange(len(routes.link)), first)
    np.testing.assert_array_equal(fabric.link_source[routes.link[inner]], fabric.link_target[routes.link[inner - 1]])
    np.testing.assert_allclose(np.bincount(flow, routes.share, minlength=routes.flows)[np.unique(flow)], 1.0)
    assert np.all(fabric.cable_up[routes.link // 2]), "a failed cable is used"


def without(fabric: Fabric, down: np.ndarray) -> Fabric:
    """Return the fabric with cables failed."""
    up = fabric.cable_up.copy()
    up[down] = False
    return replace(fabric, cable_up=up)


def cables_between(fabric: Fabric, a: int, b: int) -> np.ndarray:
    return np.flatnonzero((fabric.cables.a == a) & (fabric.cables.b == b))


@pytest.mark.parametrize("case", CASES)
def test_every_route_is_a_walk_between_its_gpus(case: str) -> None:
    make, policy = CASES[case]
    fabric = make()
    source, target = all_pairs(fabric.gpus)
    keep = stream(0, "pairs").permutation(len(source))[:20_000]
    routes = policy(fabric).routes(source[keep], target[keep])
    check_walks(fabric, routes, source[keep], target[keep])
    assert np.all(np.diff(routes.first_subflow) >= 1)
    size = fabric.gpus_per_server
    local = np.flatnonzero(source[keep] // size == target[keep] // size)
    for flow in local[:100]:
        (path,) = paths(routes, int(flow))
        assert set(fabric.cables.kind[np.array(path) // 2]) == {CableKind.NVLINK}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_failed_cables_are_avoided(case: str, seed: int) -> None:
    """One in ten NIC and inter-switch cables down: what is routed is a walk over cables that are up."""
    make, policy = CASES[case]
    fabric = make()
    wired = np.flatnonzero(fabric.cables.kind != CableKind.NVLINK)
    broken = without(fabric, wired[stream(seed, "failures").random(len(wired)) < 0.1])
    source, target = all_pairs(fabric.gpus)
    keep = stream(seed, "pairs").permutation(len(source))[:5_000]
    source, target = source[keep], target[keep]
    routes = policy(broken).routes(source, target)
    check_walks(broken, routes, source, target)
    ways = np.diff(routes.first_subflow) > 0
    dark = ~broken.cable_up[fabric.nic_cable].any(axis=1)
    away = source // fabric.gpus_per_server != target // fabric.gpus_per_server
    if "pxn" not in policy(broken).name:
        # Relays over NVLink reach even a GPU whose NIC is down, other policies do not.
        assert not np.any(ways & away & (dark[source] | dark[target]))
    if case in ("dragonfly", "rail-only"):
        assert np.all(ways[~away | ~(dark[source] | dark[target])])
    if case == "hpn":
        port = broken.cable_up[fabric.nic_cable]
        np.testing.assert_array_equal(ways[away], (port[source] & port[target]).any(axis=1)[away])
    if case == "bcube":
        whole = broken.cable_up[fabric.nic_cable].all(axis=1)
        assert np.all(ways[whole[source] & whole[target]])


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_routed_where_no_cable_is_up(case: str) -> None:
    make, policy = CASES[case]
    fabric = make()
    broken = without(fabric, np.flatnonzero(fabric.cables.kind != CableKind.NVLINK))
    routes = policy(broken).routes(np.array([0, 0, fabric.gpus - 1]), np.array([1, fabric.gpus - 1, 2]))
    np.testing.assert_array_equal(np.diff(routes.first_subflow), [1, 0, 0])


@pytest.mark.parametrize("case", CASES)
def test_no_pairs_give_no_routes(case: str) -> None:
    make, policy = CASES[case]
    none = np.zeros(0, dtype=np.int64)
    assert policy(make()).routes(none, none).flows == 0


def test_pxn_goes_over_nvlink_to_the_destinations_rail() -> None:
    fabric = rail_only()
    source, target = all_pairs(256)
    away = source // 8 != target // 8
    source, target = source[away], target[away]
    routes = pxn(fabric).routes(source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 2)
    cross = source % 8 != target % 8
    for flow in stream(0, "flows").integers(0, len(source), 300):
        x, y = int(source[flow]), int(target[flow])
        relay = x // 8 * 8 + y % 8
        for path in paths(routes, int(flow)):
            kinds = fabric.cables.kind[np.array(path) // 2].tolist()
            trunks = [CableKind.SWITCH] * (len(path) - 2 - 2 * int(cross[flow]))
            assert len(trunks) in (0, 2)
            nvlink = [CableKind.NVLINK] * 2 if cross[flow] else []
            assert kinds == [*nvlink, CableKind.NIC, *trunks, CableKind.NIC]
            visited = nodes_on(fabric, path)
            assert visited[len(nvlink)] == relay
            if cross[flow]:
                assert visited[1] == 256 + fabric.switches + x // 8


def test_pxn_takes_a_gpus_own_nic_where_few_rails_make_it_one_of_the_destinations() -> None:
    fabric = SpineLeafSpec(gpus=256, rails=4, switch=switch(32)).build("roft of four rails")
    source, target = (side.ravel() for side in np.meshgrid(np.arange(8), np.arange(8, 24), indexing="ij"))
    sender, receiver = pxn(fabric).relays(source, target)
    own = source % 4 == target % 4
    assert (sender == np.where(own, source, target % 8)).all() and (receiver == target).all()


def test_pxn_relays_within_a_plane_only_where_it_must() -> None:
    """Four planes of two local GPUs: 1 and 5 share plane 1, so no relay between them."""
    fabric = MultiPlaneSpec(gpus=256, planes=4, switch=switch(16)).build("planes")
    sender, receiver = PxnPaths(fabric).relays(np.array([1, 1, 1, 1]), np.array([77, 73, 74, 78]))
    np.testing.assert_array_equal(sender, [1, 1, 2, 6])
    np.testing.assert_array_equal(receiver, [77, 73, 74, 78])


def test_pxn_keeps_traffic_on_one_leaf_of_a_rail_optimised_fabric() -> None:
    """Inside a scalable unit every pair then has one switch, and the spines carry nothing."""
    fabric = SpineLeafSpec(gpus=256, switch=switch(32)).build("roft")  # units of 16 servers
    source, target = all_pairs(128)
    routes = pxn(fabric).routes(source, target)
    assert CableKind.SWITCH not in set(fabric.cables.kind[routes.link // 2].tolist())


def test_pxn_hashes_the_talking_pair_not_the_relay() -> None:
    """Eight GPUs of a server send to one GPU over one relay NIC, each on queue pairs of its own."""
    fabric = rail_only(1024, 32)
    source = np.arange(8)
    routes = PxnPaths(fabric, queue_pairs=8).routes(source, np.full(8, 1000))
    trunks = routes.link[fabric.cables.kind[routes.link // 2] == CableKind.SWITCH]
    assert len(set(trunks[::2].tolist())) > 8


def test_pxn_after_a_leaf_failure_uses_other_rails_with_a_relay_at_both_ends() -> None:
    fabric = rail_only()
    leaf = int(fabric.cables.b[fabric.nic_cable[3, 0]])
    broken = without(fabric, np.flatnonzero((fabric.cables.a == leaf) | (fabric.cables.b == leaf)))
    sender, receiver = PxnPaths(broken).relays(np.array([3, 5]), np.array([251, 251]))
    np.testing.assert_array_equal(sender, [4, 4])
    np.testing.assert_array_equal(receiver, [252, 252])
    routes = PxnPaths(broken).routes(np.array([3]), np.array([251]))
    check_walks(broken, routes, np.array([3]), np.array([251]))


def test_pxn_refuses_gpus_with_several_ports() -> None:
    with pytest.raises(InputError, match="NIC ports"):
        PxnPaths(hpn())


def test_both_planes_carry_every_transfer_and_stay_apart() -> None:
    fabric = hpn()
    source, target = all_pairs(512)
    away = source // 8 != target // 8
    source, target = source[away][::7], target[away][::7]
    routes = both_planes(fabric).routes(source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 6)
    first, last = routes.link[routes.first_hop[:-1]], routes.link[routes.first_hop[1:] - 1]
    np.testing.assert_array_equal(fabric.cables.a_port[first // 2], fabric.cables.a_port[last // 2])
    np.testing.assert_array_equal(fabric.cables.a_port[first // 2].reshape(-1, 6), [[0, 0, 0, 1, 1, 1]] * len(source))
    hops = np.diff(routes.first_hop).reshape(-1, 6)
    same_tor = (source % 8 == target % 8) & (source // 128 == target // 128)
    np.testing.assert_array_equal(hops, np.where(same_tor, 2, 4)[:, None] * np.ones((1, 6), int))


def test_one_plane_is_left_when_a_nic_port_is_down() -> None:
    fabric = hpn()
    broken = without(fabric, fabric.nic_cable[:1, 0])
    routes = both_planes(broken).routes(np.array([0, 8]), np.array([300, 300]))
    np.testing.assert_array_equal(np.diff(routes.first_subflow), [3, 6])


@pytest.mark.parametrize("gpus_per_server", [1, 8])
def test_bcube_paths_follow_the_rule_for_all_pairs(gpus_per_server: int) -> None:
    n = 8
    fabric = bcube(n, gpus_per_server=gpus_per_server)
    source, target = all_pairs(n * n)
    routes = BCubePaths(fabric).routes(source, target)
    lower, upper = n * n, n * n + n
    for flow, (x, y) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        (a, b), (c, d) = divmod(x, n), divmod(y, n)
        found = [nodes_on(fabric, path) for path in paths(routes, flow)]
        if x // gpus_per_server == y // gpus_per_server:
            assert len(found) == 1
        elif a == c:
            assert found == [[x, lower + a, y]]
        elif b == d:
            assert found == [[x, upper + b, y]]
        else:
            over = [[x, lower + a, a * n + d, upper + d, y], [x, upper + b, c * n + b, lower + c, y]]
            assert found == over
            one, two = paths(routes, flow)
            assert not {link // 2 for link in one} & {link // 2 for link in two}


def test_bcube_all_to_all_loads_every_link_alike() -> None:
    """The graph and the rule are the same seen from every GPU; each path of a pair counts once."""
    fabric = bcube(8, gpus_per_server=1)
    source, target = all_pairs(64)
    routes = BCubePaths(fabric).routes(source, target)
    load = np.bincount(routes.link, minlength=fabric.links)[: 4 * 64]
    assert set(load.tolist()) == {2 * 7 * 7 + 7}


def test_bcube_after_a_port_failure() -> None:
    """Port 0 of GPU (0, 0) down: pairs in its segment go over three switches, others over port 1."""
    n = 8
    fabric = bcube(n, gpus_per_server=1)
    broken = without(fabric, fabric.nic_cable[:1, 0])
    routes = BCubePaths(broken).routes(np.array([0, 0, 0]), np.array([1, n, n + 1]))
    check_walks(broken, routes, np.array([0, 0, 0]), np.array([1, n, n + 1]))
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 1)
    np.testing.assert_array_equal(np.diff(routes.first_hop), [6, 2, 4])


@pytest.mark.parametrize("p", [2, 3])
def test_dragonfly_takes_local_global_local(p: int) -> None:
    fabric = dragonfly(p, gpus_per_server=1)
    a = 2 * p
    source, target = all_pairs(fabric.gpus)
    routes = DragonflyPaths(fabric).routes(source, target)
    check_walks(fabric, routes, source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 1)
    for flow in stream(0, "flows").integers(0, len(source), 500):
        (path,) = paths(routes, int(flow))
        switches = [node - fabric.gpus for node in nodes_on(fabric, path)[1:-1]]
        groups = [node // a for node in switches]
        here, there = source[flow] // p // a, target[flow] // p // a
        assert groups == sorted(groups, key=lambda group: group != here)
        assert set(groups) == {here, there}
        assert len(switches) == len(set(switches)) <= (2 if here == there else 4)
        assert max(groups.count(here), groups.count(there)) <= 2


def test_dragonfly_minimal_all_to_all_puts_one_group_pair_on_each_global_link() -> None:
    """Each direction of a global link carries the (a p)^2 pairs of its two groups and nothing else."""
    p = 2
    fabric = dragonfly(p, gpus_per_server=1)
    source, target = all_pairs(fabric.gpus)
    routes = DragonflyPaths(fabric).routes(source, target)
    load = np.bincount(routes.link // 2, minlength=len(fabric.cables))
    group = (np.stack([fabric.cables.a, fabric.cables.b]) - fabric.gpus) // (2 * p)
    between = (fabric.cables.kind == CableKind.SWITCH) & (group[0] != group[1])
    assert set(load[between].tolist()) == {2 * (2 * p * p) ** 2}


def test_dragonfly_goes_around_a_failed_global_link() -> None:
    fabric = dragonfly(2)
    source, target = np.array([0, 7]), np.array([71, 64])
    whole = DragonflyPaths(fabric).routes(source, target)
    group = (np.stack([fabric.cables.a, fabric.cables.b]) - fabric.gpus) // 4
    broken = without(fabric, np.flatnonzero((fabric.cables.kind == CableKind.SWITCH) & (group[0] == 0) & (group[1] == 8)))
    assert (~broken.cable_up).sum() == 1
    assert not np.all(broken.cable_up[whole.link // 2])
    routes = DragonflyPaths(broken).routes(source, target)
    check_walks(broken, routes, source, target)
    np.testing.assert_array_equal(np.diff(routes.first_subflow), 1)


def test_policies_refuse_other_families() -> None:
    fabric = rail_only()
    for policy in (BCubePaths, DragonflyPaths):
        with pytest.raises(InputError, match="rail-only"):
            policy(fabric)
