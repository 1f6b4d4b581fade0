"""What a plan writes: one JSON document, a table, a folder whose topology files every other verb reads."""

from __future__ import annotations

import json
import re

import pytest

from zcube.cli import main
from zcube.fabric.catalog import load_fabric
from zcube.fabric.counts import fabric_counts
from zcube.inputs import bundled_folder
from zcube.plan.candidates import candidates_of, generators
from zcube.plan.demand import load_demand
from zcube.plan.topology_files import write_topologies

SMALL = ["plan", "--gpus", "64", "--switch", "12.8T", "--families", "spine-leaf,zcube,bcube"]


def run(arguments, capsys, status=0):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert ended.value.code == status, told.err
    return told.out


@pytest.fixture(scope="module")
def planned(ran, tmp_path_factory):
    """Return the folder of a small plan, and what was shown: a table."""
    folder = tmp_path_factory.mktemp("planned") / "plan"
    status, shown, err = ran(*SMALL, "--out", folder)
    assert status == 0, err
    return folder, shown


def test_json_is_one_document_and_equal_demands_give_equal_ones(planned, tmp_path, capsys):
    folder = tmp_path / "plan"
    shown = run([*SMALL, "--json", "--out", str(folder)], capsys)
    document = json.loads(shown)
    assert shown == (folder / "plan.json").read_text() == (planned[0] / "plan.json").read_text()
    assert document["schema_version"] == 1 and document["met"]
    assert set(document["front"]) <= set(document["fabrics"])
    for fabric in document["fabrics"].values():
        assert (fabric["state"] == "beaten") == (fabric["beaten_by"] is not None)
    record = json.loads((folder / "run.json").read_text())
    assert record["demand"] == document["demand"]


def test_topology_files_of_the_front_declare_the_fabrics(planned, capsys):
    folder, _ = planned
    document = json.loads((folder / "plan.json").read_text())
    for name in document["front"]:
        fabric = load_fabric(str(folder / f"{name}.toml"))
        counts = document["fabrics"][name]["counts"]
        assert (fabric.name, fabric.switches) == (name, counts["switches"])
        cost = json.loads(run(["cost", str(folder / f"{name}.toml"), "--json"], capsys))
        (bill,) = cost["fabrics"].values()
        assert bill == document["fabrics"][name]["cost"]["bill"]


def test_every_candidates_topology_file_gives_the_same_fabric(tmp_path):
    site = load_demand(None, {"gpus": 216, "switch": "12.8T,25.6T", "max_oversubscription": 2}, tuple(generators()))
    found, _ = candidates_of(site)
    for name, path in write_topologies(found, tmp_path).items():
        again = load_fabric(str(path))
        built = next(one for one in found if one.name == name).spec.build(name)
        assert fabric_counts(again) == fabric_counts(built)
        assert (again.cables.a == built.cables.a).all() and (again.cables.b == built.cables.b).all()


def test_the_table_recommends_and_says_why_not_the_others(planned):
    _, shown = planned
    # Two rails only, so that every wiring of them takes the funnel alike.
    assert shown.startswith("Take zcube-k32-12.8T: best in capital")
    tied = ", ".join(f"zcube-k32-12.8T-{rails}" for rails in ("skewed", "twisted", "xor"))
    assert f"A tie: {tied} are equal in every objective." in shown
    assert "Against roft-2-tier-12.8T:" in shown and "It is worse in" in shown
    assert "Outside the bounds:" in shown and "bcube-n8-12.8T" in shown
    assert "Price book: mixnet-2025 (MixNet (SIGCOMM 2025), Table 4), switch-side; optics all-optical." in shown
    assert "lost: mean part of its rate that a transfer loses, all of it without a path." in shown
    assert "slower: change of the mean time of the transfers that still have one" in shown
    assert "\x1b" not in shown


