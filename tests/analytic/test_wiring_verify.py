"""Wirings with known mistakes are found to have exactly those, with the fewest steps that mend them."""

from __future__ import annotations

import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.wiring.cabling import EXACT, NameRule, Port, WiredCable, Wiring
from zcube.fabric.wiring.formats import read_wiring
from zcube.fabric.wiring.verify import Action, apply_correction, verify


def wiring(*cables):
    """Return a wiring of (port, port) pairs; a port is ``device:port``."""
    ends = [WiredCable(*(Port(*end.split(":")) for end in cable)) for cable in cables]
    return Wiring("test", tuple(ends), tuple(range(1, len(ends) + 1)))


def line(*numbers):
    """Return cables a<i>:1 -- z<i>:1."""
    return [(f"a{i}:1", f"z{i}:1") for i in numbers]


def as_set(plan):
    return {frozenset(cable) for cable in plan.cables}


@pytest.fixture(scope="module")
def plan():
    return Wiring.of(load_fabric("zcube-n16"))


def rewired(plan, *, rotate=(), drop=(), add=()):
    """Return the plan with the far ends of some cables rotated, some cables dropped and some added."""
    cables = list(plan.cables)
    for place, source in zip(rotate, [*rotate[1:], *rotate[:1]]):
        cables[place] = WiredCable(plan.cables[place].a, plan.cables[source].z)
    kept = [cable for place, cable in enumerate(cables) if place not in drop] + list(add)
    return Wiring("found", tuple(kept), tuple(range(len(kept))))


def test_the_plan_agrees_with_itself(plan):
    report = verify(plan, plan)
    assert report.agrees
    assert (report.planned, report.found, report.correct) == (768, 768, 768)
    assert report.correction == ()


def test_three_swapped_two_missing_one_extra(plan):
    extra = WiredCable(Port("A0", "swp40"), Port("B3", "swp40"))
    found = rewired(plan, rotate=(5, 300, 600), drop=(17, 400), add=(extra,))
    report = verify(plan, found)
    document = report.document()
    assert document["swapped_cables"] == 3
    assert document["missing_cables"] == 2
    assert document["extra_cables"] == 1
    assert document["miswired_cables"] == 0
    assert document["correct_cables"] == 768 - 5
    assert (document["correction_swaps"], document["correction_moves"]) == (2, 0)
    assert (document["cables_to_add"], document["cables_to_remove"]) == (2, 1)
    assert {frozenset(cable) for cable in report.cables("missing")} == {frozenset(plan.cables[i]) for i in (17, 400)}
    assert report.cables("extra") == (extra,)
    swapped = {frozenset(WiredCable(plan.cables[i].a, plan.cables[j].z)) for i, j in ((5, 300), (300, 600), (600, 5))}
    assert {frozenset(cable) for cable in report.cables("swapped")} == swapped
    assert as_set(apply_correction(found, report.correction)) == as_set(plan)


def test_three_exchanged_pairs_are_six_swapped_cables_and_three_swaps(plan):
    found = plan
    for pair in ((1, 2), (500, 501), (30, 700)):
        found = rewired(found, rotate=pair)
    document = verify(plan, found).document()
    assert (document["swapped_cables"], document["correction_swaps"], len(document["discrepancies"])) == (6, 3, 3)


@pytest.mark.parametrize("size", [2, 3, 7, 100])
def test_a_ring_of_k_needs_one_swap_less(plan, size):
    found = rewired(plan, rotate=tuple(range(0, 7 * size, 7)))
    report = verify(plan, found)
    assert len(report.cables("swapped")) == size
    assert [step.action for step in report.correction] == [Action.SWAP] * (size - 1)
    assert report.plugs_moved == size
    assert as_set(apply_correction(found, report.correction)) == as_set(plan)


CHAINS = {
    "missing": ([], {"missing": 1}, ["add"]),
    "one plug in a spare port": ([("a0:1", "spare:1")], {"miswired": 1}, ["move"]),
    "a plug in another's place, which lost its cable": ([("a0:1", "z1:1")], {"miswired": 1, "missing": 1}, ["move", "add"]),
    "a chain that ends in a spare port": ([("a0:1", "z1:1"), ("a1:1", "spare:1")], {"miswired": 2}, ["move"] * 2),
    "both ends in spare ports": (
        [("a0:1", "spare:1"), ("spare:2", "z0:1"), *line(1)],
        {"miswired": 1, "extra": 1},
        ["remove", "move"],
    ),
    "extra": ([*line(0, 1), ("spare:1", "spare:2")], {"extra": 1}, ["remove"]),
    "near ends joined": ([("a0:1", "a1:1"), ("z0:1", "z1:1")], {"swapped": 2}, ["swap"]),
}


@pytest.mark.parametrize("case", CHAINS)
def test_chains_by_hand(case):
    cables, expected, actions = CHAINS[case]
    planned = wiring(*line(*range(2 if len(cables) > 1 or case.startswith("a plug") else 1)))
    found = wiring(*cables)
    report = verify(planned, found)
    counts = {kind: len(report.cables(kind)) for kind in ("swapped", "miswired", "missing", "extra")}
    assert {kind: count for kind, count in counts.items() if count} == expected
    assert [step.action.value for step in report.correction] == actions
    assert as_set(apply_correction(found, report.correction)) == as_set(planned)


def test_lldp_seen_from_one_end_or_both_with_domains_and_case(plan, tmp_path):
    rows = ["local_device,local_port,remote_device,remote_port,age"]
    for number, (a, z) in enumerate(rewired(plan, rotate=(0, 1)).cables):
        rows.append(f"{z.device.lower()},{z.port},{a.device}.dc.example.org,{a.port.upper()},1")
        if number % 3 == 0:
            rows.append(f"{a.device}.dc.example.org,{a.port},{z.device},{z.port},2")
    path = tmp_path / "lldp.csv"
    path.write_text("\n".join(rows) + "\n")
    found = read_wiring(path)
    report = verify(plan, found)
    assert (report.found, report.correct, len(report.cables("swapped"))) == (768, 766, 2)
    # Names are spelled as in the plan.
    known = {port for cable in plan.cables for port in cable}
    assert {port for cable in report.cables("swapped") for port in cable} <= known
    assert not verify(plan, found, EXACT).agrees
    assert verify(plan, found, NameRule(ignore_case=True, ignore_domain=False)).correct == 0


def test_names_made_equal_by_the_rule_are_a_fault():
    found = wiring(("leaf1.east:1", "spine1:1"), ("leaf1.west:1", "spine2:1"))
    with pytest.raises(InputError, match="line 2: found leaf1:1 joined to spine2:1"):
        verify(found, found)
    assert verify(found, found, EXACT).agrees


def test_steps_that_cannot_be_done_are_refused():
    report = verify(wiring(*line(0)), wiring(("a0:1", "spare:1")))
    with pytest.raises(ValueError, match="cannot move"):
        apply_correction(wiring(*line(0)), report.correction)
