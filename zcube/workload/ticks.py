"""Undoing the quantisation of arrival times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zcube.arrays import FloatArray


def spread_ties(arrival_s: npt.ArrayLike, most_s: float = float("inf")) -> FloatArray:
    """Spread arrivals that share a timestamp evenly over the gap to the next timestamp.

    The k-th (from 0) of n arrivals at one tick moves to ``tick + k / n * gap``, where ``gap`` reaches to the next
    distinct timestamp, but no further than ``most_s``; the last tick, which has no next one, uses the median gap. So
    the first arrival of each tick
    and every arrival that shares its timestamp with no other stay where they are, the order is kept, and no random
    number is drawn. With a single distinct timestamp there is no gap to spread over and the times come back as given.

    Parameters
    ----------
    arrival_s : array of float [N]
        Arrival times in seconds, sorted and finite.
    most_s : float
        Length of a tick, where gaps may be longer than that because nothing arrived.

    Returns
    -------
    array of float [N]
        New, sorted times, each within its own tick's gap.

    Raises
    ------
    ValueError
        If the times are not one-dimensional, finite and sorted.
    """
    times = np.array(arrival_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("arrival_s must be one-dimensional, finite and sorted")
    tick, first, count = np.unique(times, return_index=True, return_counts=True)
    if tick.size < 2:
        return times
    gap = np.diff(tick)
    gap = np.minimum(np.append(gap, np.median(gap)), most_s)
    rank = np.arange(times.size) - np.repeat(first, count)
    spread = times + rank / np.repeat(count, count) * np.repeat(gap, count)
    # Rounding may carry a time past the next tick where the gap is only a few floating-point steps wide.
    end = np.append(tick[1:], tick[-1] + gap[-1])
    return np.asarray(np.minimum(spread, np.repeat(end, count)), dtype=np.float64)
