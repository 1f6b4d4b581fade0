"""Service levels: goodput as NVIDIA aiperf and Dynamo define it, and tails in which failures count."""

from __future__ import annotations

import math

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.outputs import INFINITE
from zcube.quantiles import QUANTILES
from zcube.serving.journey import COMPLETED, Journeys
from zcube.serving.run import ServingRun
from zcube.serving.settings import Slo


def goodput(run: ServingRun, tokens: IntArray) -> dict[str, float | None] | None:
    """Return what meets every bound in the run's window; None without a bound.

    Parameters
    ----------
    run : ServingRun
        Its settings hold the bounds.
    tokens : int array [requests]
        Output tokens that came out in the window.

    Returns
    -------
    dict
        The bounds; ``share``, requests that arrived in the window and meet every bound over all that arrived in it, those
        turned away and not finished included; ``requests_per_s``, good requests that ended in the window over its length, and
        ``output_tokens_per_s``, tokens of good requests that came out in it over its length.
    """
    slo, journeys, window = run.settings.slo, run.journeys, run.window
    if slo.ttft_s is None and slo.tpot_s is None:
        return None
    good, arrived = meets(journeys, slo), window.holds(journeys.arrival_s)
    amounts = {
        "requests_per_s": int((good & window.holds(journeys.finish_s)).sum()),
        "output_tokens_per_s": int(tokens[good].sum()),
    }
    return {
        "ttft_s": slo.ttft_s,
        "tpot_s": slo.tpot_s,
        "share": float(good[arrived].mean()) if arrived.any() else None,
        **{name: amount / window.length_s if window.no_rate is None else None for name, amount in amounts.items()},
    }


def meets(journeys: Journeys, slo: Slo) -> BoolArray:
    """Return which requests completed within every bound; answers of one token have no gap to be bounded [requests]."""
    good = journeys.outcome == COMPLETED
    if slo.ttft_s is not None:
        good &= journeys.ttft_s() <= slo.ttft_s
    if slo.tpot_s is not None:
        good &= ~(journeys.tpot_s() > slo.tpot_s)
    return np.asarray(good)


def p99_with_failures(values: FloatArray, failures: int) -> float | str | None:
    """Return the P99 of the known values and of so many infinite ones; :data:`INFINITE` where it falls on one of these."""
    known = np.sort(values[np.isfinite(values)])
    count = len(known) + failures
    if not count:
        return None
    place = QUANTILES["p99"] * (count - 1)
    if math.ceil(place) >= len(known):
        return INFINITE if failures else float(known[-1])
    low, high = known[math.floor(place)], known[math.ceil(place)]
    return float(low + (high - low) * (place - math.floor(place)))
