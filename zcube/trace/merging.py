"""Putting a trace behind or beside another, on other ranks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import NONE, CommTrace, Kind


def extend(builder: TraceBuilder, trace: CommTrace, *, rank_offset: int = 0, after: ArrayLike | None = None) -> IntArray:
    """Append a trace to one under construction.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to; it must have the ranks.
    trace : CommTrace
        What is appended.
    rank_offset : int
        Added to every rank; a multiple of the ranks per node, so that rails stay.
    after : int array [ranks of the trace], optional
        Operation of the builder, or -1, that each rank of the trace waits for: its operations that wait for nothing wait for
        the entry of their source; collectives for the entries of their root or, without one, of their whole group. Without
        it the trace runs beside what the builder has.

    Returns
    -------
    int array [operations of the trace]
        Their numbers in the builder.

    Raises
    ------
    ValueError
        If the offset would shift rails, or ``after`` has a wrong shape or names no operation of the builder.
    """
    base = len(builder)
    if rank_offset < 0 or rank_offset % trace.ranks_per_node:
        raise ValueError(f"rank offset {rank_offset}: expected a multiple of {trace.ranks_per_node}")
    waits = np.full(trace.ranks, NONE, dtype=np.int64) if after is None else np.asarray(after, dtype=np.int64)
    if waits.shape != (trace.ranks,) or (waits.size and (waits.min() < NONE or waits.max() >= base)):
        raise ValueError(f"after: expected one operation below {base}, or -1, for each of {trace.ranks} ranks")
    roots = np.flatnonzero(np.diff(trace.first_dependency) == 0)
    owner, added = _root_waits(trace, roots, waits)
    outside: dict[int, list[int]] = {}
    for row, wait in zip(owner.tolist(), added.tolist()):
        outside.setdefault(row, []).append(wait)
    for first, last in _runs(trace):
        table = [[*(trace.waits_for(row) + base).tolist(), *outside.get(row, ())] for row in range(first, last)]
        depth = max((len(row) for row in table), default=0)
        columns = np.array([row + [NONE] * (depth - len(row)) for row in table], dtype=np.int64).reshape(last - first, depth)
        _append_run(builder, trace, first, last, rank_offset, list(columns.T))
    return np.arange(base, base + len(trace))


def last_of_ranks(trace: CommTrace) -> IntArray:
    """Return the last computation of each rank, -1 where it computes nothing."""
    last = np.full(trace.ranks, NONE, dtype=np.int64)
    rows = trace.rows(Kind.COMPUTE)
    np.maximum.at(last, trace.source[rows], rows)
    return last


def _runs(trace: CommTrace) -> list[tuple[int, int]]:
    """Cut a trace into runs of one kind, name and phase; a collective is a run of its own."""
    if not len(trace):
        return []
    alike = np.diff(np.stack([trace.kind, trace.name, trace.phase]), axis=1) == 0
    starts = np.flatnonzero(np.concatenate([[True], ~alike.all(axis=0) | (trace.kind[1:] == Kind.COLLECTIVE)]))
    return list(pairwise([*starts.tolist(), len(trace)]))


def _append_run(
    builder: TraceBuilder, trace: CommTrace, first: int, last: int, rank_offset: int, after: list[IntArray]
) -> None:
    rows = slice(first, last)
    name, number = trace.names[trace.name[first]], int(trace.phase[first])
    phase = trace.phases[number] if number >= 0 else ""
    source, layer, start_s, duration_s = trace.source[rows], trace.layer[rows], trace.start_s[rows], trace.duration_s[rows]
    kind = trace.kind[first]
    if kind == Kind.COMPUTE:
        builder.compute(name, source + rank_offset, duration_s, phase=phase, layer=layer, start_s=start_s, after=after)
    elif kind == Kind.TRANSFER:
        builder.transfer(
            name, source + rank_offset, trace.target[rows] + rank_offset, trace.size_bytes[rows], phase=phase, layer=layer,
            start_s=start_s, duration_s=duration_s, after=after,
        )  # fmt: skip
    else:
        root = int(source[0])
        builder.collective(
            name, [rank + rank_offset for rank in trace.groups[trace.group[first]]], int(trace.size_bytes[first]),
            root=root if root < 0 else root + rank_offset, phase=phase, layer=int(layer[0]), start_s=float(start_s[0]),
            duration_s=float(duration_s[0]), after=[int(wait[0]) for wait in after],
        )  # fmt: skip


def _root_waits(second: CommTrace, roots: IntArray, waits: IntArray) -> tuple[IntArray, IntArray]:
    """Return which operation of ``second`` waits for which that was there before."""
    placed = roots[second.source[roots] >= 0]
    owner, added = [placed], [waits[second.source[placed]]]
    for root in roots[(second.source[roots] < 0) & (second.kind[roots] == Kind.COLLECTIVE)]:
        group = waits[list(second.groups[second.group[root]])]
        owner.append(np.full(len(group), root, dtype=np.int64))
        added.append(group)
    owners, values = np.concatenate(owner), np.concatenate(added)
    return owners[values >= 0], values[values >= 0]
