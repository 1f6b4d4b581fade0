"""A run's clock: delays that it adds to the present, and so rounds, and what waits for one event after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import simpy


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
