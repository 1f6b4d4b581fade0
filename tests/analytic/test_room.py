"""A fabric in its room: shortest switch places, racks, trays and orders worked out by hand."""

from __future__ import annotations

import csv
import io
import math
from itertools import permutations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.wiring.cabling import Wiring
from zcube.fabric.wiring.formats import read_wiring
from zcube.fabric.wiring.rack_layout import UNIT_M, RackLayout, load_layout
from zcube.fabric.wiring.switch_places import least_cable
from zcube.fabric.wiring.verify import verify
from zcube.plan.room.room import room_plan


@pytest.fixture(scope="module")
def plan():
    layout = RackLayout(
        rows=1, switch_places="least-cable", server_kw=10.2, switch_kw=1.5, rack_kw=41, tray_width_m=0.5, tray_depth_m=0.1
    )
    return room_plan(load_fabric("zcube-n16"), layout)


def drawn(seed, switches, places, servers, trunks):
    draw = np.random.default_rng(seed)
    spots = draw.uniform(0, 10, (places + servers, 2))
    apart = np.abs(spots[:, None] - spots[None, :]).sum(axis=2)
    links = draw.integers(0, 5, (switches, servers))
    between = np.triu(draw.integers(0, 4, (switches, switches)), 1) * trunks
    return apart[:places, places:], apart[:places, :places], links, between + between.T


def total(place, to_servers, to_places, links, between):
    place = np.asarray(place)
    return (links * to_servers[place]).sum() + (between * to_places[np.ix_(place, place)]).sum() / 2


@pytest.mark.parametrize("seed", range(5))
def test_without_links_between_switches_no_arrangement_is_shorter(seed):
    case = drawn(seed, 5, 6, 7, trunks=0)
    found = least_cable(*case, start=np.arange(5))
    best = min(total(place, *case) for place in permutations(range(6), 5))
    assert total(found, *case) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_with_them_it_is_never_longer_than_the_start_and_near_the_best(seed):
    case = drawn(seed, 5, 6, 7, trunks=1)
    found = least_cable(*case, start=np.arange(5))
    lengths = [total(place, *case) for place in permutations(range(6), 5)]
    assert len(set(found.tolist())) == 5
    assert min(lengths) <= total(found, *case) <= total(np.arange(5), *case)
    assert total(found, *case) <= 1.1 * min(lengths)


def test_least_cable_is_shorter_and_keeps_servers_in_their_places(plan):
    assert plan.route_m < plan.route_in_order_m
    fabric = load_fabric("zcube-n16")
    near, in_order = (RackLayout(switch_places=places).place(fabric) for places in ("least-cable", "in-order"))
    servers = slice(0, fabric.servers)
    assert near.rack_names()[servers] == in_order.rack_names()[servers]
    places = set(zip(near.row.tolist(), near.slot.tolist(), near.unit.tolist()))
    assert len(places) == fabric.servers + fabric.switches


def test_units_and_power_of_every_rack(plan):
    """32 servers in 8 racks of 4, 32 switches in 4 racks of 8."""
    document = plan.document()
    assert (document["racks"], document["server_racks"], document["switch_racks"]) == (12, 8, 4)
    assert document["kw"] == pytest.approx(32 * 10.2 + 32 * 1.5)
    assert document["kw_most"] == pytest.approx(40.8)
    by_units = {rack.units_used for rack in plan.racks}
    assert by_units == {4 * 8, 8 * 2}
    taken = [(one.rack, unit) for one in plan.mounted for unit in range(one.unit, one.unit + one.units)]
    assert len(taken) == len(set(taken)) == 32 * 8 + 32 * 2
    assert room_plan(load_fabric("zcube-n16"), RackLayout()).document()["kw"] is None


