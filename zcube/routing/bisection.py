"""Bisection bandwidth by maximum flow on the fabric as built."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from zcube.fabric.model import CableKind, Fabric


def halving_bisection(fabric: Fabric) -> float:
    """Return what the first half of the GPUs can send to the second half, over the NIC bandwidth of a half.

    On ZCube this parts whole segments. Maximum flow over NIC and inter-switch cables that are up; GPUs do not forward, unless
    the family says so. Rates are rounded to whole Mb/s.
    """
    cables, half = fabric.cables, fabric.gpus // 2
    wired = (cables.kind != CableKind.NVLINK) & fabric.cable_up
    mbps = np.round(cables.gbps[wired] * 1000).astype(np.int64)
    a, b = cables.a[wired].astype(np.int64), cables.b[wired].astype(np.int64)
    source, sink = fabric.nodes, fabric.nodes + 1
    ends = [(a, b, mbps), (b, a, mbps)]
    if not fabric.structure.hosts_forward:
        nic = a < fabric.gpus
        sends, receives = nic & (a < half), nic & (a >= half)
        ends = [(a[~nic], b[~nic], mbps[~nic]), (b[~nic], a[~nic], mbps[~nic])]
        ends += [
            (np.full(sends.sum(), source), b[sends], mbps[sends]),
            (b[receives], np.full(receives.sum(), sink), mbps[receives]),
        ]
    else:
        line = np.full(half, round(fabric.nic_gbps * 1000))
        ends += [(np.full(half, source), np.arange(half), line), (np.arange(half, 2 * half), np.full(half, sink), line)]
    start, goal, rate = (np.concatenate(column) for column in zip(*ends, strict=True))
    # Parallel cables add up; the solver takes 32-bit capacities, so a common factor is divided out first.
    unit = int(np.gcd.reduce(rate)) if len(rate) else 1
    table = coo_array((rate // max(unit, 1), (start, goal)), shape=(sink + 1, sink + 1)).tocsr()
    table.sum_duplicates()
    table.data = table.data.astype(np.int32)
    flow_mbps = maximum_flow(table.astype(np.int32), source, sink).flow_value * unit
    return float(flow_mbps / (half * fabric.nic_gbps * 1000)) if half else float("nan")
