"""Whether arrival times are in the unit they are read in: seconds taken for milliseconds squeeze a trace a thousandfold."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.workload.readers.fields import NS_PER_UNIT, UNIT_NAMES, Unit
from zcube.workload.readers.lines import Faults

#: Mean rates, requests per second, between which a trace of one service is believed: published traces lie between 0.1 and 60.
LEAST_RATE_PER_S, LARGEST_RATE_PER_S = 0.01, 500.0
#: Fewer times say nothing of a mean rate.
LEAST_TIMES = 20
#: Seconds since 1970 from 2001 to 2100, which read as milliseconds are days 11 to 48 of a trace.
_EPOCH_S = (10**9, 41 * 10**8)


def check_unit(time_ns: IntArray, unit: Unit, stated: bool, faults: Faults) -> None:
    """Refuse times that look like another unit's, unless the unit was stated.

    Parameters
    ----------
    time_ns : array of int [N]
        Times as read.
    unit : {"s", "ms"}
        The unit they were read in.
    stated : bool
        Whether the user named it.
    faults : Faults
        Those of the file.

    Raises
    ------
    InputError
        With the rate found and the factor between the units.
    """
    if stated or not time_ns.size:
        return
    other: Unit = "ms" if unit == "s" else "s"
    low, high = int(time_ns.min()), int(time_ns.max())
    span_s = (high - low) / 1e9
    rate = np.inf if span_s == 0 else time_ns.size / span_s
    told: str | None = None
    if unit == "ms" and _EPOCH_S[0] <= low // NS_PER_UNIT["ms"] and high // NS_PER_UNIT["ms"] <= _EPOCH_S[1]:
        told = f"times around {low // NS_PER_UNIT['ms']}, which are seconds since 1970,"
    elif span_s and time_ns.size >= LEAST_TIMES:
        beyond = rate > LARGEST_RATE_PER_S if unit == "ms" else rate < LEAST_RATE_PER_S
        told = f"{time_ns.size} times within {span_s:.4g} s, {rate:.3g} requests per second," if beyond else None
    if told is not None:
        change = "longer" if unit == "ms" else "shorter"
        faults.stop(
            None,
            f"{told} read as {UNIT_NAMES[unit]}",
            f"{UNIT_NAMES[unit]}; if they are {UNIT_NAMES[other]}, a span 1000 times {change}, say --time-unit {other}; "
            f"if they are {UNIT_NAMES[unit]} indeed, say --time-unit {unit}",
        )
