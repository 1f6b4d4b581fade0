"""What dead runs left beside a target goes with the next run into it, and nothing else does."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zcube.atomic_names import exchange_names
from zcube.errors import OutputError
from zcube.out_folder import out_folder
from zcube.outputs import write_file, write_files, write_new_file
from zcube.workplace import MARK, clear_leftovers, digests, workplace

RECORD = {"record_version": 1, "zcube_version": "0"}

#: A run that stops in the middle of writing NAME until it is killed.
STOPS = """
import sys, time
from pathlib import Path
from zcube.out_folder import out_folder
from zcube.outputs import write_file, write_files, write_new_file

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


@pytest.mark.parametrize(
    "left", ["empty", "no mark yet", "half a mark", "no content", "half removed", "removed but for its mark"]
)
def test_whatever_instant_its_maker_was_killed_at_a_workplace_goes(tmp_path: Path, left: str) -> None:
    path = tmp_path / "out.csv"
    here = tmp_path / ".out.csv.zcube-abcd1234"
    here.mkdir()
    if left != "empty":
        (here / MARK).write_text("" if left == "no mark yet" else '{"content": ' if left == "half a mark" else "{}")
    if left == "half a mark":
        (here / "content").mkdir()
    elif left == "half removed":
        (here / "given-up").mkdir()
        (here / "given-up" / "rest").write_text("rest")
    write_file(path, lambda temporary: temporary.write_text("new"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_a_hidden_folder_of_the_users_stays_though_it_is_empty_and_begins_with_the_name(tmp_path: Path) -> None:
    (tmp_path / ".out.csv.d").mkdir()
    write_file(tmp_path / "out.csv", lambda temporary: temporary.write_text("new"))
    assert (tmp_path / ".out.csv.d").is_dir()


@pytest.mark.parametrize("renames", [1, 2])
def test_an_old_folder_killed_between_the_steps_of_an_exchange_comes_back_or_goes(tmp_path: Path, renames: int) -> None:
    """Where the system cannot exchange two names at once."""
    path = tmp_path / "out"
    write("folder", path)
    old = digests(path)
    here = left_behind(path, replaces=old)
    path.rename(here / "content.aside")
    if renames == 2:
        (here / "content").rename(path)
    clear_leftovers(path)
    assert not hidden(tmp_path)
    assert digests(path) == old if renames == 1 else (path / "mine.txt").exists()


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".csv")
    write_file(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_the_target_is_named_where_the_system_names_none(tmp_path: Path, number: int) -> None:
    def fail(temporary: Path) -> None:
        raise OSError(number, os.strerror(number))

    for path, make in (
        (tmp_path / "a.csv", write_file),
        (tmp_path / "a", lambda path, fill: out_folder(path).write(fill, RECORD)),
    ):
        with pytest.raises(OutputError, match=f"^{re.escape(str(path))} cannot be written: {os.strerror(number)}$"):
            make(path, fail)


def test_folders_made_on_the_way_go_if_nothing_comes_of_it(tmp_path: Path) -> None:
    def fail(temporary: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError):
        out_folder(tmp_path / "a" / "b" / "out").write(fail, RECORD)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run) -> None:
    whole = os.statvfs(tmp_path)

    def full(path: object) -> os.statvfs_result:
        return os.statvfs_result((*whole[:3], 7, 7, *whole[5:10]))

    monkeypatch.setattr(os, "statvfs", full)
    for arguments in (
        ("fabric", "draw", "zcube-n16", "--out", tmp_path / "a.svg"), ("transport", "copy", "roce-2023", tmp_path / "a.toml"),
        ("compare", "--out", tmp_path / "run"),
    ):  # fmt: skip
        status, _, err = run(*arguments)
        assert status == 2 and "bytes free on its disk" in err, err


def test_paths_that_cannot_be_followed_are_faults(tmp_path: Path, run) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "loop.svg").symlink_to(tmp_path / "loop.svg")
    draw = ("fabric", "draw", "zcube-n16", "--out")
    long = "a" * 300
    for arguments in (
        (*draw, tmp_path / "loop" / "x.svg"), (*draw, tmp_path / "loop.svg"), (*draw, tmp_path / f"{long}.svg"),
        ("demo", tmp_path / "loop" / "x"), ("demo", tmp_path / long),
        ("transport", "copy", "roce-2023", tmp_path / f"{long}.toml"),
    ):  # fmt: skip
        status, _, err = run(*arguments)
        assert status == 2 and "cannot be followed" in err, err


def test_files_that_belong_together_get_their_names_or_keep_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.csv"
    write_files({one: "1", other: "1"})
    replace = Path.replace

    def fails_at_the_second(self: Path, target: Path) -> Path:
        if self.name == "other.csv":
            raise OSError(errno.EIO, "no")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_at_the_second)
    for before in ("1", None):
        with pytest.raises(OutputError):
            write_files({one: "2", other: "2"})
        assert [path.read_text() if path.exists() else None for path in (one, other)] == [before, before]
        one.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_takes_no_name_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.toml"

    def without_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    assert write_new_file(path, "1") and not write_new_file(path, "2") and path.read_text() == "1"
    path.unlink()
    monkeypatch.setattr(Path, "hardlink_to", without_links)
    assert write_new_file(path, "2") and path.read_text() == "2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.toml"]


@pytest.mark.parametrize("name", ["before", "before-it", "content"])
def test_files_of_several_take_whatever_name_they_have(tmp_path, name):
    target = tmp_path / name
    for text in ("1", "2"):
        write_files({target: text, tmp_path / "other": text})
        assert target.read_text() == text
