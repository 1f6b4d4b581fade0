"""How ports are numbered.

Ports of a switch are counted from 0 at the rate of the link. A native port that is split into s slower ones holds the numbers
``s q .. s q + s - 1``.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray


def links_per_port(native_gbps: FloatArray | float, link_gbps: FloatArray | float) -> IntArray:
    """Return how many links of a rate a native port is split into; 1 for a link that is not slower than the port."""
    return np.maximum(1, np.floor(np.divide(native_gbps, link_gbps) + 1e-9)).astype(np.int64)