def test_trays_hold_what_crosses_them(plan):
    """A section of tray holds the cables whose ends stand on its two sides; all trays together, what runs along them."""
    schedule = plan.schedule
    at = {name: int(name.rpartition("-")[2]) for name in {*schedule.a_rack, *schedule.z_rack}}
    a, z = (schedule[side].map(at).to_numpy() for side in ("a_rack", "z_rack"))
    for section in plan.trays:
        left = int(section.section.split("..")[0].rpartition("-")[2])
        crossing = (np.minimum(a, z) <= left) & (np.maximum(a, z) > left)
        assert section.copper + section.fibre == crossing.sum()
        area = math.pi / 4 * (section.copper * 9.43**2 + section.fibre * 3.0**2)
        assert section.area_mm2 == pytest.approx(area)
        assert section.fill == pytest.approx(area / (500 * 100))
    assert sum(section.copper + section.fibre for section in plan.trays) == np.abs(a - z).sum()


def test_trays_across_rows_lie_at_the_switchs_column():
    plan = room_plan(load_fabric("zcube-n16"), RackLayout(rows=2))
    across = [section for section in plan.trays if section.section[:3] != section.section.split("..")[1][:3]]
    crossing = plan.schedule.a_rack.str[:3] != plan.schedule.z_rack.str[:3]
    assert sum(section.copper + section.fibre for section in across) == crossing.sum()
    columns = {section.section.split("..")[0][4:] for section in across}
    assert columns == set(plan.schedule.z_rack[crossing].str[4:])


def test_the_order_adds_up_and_has_spares(plan):
    assert sum(line.links for line in plan.order) == len(plan.schedule) == 768
    assert sum(line.total_m for line in plan.order) == pytest.approx(plan.schedule.length_m.sum())
    assert all(line.spares == math.ceil(line.links * 0.02 - 1e-9) for line in plan.order)
    none = room_plan(load_fabric("zcube-n16"), RackLayout(spare_fraction=0))
    assert none.document()["spares"] == 0


def test_the_schedule_is_the_fabrics_wiring_and_labels_name_both_ends(plan, tmp_path):
    texts = plan.texts()
    found = tmp_path / "cables.csv"
    found.write_text(texts["cables.csv"])
    assert verify(Wiring.of(load_fabric("zcube-n16")), read_wiring(found)).agrees
    flags = [*csv.DictReader(io.StringIO(texts["labels.csv"]))]
    assert len(flags) == 2 * 768
    one, other = flags[:2]
    assert (one["label"], one["here"], one["there"]) == (other["label"], other["there"], other["here"])


def test_a_straight_cable_counts_in_no_tray():
    """All in one rack: nothing rises to a tray."""
    layout = RackLayout(servers_per_rack=2, rack_units=48, server_units=1, switch_units=1)
    plan = room_plan(load_fabric("zcube-n16", changes={"gpus": 16, "gpus_per_switch": 16}), layout)
    racks = {*plan.schedule.a_rack, *plan.schedule.z_rack}
    assert len(racks) == 2
    same = plan.schedule.a_rack == plan.schedule.z_rack
    assert sum(section.copper + section.fibre for section in plan.trays) == (~same).sum()
    assert plan.schedule.route_m[same].max() <= 48 * UNIT_M + 1


def test_a_rack_that_cannot_hold_its_load_is_refused_with_every_fault(tmp_path):
    room = tmp_path / "room.toml"
    room.write_text(
        "servers_per_rack = 8\nserver_units = 8\nswitches_per_rack = 30\nswitch_units = 2\n"
        "rack_kw = 20\nserver_kw = 10.2\nswitch_kw = 1\ntray_width_m = 0.5\n"
    )
    with pytest.raises(InputError) as caught:
        load_layout(room)
    text = str(caught.value)
    for part in ("8 x 8 units", "30 x 2 units", "8 x 10.2 kW", "30 x 1 kW", "tray_width_m and tray_depth_m together"):
        assert part in text


def test_the_template_is_a_room():
    from zcube.plan.room import TEMPLATE

    assert load_layout(TEMPLATE).switch_places == "least-cable"
