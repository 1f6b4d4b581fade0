"""Growth: links that stay, move lists that lead from the old wiring to the new one, and steps that cut GPUs off."""

from __future__ import annotations

import pytest
from moves_by_hand import as_set, carried_out, labelled, rows_of, wired

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.dragonfly import DragonflySpec
from zcube.fabric.families.slim_fly import SlimFlySpec
from zcube.fabric.spec import SwitchSpec
from zcube.fabric.wiring.cabling import Wiring
from zcube.fabric.wiring.verify import verify
from zcube.plan.growth.move_list import moves_csv
from zcube.plan.growth.stages import growth_plan
from zcube.plan.growth.targets import larger_fabrics
from zcube.pricing.price_book import load_price_book

BIG = {"switch.model": "25.6T", "switch.ports": 64}


def grown(reference, gpus, changes=None, start=None, **keys):
    return growth_plan(start or load_fabric(reference), larger_fabrics(reference, gpus, changes or {}), **keys)


def check_lists(plan, start):
    """Carry every stage's list out on the wiring that stands, reading nothing but the list."""
    cables = labelled(Wiring.of(start))
    for stage in plan.stages:
        for _ in carried_out(cables, rows_of(moves_csv(stage.moves))):
            pass
        assert as_set(cables) == wired(stage.fabric)
        assert set(cables) == set(stage.labels)


@pytest.mark.parametrize("names", ["planned", "switches", "all"])
@pytest.mark.parametrize(
    ("reference", "gpus"),
    [("zcube-256", (1024, 4096)), ("roft-256", (1024, 2048)), ("hpn-1024", (2048,)), ("rail-only-1024", (2048,))],
)
def test_lists_lead_from_the_old_wiring_to_the_new_one(reference, gpus, names):
    start = load_fabric(reference, changes=BIG)
    plan = grown(reference, gpus, BIG, start, names=names)
    check_lists(plan, start)
    assert [stage.fabric.gpus for stage in plan.stages] == list(gpus)


def test_names_as_planned_give_the_wiring_of_the_cable_schedule():
    """264 of 768 links stay, 504 move by one plug and 2,304 are new, as the comparison of the two exports says."""
    plan = grown("zcube-256", (1024,), names="planned")
    stage, target = plan.stages[0], load_fabric("zcube-1024")
    assert (stage.kept, stage.moved, stage.removed, stage.added) == (264, 504, 0, 2304)
    assert wired(stage.fabric) == wired(target)
    report = verify(Wiring.of(target), Wiring.of(load_fabric("zcube-256"))).document()
    assert stage.kept == report["correct_cables"]
    assert stage.moved == report["miswired_cables"]
    assert stage.added == report["missing_cables"]


def test_renaming_keeps_more():
    """All 256 cables of ports 0, a rail switch's part of the rest, and 4 of 16 parallel links of each of 16 pairs."""
    stage = grown("zcube-256", (1024,)).stages[0]
    assert stage.kept == 384
    assert stage.kept_by_names == {"planned": 264, "switches": 384, "all": 384}
    # A server has at most one link to a rail switch of the larger fabric, and two to each of four of the smaller one.
    assert stage.most_kept >= stage.kept
    assert stage.document()["links_kept_at_most"] == stage.most_kept


def test_a_full_square_grows_into_a_larger_one_without_a_cable_moved():
    """ZCube(16,2) is part of ZCube(32,2): GPU (a, b) of the one is GPU (a, b) of the other, on switches with ports to spare."""
    start = load_fabric("zcube-n16", changes=BIG)
    stage = grown("zcube-n16", (1024,), {**BIG, "gpus_per_switch": 32}, start=start).stages[0]
    assert (stage.old_links, stage.kept, stage.most_kept, stage.added) == (768, 768, 768, 3072 - 768)
    assert stage.kept_by_names["switches"] < 768
    assert {move.action for move in stage.moves} == {"relabel", "install", "add"}


def test_a_fabric_filled_later_moves_nothing():
    """With the rail switches of 4,096 GPUs there from the start, further segments are only added."""
    reference, full = "zcube-n64", {"capacity_gpus": 4096}
    start = load_fabric(reference, changes={**full, "gpus": 1024})
    for stage in grown(reference, (2048, 4096), full, start=start, names="planned").stages:
        assert (stage.kept, stage.moved, stage.removed) == (stage.old_links, 0, 0)
        assert not stage.windows


def test_switches_of_another_model_are_taken_out():
    """Nothing stays, every NIC cable's switch end moves, and a GPU with one port is cut off while its cable moves."""
    start = load_fabric("rail-only-1024")
    plan = grown("rail-only-1024", (2048,), BIG, start=start)
    stage = plan.stages[0]
    assert (stage.kept, stage.most_kept, stage.moved) == (0, 0, 1024)
    assert len(stage.windows) == 1024
    assert {move.action for move in stage.windows} == {"move"}
    assert stage.document()["reachable_at_every_step"] is False
    assert sum(move.action == "retire" for move in stage.moves) == start.switches
    check_lists(plan, start)


def test_two_ports_change_switches_without_a_gpu_cut_off():
    start = load_fabric("zcube-n16")
    plan = grown("zcube-n16", (1024,), {**BIG, "gpus_per_switch": 32}, start=start)
    stage = plan.stages[0]
    assert (stage.kept, stage.moved) == (0, 512)
    assert not stage.windows
    check_lists(plan, start)


def test_a_stage_buys_what_it_adds():
    book = load_price_book("mixnet-2025")
    bill = grown("zcube-256", (1024,), book=book).stages[0].bill
    document = bill.document()
    lines = {(line["part"], line["item"]): line for line in document["lines"]}
    boxes = lines["switches", "switch 25.6T, 64 x 400G"]
    assert (boxes["before"], boxes["bought"], boxes["usd"]) == (8, 24, 24 * 64 * 1090)
    assert lines["nics", "NIC 400G"]["bought"] == 768
    # 64 cages a switch and one a GPU, all 400G.
    modules = 24 * 64 + 768
    assert document["total_usd"] == pytest.approx(24 * 64 * 1090 + modules * 659 + 768 * 1499)


def test_growth_that_is_none_is_refused_with_every_fault():
    small = load_fabric("zcube-256")
    other = load_fabric("zcube-n16", changes={"gpus_per_server": 4})
    with pytest.raises(InputError) as caught:
        growth_plan(load_fabric("zcube-1024"), [small, other])
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="numbers that rise"):
        larger_fabrics("zcube-256", (1024, 512))
    with pytest.raises(InputError) as caught:
        larger_fabrics("zcube-256", (300, 301))
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="nothing failed"):
        larger_fabrics("zcube-256@switch:A0", (1024,))


def test_whoever_may_rename_more_keeps_what_fewer_names_keep():
    # Renamed switches keep 28 of these links here by the search's own path, and 32 under the names as they are.
    switch = SwitchSpec(model="16 ports", ports=16, port_gbps=400)
    common = {"gpus": 16, "gpus_per_server": 4, "nic_gbps": 400, "switch": switch}
    start = DragonflySpec(**common, gpus_per_switch=2, switches_per_group=4, global_links_per_switch=2, groups=5)
    stands, wanted = start.build("stands"), SlimFlySpec(**common, q=3, gpus_per_switch=3).build("wanted")
    for names in ("planned", "switches", "all"):
        stage = growth_plan(stands, [wanted], names=names).stages[0]
        kept = stage.kept_by_names
        assert kept["planned"] <= kept["switches"] <= kept["all"] <= stage.most_kept
        assert stage.kept >= kept[names]
