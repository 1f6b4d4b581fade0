"""Counts, wiring rules, path lengths and refusals of the fabric families against published figures and closed forms.

Sources: ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503), Z.ai's article of 2026-05-21, NVIDIA DGX H100 SuperPOD
reference architecture (RA-11333-001), DeepSeek-V3 (ISCA 2025, Table 3), Rail-only (arXiv 2307.12169).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from pydantic import ValidationError

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.ports import check_port_budget, native_ports_used

#: name: GPUs, switches, parallel links per switch pair, 200G ports per switch.
ZCUBES = {
    "zcube-n16": (256, 32, 1, 32),
    "zcube-n32": (1024, 64, 1, 64),
    "zcube-n64": (4096, 128, 1, 128),
    "zcube-n128": (16384, 256, 1, 256),
    "zcube-256": (256, 8, 16, 128),
    "zcube-1024": (1024, 32, 4, 128),
    "zcube-4096": (4096, 64, 4, 256),
}

#: name: GPUs, leaves, spines, cores, 400G ports per switch.
ROFTS = {
    "roft-256": (256, 8, 4, 0, 64),
    "roft-1024": (1024, 32, 16, 0, 64),
    "roft-4096": (4096, 64, 32, 0, 128),
    "roft-16384": (16384, 256, 256, 128, 128),
}

TOML = """
family = "{family}"
gpus = {gpus}
{extra}
[switch]
model = "test"
ports = {ports}
port_gbps = {port_gbps}
"""


def spine_leaf(gpus: int, radix: int, **keys: object) -> Fabric:
    switch = {"model": f"{radix} ports", "ports": radix, "port_gbps": 400.0}
    return SpineLeafSpec(gpus=gpus, switch=switch, **keys).build("test")


def zcube(gpus: int, gpus_per_switch: int, **keys: object) -> Fabric:
    switch = {"model": "test", "ports": 2 * gpus_per_switch, "port_gbps": 200.0}
    return ZCubeSpec(gpus=gpus, gpus_per_switch=gpus_per_switch, switch=switch, **keys).build("test")


def counts(fabric: Fabric) -> dict[str, int]:
    return {group.name: group.count for group in fabric.groups}


def cables_of(fabric: Fabric, kind: CableKind) -> np.ndarray:
    return np.flatnonzero(fabric.cables.kind == kind)


def group_of(fabric: Fabric, name: str) -> range:
    group = next(group for group in fabric.groups if group.name == name)
    return range(group.first_node, group.first_node + group.count)


def ports_in_use(fabric: Fabric) -> Counter[tuple[int, int]]:
    """How often each (switch or NVSwitch, port) and each (GPU, NIC port) has a cable."""
    cables = fabric.cables
    ends = Counter(zip(cables.b.tolist(), cables.b_port.tolist(), strict=True))
    not_nvlink = cables.kind != CableKind.NVLINK
    ends.update(zip(cables.a[not_nvlink].tolist(), cables.a_port[not_nvlink].tolist(), strict=True))
    return ends


def switch_graph(fabric: Fabric) -> nx.Graph:
    trunks = cables_of(fabric, CableKind.SWITCH)
    graph = nx.Graph()
    graph.add_nodes_from(range(fabric.gpus, fabric.gpus + fabric.switches))
    graph.add_edges_from(zip(fabric.cables.a[trunks].tolist(), fabric.cables.b[trunks].tolist(), strict=True))
    return graph


def gpu_distances(fabric: Fabric, down: int | None = None) -> np.ndarray:
    """Links on the shortest way between GPUs over switches that are up [gpus, gpus]; hosts do not forward."""
    graph = switch_graph(fabric)
    if down is not None:
        graph.remove_node(down)
    away = np.full((fabric.switches, fabric.switches), np.inf)
    for source, lengths in nx.all_pairs_shortest_path_length(graph):
        for target, hops in lengths.items():
            away[source - fabric.gpus, target - fabric.gpus] = hops
    nic = fabric.cables.b[fabric.nic_cable] - fabric.gpus
    between = away[nic[:, None, :, None], nic[None, :, None, :]].min(axis=(2, 3)) + 2
    np.fill_diagonal(between, 0)
    return between


def mean_path(distance: np.ndarray) -> float:
    return float(distance.sum() / (len(distance) * (len(distance) - 1)))


@pytest.mark.parametrize("name", ZCUBES)
def test_bundled_zcube_counts(name: str) -> None:
    gpus, switches, parallel, ports = ZCUBES[name]
    fabric = load_fabric(name)
    assert (fabric.gpus, fabric.switches, fabric.nic_ports) == (gpus, switches, 2)
    assert len(cables_of(fabric, CableKind.NIC)) == 2 * gpus
    assert len(cables_of(fabric, CableKind.SWITCH)) == gpus
    wired = fabric.cables.kind != CableKind.NVLINK
    assert set(fabric.cables.gbps[wired]) == {200.0}
    ends = np.concatenate([fabric.cables.a[wired], fabric.cables.b[wired]])
    used = np.bincount(ends, minlength=fabric.nodes)[gpus : gpus + switches]
    assert set(used) == {ports}
    trunks = cables_of(fabric, CableKind.SWITCH)
    pairs = Counter(zip(fabric.cables.a[trunks].tolist(), fabric.cables.b[trunks].tolist(), strict=True))
    assert set(pairs.values()) == {parallel}
    assert set(pairs) == {(a, b) for a in group_of(fabric, "A") for b in group_of(fabric, "B")}


@pytest.mark.parametrize("name", ROFTS)
def test_bundled_roft_counts(name: str) -> None:
    gpus, leaves, spines, cores, radix = ROFTS[name]
    fabric = load_fabric(name)
    expected = {"leaf": leaves, "spine": spines} | ({"core": cores} if cores else {})
    assert counts(fabric) == expected
    tiers = 3 if cores else 2
    assert fabric.switches == {2: 3, 3: 5}[tiers] * gpus // radix
    assert len(cables_of(fabric, CableKind.NIC)) == gpus
    assert len(cables_of(fabric, CableKind.SWITCH)) == (tiers - 1) * gpus
    # Without oversubscription at a full size every port of every switch is taken.
    np.testing.assert_allclose(native_ports_used(fabric), radix)


@pytest.mark.parametrize("name", [*ZCUBES, *ROFTS])
def test_every_port_has_at_most_one_cable(name: str) -> None:
    fabric = load_fabric(name)
    in_use = ports_in_use(fabric)
    assert max(in_use.values()) == 1
    switch_ports = [(node, port) for node, port in in_use if fabric.gpus <= node < fabric.gpus + fabric.switches]
    model = fabric.groups[0].model
    rate = fabric.nic_gbps / fabric.nic_ports
    assert max(port for _, port in switch_ports) < model.split_ports(rate)
    assert min(port for _, port in switch_ports) == 0


@pytest.mark.parametrize("name", [*ZCUBES, *ROFTS])
def test_nic_cables_and_nvlink_cables_belong_to_their_gpu(name: str) -> None:
    fabric = load_fabric(name)
    gpu = np.arange(fabric.gpus)
    for port in range(fabric.nic_ports):
        np.testing.assert_array_equal(fabric.cables.a[fabric.nic_cable[:, port]], gpu)
        np.testing.assert_array_equal(fabric.cables.a_port[fabric.nic_cable[:, port]], port)
        assert set(fabric.cables.kind[fabric.nic_cable[:, port]]) == {CableKind.NIC}
    assert set(fabric.cables.kind[fabric.nvlink_cable]) == {CableKind.NVLINK}
    np.testing.assert_array_equal(fabric.cables.a[fabric.nvlink_cable], gpu)
    nvswitch = fabric.cables.b[fabric.nvlink_cable]
    np.testing.assert_array_equal(nvswitch, fabric.gpus + fabric.switches + gpu // 8)
    assert fabric.nic_gbps == 400.0
    np.testing.assert_array_equal(np.unique(fabric.link_latency_s[fabric.cables.kind.repeat(2) != 2]), [5e-7])


@pytest.mark.parametrize(("gpus", "k"), [(32, 8), (64, 8), (256, 64), (1024, 64), (1024, 128), (64, 64)])
def test_ports_follow_both_published_forms(gpus: int, k: int) -> None:
    """GPU i from 1: odd switch ((i-1) mod N/k)*2+1 and even switch ceil(i/k)*2, odd = group B, even = group A."""
    fabric = zcube(gpus, k)
    m = gpus // k
    group_a, group_b = group_of(fabric, "A"), group_of(fabric, "B")
    number = {group_a[s]: 2 * (s + 1) for s in range(m)} | {group_b[s]: 2 * s + 1 for s in range(m)}
    assert fabric.switches == 2 * m
    for gid in range(gpus):
        i = gid + 1
        segment_switch, rail_switch = (int(fabric.cables.b[fabric.nic_cable[gid, port]]) for port in (0, 1))
        assert number[segment_switch] == -(-i // k) * 2
        assert number[rail_switch] == ((i - 1) % m) * 2 + 1
        if gpus == k * k:
            a, b = divmod(gid, k)
            assert (segment_switch, rail_switch) == (group_a[a], group_b[b])


def test_the_articles_example_of_32_gpus() -> None:
    fabric = zcube(32, 8)
    nic = fabric.cables.b[fabric.nic_cable]
    assert fabric.switches == 8
    np.testing.assert_array_equal(np.flatnonzero(nic[:, 1] == group_of(fabric, "B")[0]) + 1, range(1, 30, 4))
    np.testing.assert_array_equal(np.flatnonzero(nic[:, 0] == group_of(fabric, "A")[0]) + 1, range(1, 9))


def test_fewer_rails_than_gpus_of_a_server_are_shared_by_gpu_modulo_rails() -> None:
    # Four racks of 72 on 8 rails: a leaf of 64 ports takes 36 GPUs, nine of each rack, in one unit.
    spec = SpineLeafSpec(gpus=288, gpus_per_server=72, rails=8, switch={"model": "x", "ports": 128, "port_gbps": 400})
    gpu = np.arange(288)
    assert (spec.leaf_of(gpu) == gpu % 72 % 8).all()
    assert (spec.sizes().leaves, spec.sizes().down) == (8, 36)
    # Ports of 20 are filled server by server: nine GPUs of two racks and two of the third, then the others.
    small = spec.model_copy(update={"switch": spec.switch.model_copy(update={"ports": 64})})
    leaves = small.leaf_of(gpu)
    assert (small.sizes().leaves, small.sizes().down) == (16, 20)
    assert [*np.bincount(leaves)] == [20] * 8 + [16] * 8
    assert (leaves % 8 == gpu % 72 % 8).all()
    every = SpineLeafSpec(gpus=1024, switch={"model": "x", "ports": 64, "port_gbps": 400})
    assert (every.leaf_of(np.arange(1024)) == every.model_copy(update={"rails": 8}).leaf_of(np.arange(1024))).all()


@pytest.mark.parametrize("keys", [{"rails": 5}, {"rails": 16}, {"rails": 4, "rail_optimised": False}])
def test_rails_that_a_server_cannot_have_are_refused(keys) -> None:
    with pytest.raises(ValueError, match="rails that divide gpus_per_server = 8"):
        SpineLeafSpec(gpus=1024, switch={"model": "x", "ports": 64, "port_gbps": 400}, **keys)


def test_rail_optimised_leaf_holds_one_local_gpu_of_each_server_of_its_unit() -> None:
    fabric = load_fabric("roft-1024")
    leaf = fabric.cables.b[fabric.nic_cable[:, 0]] - group_of(fabric, "leaf")[0]
    gpu = np.arange(1024)
    np.testing.assert_array_equal(leaf, gpu // 8 // 32 * 8 + gpu % 8)
    assert set(np.bincount(leaf)) == {32}


def test_plain_leaf_holds_whole_servers() -> None:
    fabric = spine_leaf(1024, 64, rail_optimised=False)
    leaf = fabric.cables.b[fabric.nic_cable[:, 0]] - group_of(fabric, "leaf")[0]
    np.testing.assert_array_equal(leaf, np.arange(1024) // 32)


@pytest.mark.parametrize(
    ("units", "nodes", "gpus", "leaves", "spines", "node_leaf", "leaf_spine"),
    [
        (1, 31, 248, 8, 4, 252, 256),
        (2, 63, 504, 16, 8, 508, 512),
        (3, 95, 760, 24, 16, 764, 768),
        (4, 127, 1016, 32, 16, 1020, 1024),
    ],
)
def test_superpod_rows(units: int, nodes: int, gpus: int, leaves: int, spines: int, node_leaf: int, leaf_spine: int) -> None:
    """RA-11333-001; the last place of the last unit belongs to UFM, whose four cables are not GPU cables."""
    assert nodes == 32 * units - 1
    fabric = spine_leaf(gpus, 64)
    assert counts(fabric) == {"leaf": leaves, "spine": spines}
    assert len(cables_of(fabric, CableKind.NIC)) == node_leaf - 4
    assert len(cables_of(fabric, CableKind.SWITCH)) == leaf_spine
    assert max(ports_in_use(fabric).values()) == 1


def test_superpod_of_4096_gpus() -> None:
    assert counts(spine_leaf(4096, 64, tiers=3)) == {"leaf": 128, "spine": 128, "core": 64}


def test_deepseek_two_tier_fat_tree() -> None:
    fabric = spine_leaf(2048, 64)
    assert (fabric.switches, len(cables_of(fabric, CableKind.SWITCH))) == (96, 2048)


def test_deepseek_three_tier_fat_tree() -> None:
    fabric = spine_leaf(65536, 64, tiers=3)
    assert (fabric.switches, len(cables_of(fabric, CableKind.SWITCH))) == (5120, 131072)


def test_rail_only_papers_rail_optimised_baseline() -> None:
    """2,560 switches and 196,608 transceivers: two on each of 3N fibres."""
    fabric = spine_leaf(32768, 64, tiers=3)
    fibres = int((fabric.cables.kind != CableKind.NVLINK).sum())
    assert (fabric.switches, 2 * fibres) == (2560, 196608)


@pytest.mark.parametrize(("gpus", "radix"), [(1024, 32), (4096, 64), (16384, 128), (1024, 128), (8192, 128)])
def test_three_tier_closed_form(gpus: int, radix: int) -> None:
    """5N/r switches, 3N cables; the published 40 and 320 switches of 51.2T for 1,024 and 8,192 GPUs are among them."""
    fabric = spine_leaf(gpus, radix, tiers=3)
    assert fabric.switches == 5 * gpus // radix
    assert int((fabric.cables.kind != CableKind.NVLINK).sum()) == 3 * gpus
    assert max(ports_in_use(fabric).values()) == 1


@pytest.mark.parametrize(("gpus", "switches"), [(1024, 24), (4096, 96), (8192, 192)])
def test_two_tier_closed_form_on_51_2t(gpus: int, switches: int) -> None:
    assert spine_leaf(gpus, 128).switches == 3 * gpus // 128 == switches


@pytest.mark.parametrize(("gpus", "switches"), [(1024, 16), (4096, 64), (16384, 256)])
def test_zcube_closed_form_on_51_2t(gpus: int, switches: int) -> None:
    """2N/r switches; 8,192 is left out, k^2/N = 2 there gives the published 128 as well."""
    assert zcube(gpus, 128).switches == switches
    assert zcube(8192, 128).switches == 128


@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_zcube_path_lengths(n: int) -> None:
    fabric = zcube(n * n, n, gpus_per_server=1)
    distance = gpu_distances(fabric)
    mean = (3 * n + 1) / (n + 1)
    assert mean_path(distance) == pytest.approx(mean, rel=1e-12)
    assert distance.max() == 3  # diameter of two switches
    for failed in (group_of(fabric, "A")[0], group_of(fabric, "B")[n - 1]):
        assert mean_path(gpu_distances(fabric, failed)) == pytest.approx(mean + 2 / (n * (n + 1)), rel=1e-12)
    if n % 8 == 0:
        server = np.arange(n * n) // 8
        nvlink = (server[:, None] == server) & ~np.eye(n * n, dtype=bool)
        expected = (mean * (n * n - 1) - 7) / (n * n - 1)
        assert mean_path(np.where(nvlink, 1, distance)) == pytest.approx(expected, rel=1e-12)


def test_published_path_lengths_at_1024_gpus() -> None:
    cube = zcube(1024, 32)
    assert round(mean_path(gpu_distances(cube)), 5) == 2.93939
    assert round(mean_path(gpu_distances(cube, group_of(cube, "A")[3])), 5) == 2.94129
    roft = spine_leaf(1024, 32, tiers=3)
    assert round(mean_path(gpu_distances(roft)), 5) == 5.47214


@pytest.mark.parametrize(("gpus", "radix"), [(128, 8), (256, 16), (512, 16), (1024, 16)])
def test_three_tier_path_length_closed_form(gpus: int, radix: int) -> None:
    r = radix
    mean = (2 * (r / 2 - 1) + 4 * (r * r / 4 - r / 2) + 6 * (gpus - r * r / 4)) / (gpus - 1)
    for rail_optimised in (True, False):
        servers = 4 if radix == 8 else 8
        fabric = spine_leaf(gpus, radix, tiers=3, gpus_per_server=servers, rail_optimised=rail_optimised)
        distance = gpu_distances(fabric)
        assert mean_path(distance) == pytest.approx(mean, rel=1e-12)
        assert distance.max() == 6  # diameter of five switches


@pytest.mark.parametrize(("gpus", "k"), [(64, 8), (256, 16), (64, 16)])
def test_zcube_bisection_between_segment_halves_is_the_nic_bandwidth(gpus: int, k: int) -> None:
    fabric = zcube(gpus, k)
    graph = nx.DiGraph()
    cables = fabric.cables
    for cable in np.flatnonzero(cables.kind != CableKind.NVLINK):
        a, b = int(cables.a[cable]), int(cables.b[cable])
        for tail, head in ((a, b), (b, a)):
            before = graph.get_edge_data(tail, head, {"capacity": 0})["capacity"]
            graph.add_edge(tail, head, capacity=before + int(cables.gbps[cable]))
    for gpu in range(gpus):
        # Hosts do not forward: a source loses its way in, a sink its way out.
        half = gpu < gpus // 2
        for neighbour in list(graph.adj[gpu]):
            graph.remove_edge(*((neighbour, gpu) if half else (gpu, neighbour)))
        graph.add_edge(*(("in", gpu) if half else (gpu, "out")), capacity=400)
    assert nx.maximum_flow_value(graph, "in", "out") == gpus // 2 * 400


@pytest.mark.parametrize("rail_optimised", [True, False])
@pytest.mark.parametrize("tiers", [2, 3])
def test_any_spine_leaf_is_wired_soundly(rail_optimised: bool, tiers: int) -> None:
    """Ports once, within the radix; one component; leaf uplinks split evenly and within the declared oversubscription."""
    built = 0
    for radix in (8, 12, 16, 64):
        for gpus in (16, 24, 56, 64, 136, 248, 504):
            for oversubscription in (1.0, 1.5, 2.0, 3.0):
                for gpus_per_server in (1, 4, 8):
                    keys = {"tiers": tiers, "rail_optimised": rail_optimised, "oversubscription": oversubscription}
                    try:
                        fabric = spine_leaf(gpus, radix, gpus_per_server=gpus_per_server, **keys)
                        check_port_budget(fabric, "test")
                    except (ValidationError, InputError):
                        continue
                    built += 1
                    case = f"{gpus} GPUs, radix {radix}, {gpus_per_server} a server, {keys}"
                    in_use = ports_in_use(fabric)
                    assert max(in_use.values()) == 1, case
                    last_port = max(port for node, port in in_use if gpus <= node < gpus + fabric.switches)
                    assert last_port < radix, case
                    assert nx.is_connected(switch_graph(fabric)), case
                    check_leaves(fabric, oversubscription, case)
    assert built > 100


def check_leaves(fabric: Fabric, oversubscription: float, case: str) -> None:
    trunks = cables_of(fabric, CableKind.SWITCH)
    down = Counter(fabric.cables.b[fabric.nic_cable[:, 0]].tolist())
    for leaf in group_of(fabric, "leaf"):
        per_spine = Counter(fabric.cables.b[trunks[fabric.cables.a[trunks] == leaf]].tolist())
        if len(group_of(fabric, "leaf")) > 1:
            assert len(set(per_spine.values())) == 1, case
            assert down[leaf] <= oversubscription * sum(per_spine.values()) + 1e-9, case


def test_server_larger_than_a_leafs_down_ports_is_refused_or_split() -> None:
    """Nine ports at 7.5 : 1 are seven down and one up: a whole server of eight GPUs has no place on such a leaf."""
    try:
        fabric = spine_leaf(64, 9, rail_optimised=False, oversubscription=7.5)
        check_port_budget(fabric, "test")
    except (ValidationError, InputError):
        return
    assert max(ports_in_use(fabric).values()) == 1


def refused(tmp_path: Path, family: str, gpus: int, extra: str = "", ports: int = 64, port_gbps: float = 400) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(TOML.format(family=family, gpus=gpus, extra=extra, ports=ports, port_gbps=port_gbps))
    with pytest.raises(InputError) as caught:
        load_fabric(str(path))
    assert all("mine.toml" in fault.where for fault in caught.value.faults)
    return str(caught.value)


def test_refuses_zcube_switches_without_enough_ports(tmp_path: Path) -> None:
    """k = 64 needs 128 links of 200G, 64 ports of 400G; 63 are one too few."""
    message = refused(tmp_path, "zcube", 1024, "gpus_per_switch = 64", ports=63)
    assert "switch.ports" in message
    assert "64" in message
    assert "63" in message


def test_accepts_zcube_switches_with_just_enough_ports(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = TOML.format(family="zcube", gpus=1024, extra="gpus_per_switch = 64", ports=64, port_gbps=400)
    path.write_text(text)
    assert load_fabric(str(path)).switches == 32


def test_refuses_gpus_that_are_no_square(tmp_path: Path) -> None:
    message = refused(tmp_path, "zcube", 1000)
    assert "gpus" in message
    assert "square" in message


def test_refuses_parallel_links_that_are_not_whole(tmp_path: Path) -> None:
    message = refused(tmp_path, "zcube", 1024, "gpus_per_switch = 16")
    assert "gpus_per_switch" in message
    assert "0.25" in message


def test_refuses_gpus_that_are_no_multiple_of_the_segment(tmp_path: Path) -> None:
    assert "gpus_per_switch" in refused(tmp_path, "zcube", 1000, "gpus_per_switch = 64")


@pytest.mark.parametrize("family", ["zcube", "spine-leaf"])
def test_refuses_a_broken_server(tmp_path: Path, family: str) -> None:
    message = refused(tmp_path, family, 1020)
    assert "gpus" in message
    assert "server" in message


def test_refuses_two_tiers_too_large(tmp_path: Path) -> None:
    """A two-tier Clos of radix 64 ends at 64^2/2 = 2,048 GPUs."""
    message = refused(tmp_path, "spine-leaf", 2304)
    assert "tiers" in message
    assert "2304" in message
    assert spine_leaf(2048, 64).switches == 96


def test_refuses_three_tiers_too_large(tmp_path: Path) -> None:
    """A three-tier Clos of radix r ends at r^3/4 GPUs: 1,024 for r = 16."""
    assert "core" in refused(tmp_path, "spine-leaf", 1152, "tiers = 3", ports=16)
    assert spine_leaf(1024, 16, tiers=3).switches == 5 * 1024 // 16


def test_refuses_ports_slower_than_the_nic(tmp_path: Path) -> None:
    assert "nic_gbps" in refused(tmp_path, "spine-leaf", 256, "nic_gbps = 800")
    assert "port_gbps" in refused(tmp_path, "zcube", 256, "nic_gbps = 1600")


def test_lists_every_fault(tmp_path: Path) -> None:
    message = refused(tmp_path, "zcube", -8, 'nic_gbps = "fast"\nspeed = 1', ports=0)
    for key in ("gpus", "nic_gbps", "speed", "switch.ports"):
        assert f"mine.toml: {key}" in message


def test_refuses_an_unknown_family_and_an_unknown_name(tmp_path: Path) -> None:
    message = refused(tmp_path, "torus", 64)
    assert "family" in message
    assert "spine-leaf" in message
    with pytest.raises(InputError, match="zcube-1024"):
        load_fabric("no-such-fabric")


def test_refuses_more_gpus_than_memory_could_hold(tmp_path: Path) -> None:
    assert "gpus" in refused(tmp_path, "zcube", 1 << 40)


def test_nic_rate_is_replaced_without_touching_the_rest() -> None:
    fabric = load_fabric("zcube-256")
    faster = fabric.with_nic_rate(100_000.0)
    assert faster.nic_gbps == 100_000.0
    assert fabric.nic_gbps == 400.0
    nic = fabric.cables.kind == CableKind.NIC
    assert set(faster.cables.gbps[nic]) == {50_000.0}
    np.testing.assert_array_equal(faster.cables.gbps[~nic], fabric.cables.gbps[~nic])
