"""Counts, wiring and mean path lengths of rail-only, multi-plane, HPN, BCube, dragonfly and three-tier ROFT.

Sources: ATOP/ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503) for the cost table and the path lengths, DeepSeek-V3 (ISCA
2025, Table 3), Rail-only (arXiv 2307.12169), NVIDIA DGX H100 SuperPOD (RA-11333-001), Alibaba HPN (SIGCOMM 2024). Counting
rule of the cost table: NIC links included, copper where a server's NICs share a switch, two modules on each fibre.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, shortest_path

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.dragonfly import DragonflySpec, capacity_gpus
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import MultiPlaneSpec, RailOnlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.model import CableKind, CableMedium, Fabric
from zcube.fabric.ports import check_port_budget, native_ports_used
from zcube.routing.bcube_paths import BCubePaths
from zcube.routing.dragonfly_paths import DragonflyPaths

#: GPUs: radix at 400G, in the published cost table.
RADIX = {1024: 32, 4096: 64, 16384: 128}


def switch(ports: int, port_gbps: float = 400.0) -> dict[str, object]:
    return {"model": f"{ports} ports", "ports": ports, "port_gbps": port_gbps}


def checked(fabric: Fabric) -> Fabric:
    check_port_budget(fabric, "test")
    return fabric


def spine_leaf(gpus: int, radix: int, **keys: object) -> Fabric:
    return checked(SpineLeafSpec(gpus=gpus, switch=switch(radix), **keys).build("test"))


def rail_only(gpus: int, radix: int, **keys: object) -> Fabric:
    return checked(RailOnlySpec(gpus=gpus, switch=switch(radix), **keys).build("test"))


def multi_plane(gpus: int, radix: int, **keys: object) -> Fabric:
    return checked(MultiPlaneSpec(gpus=gpus, switch=switch(radix), **keys).build("test"))


def hpn(gpus: int, radix: int, **keys: object) -> Fabric:
    return checked(HpnSpec(gpus=gpus, switch=switch(radix), **keys).build("test"))


def bcube(n: int, **keys: object) -> Fabric:
    return checked(BCubeSpec(gpus=n * n, switch=switch(n, 200.0), **keys).build("test"))


def dragonfly(p: int, gpus: int | None = None, **keys: object) -> Fabric:
    ports = 4 * p - 1
    spec = DragonflySpec(gpus=gpus or capacity_gpus(p), gpus_per_switch=p, switch=switch(ports), **keys)
    return checked(spec.build("test"))


def links(fabric: Fabric, medium: CableMedium | None = None, kind: CableKind | None = None) -> int:
    """NIC and inter-switch cables of a medium and a kind."""
    chosen = fabric.cables.kind != CableKind.NVLINK
    if medium is not None:
        chosen &= fabric.cables.medium == medium
    if kind is not None:
        chosen &= fabric.cables.kind == kind
    return int(chosen.sum())


def cost_row(fabric: Fabric) -> tuple[int, int, int, int, int]:
    """Switches, copper, fibre, modules, NIC ports per GPU."""
    fibre = links(fabric, CableMedium.FIBRE)
    return fabric.switches, links(fabric, CableMedium.COPPER), fibre, 2 * fibre, fabric.nic_ports


#: name: (GPUs of the row, ports at the rate of the table, that rate, the row).
COST_TABLE = {
    "roft3-1024": (32, 400, (160, 0, 3072, 6144, 1)),
    "rail-only-1024": (32, 400, (96, 0, 2048, 4096, 1)),
    "hpn-1024": (64, 200, (96, 0, 3072, 6144, 2)),
    "bcube-1024": (32, 200, (64, 1024, 1024, 2048, 2)),
    "dragonfly-1056": (15, 400, (264, 1980, 528, 1056, 1)),
    "zcube-n32": (64, 200, (64, 1024, 2048, 4096, 2)),
    "roft3-4096": (64, 400, (320, 0, 12288, 24576, 1)),
    "rail-only-4096": (64, 400, (192, 0, 8192, 16384, 1)),
    "hpn-4096": (128, 200, (192, 0, 12288, 24576, 2)),
    "zcube-n64": (128, 200, (128, 4096, 8192, 16384, 2)),
    "roft-16384": (128, 400, (640, 0, 49152, 98304, 1)),
    "rail-only-16384": (128, 400, (384, 0, 32768, 65536, 1)),
    "hpn-16384": (256, 200, (384, 0, 49152, 98304, 2)),
    "zcube-n128": (256, 200, (256, 16384, 32768, 65536, 2)),
}


@pytest.mark.parametrize("name", COST_TABLE)
def test_published_cost_table(name: str) -> None:
    radix, gbps, row = COST_TABLE[name]
    fabric = load_fabric(name)
    assert cost_row(fabric) == row
    assert fabric.groups[0].model.split_ports(gbps) == radix
    # Every switch of these full sizes uses all of its ports.
    np.testing.assert_allclose(native_ports_used(fabric), fabric.groups[0].model.ports)


@pytest.mark.parametrize("radix", [8, 16, 32])
@pytest.mark.parametrize("planes", [1, 2, 4, 8])
def test_closed_forms_of_planes(radix: int, planes: int) -> None:
    """Full planes of r^2/2 NIC ports: 3N/r switches, 2N cables."""
    gpus = planes * radix * radix // 2
    if gpus % 8 == 0 and planes == 8:
        fabric = rail_only(gpus, radix)
        assert cost_row(fabric) == (3 * gpus // radix, 0, 2 * gpus, 4 * gpus, 1)
    fabric = multi_plane(gpus, radix, planes=planes, gpus_per_server=planes)
    assert (fabric.switches, links(fabric)) == (3 * gpus // radix, 2 * gpus)
    everywhere = multi_plane(
        radix * radix // 2, radix, planes=planes, ports_per_gpu=planes, nic_gbps=400.0 * planes, gpus_per_server=2
    )
    assert (everywhere.switches, links(everywhere), everywhere.nic_ports) == (3 * gpus // radix, 2 * gpus, planes)


@pytest.mark.parametrize(("gpus", "radix"), [(256, 16), (1024, 32), (4096, 64), (512, 32), (128, 16)])
def test_closed_forms_of_hpn(gpus: int, radix: int) -> None:
    """6N / (radix at 200G) switches, 3N fibres, by defaults alone."""
    fabric = hpn(gpus, radix)
    assert cost_row(fabric) == (6 * gpus // (2 * radix), 0, 3 * gpus, 6 * gpus, 2)
    assert fabric.parameters["segments"] == gpus // (8 * radix)


@pytest.mark.parametrize("n", [4, 8, 16, 64])
def test_closed_forms_of_bcube(n: int) -> None:
    assert cost_row(bcube(n)) == (2 * n, n * n, n * n, 2 * n * n, 2)


@pytest.mark.parametrize(("p", "gpus", "switches"), [(2, 72, 36), (4, 1056, 264), (6, 5256, 876), (8, 16512, 2064)])
def test_closed_forms_of_dragonfly(p: int, gpus: int, switches: int) -> None:
    a, g = 2 * p, 2 * p * p + 1
    fabric = dragonfly(p)
    assert (fabric.gpus, fabric.switches) == (gpus, switches) == (g * a * p, g * a)
    fibre = g * (g - 1) // 2
    assert cost_row(fabric) == (switches, g * a * (a - 1) // 2 + gpus, fibre, 2 * fibre, 1)
    np.testing.assert_allclose(native_ports_used(fabric), 4 * p - 1)


def test_dragonfly_takes_the_smallest_machine_and_fills_it_in_order() -> None:
    fabric = DragonflySpec(gpus=1024, switch=switch(15)).build("test")
    assert (fabric.switches, links(fabric, kind=CableKind.SWITCH)) == (264, 924 + 528)
    np.testing.assert_array_equal(fabric.cables.b[fabric.nic_cable[:, 0]], 1024 + np.arange(1024) // 4)
    assert DragonflySpec(gpus=1064, switch=switch(19)).build("test").parameters["p"] == 5


def test_deepseek_table_3() -> None:
    """Endpoints, switches and inter-switch links of FT2, MPFT and FT3."""
    published = {"ft2-2048": (2048, 96, 2048), "mpft-16384": (16384, 768, 16384), "ft3-65536": (65536, 5120, 131072)}
    for name, row in published.items():
        fabric = load_fabric(name)
        assert (fabric.gpus, fabric.switches, links(fabric, kind=CableKind.SWITCH)) == row


@pytest.mark.parametrize("gpus_per_server", [16, 32, 256])
def test_rail_only_paper_at_32768_gpus(gpus_per_server: int) -> None:
    """Switches, transceivers on both ends of every link, and dollars at $694 a port and $199 a transceiver.

    The counts do not depend on the GPUs per NVLink domain, as long as a rail fits in two tiers.
    """
    published = {"rail-optimised": (2560, 196_608, 152_829_952), "rail-only": (1536, 131_072, 94_306_304)}
    built = {
        "rail-optimised": spine_leaf(32768, 64, tiers=3, gpus_per_server=gpus_per_server),
        "rail-only": rail_only(32768, 64, gpus_per_server=gpus_per_server),
    }
    for name, fabric in built.items():
        transceivers = 2 * links(fabric)
        assert (fabric.switches, transceivers, fabric.switches * 64 * 694 + transceivers * 199) == published[name]
    saving = 1 - published["rail-only"][2] / published["rail-optimised"][2]
    assert round(100 * saving, 2) == 38.29


@pytest.mark.parametrize("units", range(1, 9))
def test_superpod_of_any_number_of_units(units: int) -> None:
    """Per unit 8 leaves and 256 uplinks; spines are the fewest, at least 4 per unit, over which 32 uplinks split evenly."""
    gpus = 8 * (32 * units - 1)
    fabric = spine_leaf(gpus, 64)
    spines = next(count for count in (1, 2, 4, 8, 16, 32) if count >= 4 * units)
    assert {group.name: group.count for group in fabric.groups} == {"leaf": 8 * units, "spine": spines}
    assert links(fabric, kind=CableKind.NIC) + 4 == 256 * units - 4
    assert links(fabric, kind=CableKind.SWITCH) == 256 * units


def test_bundled_superpods() -> None:
    for name, row in {"superpod-248": (12, 248, 256), "superpod-1016": (48, 1016, 1024)}.items():
        fabric = load_fabric(name)
        assert (fabric.switches, links(fabric, kind=CableKind.NIC), links(fabric, kind=CableKind.SWITCH)) == row


def test_hpn_pod_as_deployed() -> None:
    fabric = load_fabric("hpn-pod-15360")
    assert {group.name: group.count for group in fabric.groups} == {"tor": 240, "agg": 120}
    assert (links(fabric, kind=CableKind.NIC), links(fabric, kind=CableKind.SWITCH)) == (30_720, 14_400)
    assert fabric.parameters["segments"] == 15
    assert set(fabric.cables.gbps[fabric.cables.kind == CableKind.NIC]) == {200.0}
    assert set(fabric.cables.gbps[fabric.cables.kind == CableKind.SWITCH]) == {400.0}


FABRICS = {
    "rail-only": lambda: rail_only(256, 16),
    "rail-only-single": lambda: rail_only(64, 16),
    "rail-only-ragged": lambda: rail_only(8 * 23, 8, oversubscription=1.5),
    "multi-plane": lambda: multi_plane(256, 16, planes=4),
    "multi-plane-ports": lambda: multi_plane(128, 16, planes=4, ports_per_gpu=4, nic_gbps=1600.0),
    "hpn": lambda: hpn(512, 32, tor_down_ports=16),
    "hpn-ragged": lambda: hpn(8 * 21, 16),
    "hpn-breakout": lambda: checked(HpnSpec(gpus=512, tor_down_ports=16, switch=switch(16, 800.0)).build("test")),
    "bcube": lambda: bcube(8),
    "dragonfly": lambda: dragonfly(2),
    "dragonfly-part": lambda: dragonfly(3, 200),
}


@pytest.mark.parametrize("case", FABRICS)
def test_every_port_has_one_cable_and_numbers_fit(case: str) -> None:
    """A port counted at its cable's rate is a part of a native port; no two cables share a part."""
    fabric = FABRICS[case]()
    cables = fabric.cables
    model = fabric.groups[0].model
    parts: Counter[tuple[int, float]] = Counter()
    for cable in np.flatnonzero(cables.kind != CableKind.NVLINK):
        share = model.split_ports(cables.gbps[cable]) // model.ports
        for node, port in ((cables.a[cable], cables.a_port[cable]), (cables.b[cable], cables.b_port[cable])):
            if node >= fabric.gpus:
                assert 0 <= port < model.ports * share
                smallest = model.split_ports(float(cables.gbps.min())) // model.ports
                parts.update((int(node), int(port) * smallest // share + piece) for piece in range(smallest // share))
    assert max(parts.values()) == 1
    ends = Counter(zip(cables.a.tolist(), cables.a_port.tolist(), (cables.kind == CableKind.NVLINK).tolist(), strict=True))
    assert max(ends.values()) == 1
    for port in range(fabric.nic_ports):
        np.testing.assert_array_equal(cables.a[fabric.nic_cable[:, port]], np.arange(fabric.gpus))


def components(fabric: Fabric) -> np.ndarray:
    """Part of the switch graph that each switch belongs to."""
    return connected_components(switch_matrix(fabric), directed=False)[1]


def switch_matrix(fabric: Fabric) -> csr_matrix:
    trunk = fabric.cables.kind == CableKind.SWITCH
    a, b = fabric.cables.a[trunk] - fabric.gpus, fabric.cables.b[trunk] - fabric.gpus
    ones = np.ones(2 * len(a))
    return csr_matrix((ones, (np.r_[a, b], np.r_[b, a])), shape=(fabric.switches, fabric.switches))


@pytest.mark.parametrize("case", ["rail-only", "rail-only-single", "multi-plane", "multi-plane-ports", "hpn", "hpn-ragged"])
def test_planes_share_no_switch_and_hold_the_declared_ports(case: str) -> None:
    fabric = FABRICS[case]()
    part = components(fabric)
    planes = fabric.parameters["planes"]
    assert len(set(part.tolist())) == planes
    on = part[fabric.cables.b[fabric.nic_cable] - fabric.gpus]
    local = np.arange(fabric.gpus) % 8
    if fabric.nic_ports == 1:
        for one in range(planes):
            assert len(set(on[local % planes == one, 0].tolist())) == 1
        assert len(set(on[:8, 0].tolist())) == planes
    else:
        assert fabric.nic_ports == planes
        assert all(len(set(on[:, port].tolist())) == 1 for port in range(planes))


def test_hpn_segment_has_one_tor_per_rail_and_plane() -> None:
    fabric = hpn(512, 32, tor_down_ports=16)
    tor = fabric.cables.b[fabric.nic_cable] - fabric.gpus
    gpu = np.arange(512)
    expected = gpu // 128 * 8 + gpu % 8
    np.testing.assert_array_equal(tor[:, 0], expected)
    np.testing.assert_array_equal(tor[:, 1], expected + 32)
    trunk = fabric.cables.kind == CableKind.SWITCH
    pairs = Counter(zip(fabric.cables.a[trunk].tolist(), fabric.cables.b[trunk].tolist(), strict=True))
    assert len(set(pairs.values())) == 1
    assert len(pairs) == 2 * 32 * fabric.groups[1].count // 2


def test_dragonfly_joins_every_two_groups_once_and_each_group_completely() -> None:
    fabric = dragonfly(3, gpus_per_server=6)
    trunk = fabric.cables.kind == CableKind.SWITCH
    a, b = fabric.cables.a[trunk] - fabric.gpus, fabric.cables.b[trunk] - fabric.gpus
    groups = Counter(zip((a // 6).tolist(), (b // 6).tolist(), strict=True))
    assert all(count == (15 if one == other else 1) for (one, other), count in groups.items())
    assert len(groups) == 19 + 19 * 18 // 2
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(a)


def mean_path(fabric: Fabric, sources: np.ndarray | None = None) -> float:
    """Links on the shortest way to another GPU over switches, NIC links included, mean over pairs."""
    nic = fabric.cables.b[fabric.nic_cable] - fabric.gpus
    switches, inverse = np.unique(nic, return_inverse=True)
    between = shortest_path(switch_matrix(fabric), unweighted=True, indices=switches)[:, switches]
    inverse = inverse.reshape(nic.shape)
    total, count = 0.0, 0
    for gpu in range(fabric.gpus) if sources is None else sources.tolist():
        away = between[inverse[gpu][:, None, None], inverse.T[None, :, :]].min(axis=(0, 1)) + 2
        total += away.sum() - away[gpu]
        count += fabric.gpus - 1
    return total / count


def sample(fabric: Fabric, count: int) -> np.ndarray:
    return np.linspace(0, fabric.gpus - 1, count).astype(int)


@pytest.mark.parametrize(("gpus", "published"), [(1024, 5.47214), (4096, 5.48523), (16384, 5.49240)])
def test_published_mean_path_of_three_tier_roft(gpus: int, published: float) -> None:
    fabric = spine_leaf(gpus, RADIX[gpus], tiers=3)
    assert round(mean_path(fabric, sample(fabric, 24)), 5) == published


@pytest.mark.parametrize(("gpus", "radix", "published"), [(1024, 32, 3.93939), (4096, 128, 3.93797), (16384, 128, 3.98450)])
def test_published_mean_path_of_hpn(gpus: int, radix: int, published: float) -> None:
    """At 4,096 GPUs the figure belongs to segments of 128 servers, those of the 51.2T switch of 16,384 GPUs.

    With the 25.6T switch of the cost table a segment has 64 servers and the mean is 3.96923.
    """
    fabric = hpn(gpus, radix)
    assert round(mean_path(fabric, sample(fabric, 24)), 5) == published
    segment = radix
    closed = (2 * (segment - 1) + 4 * (gpus - segment)) / (gpus - 1)
    assert mean_path(fabric, sample(fabric, 8)) == pytest.approx(closed, rel=1e-12)


def test_mean_path_of_hpn_of_the_cost_table_at_4096() -> None:
    fabric = load_fabric("hpn-4096")
    assert round(mean_path(fabric, sample(fabric, 16)), 5) == 3.96923


@pytest.mark.parametrize(("p", "published"), [(4, 4.67867), (6, 4.79810), (8, 4.85422)])
def test_published_mean_path_of_dragonfly(p: int, published: float) -> None:
    """By graph search: paths over two global links are taken where they are shorter. One group stands for all."""
    fabric = dragonfly(p)
    assert round(mean_path(fabric, np.arange(2 * p * p)), 5) == published


@pytest.mark.parametrize("p", [2, 3, 4])
def test_mean_path_of_dragonfly_by_minimal_routing(p: int) -> None:
    """Two links on one switch, three in a group, else three and one for each end off the global link's switch.

    2 (p - 1)^2 links a GPU more than by graph search.
    """
    fabric = dragonfly(p, gpus_per_server=1)
    n, a = fabric.gpus, 2 * p
    target = np.arange(1, n)
    # The relative arrangement is the same seen from every group; a group's GPUs stand for all.
    hops = [np.diff(DragonflyPaths(fabric).routes(np.full(n - 1, gpu), np.delete(np.arange(n), gpu)).first_hop)
            for gpu in range(a * p)]  # fmt: skip
    away = n - a * p
    closed = (2 * (p - 1) + 3 * (a - 1) * p + away * (3 + 2 * (a - 1) / a)) / (n - 1)
    assert np.mean(hops) == pytest.approx(closed, rel=1e-12)
    assert (np.mean(hops) - mean_path(fabric, np.arange(a * p))) * len(target) == pytest.approx(2 * (p - 1) ** 2)


@pytest.mark.parametrize(("n", "published"), [(32, 3.87879), (64, 3.93846), (128, 3.96899)])
def test_published_mean_path_of_bcube(n: int, published: float) -> None:
    """By its routing, GPUs of one server left on the network: 4n / (n + 1)."""
    fabric = bcube(n, gpus_per_server=1)
    gpu = n * n // 3
    routes = BCubePaths(fabric).routes(np.full(n * n - 1, gpu), np.delete(np.arange(n * n), gpu))
    mean = np.diff(routes.first_hop)[routes.first_subflow[:-1]].mean()
    assert mean == pytest.approx(4 * n / (n + 1), rel=1e-12)
    assert round(mean, 5) == published


REFUSED = {
    "planes of three tiers": (RailOnlySpec, {"gpus": 32768, "switch": switch(64)}, "leaves"),
    "slow ports": (RailOnlySpec, {"gpus": 256, "nic_gbps": 800, "switch": switch(64)}, "nic_gbps"),
    "planes across servers": (MultiPlaneSpec, {"gpus": 256, "planes": 3, "switch": switch(64)}, "planes = 3"),
    "ports of neither kind": (
        MultiPlaneSpec,
        {"gpus": 256, "planes": 4, "ports_per_gpu": 2, "switch": switch(64)},
        "ports_per_gpu",
    ),
    "too many cables": (
        MultiPlaneSpec,
        {"gpus": 1 << 20, "planes": 256, "ports_per_gpu": 256, "switch": switch(4096)},
        "cables",
    ),
    "uplinks beyond the switch": (HpnSpec, {"gpus": 1024, "tor_uplinks": 40, "switch": switch(32)}, "tor_uplinks"),
    "uneven aggregation": (HpnSpec, {"gpus": 1024, "aggs_per_plane": 12, "switch": switch(32)}, "aggs_per_plane"),
    "small aggregation": (HpnSpec, {"gpus": 1024, "aggs_per_plane": 8, "switch": switch(32)}, "aggregation"),
    "too many segments": (HpnSpec, {"gpus": 8192, "switch": switch(32)}, "gpus"),
    "fast uplinks": (HpnSpec, {"gpus": 1024, "uplink_gbps": 800, "switch": switch(32)}, "uplink_gbps"),
    "no square": (BCubeSpec, {"gpus": 1000, "switch": switch(32)}, "square"),
    "overfull dragonfly": (DragonflySpec, {"gpus": 1064, "gpus_per_switch": 4, "switch": switch(15)}, "gpus_per_switch"),
    "giant dragonfly": (DragonflySpec, {"gpus": 1024, "gpus_per_switch": 64, "switch": switch(255)}, "cables"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_sizes_that_do_not_fit(case: str) -> None:
    spec, keys, named = REFUSED[case]
    with pytest.raises(ValidationError) as caught:
        spec(**keys)
    assert named in str(caught.value)


def test_catalog_refuses_a_dragonfly_on_switches_without_enough_ports() -> None:
    spec = DragonflySpec(gpus=1056, gpus_per_switch=4, switch=switch(14))
    with pytest.raises(InputError, match=r"switch.ports"):
        check_port_budget(spec.build("test"), "test")


def test_plane_that_fits_on_one_switch_is_one_switch() -> None:
    fabric = rail_only(256, 32)
    assert (fabric.switches, links(fabric, kind=CableKind.SWITCH)) == (8, 0)
    assert rail_only(264, 32).switches == 8 * (math.ceil(33 / 16) + 2)


def test_servers_stand_beside_the_leaf_that_takes_all_their_ports_of_a_plane() -> None:
    together = multi_plane(128, 16, planes=2, ports_per_gpu=2, nic_gbps=800.0)
    assert links(together, CableMedium.COPPER) == 256
    leaf = together.cables.b[together.nic_cable].reshape(16, 8, 2)
    assert np.all(leaf == leaf[:, :1])
