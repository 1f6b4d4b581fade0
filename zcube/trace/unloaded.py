"""When operations start and end without contention: every transfer has the network to itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from zcube.arrays import FloatArray
from zcube.trace.comm_trace import CommTrace, Kind

#: NVLink of one H100 or H200, each way (NVIDIA, "H100 Tensor Core GPU Architecture": 900 GB/s in both directions).
NVLINK_GBPS = 3600.0


def unloaded_times(
    trace: CommTrace, rate_gbps: float, nvlink_gbps: float = NVLINK_GBPS, latency_s: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Return when every operation starts and ends if each transfer goes at line rate.

    Parameters
    ----------
    trace : CommTrace
        Without collectives; :func:`~zcube.trace.collectives.expand` turns them into transfers.
    rate_gbps, nvlink_gbps : float
        Rate of a transfer between nodes and inside a node.
    latency_s : float
        Added to every transfer.

    Returns
    -------
    start_s, finish_s : float arrays [operations]

    Raises
    ------
    ValueError
        If there is a collective or a rate is not above 0.
    """
    if len(rows := trace.rows(Kind.COLLECTIVE)):
        raise ValueError(f"operation {int(rows[0])} is a collective: expand the trace first")
    if not (rate_gbps > 0 and nvlink_gbps > 0 and latency_s >= 0):
        raise ValueError(
            f"rates {rate_gbps}, {nvlink_gbps} Gb/s, latency {latency_s} s: expected rates above 0, a latency from 0"
        )
    inside = trace.source // trace.ranks_per_node == trace.target // trace.ranks_per_node
    rate_bps = np.where(inside, nvlink_gbps, rate_gbps) * 1e9
    sends = trace.kind == Kind.TRANSFER
    duration_s = np.where(sends, trace.size_bytes * 8.0 / rate_bps + latency_s, trace.duration_s)
    return scheduled_times(trace, duration_s)


def recorded_times(trace: CommTrace) -> tuple[FloatArray, FloatArray]:
    """Return the recorded start and end of every operation; what has no recorded duration ends where it starts."""
    return trace.start_s, trace.start_s + np.nan_to_num(trace.duration_s)


def scheduled_times(trace: CommTrace, duration_s: FloatArray, timed: bool = True) -> tuple[FloatArray, FloatArray]:
    """Return when every operation starts and ends if each takes a given time.

    Parameters
    ----------
    trace : CommTrace
        Any trace.
    duration_s : float array [operations]
        What each takes.
    timed : bool
        Whether operations also wait for their ``start_s``.

    Returns
    -------
    start_s, finish_s : float arrays [operations]
    """
    # One pass in order is a pass along dependencies; plain lists are faster than arrays that are read number by number.
    start = trace.start_s.tolist() if timed else [0.0] * len(trace)
    taken, waits, bounds = duration_s.tolist(), trace.dependency.tolist(), trace.first_dependency.tolist()
    finish = [0.0] * len(trace)
    for row, (first, last) in enumerate(pairwise(bounds)):
        begin = start[row]
        for awaited in waits[first:last]:
            if finish[awaited] > begin:
                begin = finish[awaited]
        start[row] = begin
        finish[row] = begin + taken[row]
    return np.array(start), np.array(finish)
