"""A fabric in which GPUs take each other's cables: the same switches and cables, other GPUs at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.model import Fabric


def recabled(fabric: Fabric, cabled_as: Sequence[int] | IntArray) -> Fabric:
    """Return a fabric whose GPU ``g`` has the NIC cables of GPU ``cabled_as[g]``, port by port; NVLink stays.

    Parameters
    ----------
    fabric : Fabric
        As its family builds it.
    cabled_as : sequence of int [gpus]
        Every GPU once.
    """
    to, of = fabric.nic_cable, fabric.nic_cable[np.asarray(cabled_as)]
    columns = {}
    for name in ("b", "b_port", "gbps", "latency_s", "medium"):
        column = getattr(fabric.cables, name).copy()
        column[to] = getattr(fabric.cables, name)[of]
        columns[name] = column
    return replace(fabric, cables=replace(fabric.cables, **columns))
