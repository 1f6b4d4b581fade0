"""``zcube plan --from``: documents, files, exit statuses."""

from __future__ import annotations

import csv
import json
import re

import pytest

import zcube as zc
from zcube.inputs import bundled_folder


def test_growth_is_written_and_the_wiring_verifies(run, tmp_path):
    folder = tmp_path / "grown"
    status, out, _ = run("plan", "--from", "zcube-256", "--to-gpus", "512,1024", "--rooms", _room(tmp_path), "--out", folder)
    assert status == 0
    assert "Stage 2" in out
    assert "every GPU in service stays reachable" in out
    document = json.loads((folder / "plan.json").read_text())
    assert [stage["gpus_after"] for stage in document["growth"]["stages"]] == [512, 1024]
    rows = [*csv.DictReader((folder / "stage-1-moves.csv").open())]
    assert len(rows) == document["growth"]["stages"][0]["steps"]
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert [row["action"] for row in rows] == [row["action"] for row in json.loads((folder / "stage-1-moves.json").read_text())]
    plan, found = folder / "stage-2-cables.csv", tmp_path / "found.csv"
    found.write_text(plan.read_text())
    assert run("fabric", "verify", plan, found)[0] == 0


def _room(folder):
    path = folder / "room.toml"
    path.write_text('switch_places = "least-cable"\n')
    return path


def test_equal_calls_give_equal_documents(run):
    call = ("plan", "--from", "zcube-n16", "--nodes", "8+8", "--failures", "--seed", "3", "--json")
    first, second = (run(*call)[1] for _ in range(2))
    assert first == second
    document = json.loads(first)
    assert document["seed"] == document["failures"]["seed"] == 3
    assert {row["kind"] for row in document["failures"]["rows"]} == {"switch", "link", "nic", "two"}


def test_a_stage_can_be_named_and_keep_its_names(run):
    document = json.loads(run("plan", "--from", "zcube-256", "--to", "zcube-1024", "--names", "planned", "--json")[1])
    stage = document["growth"]["stages"][0]
    assert (stage["links_kept"], stage["links_moved"], stage["links_added"]) == (264, 504, 2304)


def test_every_fault_is_told_at_once(run, tmp_path):
    room = tmp_path / "room.toml"
    room.write_text("rack_units = 8\nserver_kw = 50\nrack_kw = 10\n")
    wrong = ("--to-gpus", "1000,x", "--rooms", room, "--nodes", "8", "--price-book", "none", "--seed", "-1")
    status, _, err = run("plan", "--from", "zcube-256", *wrong)
    assert status == 2
    for part in ("--to-gpus", "units in 8", "kW at 10 kW", "--nodes", "price book none", "--seed"):
        assert part in err


@pytest.mark.parametrize(
    "options",
    [
        ("--to-gpus", "128"),
        ("--to-gpus", "1024", "--names", "some"),
        ("--nodes", "0+4"),
        ("--nodes", "40+40"),
        ("--to", "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(run, options):
    status, _, err = run("plan", "--from", "zcube-256", *options)
    assert status == 2
    assert "expected" in err


def test_new_writes_a_room(run, tmp_path):
    assert run("new", tmp_path / "mine")[0] == 0
    assert run("plan", "--from", "zcube-256", "--rooms", tmp_path / "mine" / "room.toml")[0] == 0


def test_python_gives_what_the_verb_gives(run):
    document = zc.plan_fabric("zcube-256", to_gpus=[1024], nodes=(8, 8)).document()
    assert document == json.loads(run("plan", "--from", "zcube-256", "--to-gpus", "1024", "--nodes", "8+8", "--json")[1])
    with pytest.raises(zc.InputError):
        zc.plan_fabric(zc.load_fabric("zcube-256"), to_gpus=[1024])


def test_failures_are_served_on_the_scenario_as_a_comparison_serves_them(run, tmp_path):
    """Slow-downs of the worst and the median switch, as ``zcube compare`` gives them for the same failures."""
    text = (bundled_folder("scenarios") / "glm51-pd-256.toml").read_text()
    short = tmp_path / "short.toml"
    short.write_text(re.sub(r"count = \d+", "count = 12", text))
    call = ("plan", "--from", "roft-256", "--failures", "--scenario", short, "--json")
    document = json.loads(run(*call)[1])
    slower = document["failures"]["switches_simulated"]
    served = document["failures_on_scenario"]
    chosen = {one["chosen_as"]: one["failure_of"] for one in served["failed"]}
    assert slower[chosen["worst"]] == max(slower.values())
    assert slower[chosen["median"]] == sorted(slower.values())[len(slower) // 2]
    fabrics = ["roft-256", *(f"roft-256@{name}" for name in chosen.values())]
    results = zc.compare(str(short), {"fabrics": fabrics, "baseline": None}).document()["fabrics"]
    whole, *failed = (results[name]["ttft_s"]["p99"] for name in fabrics)
    assert served["whole"]["ttft_p99_s"] == whole
    assert [one["ttft_p99_s"] for one in served["failed"]] == failed
    assert [one["change"]["ttft_p99_s"] for one in served["failed"]] == pytest.approx([one / whole - 1 for one in failed])
    shown = run(*call[:-1])[1]
    assert "On the scenario" in shown and chosen["worst"] in shown


@pytest.mark.parametrize("options", [(), ("--failures", "--to-gpus", "512")])
def test_a_scenario_needs_failures_of_the_fabric_as_it_stands(run, options):
    status, _, err = run("plan", "--from", "zcube-256", "--scenario", "glm51-pd-256", *options)
    assert status == 2 and "scenario: found" in err
