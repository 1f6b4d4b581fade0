"""Little's law on a run: the mean number in the system is the rate of arrivals times the mean time in the system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
        ``mean_in_system``; ``arrivals_per_s``, ``mean_time_s`` and their ``product``; ``relative_difference``, the product over
        the mean number, less 1. All 0 where nothing arrived.
    """
    inside = np.isfinite(journeys.arrival_s) & (journeys.outcome != REJECTED)
    came_s, left_s = journeys.arrival_s[inside], journeys.left_s[inside]
    left_s = np.where(np.isfinite(left_s), left_s, end_s)
    length_s = window.length_s
    within_s = np.minimum(left_s, window.end_s) - np.maximum(came_s, window.start_s)
    mean_in_system = float(np.maximum(within_s, 0.0).sum() / length_s) if length_s else 0.0
    counted = window.holds(came_s)
    arrivals_per_s = float(counted.sum() / length_s) if length_s else 0.0
    mean_time_s = float((left_s - came_s)[counted].mean()) if counted.any() else 0.0
    product = arrivals_per_s * mean_time_s
    return {
        "mean_in_system": mean_in_system,
        "arrivals_per_s": arrivals_per_s,
        "mean_time_s": mean_time_s,
        "product": product,
        "relative_difference": product / mean_in_system - 1.0 if mean_in_system else 0.0,
    }
