"""Cable routes worked out by hand."""

from __future__ import annotations

import pytest

from zcube.fabric.catalog import load_fabric
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
    assert (row.length_m, row.medium, row.cable_type, row.a_module) == (2, "passive copper", "dac-passive", "")


def test_between_rows_along_both_directions():
    narrow, wide = (
        cable_schedule(load_fabric("zcube-n16"), RackLayout(rows=4, row_depth_m=depth)).set_index(["a_device", "z_device"])
        for depth in (2.0, 3.5)
    )
    # A0 stands in the first of four rows, B15 in the last.
    assert wide.loc[("A0", "B15")].route_m - narrow.loc[("A0", "B15")].route_m == pytest.approx(3 * 1.5, abs=2e-3)
    assert wide.loc[("A0", "B3")].route_m == narrow.loc[("A0", "B3")].route_m


def test_paper_counting_stands_apart_from_what_is_ordered():
    """The ATOP/ZCube paper counts n^2 copper and 2 n^2 fibre cables for ZCube(n,2), whatever the room."""
    schedule = cable_schedule(load_fabric("zcube-n16"), RackLayout())
    assert schedule.counted_as.value_counts().to_dict() == {"copper": 256, "fibre": 512}
    assert "passive copper" not in set(schedule.medium)
