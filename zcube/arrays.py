"""Types of arrays, by what they hold. Shapes stand in brackets in docstrings, e.g. ``float array [flows]``."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Counts, numbers of things, integer picoseconds; of any width.
IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
