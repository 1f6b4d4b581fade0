"""Little's law on a run, and whether the run was steady.

In a steady state the mean number in the system is the rate of arrivals times the mean time in the system, and as many leave as
come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zcube.arrays import FloatArray
from zcube.serving.journey import REJECTED, Journeys

if TYPE_CHECKING:
    from zcube.serving.window import Window


def littles_law(journeys: Journeys, window: Window, end_s: float) -> dict[str, float]:
    """Return both sides of Little's law over a window, and how far they are apart.

    The left side integrates the number of requests in the system over the window. The right side follows the requests that
    arrive in the window to their end, one still under way to the end of the run; both leave out those turned away on arrival.
    The two are equal in a steady state. In a run from empty to empty they always are.

    Returns
    -------
    dict
        ``mean_in_system``; ``arrivals_per_s``, ``departures_per_s``; ``mean_time_s`` and ``product``, arrivals times that;
        ``relative_difference``, the product over the mean number, less 1. All 0 where nothing arrived.
    """
    came_s, left_s = _lives(journeys, end_s)
    length_s = window.length_s
    within_s = np.minimum(left_s, window.end_s) - np.maximum(came_s, window.start_s)
    times_s = times_in_system_s(journeys, window, end_s)
    mean_in_system = float(np.maximum(within_s, 0.0).sum() / length_s) if length_s else 0.0
    arrivals_per_s = len(times_s) / length_s if length_s else 0.0
    departures_per_s = float(window.holds(left_s).sum() / length_s) if length_s else 0.0
    mean_time_s = float(times_s.mean()) if len(times_s) else 0.0
    product = arrivals_per_s * mean_time_s
    return {
        "mean_in_system": mean_in_system,
        "arrivals_per_s": arrivals_per_s,
        "departures_per_s": departures_per_s,
        "mean_time_s": mean_time_s,
        "product": product,
        "relative_difference": product / mean_in_system - 1.0 if mean_in_system else 0.0,
    }


def unsteady(law: Mapping[str, float], within: float) -> str | None:
    """Return why a window was not in a steady state, None if nothing speaks against it.

    Parameters
    ----------
    law : mapping
        :func:`littles_law` of it.
    within : float
        How far departures may be from arrivals, and the sides of Little's law apart, as parts of arrivals and of the number in
        the system.
    """
    came, left = law["arrivals_per_s"], law["departures_per_s"]
    allowed = f"measure.steady_within allows {100 * within:g} %"
    if abs(left - came) > within * came:
        return f"{came:.4g} requests/s came and {left:.4g} left, {100 * (left / came - 1 if came else 1):+.1f} %; {allowed}"
    if abs(law["relative_difference"]) > within:
        sides = f"arrivals times their mean time, {law['product']:.4g}, are not the {law['mean_in_system']:.4g} in the system"
        return f"{sides}, {100 * law['relative_difference']:+.1f} %; {allowed}"
    return None


def times_in_system_s(journeys: Journeys, window: Window, end_s: float) -> FloatArray:
    """Return how long each request that arrived in the window, and was not turned away, stayed or has stayed at ``end_s``."""
    came_s, left_s = _lives(journeys, end_s)
    return (left_s - came_s)[window.holds(came_s)]


def _lives(journeys: Journeys, end_s: float) -> tuple[FloatArray, FloatArray]:
    """Return when every request that came and was not turned away did so, and when it left, at the latest ``end_s``."""
    inside = np.isfinite(journeys.arrival_s) & (journeys.outcome != REJECTED)
    left_s = journeys.left_s[inside]
    return journeys.arrival_s[inside], np.where(np.isfinite(left_s), left_s, end_s)


def filled(times_s: FloatArray, after_s: float) -> float:
    """Return which part of a steady system's requests came within some time before: ``E[min(S, after_s)] / E[S]``.

    Of requests that come at an even rate and stay ``S``, that part is there so long after the first one came (exactly where
    ``S`` does not depend on who else is there), and that part of those there leaves within as long.
    """
    return float(np.minimum(times_s, after_s).sum() / times_s.sum()) if times_s.any() else 1.0


def time_to_fill_s(times_s: FloatArray, share: float) -> float:
    """Return the least of the stays after which a system that began empty holds a share of its steady number."""
    ordered = np.sort(times_s)
    ahead = np.arange(len(ordered))[::-1]
    held = np.cumsum(ordered) + ordered * ahead
    return float(ordered[min(np.searchsorted(held, share * held[-1]), len(ordered) - 1)]) if len(ordered) else 0.0
