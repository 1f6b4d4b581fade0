"""What a demand that nothing meets would have to change, and power by model or by rate."""

from __future__ import annotations

import pytest

import zcube as zc


def nearest(**keys):
    document = zc.plan(gpus=64, switch="QM9700", **keys).document()
    assert not document["met"]
    return document["nearest_demands"]


def test_a_budget_that_binds_is_raised_alone():
    """Fewer GPUs of a family that cannot be built, or that the demand rules out, do not meet it."""
    changes = nearest(budget_usd=1000, families=("zcube", "bcube"))
    assert set(changes[0]) == {"budget_usd", "fabric"} and all("budget_usd" in one for one in changes)
    met = zc.plan(gpus=64, switch="QM9700", families=("zcube", "bcube"), budget_usd=changes[0]["budget_usd"]).document()
    assert met["met"] and met["recommendation"]["fabric"].startswith("zcube")


def test_two_bounds_that_bind_are_raised_together():
    (change,) = nearest(budget_usd=1000, max_power_w=10, families=("zcube",))
    bounds = {key: change[key] for key in ("budget_usd", "max_power_w")}
    assert zc.plan(gpus=64, switch="QM9700", families=("zcube",), **bounds).met
    assert not zc.plan(gpus=64, switch="QM9700", families=("zcube",), budget_usd=bounds["budget_usd"], max_power_w=10).met


def test_servers_that_may_not_pass_on_are_named():
    assert nearest(families=("bcube",)) == [{"hosts_forward": True, "fabric": pytest.approx("bcube-n8-QM9700")}]


def test_two_servers_are_planned_with_the_one_partner_there_is():
    document = zc.plan(gpus=16, switch="25.6T", families=("zcube",)).document()
    assert document["met"] and document["demand"]["failure_partners"] == 1


def test_power_is_of_the_model_else_by_rate_and_says_which():
    keys = {"gpus": 64, "families": ("rail-only",), "objectives": ("switches", "power_w"), "power_book": "nvidia-400g"}
    of_model, by_rate = (zc.plan(switch=switch, **keys).document() for switch in ("QM9700", "25.6T"))
    (one,), (other,) = (document["fabrics"].values() for document in (of_model, by_rate))
    assert one["power"]["sources"]["switch QM9700"] == "catalogue"
    assert other["power"]["sources"]["switch 25.6T"] == "by rate, nvidia-400g"
    boxes = one["counts"]["switches"]
    assert boxes == other["counts"]["switches"]
    assert other["power"]["power_w_most"] - one["power"]["power_w_most"] == pytest.approx(boxes * (64 * 11.72 - 750))
