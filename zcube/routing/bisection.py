"""Bisection bandwidth by maximum flow on the fabric as built."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.model import CableKind, Fabric

#: What shares of links may add up to beyond 1 for want of digits.
_ROUNDING = 1e-12


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
    unit = max(1, int(np.gcd.reduce(rate))) if len(rate) else 1
    rate = rate // unit
    flow = _carried_evenly(start, goal, rate, source, sink)
    if flow is None:
        flow = _largest_flow(start, goal, rate, source, sink)
    return float(flow * unit / (half * fabric.nic_gbps * 1000)) if half else float("nan")


def _carried_evenly(start: IntArray, goal: IntArray, rate: IntArray, source: int, sink: int) -> int | None:
    """Return all that the source sends and the sink takes if it gets there in the simplest way; None if it does not.

    Every switch keeps for GPUs of its own what they take, sends what is left evenly over its links, and draws what is lacking
    evenly likewise; those in between pass on as much as they get.
    """
    enters, leaves = start == source, goal == sink
    between = ~(enters | leaves)
    entering, leaving = np.bincount(goal[enters], rate[enters], sink), np.bincount(start[leaves], rate[leaves], sink)
    start, goal, rate = start[between], goal[between], rate[between]
    surplus, lack = np.maximum(entering - leaving, 0), np.maximum(leaving - entering, 0)
    joined = np.bincount(start, rate, sink)
    if entering.sum() != leaving.sum() or ((surplus > joined) | (lack > joined)).any():
        return None
    sent, drawn = (share / np.maximum(joined, 1) for share in (surplus, lack))
    is_within = sent[start] + drawn[goal] <= 1 + _ROUNDING
    lost = np.abs(np.bincount(goal, rate * sent[start], sink) - np.bincount(start, rate * drawn[goal], sink)).sum()
    # The largest flow is a whole number, and so is not less by a part of one.
    is_all = is_within.all() and lost + _ROUNDING * entering.sum() < 0.5
    return int(entering.sum()) if is_all else None


def _largest_flow(start: IntArray, goal: IntArray, rate: IntArray, source: int, sink: int) -> int:
    """Return what the source can send to the sink; parallel cables add up, and the solver takes 32-bit rates."""
    # It takes longer to import than all else of a small fabric.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    table = coo_array((rate, (start, goal)), shape=(sink + 1, sink + 1)).tocsr()
    table.sum_duplicates()
    table.data = table.data.astype(np.int32)
    return int(maximum_flow(table.astype(np.int32), source, sink).flow_value)
