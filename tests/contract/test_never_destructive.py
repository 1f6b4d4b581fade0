"""No verb touches what it did not write: a folder of the user's survives as the target of every option that writes.

The verbs and their paths are taken from the command line itself, so that a new option that takes a path is either told to be
read only, or has a case.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_formats import samples

from zcube.cli.app import app

pytestmark = pytest.mark.usefixtures("one_picture")

CALIBRATIONS = Path(__file__).resolve().parents[2] / "calibrations"
MEASURED = CALIBRATIONS / "2x-h200-nvlink.json"

#: Paths that verbs read.
READ = {
    ("cost", "racks"), ("fabric show", "racks"), ("fabric export", "racks"), ("fabric import", "source"),
    ("fabric verify", "found"), ("replay", "trace"), ("replay", "against"), ("trace generate", "options"),
    ("trace generate", "calibration"), ("trace import", "files"), ("trace import", "groups"), ("trace import", "topology"),
    ("trace check", "files"), ("trace check", "groups"), ("trace check", "topology"), ("trace export", "trace"),
    ("trace show", "trace"), ("calibrate run", "nccl_tests"),
    ("calibrate run", "python"), ("calibrate read", "files"), ("calibrate fit", "files"), ("calibrate check", "files"),
    ("calibrate check", "calibration"), ("model import", "config"), ("report", "folders"),
}  # fmt: skip

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
#: Verbs that write nothing, whatever they are told.
SILENT = {
    "cost", "warm", "trace check", "fabric check", "fabric adversary", "fabric degrade", "calibrate check",
    "transport list", "transport show", "model list", "model show", "device list", "device show",
}  # fmt: skip


def verbs(typer_app: Any = app, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for found in typer_app.registered_commands:
        yield " ".join((*before, found.name)), found.callback
    for group in typer_app.registered_groups:
        yield from verbs(group.typer_instance, (*before, group.name))


def takes_a_path(hint: Any) -> bool:
    return hint is Path or any(takes_a_path(part) for part in typing.get_args(hint))


def test_every_path_of_every_verb_is_known_to_be_read_or_has_a_case() -> None:
    paths = {(verb, name) for verb, call in verbs() for name, hint in typing.get_type_hints(call).items() if takes_a_path(hint)}
    assert paths == READ | set(WRITTEN)
    assert {verb for verb, _ in verbs()} == SILENT | {verb for verb, _ in WRITTEN}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verbs read."""
    from zcube.cli import main

    folder = tmp_path_factory.mktemp("files")
    (folder / "flows.csv").write_text("src,dst,bytes,start_s\ns0g0,s1g0,1000000,0\n")
    head = "local_device,local_port,remote_device,remote_port\n"
    (folder / "plan.csv").write_text(head + "leaf1,1,spine1,1\nleaf1,2,spine2,1\n")
    (folder / "found.csv").write_text(head + "leaf1,1,spine2,1\nleaf1,2,spine1,1\n")
    (folder / "recorded").write_bytes(next(sample.content for sample in samples() if sample.format == "nccl-log"))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "sweep.toml").write_text(SWEEP)
    for call in (
        (*COMPARE, "--out", folder / "run"),
        ("fabric", "export", "zcube-n16", "--format", "links", "--out", folder / "links.csv"),
        (*GENERATE, "--out", folder / "trace.jsonl"),
    ):
        with pytest.raises(SystemExit) as done:
            main([str(part) for part in call])
        assert not done.value.code
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's, with a record that is none of ours, a paper, figures and a subfolder."""
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.json").write_text('{"run": 1}')
    (folder / "thesis.tex").write_text("\\documentclass{article}")
    (folder / "sub" / "notes.txt").write_text("notes")
    for ending in {ending for _, ending in WRITTEN.values()} - {"/"}:
        (folder / f"link{ending}").symlink_to(folder / "thesis.tex")
    return folder


def content(folder: Path) -> dict[str, bytes | str | None]:
    """Return every path below a folder: a file's bytes, a link's target, None for a folder."""

    def of(path: Path) -> bytes | str | None:
        return str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None

    return {str(path.relative_to(folder)): of(path) for path in sorted(folder.rglob("*"))}


