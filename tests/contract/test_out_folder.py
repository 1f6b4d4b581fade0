"""Folders of results: what of the user's is in the way stays, and at every instant old or new stands whole under the name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zcube import atomic_names, out_folder
from zcube.errors import InputError
from zcube.out_folder import new_folder
from zcube.out_folder import out_folder as look
from zcube.outputs import write_file

RECORD = {"record_version": 1, "zcube_version": "0", "call": ["compare"]}


def fill(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "summary.json").write_text(text)
        (folder / "report.html").write_text(f"<p>{text}</p>")

    return write


def written(path: Path, text: str = "old") -> Path:
    return look(path).write(fill(text), RECORD)


def content(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def is_whole(path: Path) -> str:
    """Return what a folder holds, ``old`` or ``new``, having checked that it holds all of it."""
    text = (path / "summary.json").read_text()
    assert (path / "report.html").read_text() == f"<p>{text}</p>"
    assert set(json.loads((path / "run.json").read_text())["files"]) == {"summary.json", "report.html"}
    return text


def test_a_new_an_empty_and_an_earlier_folder_are_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "deep/er"):
        assert written(tmp_path / name) == tmp_path / name
        assert written(tmp_path / name, "new") == tmp_path / name
        assert is_whole(tmp_path / name) == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty", "new"]


def own(path: Path) -> None:
    written(path)


def foreign_record(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text('{"run": 1}')
    (path / "summary.json").write_text("{}")


def record_without_files(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text(json.dumps(RECORD))


def deep_record(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("prepare", "spoil", "named"),
    [
        (own, lambda path: (path / "thesis.tex").write_text("x"), "thesis.tex"),
        (own, lambda path: (path / "sub").mkdir(), "sub"),
        (own, lambda path: (path / "summary.json").write_text("by hand"), "changed since"),
        (own, lambda path: ((path / "summary.json").unlink(), (path / "summary.json").mkdir()), "summary.json"),
        (own, lambda path: (path / "run.json").write_text("{}"), "no run.json of a run"),
        (own, lambda path: (path / "run.json").write_text("no json"), "no run.json of a run"),
        (own, lambda path: (path / "run.json").unlink(), "no run.json of a run"),
        (foreign_record, lambda path: None, "no run.json of a run"),
        (record_without_files, lambda path: None, "no run.json of a run"),
        (deep_record, lambda path: None, "no run.json of a run"),
    ],
)
def test_what_is_the_users_stays(
    tmp_path: Path, prepare: Callable[[Path], None], spoil: Callable[[Path], object], named: str
) -> None:
    target = tmp_path / "out"
    prepare(target)
    spoil(target)
    before = content(target)
    with pytest.raises(InputError, match=named):
        look(target)
    assert content(target) == before


def test_a_link_in_the_folder_and_a_link_to_it_stay(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    written(target)
    elsewhere.mkdir()
    (target / "report.html").rename(elsewhere / "report.html")
    (target / "report.html").symlink_to(elsewhere / "report.html")
    with pytest.raises(InputError, match=r"report\.html"):
        look(target)
    written(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(InputError, match="a link"):
            look(tmp_path / name)


def test_places_that_cannot_be_written_are_named_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    for path, found in (
        (tmp_path / "file", "a file"),
        (tmp_path / "file" / "out", "which is a file"),
        (tmp_path / "file" / "deep" / "out", "which is a file"),
        (Path(), "the present folder"),
        (Path(".."), "the present folder"),
        (tmp_path / "here", "the present folder"),
    ):
        with pytest.raises(InputError, match=found):
            look(path)
        with pytest.raises(InputError, match="something there" if path.exists() else found):
            new_folder(path, fill("new"))
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no mount point known on this system")
def test_a_mount_point_is_named() -> None:
    with pytest.raises(InputError, match="a mount point"):
        look(Path("/proc"))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_failing_rename_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    target = tmp_path / "out"
    written(target)
    if not at_once:
        monkeypatch.setattr(atomic_names, "_exchanged_at_once", lambda one, other: False)
    renamed, calls = Path.rename, []

    def fails(path: Path, to: Path) -> Path:
        calls.append(to)
        # The step that gives the new folder the target's name.
        if Path(to) == target and path.name != f"{path.name.removesuffix('.aside')}.aside":
            raise OSError("no")
        return renamed(path, to)

    def refuses(one: Path, other: Path) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        if at_once:
            patch.setattr(out_folder, "exchange_names", refuses)
        with pytest.raises(OSError, match="no"):
            written(target, "new")
    assert is_whole(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert at_once or calls


@pytest.mark.parametrize("at_once", [True, False])
def test_names_are_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    if not at_once:
        monkeypatch.setattr(atomic_names, "_exchanged_at_once", lambda one, other: False)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    atomic_names.exchange_names(tmp_path / "one", tmp_path / "other")
    assert content(tmp_path) == {"one/other": "other", "other/one": "one"}


def test_two_runs_into_one_folder_both_stay(tmp_path: Path) -> None:
    """Both looked before either wrote, for a folder that is new, empty or an earlier run's."""
    (tmp_path / "empty").mkdir()
    written(tmp_path / "earlier")
    for name in ("new", "empty", "earlier"):
        first, second = look(tmp_path / name), look(tmp_path / name)
        assert first.write(fill("first"), RECORD) == tmp_path / name
        assert second.write(fill("second"), RECORD) == tmp_path / f"{name}-2"
        assert (is_whole(tmp_path / name), is_whole(tmp_path / f"{name}-2")) == ("first", "second")


