"""Modules whose lanes pair, worked out by hand; what cannot be joined is refused by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import MultiPlaneSpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.families.zcube_levels import ZCubeLevelsSpec
from zcube.fabric.model import Fabric
from zcube.fabric.optics import OPTICS_RULES, Optics, optics_of
from zcube.fabric.wiring.rack_layout import RackLayout


def switch(ports: int, port_gbps: float, **keys: object) -> dict[str, object]:
    return {"model": "test", "ports": ports, "port_gbps": port_gbps, **keys}


def lanes(optics: Optics) -> dict[str, Counter[tuple[int, int, int]]]:
    """How often a cage has (lanes, Gb/s a lane, links it is split into), at NICs and at switches."""
    rows = list(zip(optics.lanes.tolist(), optics.lane_gbps.tolist(), optics.cages.legs.tolist()))
    return {
        side: Counter(row for row, chosen in zip(rows, at.tolist()) if chosen)
        for side, at in (("nic", optics.at_nic), ("switch", ~optics.at_nic))
    }


def test_a_port_split_in_two_is_one_module_of_four_lanes_with_two_far_ends() -> None:
    optics = optics_of(load_fabric("zcube-n32"), "all-optical")
    assert lanes(optics) == {"nic": {(4, 100, 2): 1024}, "switch": {(4, 100, 2): 2048}}
    assert set(optics.link_lanes.tolist()) == {2}
    first, far = optics.far
    assert set(np.diff(first).tolist()) == {2}
    assert all(len(set(far[first[cage] : first[cage + 1]].tolist())) == 2 for cage in range(len(optics.cages)))


def test_nic_of_200g_and_half_a_400g_port_take_two_lanes_of_100g_and_not_four_of_50g() -> None:
    """A 200G SR4 has 4 x 50G lanes, half of a 400G SR4 has 2 x 100G: those do not link."""
    spec = ZCubeSpec(gpus=64, gpus_per_switch=8, nic={"cages": "per-port"}, switch=switch(8, 400))
    optics = optics_of(spec.build("z"), "by-length")
    assert lanes(optics) == {"nic": {(2, 100, 1): 128}, "switch": {(4, 100, 2): 128}}
    names = {(f"{kind.gbps}G {kind.name}", nic) for kind, nic in zip(optics.kinds(), optics.at_nic.tolist())}
    assert {name for name, nic in names if nic} <= {"200G SR2", "200G CR2"}
    assert {name for name, nic in names if not nic} <= {"400G SR4", "400G CR4"}


def test_devices_with_lanes_of_50g_get_modules_of_50g_lanes_at_both_ends() -> None:
    """200GBASE-SR4 at the NIC and 400GBASE-SR8, split in two, at the switch."""
    spec = ZCubeSpec(gpus=64, gpus_per_switch=8, nic={"cages": "per-port", "lane_gbps": 50}, switch=switch(8, 400))
    assert lanes(optics_of(spec.build("z"), "all-optical"))["switch"] == {(8, 50, 2): 64, (4, 100, 2): 64}
    assert lanes(optics_of(spec.build("z"), "all-optical"))["nic"] == {(4, 50, 1): 128}


def test_lanes_of_two_rates_do_not_link() -> None:
    spec = ZCubeSpec(
        gpus=64, gpus_per_switch=8, nic={"cages": "per-port", "lane_gbps": 50}, switch=switch(8, 400, lane_gbps=100)
    )
    with pytest.raises(InputError) as caught:
        optics_of(spec.build("z"), "all-optical")
    message = str(caught.value)
    for words in (
        "server0 gpu0p0 to A0 swp1",
        "a link of 200G",
        "200G cage, lanes of 50G",
        "400G cage, split into 2",
        "nic.lane_gbps",
    ):
        assert words in message
    # Under the paper's rule a port is a cage, yet the lanes are those of the devices.
    with pytest.raises(InputError, match="lanes of 50G"):
        optics_of(spec.build("z"), "paper")


@pytest.mark.parametrize(
    ("nic_gbps", "port_gbps", "of_link", "at_switch"),
    [
        (400, 800, 4, (8, 100, 2)),  # 800GBASE-SR8 as 2 x 400G
        (800, 800, 8, (8, 100, 1)),
        (100, 400, 1, (4, 100, 4)),
        (50, 400, 1, (8, 50, 8)),  # 400GBASE-SR8 as 8 x 50G
        (25, 100, 1, (4, 25, 4)),
        (40, 40, 4, (4, 10, 1)),
        (400, 1600, 2, (8, 200, 4)),  # 1.6T has lanes of 200G only, so its far ends too
        (300, 400, 4, (4, 100, 1)),  # runs on the next faster module
    ],
)
def test_lanes_by_rate(nic_gbps: float, port_gbps: float, of_link: int, at_switch: tuple[int, int, int]) -> None:
    fabric = SpineLeafSpec(gpus=64, nic_gbps=nic_gbps, switch=switch(16, port_gbps)).build("s")
    optics = optics_of(fabric, "all-optical")
    assert set(optics.link_lanes.tolist()) == {of_link}
    assert set(lanes(optics)["switch"]) == {at_switch}
    assert set(lanes(optics)["nic"]) == {(of_link, at_switch[1], 1)}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        # Three links of 133 1/3 G run as 200G of two lanes each: six lanes, and a 400G module has four.
        (ZCubeLevelsSpec(gpus=27, gpus_per_server=1, n=3, levels=3, switch=switch(9, 400)), "split into 3"),
        (SpineLeafSpec(gpus=64, nic_gbps=10, switch=switch(16, 400)), "split into 40"),
        (SpineLeafSpec(gpus=64, nic_gbps=3200, switch=switch(16, 3200)), "3200G"),
        (MultiPlaneSpec(gpus=64, planes=8, ports_per_gpu=8, nic_gbps=3200, switch=switch(16, 400)), "3200G cage"),
    ],
)
def test_what_no_modules_join_is_named(spec, words: str) -> None:
    with pytest.raises(InputError) as caught:
        optics_of(spec.build("odd"), "all-optical")
    assert words in str(caught.value) and "odd: " in str(caught.value)
    assert "equal lanes at both ends" in str(caught.value)


def test_nic_ports_beyond_one_module_fit_cages_of_their_own() -> None:
    spec = MultiPlaneSpec(gpus=64, planes=8, ports_per_gpu=8, nic_gbps=3200, nic={"cages": "per-port"}, switch=switch(16, 400))
    assert lanes(optics_of(spec.build("wide"), "all-optical"))["nic"] == {(4, 100, 1): 512}


def test_mixed_rates_on_one_switch() -> None:
    """HPN: 16 NIC ports of 200G share 8 cages of a top-of-rack switch, each uplink of 400G has one."""
    optics = optics_of(HpnSpec(gpus=256, tor_down_ports=16, switch=switch(16, 400)).build("h"), "all-optical")
    tors = 32
    assert lanes(optics)["switch"][4, 100, 2] == tors * 8
    assert Counter(optics.link_lanes.tolist()) == {2: 512, 4: tors * 8}


def copper_and_fibre(fabric: Fabric, rule: str, layout: RackLayout | None = None) -> tuple[int, int]:
    optics = optics_of(fabric, rule, layout)
    return int((~optics.link_is_fibre).sum()), int(optics.link_is_fibre.sum())


def test_a_small_room_is_all_copper_unless_the_rule_says_fibre() -> None:
    """16 GPUs in two servers and a leaf a rail, all in one rack within 3 m."""
    fabric = SpineLeafSpec(gpus=16, switch=switch(32, 400), rail_optimised=False).build("s")
    layout = RackLayout(servers_per_rack=1, server_units=2, switches_per_rack=1, rack_units=4, tray_height_m=0, slack_m=0.1)
    assert copper_and_fibre(fabric, "by-length", layout) == (16, 0)
    assert copper_and_fibre(fabric, "all-optical", layout) == (0, 16)
    assert copper_and_fibre(fabric, "paper") == (16, 0)
    assert not optics_of(fabric, "by-length", layout).module.any()


def test_cages_joined_by_splitters_take_the_grade_of_the_longest_leg() -> None:
    """A port of 400G split between two servers, one near, one far: one module, so both legs are fibre."""
    fabric = SpineLeafSpec(gpus=16, nic_gbps=200, gpus_per_server=1, switch=switch(16, 400)).build("s")
    layout = RackLayout(servers_per_rack=1, rack_units=8, tray_height_m=0, rack_width_m=1.2, switches_per_rack=1, slack_m=0)
    optics = optics_of(fabric, "by-length", layout)
    length, of_end = optics.length_m, optics.cages.of_end
    for cage in np.flatnonzero(~optics.at_nic):
        legs = np.flatnonzero((of_end == cage).any(axis=1))
        expected = length[legs].max() > 5
        assert set(optics.link_is_fibre[legs].tolist()) == {expected}
    assert 0 < optics.link_is_fibre.sum() < 16
    near = (length <= 5) & optics.link_is_fibre
    assert near.any()


def test_a_port_has_one_cable_and_one_split(tmp_path) -> None:
    """Port 0 at 400G is the whole first port, port 1 at 200G its second half."""
    text = "a,a_port,b,b_port,gbps,latency_s\ns0g0,0,leaf0,0,400,0\ns0g1,0,leaf0,1,200,0\ns0g2,0,leaf0,2,200,0\n"
    (tmp_path / "links.csv").write_text(text)
    (tmp_path / "made.toml").write_text(
        'family = "custom"\nlinks = "links.csv"\n[switch]\nmodel = "x"\nports = 4\nport_gbps = 400\n'
    )
    with pytest.raises(InputError) as caught:
        optics_of(load_fabric(str(tmp_path / "made.toml")), "paper")
    assert [(fault.where, fault.found) for fault in caught.value.faults] == [
        ("made: leaf0 swp1", "cables that split it in different ways")
    ]
    twice = load_fabric("zcube-256")
    ports = twice.cables.b_port.copy()
    ports[1] = ports[0]
    with pytest.raises(InputError) as caught:
        optics_of(replace(twice, cables=replace(twice.cables, b_port=ports)), "all-optical")
    assert [(fault.where, fault.found) for fault in caught.value.faults] == [("zcube-256: A0 swp1s0", "2 cables")]


def test_no_rule_but_those_named() -> None:
    with pytest.raises(InputError) as caught:
        optics_of(load_fabric("roft-256"), "cheapest")
    assert all(rule in str(caught.value) for rule in ("cheapest", *OPTICS_RULES))
