"""``zcube replay --fidelity packet``: its parameters, files and pictures."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.network.settings import Network
from zcube.replays.flows import replay
from zcube.workload.flow_lists import FlowList


@pytest.fixture
def incast(tmp_path):
    flows = tmp_path / "incast.csv"
    rows = [f"{8 * sender},0,2000000,0" for sender in range(1, 25)] + ["200,1,2000000,0"]
    flows.write_text("src,dst,bytes,start_s\n" + "\n".join(rows) + "\n")
    return flows


def test_pauses_ports_and_victims_are_reported(run, incast, tmp_path):
    out, ports, pauses, bins = (tmp_path / name for name in ("out.csv", "ports.csv", "pauses.csv", "bins.csv"))
    picture, tree = tmp_path / "ports.png", tmp_path / "tree.svg"
    status, text, err = run(
        "replay", incast, "--fabric", "zcube-n16", "--fidelity", "packet", "--congestion-control", "none", "--json",
        "--out", out, "--ports-out", ports, "--pauses-out", pauses, "--bin-s", "1e-5", "--bins-out", bins,
        "--picture", picture, "--tree", tree,
    )  # fmt: skip
    assert status == 0, err
    document = json.loads(text)
    packet = document["packet"]
    assert packet["counts"]["drops"] == 0
    assert packet["counts"]["pauses"] > 0
    assert packet["settings"]["congestion_control"] == "none"
    assert packet["fluid_ratio"]["mean"] > 1
    listed = ports.read_text().splitlines()
    column = listed[0].split(",").index("pauses")
    assert sum(int(row.split(",")[column]) for row in listed[1:]) == packet["counts"]["pauses"]
    assert {"blocked_s", "victim_s", "rate_cuts", "fluid_ratio"} <= set(out.read_text().splitlines()[0].split(","))
    log = pauses.read_text().splitlines()
    assert log[0] == "from_s,until_s,priority,port,cause,root"
    assert any(row.endswith(">s0g0") for row in log[1:])
    assert "depth_bytes" in bins.read_text().splitlines()[0]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert tree.read_text().lstrip().startswith("<?xml")


def test_congestion_trees_are_written_as_lines_and_as_a_table(run, incast, tmp_path):
    arguments = ("replay", incast, "--fabric", "zcube-n16", "--fidelity", "packet", "--congestion-control", "none")
    lines, table, pauses = (tmp_path / name for name in ("tree.txt", "tree.csv", "pauses.csv"))
    assert run(*arguments, "--tree", lines, "--pauses-out", pauses)[0] == 0
    assert run(*arguments, "--tree", table)[0] == 0
    root = Counter(row.split(",")[-1] for row in pauses.read_text().splitlines()[1:]).most_common(1)[0][0]
    assert root.endswith(">s0g0")
    assert lines.read_text().startswith(f"{root} congested: ")
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert (f"{rows[0]['from']}>{rows[0]['to']}", rows[0]["cause_port"], rows[0]["layer"]) == (root, "", "0")
    assert all(rows[int(row["cause_port"])]["layer"] == "0" for row in rows if (row["tree"], row["layer"]) == ("1", "1"))
    assert run(*arguments, "--tree", tmp_path / "tree.pdf")[0] == 2


def test_a_run_repeats_byte_for_byte(run, incast, tmp_path):
    texts = []
    for name in ("one.csv", "two.csv"):
        status, _, err = run("replay", incast, "--fabric", "roft-256", "--fidelity", "packet", "--out", tmp_path / name)
        assert status == 0, err
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]


def test_every_parameter_has_a_name(run, incast):
    status, text, err = run(
        "replay", incast, "--fabric", "roft-256", "--fidelity", "packet", "--cell-bytes", "16384", "--json",
        "--packet-set", "pfc_alpha=0.5", "--packet-set", "dcqcn.gain=0.0625", "--packet-set", "path_choice=spray",
    )  # fmt: skip
    assert status == 0, err
    settings = json.loads(text)["packet"]["settings"]
    assert settings["cell_bytes"] == 16384
    assert settings["pfc_alpha"] == 0.5
    assert settings["dcqcn"]["gain"] == 0.0625
    assert settings["path_choice"] == "spray"


def test_wrong_parameters_are_all_named(run, incast):
    status, _, err = run(
        "replay",
        incast,
        "--fabric",
        "roft-256",
        "--fidelity",
        "packet",
        "--packet-set",
        "pfc_alpha=-1",
        "--packet-set",
        "buffer=3",
    )
    assert status == 2
    assert "pfc_alpha" in err
    assert "buffer" in err


def test_packet_options_need_the_packet_fidelity(run, incast, tmp_path):
    status, _, err = run("replay", incast, "--fabric", "roft-256", "--congestion-control", "none", "--tree", tmp_path / "t.png")
    assert status == 2
    assert "--congestion-control" in err
    assert "--tree" in err


def test_a_run_that_would_not_fit_is_refused(run, incast):
    status, _, err = run("replay", incast, "--fabric", "roft-256", "--fidelity", "packet", "--memory-gb", "0.3")
    assert status == 2
    assert "memory" in err


def test_a_comparison_runs_packet_by_packet(run, tmp_path):
    status, text, err = run(
        "compare", "glm51-pd-256", "--fidelity", "packet", "--fabric", "zcube-256", "--set", "requests.count=20",
        "--set", "network.packet.cell_bytes=262144", "--json",
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(text)["fidelity"] == "packet"


def test_what_packets_cannot_carry_is_named_before_the_run(run, tmp_path):
    flows, out = tmp_path / "odd.csv", tmp_path / "out.csv"
    flows.write_text("src,dst,bytes,start_s,weight\n0,9,1000,0,1\n0,9,1000,6e6,1\n0,9,1e14,0,1\n0,9,1000,0,2\n")
    status, text, err = run("replay", flows, "--fabric", "roft-256", "--fidelity", "packet", "--out", out)
    assert status == 2
    assert text == ""
    assert not out.exists()
    for named in ("line 3: start_s", "line 4: bytes", "line 5: weight"):
        assert named in err
    assert run("replay", flows, "--fabric", "roft-256")[0] == 0


def test_one_long_transfer_tells_its_progress():
    carried = Network(fidelity="packet").on(load_fabric("roft-256"))
    said = []
    flows = FlowList(np.arange(1), np.array([0]), np.array([9]), np.array([2e9]), np.zeros(1))
    replay(carried, flows, progress=lambda *told: said.append(told))
    packets = [done for _, done, _, unit in said if unit == "packets"]
    total = -(-2_000_000_000 // 4096)
    assert len(packets) > 5
    assert packets == sorted(packets)
    assert packets[-1] == total == said[-1][2]
    assert any(0 < done < total for done in packets)


def test_what_is_steady_is_skipped_if_asked_for(run, tmp_path):
    flows = tmp_path / "two.csv"
    flows.write_text("src,dst,bytes,start_s\n0,8,20000000,0\n16,24,20000000,0\n")
    arguments = ("replay", flows, "--fabric", "zcube-n16", "--fidelity", "packet", "--json")
    documents = []
    for more in ((), ("--packet-skip", "steady"), ("--packet-set", 'skip={mode = "steady", near = 0.5}')):
        status, out, err = run(*arguments, *more)
        assert status == 0, err
        documents.append(json.loads(out))
    full, steady, nearer = (document["packet"] for document in documents)
    assert (full["settings"]["skip"]["mode"], steady["settings"]["skip"]["mode"]) == ("off", "steady")
    assert nearer["settings"]["skip"]["near"] == 0.5
    assert steady["counts"]["events"] * 5 < full["counts"]["events"]
    assert documents[0]["duration_s"] == documents[1]["duration_s"] == documents[2]["duration_s"]
    for wrong in (("--packet-skip", "never"), ("--packet-skip", "steady", "--packet-set", "pfc=false")):
        status, _, err = run(*arguments, *wrong)
        assert status == 2 and "skip" in err, err
    status, _, err = run("replay", flows, "--fabric", "zcube-n16", "--packet-skip", "steady")
    assert status == 2 and "--packet-skip" in err


def test_faults_met_on_the_fabric_name_the_option(run, tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("src,dst,bytes,start_s\n0,9,4000000,0\n")
    failure = 'link_failures=[{link="nope->x",down_s=0}]'
    status, _, err = run("replay", path, "--fabric", "roft-32", "--fidelity", "packet", "--packet-set", failure)
    assert status == 2 and "--packet-set link_failures[0].link: found 'nope->x'" in err, err


def test_how_many_equal_paths_are_listed_can_be_said(run, tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("src,dst,bytes,start_s\n0,9,4000000,0\n")
    counted = []
    for most in ("3", "100"):
        args = ("replay", str(path), "--fabric", "roft-256", "--fidelity", "packet", "--packet-set", "path_choice=spray")
        code, _, err = run(
            *args, "--routing", "equal-paths", "--most-paths", most, "--links-out", str(tmp_path / f"{most}.csv")
        )
        assert code == 0, err
        lines = (tmp_path / f"{most}.csv").read_text().splitlines()
        names = lines[0].split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        counted.append(
            sum(row["from"] == "leaf0" and row["to"].startswith("spine") and float(row["bytes"]) > 0 for row in rows)
        )
    assert counted == [3, 32]
