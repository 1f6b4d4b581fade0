"""The larger and the smaller of two figures and powers, elementwise of arrays, by Python alone of plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

_POWERS = np.frompyfunc(pow, 2, 1)


def larger(one: Any, other: Any) -> Any:
    """Return the larger of two, elementwise."""
    return max(one, other) if isinstance(one, float) and isinstance(other, float) else np.maximum(one, other)


def smaller(one: Any, other: Any) -> Any:
    """Return the smaller of two, elementwise."""
    return min(one, other) if isinstance(one, float) and isinstance(other, float) else np.minimum(one, other)


def power(base: Any, exponent: Any) -> Any:
    """Return a power, elementwise, to the bit that of plain numbers: NumPy rounds powers of arrays otherwise."""
    if isinstance(base, np.ndarray) or isinstance(exponent, np.ndarray):
        return _POWERS(base, exponent).astype(np.float64)
    return base**exponent