def test_a_demand_that_nothing_meets_exits_1_with_the_reason_and_the_nearest(capsys):
    shown = run([*SMALL, "--budget-usd", "10"], capsys, status=1)
    assert shown.startswith("Nothing meets the demand.")
    assert "more than budget_usd = 10" in shown and "budget_usd = 223872" in shown
    shown = run(["plan", "--gpus", "1048576", "--switch", "12.8T", "--families", "zcube"], capsys, status=1)
    assert "1048576 GPUs need ZCube(n,2) with n of at least 1024, 2048 ports of 200G a switch" in shown
    assert "gpus = 1024" in shown


def test_own_catalogue_adds_a_switch_with_its_price_and_power(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(
        '[switch.Mine]\nports = 32\nport_gbps = 400\npower_w = [300, 350]\nprice_usd = 10000\nsource = "my offer"\n'
    )
    (tmp_path / "demand.toml").write_text(
        'gpus = 64\nswitch = ["Mine"]\nfamilies = ["zcube"]\ncatalogue = "mine.toml"\nusd_per_kwh = 0.1\nmax_power_w = 1e5\n'
    )
    document = json.loads(run(["plan", str(tmp_path / "demand.toml"), "--json"], capsys))
    fabric = document["fabrics"]["zcube-k32-Mine-skewed"]
    # 4 switches; 16 + 16 ports of 400G of each hold a module of 8 to 9 W; every NIC has a twin module of 400G.
    modules = 4 * 32 + 64
    assert fabric["cost"]["switch_usd"] == 4 * 10_000
    assert document["price_book"]["name"] == "mixnet-2025 with prices of the catalogue"
    assert fabric["power"]["power_w_least"] == 4 * 300 + 8 * modules
    assert fabric["power"]["power_w_most"] == 4 * 350 + 9 * modules
    assert fabric["power"]["energy_usd_per_year_most"] == pytest.approx((4 * 350 + 9 * modules) * 8.76 * 0.1)


def test_what_is_not_known_is_missing_and_said(planned):
    document = json.loads((planned[0] / "plan.json").read_text())
    fabric = document["fabrics"]["roft-2-tier-12.8T"]
    assert fabric["power"]["power_w_most"] is None
    assert "power: the catalogue has none of switch 12.8T" in fabric["missing"]
    assert fabric["simulation"] is None


def test_new_copies_a_demand_and_the_catalogue_that_run(tmp_path, capsys):
    run(["new", str(tmp_path / "mine")], capsys)
    arguments = ["plan", str(tmp_path / "mine" / "demand.toml"), "--gpus", "64", "--switch", "12.8T", "--families", "zcube"]
    assert run(arguments, capsys).startswith("Take zcube-k32-12.8T: ")


def test_the_front_is_simulated_one_fabric_of_each_tie(tmp_path, capsys):
    text = (bundled_folder("scenarios") / "glm51-pd-256.toml").read_text()
    (tmp_path / "short.toml").write_text(re.sub(r"count = \d+", "count = 8", text))
    arguments = [
        "plan",
        "--gpus",
        "256",
        "--switch",
        "12.8T",
        "--families",
        "zcube",
        "--scenario",
        str(tmp_path / "short.toml"),
    ]
    document = json.loads(run([*arguments, "--json"], capsys))
    tied = {name for group in document["ties"] for name in group[1:]}
    simulated = {name for name, fabric in document["fabrics"].items() if fabric["simulation"]}
    assert tied and simulated == set(document["front"]) - tied
    assert all(document["fabrics"][name]["simulation"]["ttft_p99_s"] > 0 for name in simulated)
    # The first of them also with a failed switch.
    failed = {name: after for name in simulated if (after := document["fabrics"][name]["simulation"].get("after_failure"))}
    assert document["recommendation"]["fabric"] in failed and len(failed) == min(4, len(simulated))
    for name, after in failed.items():
        assert after["failure_of"] == f"switch:{document['fabrics'][name]['failure']['switch']}"
        whole = document["fabrics"][name]["simulation"]["ttft_p99_s"]
        assert after["change"]["ttft_p99_s"] == pytest.approx(after["ttft_p99_s"] / whole - 1)
