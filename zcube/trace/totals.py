"""What a trace adds up to: bytes and operations by phase, operation, rail and rank, seconds of computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.trace.comm_trace import NONE, CommTrace, Kind
from zcube.trace.unloaded import scheduled_times

#: Sums are whole numbers of 64 bits.
MAX_TOTAL_BYTES = 1 << 62


@dataclass(frozen=True)
class Sums:
    """What some operations of a trace add up to.

    Attributes
    ----------
    computations, transfers, collectives : int
        How many.
    size_bytes : int
        Bytes of the transfers.
    put_in_bytes : int
        Bytes that one rank puts into the collectives. What collectives send is known once they are expanded.
    compute_s : float
        Seconds of the computations, over all GPUs.
    """

    computations: int
    transfers: int
    collectives: int
    size_bytes: int
    put_in_bytes: int
    compute_s: float

    def document(self) -> dict[str, float]:
        """Return as JSON; units in the keys."""
        return {
            "computations": self.computations,
            "transfers": self.transfers,
            "collectives": self.collectives,
            "bytes": self.size_bytes,
            "collective_put_in_bytes": self.put_in_bytes,
            "compute_s": self.compute_s,
        }


@dataclass(frozen=True, eq=False)
class TraceTotals:
    """Totals of a trace.

    Attributes
    ----------
    whole : Sums
        All operations.
    by_phase, by_operation : mapping
        By name, in the order of the trace's names; the phase of operations without one is the empty text.
    by_operation_and_phase : mapping
        By the pair of names.
    rail_bytes : int array [rails, rails]
        Bytes of transfers between nodes, from GPUs of a rail to GPUs of a rail.
    in_node_bytes, between_nodes_bytes : int
        Bytes of transfers inside a node and from node to node.
    same_rail_bytes, cross_rail_bytes : int
        The latter, by whether source and target are on one rail.
    sent_bytes, received_bytes : int array [ranks]
        Bytes of transfers by rank.
    compute_s : float array [ranks]
        Seconds of computation by rank.
    critical_path_s : float
        Longest chain of computations along dependencies, communication taking no time and recorded starts left out.
    metadata : mapping
        The trace's.
    """

    whole: Sums
    by_phase: Mapping[str, Sums]
    by_operation: Mapping[str, Sums]
    by_operation_and_phase: Mapping[tuple[str, str], Sums]
    rail_bytes: IntArray
    in_node_bytes: int
    between_nodes_bytes: int
    same_rail_bytes: int
    cross_rail_bytes: int
    sent_bytes: IntArray
    received_bytes: IntArray
    compute_s: np.ndarray
    critical_path_s: float
    metadata: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Return as JSON; units in the keys. Rails without bytes between them are left out."""
        rails = [
            {"source_rail": source, "target_rail": target, "bytes": int(self.rail_bytes[source, target])}
            for source, target in zip(*(axis.tolist() for axis in np.nonzero(self.rail_bytes)), strict=True)
        ]
        return {
            "ranks": len(self.sent_bytes),
            "total": self.whole.document(),
            "phases": [{"phase": name, **sums.document()} for name, sums in self.by_phase.items()],
            "operations": [{"operation": name, **sums.document()} for name, sums in self.by_operation.items()],
            "operations_by_phase": [
                {"operation": name, "phase": phase, **sums.document()}
                for (name, phase), sums in self.by_operation_and_phase.items()
            ],
            "between_nodes_rails": rails,
            "in_node_bytes": self.in_node_bytes,
            "between_nodes_bytes": self.between_nodes_bytes,
            "between_nodes_same_rail_bytes": self.same_rail_bytes,
            "between_nodes_cross_rail_bytes": self.cross_rail_bytes,
            "ranks_sent_bytes": self.sent_bytes.tolist(),
            "ranks_received_bytes": self.received_bytes.tolist(),
            "ranks_compute_s": self.compute_s.tolist(),
            "critical_path_s": self.critical_path_s,
            "metadata": dict(self.metadata),
        }


def totals(trace: CommTrace) -> TraceTotals:
    """Return what a trace adds up to.

    Collectives count as operations; for the bytes they send, take the totals of the expanded trace, see
    :func:`~zcube.trace.collectives.expand`.

    Raises
    ------
    InputError
        If the bytes are too many to be counted.
    """
    if (size_bytes := trace.size_bytes.sum(dtype=np.float64)) > MAX_TOTAL_BYTES:
        raise InputError(Fault(trace.source_name, f"{size_bytes:.3g} bytes in all", f"at most {MAX_TOTAL_BYTES:.3g}"))
    sends = trace.rows(Kind.TRANSFER)
    source, target, size = trace.source[sends], trace.target[sends], trace.size_bytes[sends]
    rails = trace.ranks_per_node
    out_rail, in_rail = source % rails, target % rails
    between = source // rails != target // rails
    by_rail = _sum((out_rail * rails + in_rail)[between], size[between], rails * rails).reshape(rails, rails)
    computes = trace.rows(Kind.COMPUTE)
    _, finish_s = scheduled_times(trace, np.where(trace.kind == Kind.COMPUTE, trace.duration_s, 0.0), timed=False)
    phases = (*trace.phases, "")
    # The phase of operations without one comes last.
    phase = np.where(trace.phase == NONE, len(phases) - 1, trace.phase)
    both = _grouped(trace, trace.name * len(phases) + phase)
    return TraceTotals(
        whole=_grouped(trace, np.zeros_like(trace.kind)).get(0, Sums(0, 0, 0, 0, 0, 0.0)),
        by_phase={phases[code]: sums for code, sums in _grouped(trace, phase).items()},
        by_operation={trace.names[code]: sums for code, sums in _grouped(trace, trace.name).items()},
        by_operation_and_phase={
            (trace.names[code // len(phases)], phases[code % len(phases)]): sums for code, sums in both.items()
        },
        rail_bytes=by_rail,
        in_node_bytes=int(size[~between].sum()),
        between_nodes_bytes=int(size[between].sum()),
        same_rail_bytes=int(size[between & (out_rail == in_rail)].sum()),
        cross_rail_bytes=int(size[between & (out_rail != in_rail)].sum()),
        sent_bytes=_sum(source, size, trace.ranks),
        received_bytes=_sum(target, size, trace.ranks),
        compute_s=np.bincount(trace.source[computes], trace.duration_s[computes], trace.ranks),
        critical_path_s=float(finish_s.max(initial=0.0)),
        metadata=trace.metadata,
    )


def _grouped(trace: CommTrace, code: IntArray) -> dict[int, Sums]:
    """Return sums by code, in ascending order, of the codes that occur."""
    if not len(code):
        return {}
    count = int(code.max()) + 1
    computes, sends, collectives = (trace.rows(kind) for kind in Kind)
    numbers = [np.bincount(code[rows], minlength=count).tolist() for rows in (computes, sends, collectives)]
    sizes = [_sum(code[rows], trace.size_bytes[rows], count).tolist() for rows in (sends, collectives)]
    seconds = np.bincount(code[computes], trace.duration_s[computes], count).tolist()
    return {
        place: Sums(numbers[0][place], numbers[1][place], numbers[2][place], sizes[0][place], sizes[1][place], seconds[place])
        for place in np.unique(code).tolist()
    }


def _sum(code: IntArray, size_bytes: IntArray, count: int) -> IntArray:
    """Return sums by code in whole bytes; weights of ``bincount`` would be floats."""
    total = np.zeros(count, dtype=np.int64)
    np.add.at(total, code, size_bytes)
    return total
