"""Growth as a part of the plan: stages of each fabric on the front, their bills, and what they change in the answer."""

from __future__ import annotations

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.optics import optics_of
from zcube.plan import growing
from zcube.plan.candidates import generators
from zcube.plan.demand import load_demand
from zcube.plan.growing import Growth
from zcube.plan.growth.bill import stage_bill
from zcube.plan.growth_words import growth_words
from zcube.plan.plan import plan
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.price_book import load_price_book
from zcube.report.plan_folder import topology_text
from zcube.report.plan_page import plan_page
from zcube.report.plan_table import plan_table


@pytest.fixture(scope="module")
def answer():
    options = {"gpus": 256, "switch": "12.8T", "families": "spine-leaf,zcube", "growth": "512,1024"}
    return plan(load_demand(None, options, tuple(generators())))


def test_every_fabric_on_the_front_grows_stage_by_stage(answer, tmp_path):
    document = answer.document()
    assert set(document["front"]) <= set(answer.growth) <= {*document["front"], document["baseline"]}
    for name, growth in answer.growth.items():
        fabric = document["fabrics"][name]
        told = fabric["growth"]
        if growth.stopped_at is None:
            assert [stage["gpus_after"] for stage in told["stages"]] == [512, 1024]
        for stage in told["stages"]:
            assert stage["links_kept"] + stage["links_moved"] + stage["links_removed"] == stage["links_before"]
            assert stage["links_kept"] + stage["links_moved"] + stage["links_added"] == stage["links_after"]
        for target, spec in growth.targets.items():
            (tmp_path / f"{target}.toml").write_text(topology_text(spec))
            assert load_fabric(str(tmp_path / f"{target}.toml")).gpus == spec.gpus


def test_stages_cost_what_the_last_fabric_does_where_nothing_is_left_over(answer):
    """Switch side: first bill and stages together are the bill of the last fabric, as long as every piece is used again."""
    book = load_price_book("mixnet-2025")
    seen = 0
    for growth in answer.growth.values():
        if growth.stopped_at is not None:
            continue
        left = sum(line.before - line.after for stage in growth.stages for line in stage.bill.lines if line.after < line.before)
        last = bill_of_materials(growth.stages[-1].fabric, book, optics_of(growth.stages[-1].fabric, "all-optical"))
        if not left:
            assert growth.total_usd == pytest.approx(last.capital_usd("switch-side"))
            seen += 1
        else:
            assert growth.total_usd >= last.capital_usd("switch-side")
    assert seen


def test_growth_decides_between_equals_and_is_in_the_words(answer):
    choice = answer.recommendation
    assert choice.growth and all(sentence in choice.words() for sentence in choice.growth)
    for other in choice.tied_with:
        mine, theirs = answer.growth[choice.name], answer.growth[other]
        assert (mine.total_usd, mine.replugged) <= (theirs.total_usd, theirs.replugged)


def test_a_fabric_that_stops_is_told_with_what_binds():
    """BCube(n,2) has n^2 GPUs: 64 GPUs become 256, but not 512."""
    options = {"gpus": 64, "switch": "12.8T", "families": "bcube,zcube", "growth": "256,512", "hosts_forward": True}
    # Objectives under which BCube is on the front.
    options["objectives"] = "capital_usd,random_share,kv_funnel,loss_after_failure"
    found = plan(load_demand(None, options, tuple(generators())))
    growth = found.growth["bcube-n8-12.8T"]
    assert [stage.fabric.gpus for stage in growth.stages] == [256]
    assert growth.stopped_at == 512 and "square" in growth.why and growth.total_usd is None
    assert found.document()["fabrics"]["bcube-n8-12.8T"]["growth"]["stopped_at_gpus"] == 512
    able = next(name for name, one in found.growth.items() if one.stopped_at is None)
    first, second = growth_words("bcube-n8-12.8T", (), found.growth)
    assert first.startswith("It cannot be grown to 512 GPUs: ") and able.split("-k")[0] in second


def test_without_later_stages_there_is_no_growth():
    options = {"gpus": 64, "switch": "12.8T", "families": "zcube", "growth": "64"}
    found = plan(load_demand(None, options, tuple(generators())))
    assert not found.growth and found.recommendation.growth == ()
    assert all(fabric["growth"] is None for fabric in found.document()["fabrics"].values())


def test_a_dearer_way_to_grow_is_said():
    def made(usd):
        return Growth(usd, (STAGE,), {}, None, None, "switch-side")

    *_, last = growth_words("mine", ("equal",), {"mine": made(10.0), "equal": made(1.0), "other": made(4.0)})
    assert last.startswith("If growth is sure: other costs")
    *_, last = growth_words("mine", (), {"mine": made(10.0), "other": made(40.0)})
    assert last.startswith("Growth does not change the choice: the next, other, ")


class _Bill:
    def capital_usd(self, covers):
        return 5.0


class _Stage:
    fabric = load_fabric("zcube-n16")
    windows, moved, removed, bill = (), 3, 1, _Bill()


STAGE = _Stage()


def test_the_bill_of_a_stage_with_links_priced_whole():
    """The book for DeepSeek's table: 8 switches of 64 ports more at 81,400, and links at 570 between switches alone."""
    book = load_price_book("deepseek-isca25-fit")
    small = load_fabric("roft-1024", changes={"gpus": 512})
    large = load_fabric("roft-1024")
    bill = stage_bill(small, large, book, *(optics_of(one, "all-optical") for one in (small, large)))
    boxes = large.switches - small.switches
    links = [int((one.cables.kind == 1).sum()) for one in (small, large)]
    assert bill.capital_usd("switch-side") == pytest.approx(81_400 * boxes + 570 * (links[1] - links[0]))
    assert bill.capital_usd("with-nic-side") is None


def test_stages_of_too_many_links_are_billed_alone(answer, monkeypatch):
    """What is bought does not hang on which plug is moved."""
    monkeypatch.setattr(growing, "MOST_LINKS", 1200)
    found = plan(answer.site)
    document, whole = found.document(), answer.document()
    billed = 0
    for name, growth in found.growth.items():
        assert growth.stopped_at == answer.growth[name].stopped_at
        assert growth.total_usd == answer.growth[name].total_usd
        told = document["fabrics"][name]["growth"]
        for stage, other in zip(told["stages"], whole["fabrics"][name]["growth"]["stages"], strict=True):
            if stage["links_after"] <= 1200:
                assert stage == other and stage["moves_left_out"] is None
                continue
            billed += 1
            assert stage["moves_left_out"] == f"{stage['links_after']:,} links, more than 1,200"
            assert stage["links_kept"] is None and stage["steps"] is None and stage["reachable_at_every_step"] is None
            # Splitters follow the ports, which are those of the family's schedule here.
            priced, its_priced = ([line for line in one["bill"]["lines"] if line["part"] != "cables"] for one in (stage, other))
            assert priced == its_priced and stage["bill"]["total_usd"] == other["bill"]["total_usd"]
            assert growth.replugged is None and told["every_stage_keeps_all_in_reach"] is None
            assert f"{stage['to']}: moves are not worked out" in plan_table(document)
    assert billed
    (words,) = (line for line in document["recommendation"]["growth"] if line.startswith("It grows to 1,024"))
    assert words.endswith("; it is too large for its moves to be worked out.")
    page = plan_page(document, {})
    assert "moves are not worked out" in page and "None" not in page
