"""How ports are numbered.

Ports of a switch are counted from 0 at the rate of the link, in blocks: those to GPUs, to the tier below, to equals, to the
tier above. Native port q, split into s slower ones, holds the numbers ``s q .. s q + s - 1``. Inside a block, cables take ports
in the order in which a family lists them.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray


def numbered_ports(node: IntArray, order: IntArray | None = None) -> IntArray:
    """Return the place of each cable end in the block of ports that its node gives to these cables, from 0.

    Parameters
    ----------
    node : int array [ends]
        Node at each end.
    order : int array [ends], optional
        Ends of one node are numbered in rising order of this; default: as they are listed.
    """
    node = np.asarray(node)
    ranked = np.argsort(node, kind="stable") if order is None else np.lexsort((order, node))
    place = np.empty(len(node), dtype=np.int64)
    place[ranked] = np.arange(len(node)) - np.searchsorted(node[ranked], node[ranked])
    return place


def links_per_port(native_gbps: FloatArray | float, link_gbps: FloatArray | float) -> IntArray:
    """Return how many links of a rate a native port is split into; 1 for a link that is not slower than the port."""
    return np.maximum(1, np.floor(np.divide(native_gbps, link_gbps) + 1e-9)).astype(np.int64)


def first_free_port(used: int, used_gbps: float, gbps: float, native_gbps: float) -> int:
    """Return the first port, counted at a rate, on native ports that links of another rate leave free.

    Parameters
    ----------
    used, used_gbps : int, float
        Links from port 0 on, and their rate, Gb/s.
    gbps : float
        Rate of the links to be numbered, Gb/s.
    native_gbps : float
        Rate of a native port, Gb/s.
    """
    native_ports = -(-used // int(links_per_port(native_gbps, used_gbps)))
    return native_ports * int(links_per_port(native_gbps, gbps))
