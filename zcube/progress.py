"""What long work says of itself while it runs, and how long it will still take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

#: The phase in which nothing is done but that.
COMPILING = "compiling kernels, kept for later runs"

#: Marks of the past kept for an estimate; of twice as many every second one goes, and further ones come half as often.
MARKS = 64

#: Runs under way at the same time that are named.
NAMED = 3


#: Is told the part of a run that is done.
ShareDone: TypeAlias = Callable[[float], None]


class Progress(Protocol):
    """Is told what is under way; a verb's own work and everything below it call the same one."""

    def __call__(self, phase: str, done: float, total: float, unit: str) -> None:
        """Take notice.

        Parameters
        ----------
        phase : str
            What is being done, in words: ``"routing"``, ``"simulating zcube-1024, fabric 2 of 2"``.
        done, total : float
            How much of how much; a total of 0 where that is not known. Phases with equal total and unit that follow each other,
            as the fabrics of a comparison, are parts of one piece of work and go on counting.
        unit : str
            What is counted, ``"%"`` for shares.
        """


def silent(phase: str, done: float, total: float, unit: str) -> None:
    """Tell nobody."""


def share_simulated(told: ShareDone) -> Progress:
    """Return a progress that hands on the part of what is simulated that is done."""

    def progress(phase: str, done: float, total: float, unit: str) -> None:
        if total and phase.startswith("simulating"):
            told(min(1.0, done / total) * 0.999)

    return progress


class TogetherDone:
    """Tells how far several runs are as one piece of work, whichever of them are under way, and from whichever thread.

    Parameters
    ----------
    progress : Progress
        Told the sum, and the names of what is under way.
    verb : str
        What stands before these: ``"simulating"``.
    total : int
        How many runs there are.
    unit : str
        ``"%"``, or what runs without names are counted as.
    """

    def __init__(self, progress: Progress, verb: str, total: int, unit: str = "%"):
        self._progress, self._verb, self._total, self._unit = progress, verb, total, unit
        self._name: dict[int, str] = {}
        self._share: dict[int, float] = {}
        self._one_at_a_time = threading.Lock()

    def name(self, run: int, name: str) -> None:
        """Note what a run is called, before it begins."""
        self._name[run] = name

    def __call__(self, run: int, share: float) -> None:
        """Note how much of a run is done; it is no longer under way at 1."""
        with self._one_at_a_time:
            if share <= self._share.get(run, -1.0):
                return
            self._share[run] = share
            if not self._name:
                self._progress(self._verb, sum(self._share.values()), self._total, self._unit)
                return
            under_way = [self._name[one] for one in sorted(self._share) if self._share[one] < 1.0] or [self._name[run]]
            more = [f"{len(under_way) - NAMED} more"] if len(under_way) > NAMED else []
            phase = f"{self._verb} {'; '.join([*under_way[:NAMED], *more])}"
            self._progress(phase, sum(self._share.values()), self._total, self._unit)


class TimeLeft:
    """Estimates the time that a piece of work still takes, compilation left out.

    What is left is taken to be done at a rate halfway between that of all the time spent so far and that of its last half, so
    that a slow start is soon forgotten and a lull is not taken for the rule. The estimate is as good as the measure of
    ``done`` is proportional to the time it takes.

    Parameters
    ----------
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._left_out_s = 0.0
        self._compiling_since_s: float | None = None
        self._depth = 0
        self._kind: tuple[float, str] | None = None
        #: Time spent and share done: now and then since the work began, and the last ones known.
        self._marks: list[tuple[float, float]] = []
        self._spacing_s = 0.0
        self._last = (0.0, 0.0)

    @property
    def compiling_s(self) -> float:
        """How long the compilation under way has taken; 0 without one."""
        return 0.0 if self._compiling_since_s is None else self._clock() - self._compiling_since_s

    def compiling(self, begins: bool) -> None:
        """Note that a compilation begins or ends; they nest."""
        self._depth += 1 if begins else -1
        if begins and self._depth == 1:
            self._compiling_since_s = self._clock()
        elif self._depth == 0 and self._compiling_since_s is not None:
            self._left_out_s += self.compiling_s
            self._compiling_since_s = None

    def note(self, done: float, total: float, unit: str) -> None:
        """Note how much of a piece of work is done; one of another total or unit, or one that went back, begins anew."""
        share = done / total if total else 0.0
        if self._kind != (total, unit) or share < self._last[1]:
            self._kind, self._marks, self._spacing_s = (total, unit), [], 0.0
        self._last = (self._spent_s(), share)
        if not self._marks or self._last[0] - self._marks[-1][0] >= self._spacing_s:
            self._marks.append(self._last)
        if len(self._marks) >= 2 * MARKS:
            self._marks = self._marks[::2]
            self._spacing_s = (self._last[0] - self._marks[0][0]) / MARKS

    def left_s(self) -> float | None:
        """Return the time left, compilation aside; None before anything is done or where the total is not known."""
        if not self._marks:
            return None
        now_s, share = self._last
        began_s, at_first = self._marks[0]
        then_s, before = next(mark for mark in reversed(self._marks) if mark[0] <= (began_s + now_s) / 2)
        if share <= at_first or now_s <= began_s:
            return None
        per_s = ((share - at_first) / (now_s - began_s) + (share - before) / (now_s - then_s)) / 2
        return max(0.0, (1.0 - share) / per_s - (self._spent_s() - now_s))

    def _spent_s(self) -> float:
        return self._clock() - self._left_out_s - self.compiling_s
