"""When operations are shown to run, of a trace that no network has carried."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import CommTrace, Kind
from zcube.trace.unloaded import recorded_times, unloaded_times

#: NIC of the nodes in such a timeline.
UNLOADED_GBPS = 400.0


def timeline_times(trace: CommTrace) -> tuple[CommTrace, FloatArray, FloatArray, str]:
    """Return when operations run: as recorded where that is known, else each alone at line rate.

    Returns
    -------
    trace : CommTrace
        The operations, collectives expanded unless recorded.
    start_s, finish_s : float arrays [operations]
    how : str
        Where the times come from, for a reader.
    """
    sent = trace.kind != Kind.COMPUTE
    if sent.any() and np.isfinite(trace.duration_s[sent]).all() and not len(trace.dependency):
        return trace, *recorded_times(trace), "as recorded"
    shown = expand(trace)
    return shown, *unloaded_times(shown, UNLOADED_GBPS), f"every transfer alone, {UNLOADED_GBPS:g} Gb/s between nodes"
