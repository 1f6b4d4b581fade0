"""The larger and the smaller of two figures, elementwise of arrays, by Python alone of plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def larger(one: Any, other: Any) -> Any:
    """Return the larger of two, elementwise."""
    return max(one, other) if isinstance(one, float) and isinstance(other, float) else np.maximum(one, other)


def smaller(one: Any, other: Any) -> Any:
    """Return the smaller of two, elementwise."""
    return min(one, other) if isinstance(one, float) and isinstance(other, float) else np.minimum(one, other)
