"""``zcube fabric``: documents, exit statuses, files."""

from __future__ import annotations

import json
import random

import pytest


def test_show_tells_the_published_shape(run):
    status, out, _ = run("fabric", "show", "zcube-n32", "--json")
    document = json.loads(out)
    assert status == 0
    assert round(document["mean_path_links"], 5) == 2.93939
    assert (document["diameter_switches"], document["halving_bisection_of_nic_rate"], document["switches"]) == (2, 1.0, 64)
    assert "two modules" in document["counting_rule"]


def test_show_with_failures(run):
    document = json.loads(run("fabric", "show", "zcube-n32", "--fail", "switch:A3", "--json")[1])
    assert document["failed_links"] == 64
    assert round(document["mean_path_links"], 5) == 2.94129
    assert (
        json.loads(run("fabric", "show", "zcube-n32@switch:A3", "--json")[1])["mean_path_links"] == document["mean_path_links"]
    )


def test_check_exits_1_with_a_witness(run):
    assert run("fabric", "check", "zcube-n16")[0] == 0
    status, out, _ = run("fabric", "check", "zcube-n16", "--routing", "zcube-detours", "--json")
    claims = {claim["name"]: claim for claim in json.loads(out)["claims"]}
    assert status == 1
    assert claims["free of deadlock"]["holds"] is False and "->" in claims["free of deadlock"]["evidence"]
    status, out, _ = run("fabric", "check", "zcube-n16", "--fail", "nic:s3g5")
    assert status == 1 and "s3g5" in out


@pytest.mark.parametrize("form", ["simai", "graphml", "ptm", "netbox", "ufm", "ibdiagnet", "schedule", "links"])
def test_export_to_stdout_and_to_a_file_are_the_same(run, tmp_path, form):
    out = run("fabric", "export", "zcube-n16", "--format", form)[1]
    assert run("fabric", "export", "zcube-n16", "--format", form, "--out", tmp_path / "file")[0] == 0
    assert (tmp_path / "file").read_text() == out


def test_verify_finds_what_was_broken(run, tmp_path):
    dot = run("fabric", "export", "zcube-256", "--format", "ptm")[1].splitlines()
    cables = [line for line in dot if "--" in line]
    ends = [line.strip().rstrip(";").split(" -- ") for line in cables]
    draw = random.Random(5)
    broken = draw.sample(range(len(ends)), 6)
    first, second, third = broken[:3]
    # Three far ends go round in a ring, two cables are missing, one is new between ports that no cable holds.
    ends[first][1], ends[second][1], ends[third][1] = ends[second][1], ends[third][1], ends[first][1]
    kept = [end for number, end in enumerate(ends) if number not in broken[3:5]] + [['"stray1":"swp1"', '"stray2":"swp1"']]
    (tmp_path / "found.dot").write_text("graph G {\n" + "".join(f"  {a} -- {b};\n" for a, b in kept) + "}\n")
    status, out, err = run("fabric", "verify", "zcube-256", tmp_path / "found.dot", "--json")
    report = json.loads(out)
    assert status == 1, err
    assert (report["swapped_cables"], report["missing_cables"], report["extra_cables"], report["miswired_cables"]) == (
        3,
        2,
        1,
        0,
    )
    assert (report["correction_swaps"], report["cables_to_add"], report["cables_to_remove"]) == (2, 2, 1)
    status, out, _ = run("fabric", "verify", "zcube-256", tmp_path / "found.dot")
    assert status == 1 and "difference 1" in out and "stray1" in out


def test_a_correction_is_written_whole_or_after_its_first_steps(run, tmp_path):
    plan, found, corrected = tmp_path / "plan.csv", tmp_path / "found.csv", tmp_path / "corrected.csv"
    head = "local_device,local_port,remote_device,remote_port\n"
    plan.write_text(head + "leaf1,1,spine1,1\nleaf1,2,spine2,1\nleaf2,1,spine1,2\nleaf2,2,spine2,2\n")
    # Two far ends are exchanged, a plug is one port off, and names are spelled as the field has them.
    found.write_text(head + "LEAF1.dc,1,SPINE2.dc,1\nLEAF1.dc,2,SPINE1.dc,1\nLEAF2.dc,1,SPINE1.dc,2\nLEAF2.dc,2,SPINE2.dc,3\n")

    def verified(wanted, *options):
        status, out, err = run("fabric", "verify", wanted, found, "--json", *options)
        return status, json.loads(out)["correction_steps"], err

    assert verified(plan)[:2] == (1, 2)
    for steps in (0, 1, 2):
        status, _, err = verified(plan, "--corrected", corrected, "--steps", steps)
        assert (status, f"written: {corrected}" in err) == (1, True)
        assert run("fabric", "verify", corrected, found)[0] == (1 if steps else 0)
        assert verified(corrected)[1] == steps
        assert json.loads(run("fabric", "verify", plan, corrected, "--json")[1])["correction_steps"] == 2 - steps
    verified(plan, "--corrected", corrected)
    rows = set(corrected.read_text().splitlines())
    assert {"LEAF1.dc,1,SPINE1.dc,1", "LEAF1.dc,2,SPINE2.dc,1", "LEAF2.dc,1,SPINE1.dc,2", "LEAF2.dc,2,spine2,2"} < rows
    assert run("fabric", "verify", plan, found, "--steps", 1)[0] == 2
    assert run("fabric", "verify", plan, found, "--corrected", tmp_path / "nowhere" / "c.csv")[0] == 2
    status, _, _ = run("fabric", "verify", "zcube-256", found, "--corrected", corrected)
    assert status == 1
    assert run("fabric", "verify", "zcube-256", corrected)[0] == 0


def test_import_makes_a_topology_that_runs(run, tmp_path):
    assert run("fabric", "export", "zcube-n16", "--format", "simai", "--out", tmp_path / "simai.txt")[0] == 0
    status, _, err = run("fabric", "import", tmp_path / "simai.txt", tmp_path / "mine.toml", "--switch-ports", "16")
    assert status == 0, err
    document = json.loads(run("fabric", "show", tmp_path / "mine.toml", "--json")[1])
    assert (document["gpus"], document["switches"], document["diameter_switches"]) == (256, 32, 2)
    assert run("fabric", "import", tmp_path / "simai.txt", tmp_path / "small.toml", "--switch-ports", "4")[0] == 2
    assert not (tmp_path / "small.toml").exists()


def test_draw_and_adversary(run, tmp_path):
    assert run("fabric", "draw", "zcube-n16", "--out", tmp_path / "z.svg")[0] == 0
    assert "32 servers" in (tmp_path / "z.svg").read_text()
    assert run("fabric", "draw", "zcube-n16", "--out", tmp_path / "z.gif")[0] == 2
    status, out, _ = run("fabric", "adversary", "zcube-n16", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["patterns"]["transpose"]["share_of_line_rate_mean"] == pytest.approx(1 / 15)
    assert run("fabric", "adversary", "zcube-n16")[1].startswith("zcube-n16 by zcube-paths")
