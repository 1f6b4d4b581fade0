"""Progress on stderr: a bar with the time left on a terminal, a line every few seconds in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds without a word in a pipe, and before a bar is drawn at all.
LINE_EVERY_S = 5.0
REFRESH_S = 0.1


class RunProgress:
    """Follows runs by name; use as a context manager and pass :meth:`update` as the callback.

    Parameters
    ----------
    units : str
        What is counted.
    silent_s : float
        No line in a pipe for so long after the start.
    """

    def __init__(self, units: str = "requests", silent_s: float = 0.0) -> None:
        self._units = units
        self._silent_until_s = time.monotonic() + silent_s
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started_s: dict[str, float] = {}
        self._said_s = 0.0

    def __enter__(self) -> RunProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(self._units))
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._bar = Progress(*columns, *times, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, what: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` units of a run have ended."""
        now = time.monotonic()
        started = self._started_s.setdefault(what, now)
        ended = done == total
        if now - self._said_s < (REFRESH_S if self._bar is not None else LINE_EVERY_S) and not ended:
            return
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._tasks[what], completed=done)
        elif now < self._silent_until_s:
            return
        elif not ended or now - started > LINE_EVERY_S:
            left = f", about {(now - started) / done * (total - done):.0f} s left" if done else ""
            print(f"{what}: {done} of {total} {self._units}{left}", file=sys.stderr, flush=True)
        self._said_s = now
