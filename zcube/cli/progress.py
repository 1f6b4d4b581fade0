"""Progress on stderr: one line that is renewed on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from zcube.progress import COMPILING, TimeLeft
from zcube.report.names import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: A run shorter than this stays silent in a pipe, and a phase is named again after so long.
SILENT_S, LINE_EVERY_S = 2.0, 5.0
REFRESH_S = 0.1
#: Compilations shorter than this are not worth a word.
COMPILING_S = 1.0


class RunProgress:
    """Shows a :class:`zcube.progress.Progress`; use as a context manager and pass it on.

    Numba is listened to meanwhile: that kernels are being compiled is shown as a phase of its own, and the estimate of the time
    left is of what comes beside that.

    Parameters
    ----------
    compiles : bool
        Whether kernels may come to be compiled; a verb without any need not load Numba for this.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, compiles: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._compiles, self._clock = compiles, clock
        self._time_left = TimeLeft(clock)
        self._began_s = self._said_s = self._heard_s = clock()
        self._said = ""
        self._phase, self._amount, self._share = "", "", 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._open = ExitStack()

    def __enter__(self) -> RunProgress:
        if self._compiles:
            from zcube.compile_events import compilations_heard

            self._open.enter_context(compilations_heard(self._compiling))
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[amount]}"))
            times = (TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
            # Lines on stdout stand above the bar on one terminal, and go where they were sent where that is a file.
            both, console = sys.stdout.isatty(), Console(stderr=True)
            # A bar that is renewed by a thread of its own would keep this process from being copied.
            self._bar = Progress(*columns, *times, console=console, transient=True, redirect_stdout=both, auto_refresh=False)
            self._open.enter_context(self._bar)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def __call__(self, phase: str, done: float, total: float, unit: str) -> None:
        """Take notice; see :class:`zcube.progress.Progress`."""
        new_phase = phase != self._phase
        now_s = self._clock()
        if not new_phase and now_s - self._heard_s < REFRESH_S:
            return
        self._heard_s = now_s
        self._phase, self._share = phase, done / total if total else 0.0
        self._amount = _amount(done, total, unit)
        self._time_left.note(done, total, unit)
        # Names of fabrics and files stand in it.
        self._show(printable(phase))

    def _compiling(self, begins: bool) -> None:
        self._time_left.compiling(begins)
        if self._time_left.compiling_s >= COMPILING_S:
            self._show(COMPILING)

    def _show(self, phase: str) -> None:
        now_s = self._clock()
        left_s = None if phase == COMPILING else self._time_left.left_s()
        left = "" if left_s is None else f"about {left_s:.0f} s left"
        amount = "" if phase == COMPILING else self._amount
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(phase, amount="", left="")
            # Without an amount the bar only moves to and fro.
            self._bar.tasks[0].total = 1.0 if amount else None
            self._bar.update(self._task, description=phase, completed=self._share, amount=amount, left=left, refresh=True)
            self._said_s = now_s
            return
        is_long = now_s - self._began_s >= SILENT_S or phase == COMPILING
        words = ", ".join(filter(None, (amount, left)))
        # What is told without an amount is the same however often.
        if is_long and (phase != self._said or (words and now_s - self._said_s >= LINE_EVERY_S)):
            write_line(f"{phase}: {words}" if words else phase, sys.stderr)
            self._said, self._said_s = phase, now_s


def write_line(text: str, stream: TextIO) -> None:
    """Write a line in one call, so that it stays whole in a file that another thread or stream writes to as well."""
    stream.write(f"{text}\n")
    stream.flush()


def _amount(done: float, total: float, unit: str) -> str:
    if not total:
        return ""
    return f"{100 * done / total:.0f} %" if unit == "%" else f"{done:,.0f} of {total:,.0f} {unit}"