def call(verb: str, name: str, files: Path) -> tuple[list[str], str]:
    arguments, ending = WRITTEN[verb, name]
    return [str(files) + part.removeprefix("FILES") if part.startswith("FILES/") else part for part in arguments], ending


@pytest.mark.parametrize(("verb", "name"), WRITTEN, ids=lambda part: part.replace(" ", "-"))
def test_the_users_folder_and_files_survive_as_a_target(run, mine: Path, files: Path, verb: str, name: str) -> None:
    arguments, ending = call(verb, name, files)
    before = content(mine)
    targets = [mine, mine / "run.json", mine / "thesis.tex", mine / "sub", mine / "thesis.tex" / f"deeper{ending.strip('/')}"]
    if ending != "/":
        targets.append(mine / f"link{ending}")
    for target in targets:
        status, out, err = run(*arguments, target)
        assert (status, out) == (2, ""), (target, err)
        assert content(mine) == before, target


@pytest.mark.parametrize(("verb", "name"), WRITTEN, ids=lambda part: part.replace(" ", "-"))
def test_what_stands_beside_a_new_name_survives(
    run, mine: Path, files: Path, verb: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written twice, into the folder and from within it: only the new name appears, replacing it touches no other."""
    arguments, ending = call(verb, name, files)
    monkeypatch.chdir(mine)
    before = content(mine)
    for _ in range(2):
        status, _, err = run(*arguments, mine / f"new{ending.strip('/')}")
        after = content(mine)
        assert {path: after.get(path) for path in before} == before
        appeared = set(after) - set(before)
        assert all(path.split("/")[0].startswith("new") for path in appeared), appeared
        if verb == "calibrate run":
            # Nothing is measured without GPUs.
            assert status == 2 and not appeared
            return
        assert appeared and (status in (0, 1) or (verb == "new" and status == 2)), err


def test_names_that_nobody_gave_are_not_taken_from_anybody(run, files: Path, tmp_path: Path, monkeypatch) -> None:
    """The default names of a drawing and of a calibration, and the link list beside an imported topology."""
    monkeypatch.chdir(tmp_path)
    calls = {
        "zcube-n16.svg": ("fabric", "draw", "zcube-n16"),
        "calibration.json": ("calibrate", "fit", MEASURED, "--draws", "0"),
        "made.links.csv": ("fabric", "import", files / "links.csv", "made.toml", "--switch-ports", "16"),
    }
    for name, arguments in calls.items():
        (tmp_path / name).write_text("mine")
        status, out, err = run(*arguments)
        assert (status, out) == (2, "") and "did not write" in err and name in err
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
        for _ in range(2):
            status, _, err = run(*arguments)
            assert status == 0, err
        assert (tmp_path / name).read_text() != "mine"


def test_files_of_a_run_are_not_replaced_by_other_verbs(run, files: Path, tmp_path: Path) -> None:
    run(*COMPARE, "--out", tmp_path / "run")
    before = content(tmp_path / "run")
    for name in ("links-zcube-256.parquet", "run.json"):
        option = "--chrome" if name == "run.json" else "--operations-out"
        status, _, err = run(*call("replay", "chrome", files)[0][:-1], option, tmp_path / "run" / name)
        assert status == 2 and "a run record" in err
    assert content(tmp_path / "run") == before


def test_what_is_read_is_not_written(run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "made.links.csv").write_bytes((files / "links.csv").read_bytes())
    before = content(files) | content(tmp_path)
    for arguments, target in (
        (("fabric", "verify", files / "plan.csv", files / "found.csv", "--corrected"), files / "found.csv"),
        (("fabric", "verify", files / "plan.csv", files / "found.csv", "--corrected"), files / "plan.csv"),
        (("fabric", "import", tmp_path / "made.links.csv", "--switch-ports", "16"), tmp_path / "made.toml"),
    ):
        status, _, err = run(*arguments, target)
        assert status == 2 and "a file of its own" in err
    assert content(files) | content(tmp_path) == before