def test_a_folder_changed_while_its_names_are_exchanged_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    written(target)
    exchange = out_folder.exchange_names

    def late(one: Path, other: Path) -> None:
        if other == target:
            (target / "thesis.tex").write_text("late")
        exchange(one, other)

    monkeypatch.setattr(out_folder, "exchange_names", late)
    assert written(target, "new") == target
    assert is_whole(target) == "new"
    assert (tmp_path / "out-2" / "thesis.tex").read_text() == "late"
    assert is_whole(tmp_path / "out-2") == "old"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="killed with a POSIX signal")
def test_killed_at_any_instant_old_or_new_stands_whole(tmp_path: Path) -> None:
    """A process that replaces a folder over and over is killed; whichever it was at, the name holds a whole folder."""
    target = tmp_path / "out"
    written(target)
    code = (
        "import sys; from pathlib import Path; from zcube.out_folder import out_folder\n"
        "target, record = Path(sys.argv[1]), {'record_version': 1, 'zcube_version': '0'}\n"
        "def fill(folder):\n"
        "    (folder / 'summary.json').write_text('new'); (folder / 'report.html').write_text('<p>new</p>')\n"
        "print('ready', flush=True)\n"
        "while True: assert out_folder(target).write(fill, record) == target\n"
    )
    for number in range(10):
        with subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(0.003 * (1 + number))
            process.kill()
        assert is_whole(target) in ("old", "new")
    assert is_whole(target) == "new"


def test_a_file_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_file(tmp_path / "link.txt", lambda path: path.write_text("new"))
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied here")
@pytest.mark.parametrize("earlier", [False, True])
def test_eight_runs_at_once_into_one_folder_and_one_file_all_end_whole(tmp_path: Path, earlier: bool) -> None:
    path, file, runs = tmp_path / "out", tmp_path / "table.csv", 8
    if earlier:
        out_folder.out_folder(path).write(lambda folder: (folder / "table.csv").write_text("earlier"), RECORD)
    begins, begin = os.pipe()
    children = []
    for run in range(runs):
        if (child := os.fork()) == 0:
            status = 1
            try:
                os.close(begin)
                looked = out_folder.out_folder(path)
                os.read(begins, 1)
                looked.write(lambda folder, run=run: (folder / "table.csv").write_text(f"{run}" * 50_000), RECORD)
                write_file(file, lambda place, run=run: place.write_text(f"{run}" * 50_000))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    time.sleep(0.2)
    os.close(begin)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * runs
    os.close(begins)
    folders = sorted(entry for entry in tmp_path.iterdir() if entry.is_dir())
    contents = [(folder / "table.csv").read_text() for folder in folders]
    assert {name.name for name in folders} == {"out", *(f"out-{number}" for number in range(2, runs + 1))}
    assert sorted(contents) == [f"{run}" * 50_000 for run in range(runs)]
    for folder in folders:
        out_folder.out_folder(folder)
    assert file.read_text() in contents and len(list(tmp_path.iterdir())) == runs + 1
