"""Collectives of which a calibration holds the whole: how long they take alone is theirs, not their parts'.

NCCL cuts a buffer into slices that follow one another, so that a collective starts once and then keeps every hop busy. Carried
message by message, each with a start of its own, a ring of eight would start fourteen times. So all parts go at once
(:data:`~zcube.trace.collectives.AS_MEASURED`), and their message start is what the measured time leaves beside their bytes at
the rate of the links. Where the measured time is shorter than that, because switches reduce or because the operation reaches
more than the all-to-all that the rate is from, as many bytes go as the time allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.calibrate.messages import Sizes
from zcube.calibrate.operations import size_of, wire_factor
from zcube.fabric.measured import MeasuredLinks
from zcube.fabric.model import Fabric
from zcube.trace.collective_steps import collective_of
from zcube.trace.collectives import Expanded
from zcube.trace.comm_trace import CommTrace, Kind


@dataclass(frozen=True, eq=False)
class AsMeasured:
    """Operations without collectives, and the starts of those transfers that belong to a measured one.

    Attributes
    ----------
    trace : CommTrace
    message_start_s : float array [transfers] or None
        NaN where the links' own start holds; None where that is everywhere.
    document : tuple of dict
        Which collectives these are, JSON-ready.
    operations : tuple of (str, int, int, Sizes)
        The same: name, ranks, nodes, bytes that a rank puts in.
    """

    trace: CommTrace
    message_start_s: FloatArray | None
    document: tuple[dict[str, Any], ...] = ()
    operations: tuple[tuple[str, int, int, Sizes], ...] = ()

    @property
    def timed_apart(self) -> BoolArray:
        """Which transfers belong to no such collective [transfers]."""
        if self.message_start_s is None:
            return np.ones(len(self.trace.rows(Kind.TRANSFER)), dtype=np.bool_)
        return np.isnan(self.message_start_s)


def as_measured(given: CommTrace, expanded: Expanded, measured: MeasuredLinks | None, fabric: Fabric) -> AsMeasured:
    """Return expanded operations with the measured time in those that have one.

    Parameters
    ----------
    given : CommTrace
        As it was before it was expanded.
    expanded : Expanded
        With the collectives that are known to ``measured``.
    measured : MeasuredLinks or None
        What was measured.
    fabric : Fabric
        With the links as measured.
    """
    if measured is None or not len(expanded.as_measured):
        return AsMeasured(expanded.trace, None)
    rates = fabric.cables.gbps
    nvlink_gbps, nic_gbps = float(rates[fabric.nvlink_cable].min()), float(rates[fabric.nic_cable].sum(axis=1).min())
    start_s, part = np.full(len(given), np.nan), np.ones(len(given))
    document, operations = [], []
    for name, ranks, nodes, rows in _alike(given, expanded.as_measured):
        put_in = given.size_bytes[rows].astype(np.float64)
        time_s = measured.operation_s(name, ranks, put_in, nodes)
        assert time_s is not None
        wire_bytes = size_of(name, ranks, put_in) * wire_factor(name, ranks, nodes)
        wire_s = wire_bytes * 8e-9 / (nvlink_gbps if nodes == 1 else nic_gbps)
        start_s[rows], part[rows] = np.maximum(time_s - wire_s, 0.0), np.minimum(time_s / wire_s, 1.0)
        least, most = float(put_in.min()), float(put_in.max())
        said = {
            "operation": name,
            "ranks": ranks,
            "nodes": nodes,
            "collectives": len(rows),
            "from_bytes": int(least),
            "to_bytes": int(most),
            "least_part_of_bytes": float(part[rows].min()),
            "warnings": list(measured.outside_operation(name, ranks, least, most, nodes)),
        }
        document.append(said)
        operations.append((name, ranks, nodes, Sizes.of(put_in)))
    trace = expanded.trace
    sends = trace.rows(Kind.TRANSFER)
    size = trace.size_bytes.copy()
    size[sends] = np.maximum(1, np.round(size[sends] * part[expanded.row_before[sends]])).astype(np.int64)
    known_s = start_s[expanded.row_before[sends]]
    return AsMeasured(replace(trace, size_bytes=size), known_s, tuple(document), tuple(operations))


def _alike(given: CommTrace, rows: IntArray) -> Iterator[tuple[str, int, int, IntArray]]:
    """Yield the collectives of each operation, number of ranks and of nodes."""
    of_group = np.array([(len(group), len({rank // given.ranks_per_node for rank in group})) for group in given.groups])
    ranks, nodes = of_group[given.group[rows]].T
    names = np.array([str(collective_of(name)) for name in given.names])[given.name[rows]]
    for name, count, over in sorted({*zip(names.tolist(), ranks.tolist(), nodes.tolist(), strict=True)}):
        yield name, count, over, rows[(names == name) & (ranks == count) & (nodes == over)]
