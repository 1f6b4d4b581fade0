"""Delays on a clock that adds them to the present, and so rounds."""

from __future__ import annotations

import math


def seconds_between(start_s: float, end_s: float) -> float:
    """Return a duration that, added to the start, gives the end, to the last place if any does."""
    seconds = end_s - start_s
    while start_s + seconds < end_s:
        seconds = math.nextafter(seconds, math.inf)
    while start_s + seconds > end_s and seconds > 0.0:
        seconds = math.nextafter(seconds, 0.0)
    return seconds
