"""No verb touches what it did not write: a folder of the user's survives as the target of every option that writes.

The verbs and their paths are taken from the command line itself, so that a new option that takes a path is either told to be
read only, or has a case.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from writing_verbs import COMPARE, MEASURED, WRITTEN, make_files, written_by

from zcube.cli.app import app

pytestmark = pytest.mark.usefixtures("one_picture")

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
    folder = tmp_path_factory.mktemp("files")
    make_files(folder)
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


@pytest.mark.parametrize(("verb", "name"), WRITTEN, ids=lambda part: part.replace(" ", "-"))
def test_the_users_folder_and_files_survive_as_a_target(run, mine: Path, files: Path, verb: str, name: str) -> None:
    arguments, ending = written_by(verb, name, files)
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
    arguments, ending = written_by(verb, name, files)
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
        status, _, err = run(*written_by("replay", "chrome", files)[0][:-1], option, tmp_path / "run" / name)
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
