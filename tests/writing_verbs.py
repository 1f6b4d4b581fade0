"""A call of every verb for each path that it writes, and the files which these calls read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from zcube.cli import main

CALIBRATIONS = Path(__file__).resolve().parents[1] / "calibrations"
MEASURED = CALIBRATIONS / "2x-h200-nvlink.json"

FLOWS = ("replay", "FILES/flows.csv", "--fabric", "zcube-n16")
PACKETS = (*FLOWS, "--fidelity", "packet")
TRACE = ("replay", "FILES/trace.jsonl", "--fabric", "zcube-n16")
GENERATE = ("trace", "generate", "--engine", "sglang", "--layers", "1", "--new-tokens", "64")
COMPARE = (
    "compare", "glm51-pd-256", "--fabric", "zcube-256", "--set", "requests.count=2", "--set", "load.concurrency=1",
)  # fmt: skip
MATRIX = (
    "matrix", "permutation", "--fabrics", "zcube-32", "--transports", "ecmp", "--fidelity", "flow", "--seeds", "1",
    "--jobs", "1", "--out",
)  # fmt: skip
#: A configuration of a language model, and a study of one run.
CONFIG = {
    "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128,
    "vocab_size": 100, "max_position_embeddings": 1000,
}  # fmt: skip
SWEEP = """scenarios = ["glm51-pd-256"]
fabrics = ["zcube-256"]
seeds = 1
[set]
requests.count = 2
load.concurrency = 1
[[points]]
network.queue_pairs = 2
"""
#: What is run for every path that is written, ending of its files ("/" for a folder), and what is put before the path.
WRITTEN: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("compare", "out"): ((*COMPARE, "--out"), "/"),
    ("compare", "trace_out"): ((*COMPARE, "--json", "--trace-out"), ".jsonl"),
    ("matrix", "out"): (MATRIX, "/"),
    ("new", "folder"): (("new",), "/"),
    ("plan", "out"): (("plan", "--gpus", "64", "--nic", "400", "--switch", "12.8T", "--families", "zcube", "--out"), "/"),
    ("sweep", "out"): (("sweep", "FILES/sweep.toml", "--jobs", "1", "--out"), "/"),
    ("report", "out"): (("report", "FILES/run", "--out"), ".html"),
    ("demo", "folder"): (("demo",), "/"),
    ("model import", "out"): (("model", "import", "FILES/config.json", "--out"), ".toml"),
    ("fabric show", "page"): (("fabric", "show", "zcube-n16", "--page"), ".html"),
    ("replay", "page"): ((*FLOWS, "--page"), ".html"),
    ("replay", "out"): ((*FLOWS, "--out"), ".csv"),
    ("replay", "links_out"): ((*FLOWS, "--links-out"), ".parquet"),
    ("replay", "paths_out"): ((*FLOWS, "--paths-out"), ".csv"),
    ("replay", "bins_out"): ((*FLOWS, "--bin-s", "1", "--bins-out"), ".csv"),
    ("replay", "operations_out"): ((*TRACE, "--operations-out"), ".csv"),
    ("replay", "chrome"): ((*TRACE, "--chrome"), ".json"),
    ("replay", "ports_out"): ((*PACKETS, "--ports-out"), ".csv"),
    ("replay", "pauses_out"): ((*PACKETS, "--pauses-out"), ".csv"),
    ("replay", "picture"): ((*PACKETS, "--bin-s", "0.001", "--picture"), ".png"),
    ("replay", "tree"): ((*PACKETS, "--tree"), ".txt"),
    ("fabric draw", "out"): (("fabric", "draw", "zcube-n16", "--out"), ".svg"),
    ("fabric export", "out"): (("fabric", "export", "zcube-n16", "--out"), ".csv"),
    ("fabric import", "topology"): (("fabric", "import", "FILES/links.csv", "--switch-ports", "16"), ".toml"),
    ("fabric verify", "corrected"): (("fabric", "verify", "FILES/plan.csv", "FILES/found.csv", "--corrected"), ".csv"),
    ("trace generate", "out"): ((*GENERATE, "--out"), ".jsonl"),
    ("trace generate", "picture"): ((*GENERATE, "--out", "FILES/other.jsonl", "--picture"), ".png"),
    ("trace generate", "chrome"): ((*GENERATE, "--out", "FILES/other.jsonl", "--chrome"), ".json"),
    ("trace import", "out"): (("trace", "import", "FILES/recorded", "--out"), ".jsonl"),
    ("trace export", "out"): (("trace", "export", "FILES/trace.jsonl", "--out"), ".goal"),
    ("transport copy", "file"): (("transport", "copy", "roce-2023"), ".toml"),
    ("trace show", "picture"): (("trace", "show", "FILES/trace.jsonl", "--picture"), ".svg"),
    ("trace show", "chrome"): (("trace", "show", "FILES/trace.jsonl", "--chrome"), ".json"),
    ("calibrate run", "out"): (("calibrate", "run", "--python", "FILES/none", "--out"), ".json"),
    ("calibrate read", "out"): (("calibrate", "read", str(MEASURED), "--out"), ".json"),
    ("calibrate fit", "out"): (("calibrate", "fit", str(MEASURED), "--draws", "0", "--out"), ".json"),
    ("calibrate fit", "picture"): (
        ("calibrate", "fit", str(MEASURED), "--draws", "0", "--out", "FILES/c.json", "--picture"),
        ".png",
    ),
    ("calibrate fit", "page"): (
        ("calibrate", "fit", str(MEASURED), "--draws", "0", "--out", "FILES/c.json", "--page"),
        ".html",
    ),
}


def make_files(folder: Path, read_by: Iterable[tuple[str, str]] = WRITTEN) -> None:
    """Make what some calls read, named ``FILES/...`` there; by default all."""
    read = {part for call in read_by for part in WRITTEN[call][0]}
    sys.path.append(str(Path(__file__).parent / "contract"))
    from recorded_formats import samples

    (folder / "flows.csv").write_text("src,dst,bytes,start_s\ns0g0,s1g0,1000000,0\n")
    head = "local_device,local_port,remote_device,remote_port\n"
    (folder / "plan.csv").write_text(head + "leaf1,1,spine1,1\nleaf1,2,spine2,1\n")
    (folder / "found.csv").write_text(head + "leaf1,1,spine2,1\nleaf1,2,spine1,1\n")
    (folder / "recorded").write_bytes(next(sample.content for sample in samples() if sample.format == "nccl-log"))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "sweep.toml").write_text(SWEEP)
    made = {
        "run": (*COMPARE, "--out", folder / "run"),
        "links.csv": ("fabric", "export", "zcube-n16", "--format", "links", "--out", folder / "links.csv"),
        "trace.jsonl": (*GENERATE, "--out", folder / "trace.jsonl"),
    }
    for call in (made[name] for name in made if f"FILES/{name}" in read):
        try:
            main([str(part) for part in call])
        except SystemExit as done:
            assert not done.code, call


def written_by(verb: str, name: str, files: Path) -> tuple[list[str], str]:
    """Return the arguments of a call up to the path it writes, and the ending of that ("/" for a folder)."""
    arguments, ending = WRITTEN[verb, name]
    return [str(files) + part.removeprefix("FILES") if part.startswith("FILES/") else part for part in arguments], ending
