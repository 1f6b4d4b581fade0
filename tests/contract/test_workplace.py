"""What dead runs left beside a target goes with the next run into it, and nothing else does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zcube.atomic_names import exchange_names
from zcube.out_folder import out_folder
from zcube.outputs import write_file
from zcube.workplace import MARK, clear_leftovers, digests, workplace

RECORD = {"record_version": 1, "zcube_version": "0"}

#: A run that stops in the middle of writing NAME until it is killed.
STOPS = """
import sys, time
from pathlib import Path
from zcube.out_folder import out_folder
from zcube.outputs import write_file

def stop(place):
    (place / "half.csv" if place.is_dir() else place).write_text("half")
    print("writing", flush=True)
    time.sleep(60)

path = Path(sys.argv[2])
if sys.argv[1] == "file":
    write_file(path, stop)
else:
    out_folder(path).write(stop, {"record_version": 1, "zcube_version": "0"})
"""


def stopped(kind: str, path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", STOPS, kind, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    return child


def write(kind: str, path: Path) -> None:
    if kind == "file":
        write_file(path, lambda temporary: temporary.write_text("new"))
    else:
        out_folder(path).write(lambda folder: (folder / "new.csv").write_text("new"), RECORD)


def hidden(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_killed_runs_left_goes_with_the_next_run(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.[x]"
    for _ in range(2):
        child = stopped(kind, path)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(hidden(tmp_path)) == 1
    write(kind, path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_living_run_makes_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    child = stopped(kind, path)
    try:
        write(kind, path)
        clear_leftovers(path)
        assert len(hidden(tmp_path)) == 1
    finally:
        child.kill()
        child.wait()
    clear_leftovers(path)
    assert hidden(tmp_path) == []


def left_behind(path: Path, **mark: object) -> Path:
    """Make what a run leaves that is killed, with a file in its content."""
    here = path.with_name(f".{path.name}.zcube-abcd1234")
    (here / "content").mkdir(parents=True)
    (here / "content" / "mine.txt").write_text("mine")
    (here / MARK).write_text(json.dumps({"content": (here / "content").stat().st_ino, "replaces": None} | mark))
    return here


def test_the_folder_that_a_killed_run_had_replaced_goes(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write("folder", path)
    here = left_behind(path, replaces=digests(path))
    exchange_names(here / "content", path)
    clear_leftovers(path)
    assert not here.exists() and (path / "mine.txt").exists()


def test_what_another_put_in_the_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write("folder", path)
    here = left_behind(path, replaces=digests(path))
    (path / "of the user.txt").write_text("kept")
    exchange_names(here / "content", path)
    clear_leftovers(path)
    assert (here / "content" / "of the user.txt").read_text() == "kept"


@pytest.mark.parametrize("change", ["no mark", "no JSON", "another file", "a link", "a list", "nested"])
def test_a_hidden_folder_that_is_not_surely_ours_stays(tmp_path: Path, change: str) -> None:
    path = tmp_path / "out"
    here = left_behind(path)
    mark = here / MARK
    if change == "no mark":
        mark.unlink()
    elif change in ("no JSON", "a list", "nested"):
        mark.write_text({"no JSON": "{", "a list": "[1]", "nested": "[" * 100_000}[change])
    elif change == "another file":
        (here / "notes.txt").write_text("notes")
    else:
        here.rename(tmp_path / "elsewhere")
        here.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    clear_leftovers(path)
    assert (here / "content" / "mine.txt").read_text() == "mine"


def test_targets_of_other_names_keep_theirs(tmp_path: Path) -> None:
    here = left_behind(tmp_path / "out.csv.zip")
    clear_leftovers(tmp_path / "out.cs")
    assert here.exists()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="space"):
        out_folder(tmp_path / "out").write(fail, RECORD)
    with pytest.raises(RuntimeError), workplace(tmp_path / "out") as content:
        assert content.is_dir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["a pipe", "a link"])
def test_a_mark_that_is_no_plain_file_is_anothers(tmp_path: Path, kind: str) -> None:
    here = left_behind(tmp_path / "out")
    (here / MARK).rename(tmp_path / "mark")
    os.mkfifo(here / MARK) if kind == "a pipe" else (here / MARK).symlink_to(tmp_path / "mark")
    clear_leftovers(tmp_path / "out")
    assert (here / "content" / "mine.txt").exists()
