"""What a user sees while waiting: on stderr only, nothing of short runs, the phase and the time left of long ones."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from zcube.cli import main
from zcube.cli import progress as lines
from zcube.cli.progress import COMPILING, RunProgress

pytestmark = pytest.mark.usefixtures("one_picture")

FLOWS = "src,dst,bytes,start_s\n0,9,1e6,0\n"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_short_run_says_nothing_in_a_pipe(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(clock=clock) as progress:
        for step in range(20):
            progress("reading" if step < 3 else "simulating", step, 20, "flows")
            clock.now_s += 0.09
    assert said(capsys) == []


def test_a_long_run_names_its_phases_and_the_time_left_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(clock=clock) as progress:
        progress("reading", 0, 0, "")
        clock.now_s = 3.0
        progress("routing", 0, 100, "pairs")
        for step in range(1, 101):
            clock.now_s += 0.25
            progress("routing", step, 100, "pairs")
        progress("simulating roft-1024, fabric 1 of 2", 0.0, 2.0, "%")
    assert said(capsys) == [
        "routing: 0 of 100 pairs",
        "routing: 20 of 100 pairs, about 20 s left",
        "routing: 40 of 100 pairs, about 15 s left",
        "routing: 60 of 100 pairs, about 10 s left",
        "routing: 80 of 100 pairs, about 5 s left",
        "routing: 100 of 100 pairs, about 0 s left",
        "simulating roft-1024, fabric 1 of 2: 0 %",
    ]


def test_a_phase_without_an_amount_is_named_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(clock=clock) as progress:
        for _ in range(100):
            clock.now_s += 0.5
            progress(COMPILING, 0, 0, "")
    assert said(capsys) == [COMPILING]


def test_compilation_is_named_and_left_out_of_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    @numba.njit
    def inner(value: float) -> float:
        clock_stops()
        return value + 1.0

    def clock_stops() -> None: ...

    @numba.extending.overload(clock_stops)
    def typed_clock_stops():  # type: ignore[no-untyped-def]
        clock.now_s += 30.0
        return lambda: None

    with RunProgress(clock=clock) as progress:
        clock.now_s = 10.0
        progress("simulating", 0, 10, "flows")
        inner(1.0)
        assert clock.now_s >= 40.0
        clock.now_s += 2.0
        progress("simulating", 5, 10, "flows")
    assert said(capsys) == ["simulating: 0 of 10 flows", COMPILING, "simulating: 5 of 10 flows, about 2 s left"]


def test_a_terminal_has_one_line_that_goes_at_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(KeyboardInterrupt), RunProgress(clock=clock) as progress:
        progress("simulating zcube-1024, fabric 2 of 2", 1.0, 2.0, "%")
        clock.now_s = 4.0
        progress("simulating zcube-1024, fabric 2 of 2", 1.5, 2.0, "%")
        assert progress._bar is not None
        progress._bar.refresh()
        assert len(progress._bar.tasks) == 1
        raise KeyboardInterrupt
    text = terminal.getvalue()
    assert "simulating zcube-1024, fabric 2 of 2" in text and "75 %" in text and "about 4 s left" in text
    # The line is erased and the cursor is shown again.
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in text[text.rindex("about 4 s left") :]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_in_a_phase_steer_no_terminal_and_are_no_markup(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    stream = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with RunProgress(clock=clock) as progress:
        clock.now_s = 100.0
        progress("simulating a\nb\x1b]0;title\x07\u202e[/red][bold]", 1.0, 2.0, "%")
        if progress._bar is not None:
            progress._bar.refresh()
    assert "simulating a?b?]0;title??[/red][bold]" in stream.getvalue()
    assert "\x07" not in stream.getvalue() and "\x1b]" not in stream.getvalue()


@pytest.mark.parametrize("both", [False, True], ids=["stdout is a file", "both are one terminal"])
def test_lines_go_where_stdout_was_sent_while_a_terminal_shows_the_bar(
    both: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    out = terminal if both else io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    with RunProgress(clock=clock) as progress:
        progress("simulating", 1.0, 2.0, "%")
        lines.write_line("roft-32: done", sys.stdout)
    assert "roft-32: done\n" in out.getvalue()
    # Above the bar, not behind it.
    before = out.getvalue().partition("roft-32: done")[0]
    assert not before or before.endswith(("\n", "\x1b[2K"))


def test_a_line_is_written_in_one_call() -> None:
    calls = []

    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            calls.append(text)
            return len(text)

    lines.write_line("simulating: 3 of 5", Counting())
    assert calls == ["simulating: 3 of 5\n"]


def test_no_verb_writes_progress_to_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flows = tmp_path / "flows.csv"
    flows.write_text(FLOWS)
    monkeypatch.setattr(lines, "SILENT_S", -1.0)
    monkeypatch.setattr(lines, "LINE_EVERY_S", 0.0)
    small = ["--set", "requests.count=4", "--fabric", "roft-256", "--fabric", "zcube-256"]
    trace = str(tmp_path / "trace.parquet")
    phases = {
        ("compare", "glm51-pd-256", *small, "--out", str(tmp_path / "run")): (
            "reading requests", "simulating roft-256, fabric 1 of 2", "simulating zcube-256, fabric 2 of 2", "drawing",
            "writing",
        ),
        ("replay", str(flows), "--fabric", "roft-256"): ("reading", "routing", "simulating"),
        ("fabric", "show", "roft-256"): ("building", "measuring path lengths", "counting parallel paths"),
        ("fabric", "check", "zcube-n16"): ("building", "checking paths", "looking for cycles"),
        ("fabric", "adversary", "zcube-n16"): ("attacking zcube-n16",),
        ("trace", "generate", "--engine", "sglang", "--new-tokens", "256", "--out", trace): ("scheduling", "writing"),
        ("trace", "show", trace): ("reading",),
    }  # fmt: skip
    for words, named in phases.items():
        # The last one reads what the one before it wrote.
        with pytest.raises(SystemExit) as done:
            main([*words, "--json"])
        # What reaches the files that both streams stand for, whoever writes it.
        out, err = capfd.readouterr()
        assert not done.value.code, err
        json.loads(out)
        said_phases = [line.partition(":")[0] for line in err.splitlines()]
        found = [phase for phase in said_phases if phase in named]
        assert list(dict.fromkeys(found)) == sorted(named, key=found.index), (words, err)


@pytest.mark.parametrize("hidden", [False, True], ids=["plain", "behind an error of its clean-up"])
def test_an_interrupt_is_said_and_has_its_status(run: Any, monkeypatch: pytest.MonkeyPatch, hidden: bool) -> None:
    def interrupted(*given: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            if hidden:
                raise RuntimeError("a kernel is half compiled")

    monkeypatch.setattr("zcube.fabric.catalog.load_fabric", interrupted)
    status, out, err = run("fabric", "show", "roft-256", "--json")
    assert (status, out, err.split()) == (130, "", ["interrupted"])


def test_limits_are_as_documented() -> None:
    assert (lines.SILENT_S, lines.LINE_EVERY_S) == (2.0, 5.0)
