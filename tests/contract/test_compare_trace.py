"""``zcube compare --trace-out``: the file it writes, the command in it that gives the run again, and what is refused."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from zcube.trace.comm_trace import Kind
from zcube.trace.files import read_trace

SMALL = [
    "glm51-pd-256", "--fabric", "roft-256", "--fabric", "zcube-256", "--set", "requests.count=24", "--set", "prefill.nodes=4",
    "--set", "decode.nodes=2", "--set", "load.concurrency=8", "--seed", "3", "--json",
]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(ran, tmp_path_factory):
    """A comparison's document, and the trace of each fabric by its label."""
    folder = tmp_path_factory.mktemp("recorded")
    files = {"roft-256": folder / "roft.parquet", "zcube-256": folder / "zcube.jsonl"}
    status, first, err = ran("compare", *SMALL, "--trace-out", files["roft-256"])
    assert status == 0 and f"written: {files['roft-256']}" in err
    status, second, _ = ran("compare", *SMALL, "--trace-fabric", "zcube-256", "--trace-out", files["zcube-256"])
    assert status == 0 and second == first
    return json.loads(first), files


@pytest.mark.parametrize("label", ["roft-256", "zcube-256"])
def test_the_command_in_the_file_carries_the_same_bytes_over_the_same_network(run, recorded, tmp_path, label):
    document, files = recorded
    trace = read_trace(files[label])
    words = shlex.split(trace.metadata["replay"])
    assert words[:2] == ["zcube", "replay"] and words[words.index("--fabric") + 1] == label
    words = [str(files[label]) if word == "FILE" else word for word in words[1:]]
    status, out, _ = run(*words, "--json", "--out", tmp_path / "done.parquet")
    assert status == 0
    replayed, run_document = json.loads(out), document["fabrics"][label]
    assert replayed["trace"]["recorded_otherwise"] == []
    assert replayed["bytes"]["payload"] == run_document["bytes"]["kv"]
    assert replayed["trace"]["metadata"]["scenario"]["seed"] == replayed["seed"] == 3
    # A closed loop ends with its last answer, which is the last operation.
    assert replayed["trace"]["completion_s"] == pytest.approx(run_document["duration_s"], rel=1e-9)
    done = pd.read_parquet(tmp_path / "done.parquet")
    assert sorted(done.id) == trace.rows(Kind.TRANSFER).tolist()


PACKETS = {
    "another control": ["congestion_control=dcqcn_nvidia", "dcqcn_nvidia.gain=0.0625"],
    "a control's parameters": ["dcqcn.clamp_target=false", "dcqcn.alpha_timer_s=1e-6", "pfc_alpha=0.25"],
    "marking": ["marking=[{up_to_gbps = 400.0, kmin_bytes = 100000, kmax_bytes = 200000, pmax = 0.5}]", "headroom_bytes=99999"],
}


@pytest.mark.parametrize("settings", PACKETS.values(), ids=PACKETS)
def test_the_command_in_the_file_repeats_all_packet_settings(run, tmp_path, settings):
    options = [part for setting in settings for part in ("--set", f"network.packet.{setting}")]
    status, _, err = run(
        "compare", *SMALL, "--set", "requests.count=2", "--fidelity", "packet", "--set", "network.packet.cell_bytes=262144",
        *options, "--trace-out", tmp_path / "run.jsonl",
    )  # fmt: skip
    assert status == 0, err
    command = shlex.split(read_trace(tmp_path / "run.jsonl").metadata["replay"])
    status, out, err = run(*[str(tmp_path / "run.jsonl") if word == "FILE" else word for word in command[1:]], "--json")
    assert status == 0, err
    assert json.loads(out)["trace"]["recorded_otherwise"] == []


def test_ranks_are_the_fabrics_gpus(recorded):
    trace = read_trace(recorded[1]["roft-256"])
    assert (trace.ranks, trace.ranks_per_node) == (256, 8)
    kv = trace.rows(Kind.TRANSFER)
    # Blocked placement: prefill on servers 0 to 3, decode behind them; GPU 0 sends to the chosen rail.
    assert set(trace.source[kv] // 8) <= {0, 1, 2, 3} and set(trace.target[kv] // 8) <= {4, 5}
    assert not (trace.source[kv] % 8).any()
    assert np.isin(trace.rows(Kind.COMPUTE), np.flatnonzero(trace.target < 0)).all()


def test_another_fabric_or_network_is_named(run, recorded):
    status, out, _ = run("replay", recorded[1]["roft-256"], "--fabric", "zcube-256", "--seed", "4", "--json")
    assert status == 0
    changes = json.loads(out)["trace"]["recorded_otherwise"]
    found = {change["key"]: (change["recorded"], change["replayed"]) for change in changes}
    assert found == {"fabric": ("roft-256", "zcube-256"), "routing": ("ecmp", "zcube-paths"), "seed": (3, 4)}
    status, out, _ = run("replay", recorded[1]["roft-256"], "--fabric", "roft-256", "--queue-pairs", "4", "--seed", "3")
    assert status == 0 and "Recorded with    queue_pairs = 2, here 4" in out


@pytest.mark.parametrize(
    ("options", "found", "expected"),
    [
        (["--trace-out", "run.csv"], "'.csv'", ".parquet or .jsonl"),
        (["--trace-fabric", "roft-256"], "no --trace-out", "a file to write"),
        (["--trace-out", "run.jsonl", "--trace-fabric", "roft"], "'roft'", "one of roft-256, zcube-256"),
        (["--trace-out", "none/run.jsonl"], "no folder none", "a folder that exists"),
        (["--out", "here", "--trace-out", "here/run.jsonl"], "a file in here", "outside the output folder"),
        (
            ["--trace-out", "run.jsonl", "--set", "kv.efficiency=0.69"],
            "kv.efficiency",
            "its default in a run that is to be recorded",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_runs(run, tmp_path, monkeypatch, options, found, expected):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("compare", *SMALL, *options)
    assert status == 2 and out == ""
    assert found in err and expected in err
    assert not list(tmp_path.iterdir())
