"""The summary of many values: mean and quantiles, by one definition wherever results are stated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

#: What a summary states, by name: the part of the values that lies below.
QUANTILES = {"p50": 0.50, "p80": 0.80, "p90": 0.90, "p99": 0.99}


def spread(values: ArrayLike, *, maximum: bool = False) -> dict[str, Any]:
    """Return mean, median, P80, P90 and P99, the maximum too if asked for, of the finite ones among some values.

    The quantile q of n ordered values stands at place ``q (n - 1)``, counted from 0, linear between the two values around it
    (NumPy's default).

    Returns
    -------
    dict
        ``mean``, ``p50``, ``p80``, ``p90``, ``p99`` and ``max``, floats; all None if no value is finite.
    """
    given = np.asarray(values, dtype=np.float64)
    known = given[np.isfinite(given)]
    names = ("mean", *QUANTILES, *(("max",) if maximum else ()))
    if not len(known):
        return dict.fromkeys(names)
    found = (known.mean(), *np.quantile(known, list(QUANTILES.values())), known.max())
    return {name: float(value) for name, value in zip(names, found, strict=False)}
