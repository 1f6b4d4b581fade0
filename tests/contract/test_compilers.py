"""Processes that compile kernels: copies that nobody hears and none of which is left behind, others where copies may not be."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from zcube import compile_cache, compilers, process_copy, warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux")


@pytest.fixture(autouse=True)
def copied(tmp_path, monkeypatch):
    """Two groups are missing, and this process can be copied."""
    monkeypatch.setattr(process_copy, "can_be_copied", lambda: True)
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    monkeypatch.setattr(warm, "processors", lambda: 2)
    monkeypatch.setattr(warm, "missing_groups", lambda groups: [["flow"], ["routing"]])


def test_a_copy_of_this_process_compiles_and_is_not_heard(tmp_path, monkeypatch, capfd):
    """Standard output is the verb's own; an interrupt of both is for the verb to tell."""

    def compile_groups(groups):
        os.write(sys.__stdout__.fileno(), b"compiling")
        (tmp_path / f"began {groups[0]}").touch()
        time.sleep(0.5)
        (tmp_path / f"compiled {groups[0]}").touch()

    monkeypatch.setattr(warm, "compile_groups", compile_groups)
    with warm.KernelsAhead(["flow", "routing"]) as ahead:
        while len(list(tmp_path.glob("began *"))) < 2:
            time.sleep(0.01)
        for copy in ahead._beside:
            os.kill(copy.process.pid, signal.SIGINT)
        for copy in ahead._beside:
            copy.wait()
    assert {path.name for path in tmp_path.glob("compiled *")} == {"compiled flow", "compiled routing"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_copy_ends_when_it_is_told_to(number):
    # Under nohup it would not hear of a terminal that is gone, and should not.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        copy = compilers.started(lambda groups: time.sleep(60), ["flow"])
    finally:
        signal.signal(number, before)
    os.kill(copy.process.pid, number)
    copy.wait()
    assert copy.process.exitcode == -number


def test_a_copy_ends_with_a_process_that_is_killed():
    code = (
        "import os, signal, time\nfrom zcube.process_copy import Copy\n"
        "copy = Copy(time.sleep, 60)\ntime.sleep(0.5)\nprint(copy.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == -signal.SIGKILL
    stat = Path(f"/proc/{shown.stdout.strip()}/stat")
    for _ in range(500):
        # Whoever takes on orphans may not have asked how it ended.
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("the copy goes on")


def test_an_interrupt_while_copies_are_made_leaves_none(monkeypatch):
    """Whoever is interrupted before it holds them could not end them, and would wait for them at its own end."""
    monkeypatch.setattr(warm, "compile_groups", lambda groups: time.sleep(60))
    held_back, begun = process_copy.signals_held_back, []

    @contextmanager
    def interrupted():
        with held_back():
            yield
            begun.append(multiprocessing.active_children())
            if len(begun) == 2:
                # To this thread: another one, of whoever runs the tests, would take it at some later time.
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(process_copy, "signals_held_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        warm.KernelsAhead(["flow", "routing"])
    (first,), both = begun
    assert not first.is_alive()
    # The one that nobody holds ends with this process, of which it is a daemon.
    assert all(process.daemon for process in both)
    for process in both:
        process.kill()
        process.join()


def test_a_worker_of_a_pool_compiles_in_a_process_begun_anew(monkeypatch):
    """Python lets it have no copies."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with warm.KernelsAhead(["flow", "routing"]) as ahead:
        assert [type(process) for process in ahead._beside] == [subprocess.Popen, subprocess.Popen]
