"""``run.json`` holds what was asked for beside the runs, and a repeated run does it again; all its faults come at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from zcube import fabric_run
from zcube.cli import main

pytestmark = pytest.mark.usefixtures("one_picture")

SMALL = [
    "nic-cap-32", "--fabric", "roft-32", "--set", "requests.count=60", "--set", "load.concurrency=12", "--set",
    "measure.least_requests=5", "--set", "measure.least_filled=0", "--set", "measure.least_turnovers=0", "--seeds", "1",
    "--set", "network.fidelity=flow", "--jobs", "1",
]  # fmt: skip
ASKED = ["--sweep", "load.concurrency=6,12", "--microscope", "1", "--microscope-hops", "2e5"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run, for copies."""
    folder = tmp_path_factory.mktemp("repeated") / "one"
    with pytest.raises(SystemExit) as done:
        main(["compare", *SMALL, *ASKED, "--out", str(folder)])
    assert done.value.code == 0
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "one")


def test_a_repeated_run_does_all_that_was_asked_for(run, folder: Path, tmp_path: Path):
    asked = json.loads((folder / "run.json").read_text())["asked"]
    assert asked["sweep"] == "load.concurrency=6,12" and not asked["sensitivity"]
    assert asked["microscope"]["windows"] == 1 and asked["find_knee"] is None
    status, _, err = run("compare", folder / "run.json", "--jobs", "1", "--out", tmp_path / "two")
    assert status == 0, err
    assert (tmp_path / "two" / "summary.json").read_bytes() == (folder / "summary.json").read_bytes()
    assert json.loads((tmp_path / "two" / "run.json").read_text())["asked"] == asked


def test_options_take_the_place_of_what_was_asked_for(run, folder: Path):
    status, out, err = run(
        "compare", folder / "run.json", "--sweep", "seed=3", "--microscope-hops", "1e5", "--json", "--jobs", "1"
    )
    assert status == 0, err
    document = json.loads(out)
    assert [one["setting"] for one in document["sweep"]["runs"]] == ["3"]
    assert (document["microscope"]["windows"], document["microscope"]["packet_hops"]) == (1, 1e5)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], "asked: found 'list'"),
        ({"microscope": {"windows": 0}}, "asked: microscope.windows: found 0"),
        ({"find_capacity": {"share": 2}}, "asked: find_capacity.share: found 2"),
        ({"no-such": 1}, "asked: no-such"),
        ({"sweep": "no.such=1"}, "no.such"),
    ],
)
def test_a_record_that_asks_for_what_cannot_be_is_refused(run, folder: Path, asked: Any, told: str, monkeypatch):
    monkeypatch.setattr(fabric_run, "serve", lambda *_: pytest.fail("simulated"))
    record = json.loads((folder / "run.json").read_text())
    (folder.parent / "other.json").write_text(json.dumps({**record, "asked": asked}))
    status, out, err = run("compare", folder.parent / "other.json", "--json")
    assert (status, out) == (2, "")
    assert told in err


def test_all_faults_of_options_are_told_at_once(run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(fabric_run, "serve", lambda *_: pytest.fail("simulated"))
    options = ["--trace-out", tmp_path / "run.txt", "--trace-fabric", "other", "--microscope", "0", "--sweep", "no.such=1"]
    more = ["--find-capacity", "--knee-share", "0.1", "--out", tmp_path / "out"]
    status, out, err = run("compare", *SMALL, *options, *more)
    assert (status, out) == (2, "")
    for text in (
        "--trace-out",
        "--trace-fabric",
        "--microscope: found 0",
        "no.such",
        "slo: found no bound",
        "--knee-share: found",
    ):
        assert text in err, text
    assert not (tmp_path / "out").exists()


def test_a_key_that_moves_nothing_is_said(run):
    status, out, err = run("compare", *SMALL, "--sweep", "prefill.prefix_cache_tokens=8000000,9000000", "--json")
    assert status == 0, err
    assert [(one["is_scenario"], one["moves"]) for one in json.loads(out)["sweep"]["runs"]] == [(True, False), (False, False)]
    status, out, err = run("compare", *SMALL, "--sweep", "prefill.prefix_cache_tokens=8000000,9000000,50000")
    assert status == 0, err
    assert "Moves no figure above, to the last digit: prefill.prefix_cache_tokens 9000000." in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--calibration-draws", "4"], "network.calibration with network.calibration_draws"),
        (["--set", "network.roft-32.calibration_draws=4"], "network.calibration with network.calibration_draws"),
        (["--fabric", "roft-32+tilert+batched"], "one engine behind a fabric, not roft-32+tilert+batched"),
        (["--fabric", "roft-32+tilert+tilert"], "one engine behind a fabric, not roft-32+tilert+tilert"),
    ],
)
def test_what_contradicts_itself_is_refused(run, options: list[str], told: str):
    status, out, err = run("compare", *SMALL, *options, "--json")
    assert (status, out) == (2, "")
    assert told in err
