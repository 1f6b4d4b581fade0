"""Pictures that copies of this process draw: the same as drawn here, whatever becomes of a copy, and none is left behind."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from zcube import process_copy
from zcube.cli.progress import RunProgress
from zcube.progress import silent
from zcube.report.drawing import drawing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")


@pytest.fixture(autouse=True)
def copied(monkeypatch):
    monkeypatch.setattr(process_copy, "can_be_copied", lambda: True)


def bar(height: float) -> Figure:
    figure = Figure(figsize=(2, 2), layout="constrained")
    figure.subplots().bar([0], [height])
    return figure


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_are_the_same_whoever_draws_them(tmp_path):
    draws = {f"bar-{height}": partial(bar, height) for height in range(1, 8)}
    found = {}
    for jobs in (1, 3):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        with drawing(draws, folder, jobs) as ended:
            svg = ended(silent)
        assert list(svg) == list(draws)
        found[jobs] = pictures(folder)
        assert {f"{name}.svg": svg[name] for name in draws}.items() <= found[jobs].items()
    assert found[1] == found[3]
    assert len(found[1]) == 14


def test_copies_draw(tmp_path):
    """Of pictures that one process would draw one after the other several are drawn at once."""
    own, drawn_by = os.getpid(), tmp_path / "drawn-by"
    drawn_by.mkdir()

    def noted(height):
        (drawn_by / f"{os.getpid()} {height}").touch()
        while len({path.name.split()[0] for path in drawn_by.iterdir()}) < 2:
            time.sleep(0.01)
        return bar(height)

    with drawing({f"bar-{height}": partial(noted, height) for height in range(3)}, tmp_path, 2) as ended:
        ended(silent)
    assert len({path.name.split()[0] for path in drawn_by.iterdir()} - {str(own)}) == 1


@pytest.mark.parametrize("ends", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: [].pop()], ids=["killed", "an error"])
def test_what_a_copy_did_not_come_to_draw_is_drawn_here(ends, tmp_path):
    own, begun = os.getpid(), tmp_path / "begun"

    def draw(height):
        if os.getpid() != own:
            (tmp_path / f"bar-{height}.png").write_bytes(b"half a picture")
            begun.touch()
            ends()
        while not begun.exists():
            time.sleep(0.01)
        return bar(height)

    with drawing({f"bar-{height}": partial(draw, height) for height in range(3)}, tmp_path, 2) as ended:
        ended(silent)
    begun.unlink()
    assert all(content.startswith((b"\x89PNG", b"<?xml")) for content in pictures(tmp_path).values())
    assert len(pictures(tmp_path)) == 6


def test_a_fault_of_a_picture_is_told_here(tmp_path):
    def faulty():
        raise ValueError("no such picture")

    with pytest.raises(ValueError, match="no such picture"), drawing({"one": faulty, "two": faulty}, tmp_path, 2) as ended:
        ended(silent)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("copies", [0, 1])
def test_where_no_further_process_may_begin_fewer_draw(copies, tmp_path, monkeypatch):
    fork, forks = os.fork, []

    def at_most():
        forks.append(1)
        if len(forks) > copies:
            raise OSError(errno.EAGAIN, "no more processes")
        return fork()

    monkeypatch.setattr(os, "fork", at_most)
    with drawing({f"bar-{height}": partial(bar, height) for height in range(4)}, tmp_path, 4) as ended:
        assert len(ended(silent)) == 4


def test_a_copy_ends_where_the_system_keeps_no_status(tmp_path):
    """Who ignores SIGCHLD, as some that start other programs leave it, cannot wait for a status."""
    code = (
        "import signal, sys, time\nfrom pathlib import Path\nfrom matplotlib.figure import Figure\n"
        "from zcube import process_copy\nfrom zcube.progress import silent\nfrom zcube.report.drawing import drawing\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprocess_copy.can_be_copied = lambda: True\n"
        "copy = process_copy.Copy(lambda: None)\nwhile copy.poll() is None:\n    time.sleep(0.01)\n"
        "with drawing({name: Figure for name in 'abc'}, Path(sys.argv[1]), 2) as ended:\n"
        "    print(copy.poll(), *ended(silent))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert shown == "1 a b c\n"


def test_an_interrupt_leaves_no_copy(tmp_path):
    def long():
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt), drawing({"one": long, "two": long, "three": long}, tmp_path, 3):
        assert len(multiprocessing.active_children()) == 2
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


def test_a_bar_on_a_terminal_keeps_no_process_from_being_copied(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    with RunProgress(compiles=False) as progress:
        progress("simulating", 1.0, 2.0, "%")
        assert progress._bar is not None
        assert len(list(tasks.iterdir())) == before
