"""Cable routes worked out by hand."""

from __future__ import annotations

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.schedule import cable_schedule


@pytest.fixture(scope="module")
def rows():
    """256 GPUs, 32 servers in 8 racks of one row, 32 switches in 4 racks in its middle."""
    layout = RackLayout(rows=1, rack_units=40, server_units=8, switch_units=2, rack_width_m=0.5, tray_height_m=0.4, slack_m=0.6)
    schedule = cable_schedule(load_fabric("zcube-n16"), layout)
    return {(row.a_device, row.a_port, row.z_device): row for row in schedule.itertuples()}


def test_between_racks_up_along_and_down(rows):
    row = rows["server5", "gpu3p0", "A2"]
    assert (row.a_rack, row.a_unit, row.z_rack, row.z_unit) == ("R01-02", 9, "R01-05", 5)
    # From the middle of units 9-16 and of units 5-6 to a tray 0.4 m above 40 units, and three racks along.
    up, down = 24 * 0.04445 + 0.4 + 4 * 0.04445, 34 * 0.04445 + 0.4 + 1 * 0.04445
    assert row.route_m == pytest.approx(up + 3 * 0.5 + down + 2 * 0.6, abs=1e-3)
    assert (row.length_m, row.medium, row.z_module) == (7, "multimode fibre", "400G SR4")


def test_inside_a_rack_straight(rows):
    # 16 A and 16 B switches, 8 a rack: no A-B pair shares one, unless racks take 32.
    assert rows["A0", "swp9s0", "B0"].z_rack == "R01-07"
    layout = RackLayout(rows=1, switches_per_rack=24, slack_m=0.25)
    schedule = cable_schedule(load_fabric("zcube-n16"), layout).set_index(["a_device", "z_device"])
    row = schedule.loc[("A4", "B2")]
    assert row.a_rack == row.z_rack
    assert row.route_m == pytest.approx((18 - 4) * 2 * 0.04445 + 0.5, abs=1e-3)
    # Half of a 400G port at both ends: two copper splitters cannot be joined.
    assert (row.length_m, row.medium, row.cable_type, row.a_module) == (2, "multimode fibre", "mmf-om4", "400G SR4")
    # On switches whose ports have the rate of the links it is a copper cable.
    switch = {"model": "test", "ports": 32, "port_gbps": 200}
    whole = ZCubeSpec(gpus=256, gpus_per_switch=16, switch=switch).build("zcube-200g")
    row = cable_schedule(whole, layout).set_index(["a_device", "z_device"]).loc[("A4", "B2")]
    assert (row.length_m, row.medium, row.cable_type, row.a_module) == (2, "passive copper", "dac-passive", "")


def test_between_rows_along_both_directions():
    narrow, wide = (
        cable_schedule(load_fabric("zcube-n16"), RackLayout(rows=4, row_depth_m=depth)).set_index(["a_device", "z_device"])
        for depth in (2.0, 3.5)
    )
    # A0 stands in the first of four rows, B15 in the last.
    assert wide.loc[("A0", "B15")].route_m - narrow.loc[("A0", "B15")].route_m == pytest.approx(3 * 1.5, abs=2e-3)
    assert wide.loc[("A0", "B3")].route_m == narrow.loc[("A0", "B3")].route_m


def test_what_the_paper_counts_as_copper_is_listed_as_copper():
    """The ATOP/ZCube paper counts n^2 copper and 2 n^2 fibre cables for ZCube(n,2), whatever the room."""
    schedule = cable_schedule(load_fabric("zcube-n16"), RackLayout(), "paper")
    copper = schedule.medium.str.contains("copper")
    assert (copper.sum(), (~copper).sum()) == (256, 512)
    assert not schedule.a_modules[copper].any() and not schedule.z_modules[copper].any()
    assert (schedule.a_modules[~copper] == 1).all() and (schedule.z_modules[~copper] == 1).all()
    # In this room servers stand 9 m from their A switches: counted as copper, but no such cable is made.
    assert not schedule.within_reach[copper & (schedule.length_m > 5)].any()
    assert schedule.within_reach[~copper].all()


def test_splitter_cables_are_ordered_once_with_their_legs():
    """ZCube(16,2) on ports of 400G: every cage has two legs of 200G, so one splitter for each of 256 + 32 * 16 cages."""
    schedule = cable_schedule(load_fabric("zcube-n16"), RackLayout())
    assert (schedule.a_modules.sum() + schedule.z_modules.sum(), schedule.assemblies.sum()) == (768, 768)
    splitters = schedule[schedule.a_device == "A0"].groupby("a_assembly")
    assert {len(legs) for _, legs in splitters} == {2}
    assert sorted(name for name, _ in splitters) == sorted(f"A0-swp{port} 1:2" for port in range(9, 17))
    assert set(schedule.lanes) == {"2x100G"}
    # Four parallel links a pair: two links between the same two cages share one straight cable of 400G.
    trunks = cable_schedule(load_fabric("zcube-1024"), RackLayout()).query("a_device.str.startswith('A')")
    assert (trunks.a_assembly == trunks.z_assembly).all()
    assert (len(trunks), trunks.assemblies.sum()) == (1024, 512)
