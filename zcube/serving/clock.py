"""A run's clock: SimPy's, with calls that need no event of their own, and what waits for one event after the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVarTuple

import simpy

#: What a call takes.
Taken = TypeVarTuple("Taken")

#: As SimPy has them: of what is due at the same moment the more urgent comes first, then what was planned first.
NORMAL = simpy.events.NORMAL


class Clock(simpy.Environment):
    """SimPy's environment, on a calendar that also takes plain calls.

    An event of SimPy's has a list of callbacks and a value, which most of what a run waits for has no use for.

    Attributes
    ----------
    now : float
        The present, in seconds.
    """

    now: float = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._calendar: list[tuple[float, int, int, Callable[..., object], tuple[object, ...]]] = []
        #: What was planned at the present moment for the same: it comes after all that the calendar has for that.
        self._present: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._numbers = count()

    def after(self, seconds: float, what: Callable[[*Taken], object], *taken: *Taken) -> None:
        """Call something with what it takes, so many seconds from now on."""
        time_s = self.now + seconds
        if time_s > self.now:
            heappush(self._calendar, (time_s, NORMAL, next(self._numbers), what, taken))
        else:
            self._present.append((what, taken))

    def at(self, time_s: float, what: Callable[[*Taken], object], *taken: *Taken) -> None:
        """Call something with what it takes, at a time no earlier than the present."""
        if time_s > self.now:
            heappush(self._calendar, (time_s, NORMAL, next(self._numbers), what, taken))
        else:
            self._present.append((what, taken))

    def schedule(self, event: simpy.Event, priority: int = NORMAL, delay: float = 0.0) -> None:
        """Let an event happen, so many seconds from now on."""
        if priority == NORMAL:
            self.after(delay, _happen, event)
        else:
            heappush(self._calendar, (self.now + delay, priority, next(self._numbers), _happen, (event,)))

    def peek(self) -> float:
        """Return when the next thing is due; infinity if nothing is."""
        if self._present:
            return self.now
        return self._calendar[0][0] if self._calendar else math.inf

    def step(self) -> None:
        """Go on to what is due next, and let it happen.

        Raises
        ------
        simpy.core.EmptySchedule
            If nothing is due any more.
        """
        if not (self._calendar or self._present):
            raise simpy.core.EmptySchedule
        self._go_on([], once=True)

    def run(self, until: float | simpy.Event | None = None) -> Any:
        """Go on until an event has happened, up to a time, or while anything is due; return the event's value."""
        if not isinstance(until, simpy.Event) or until.processed:
            return super().run(until)
        happened: list[simpy.Event] = []
        until.callbacks.append(happened.append)
        self._go_on(happened)
        if not happened:
            raise RuntimeError(f"nothing is due any more, and {until} has not happened")
        if not until.ok:
            # Whoever defused it did so for others.
            assert isinstance(until.value, BaseException)
            raise until.value
        return until.value

    def _go_on(self, happened: list[simpy.Event], once: bool = False) -> None:
        """Let one thing happen after the other, or one only, until one adds to a list or nothing is due any more."""
        calendar, present = self._calendar, self._present
        while not happened:
            if present and not (calendar and calendar[0][0] <= self.now):
                what, taken = present.popleft()
            elif calendar:
                self.now, _, _, what, taken = heappop(calendar)
            else:
                return
            what(*taken)
            if once:
                return


def _happen(event: simpy.Event) -> None:
    callbacks = event.callbacks
    # So SimPy says that it has been processed.
    event.callbacks = None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)
    if not event.ok and not event.defused:
        assert isinstance(event.value, BaseException)
        raise event.value


def seconds_between(start_s: float, end_s: float) -> float:
    """Return a duration that, added to the start, gives the end, to the last place if any does."""
    seconds = end_s - start_s
    while start_s + seconds < end_s:
        seconds = math.nextafter(seconds, math.inf)
    while start_s + seconds > end_s and seconds > 0.0:
        seconds = math.nextafter(seconds, 0.0)
    return seconds


def go_on(steps: simpy.events.ProcessGenerator, then: Callable[[], None]) -> None:
    """Go on with steps up to the event that they wait for next, and from that on with it; do something when none is left.

    It takes no event to start or to end it, as a process of SimPy's would.
    """
    for event in steps:
        event.callbacks.append(lambda _: go_on(steps, then))
        return
    then()
