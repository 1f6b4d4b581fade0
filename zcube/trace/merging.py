"""Putting traces together: one after another, side by side, on other ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import MAX_OPERATIONS, MAX_RANKS, NONE, CommTrace, Kind


def append(
    first: CommTrace, second: CommTrace, *, rank_offset: int = 0, after: ArrayLike | None = None, start_s: float = 0.0
) -> CommTrace:
    """Return a trace with the operations of ``second`` behind those of ``first``.

    Numbers of ``first`` stay; operation ``i`` of ``second`` becomes ``len(first) + i``. The metadata is that of ``first``.

    Parameters
    ----------
    first, second : CommTrace
        Traces with the same number of ranks per node.
    rank_offset : int
        Added to every rank of ``second``; a multiple of the ranks per node, so that rails stay.
    after : int array [ranks of second], optional
        Operation of ``first``, or -1, that each rank of ``second`` waits for: its operations that wait for nothing wait for
        the entry of their source; collectives for the entries of their root or, without one, of their whole group. Without
        it ``second`` runs beside ``first``.
    start_s : float
        Added to the earliest starts of ``second``.

    Raises
    ------
    ValueError
        If the nodes differ in size, the offset would shift rails, the result is too large, or ``after`` has a wrong shape or
        names no operation of ``first``.
    """
    waits = _checked_waits(first, second, rank_offset, after)
    names, name = _renumbered(first.names, second.names, second.name)
    phases, phase = _renumbered(first.phases, second.phases, second.phase)
    shifted = tuple(tuple(rank + rank_offset for rank in group) for group in second.groups)
    groups, group = _renumbered(first.groups, shifted, second.group)
    first_dependency, dependency = _dependencies(first, second, waits)
    trace = CommTrace(
        kind=np.concatenate([first.kind, second.kind]),
        name=np.concatenate([first.name, name]),
        phase=np.concatenate([first.phase, phase]),
        layer=np.concatenate([first.layer, second.layer]),
        source=np.concatenate([first.source, _moved(second.source, rank_offset)]),
        target=np.concatenate([first.target, _moved(second.target, rank_offset)]),
        group=np.concatenate([first.group, group]),
        size_bytes=np.concatenate([first.size_bytes, second.size_bytes]),
        start_s=np.concatenate([first.start_s, second.start_s + start_s]),
        duration_s=np.concatenate([first.duration_s, second.duration_s]),
        first_dependency=first_dependency,
        dependency=dependency,
        names=names,
        phases=phases,
        groups=groups,
        ranks=max(first.ranks, second.ranks + rank_offset),
        ranks_per_node=first.ranks_per_node,
        metadata=first.metadata,
    )
    trace.check()
    return trace


def extend(builder: TraceBuilder, trace: CommTrace, *, rank_offset: int = 0, after: ArrayLike | None = None) -> IntArray:
    """Append a trace to one under construction.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to; it must have the ranks.
    trace : CommTrace
        What is appended.
    rank_offset : int
        Added to every rank.
    after : int array [ranks of the trace], optional
        As in :func:`append`, operations of the builder.

    Returns
    -------
    int array [operations of the trace]
        Their numbers in the builder.
    """
    waits = np.full(trace.ranks, NONE, dtype=np.int64) if after is None else np.asarray(after, dtype=np.int64)
    base = len(builder)
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


def side_by_side(traces: Sequence[CommTrace], rank_offsets: Sequence[int], metadata: Mapping[str, Any]) -> CommTrace:
    """Return independent traces as one.

    Parameters
    ----------
    traces : sequence of CommTrace
        At least one.
    rank_offsets : sequence of int
        As in :func:`append`, one per trace.
    metadata : mapping
        Of the result.

    Raises
    ------
    ValueError
        As :func:`append`, or if the lengths differ or there is no trace.
    """
    if not traces or len(traces) != len(rank_offsets):
        raise ValueError("expected one rank offset per trace, at least one trace")
    merged = empty(traces[0].ranks_per_node, metadata)
    for trace, offset in zip(traces, rank_offsets):
        merged = append(merged, trace, rank_offset=offset)
    return merged


def empty(ranks_per_node: int, metadata: Mapping[str, Any]) -> CommTrace:
    """Return a trace of no operations and no ranks."""
    none, never = np.zeros(0, dtype=np.int64), np.zeros(0)
    return CommTrace(
        none, none, none, none, none, none, none, none, never, never, np.zeros(1, dtype=np.int64), none, (), (), (),
        ranks=0, ranks_per_node=ranks_per_node, metadata=dict(metadata),
    )  # fmt: skip


def _checked_waits(first: CommTrace, second: CommTrace, rank_offset: int, after: ArrayLike | None) -> IntArray:
    if first.ranks_per_node != second.ranks_per_node:
        raise ValueError(f"nodes of {first.ranks_per_node} and of {second.ranks_per_node} ranks")
    if rank_offset < 0 or rank_offset % first.ranks_per_node or second.ranks + rank_offset > MAX_RANKS:
        raise ValueError(f"rank offset {rank_offset}: expected a multiple of {first.ranks_per_node} within {MAX_RANKS} ranks")
    if len(first) + len(second) > MAX_OPERATIONS:
        raise ValueError(f"{len(first) + len(second)} operations: expected at most {MAX_OPERATIONS}")
    waits = np.full(second.ranks, NONE, dtype=np.int64) if after is None else np.asarray(after, dtype=np.int64)
    if waits.shape != (second.ranks,) or (waits.size and (waits.min() < NONE or waits.max() >= len(first))):
        raise ValueError(f"after: expected one operation below {len(first)}, or -1, for each of {second.ranks} ranks")
    return waits


def _renumbered(known: tuple[Any, ...], added: tuple[Any, ...], column: IntArray) -> tuple[tuple[Any, ...], IntArray]:
    """Return the union of two lists of names and a column of the second in the union's numbers."""
    numbers = {value: number for number, value in enumerate(known)}
    table = np.array([NONE, *(numbers.setdefault(value, len(numbers)) for value in added)], dtype=np.int64)
    return tuple(numbers), table[column + 1]


def _moved(ranks: IntArray, offset: int) -> IntArray:
    return np.where(ranks == NONE, NONE, ranks + offset)


def _dependencies(first: CommTrace, second: CommTrace, waits: IntArray) -> tuple[IntArray, IntArray]:
    counts = np.diff(second.first_dependency)
    roots = np.flatnonzero(counts == 0)
    owner, added = _root_waits(second, roots, waits)
    counts = counts + np.bincount(owner, minlength=len(second))
    # Roots have no dependencies of their own: sorting by operation puts both kinds where they belong.
    own = np.repeat(np.arange(len(second)), np.diff(second.first_dependency))
    values = np.concatenate([second.dependency + len(first), added])
    order = np.argsort(np.concatenate([own, owner]), kind="stable")
    first_dependency = np.concatenate([first.first_dependency, len(first.dependency) + np.cumsum(counts)])
    return first_dependency.astype(np.int64), np.concatenate([first.dependency, values[order]])


def _root_waits(second: CommTrace, roots: IntArray, waits: IntArray) -> tuple[IntArray, IntArray]:
    """Return which operation of ``second`` waits for which of ``first``."""
    placed = roots[second.source[roots] >= 0]
    owner, added = [placed], [waits[second.source[placed]]]
    for root in roots[(second.source[roots] < 0) & (second.kind[roots] == Kind.COLLECTIVE)]:
        group = waits[list(second.groups[second.group[root]])]
        owner.append(np.full(len(group), root, dtype=np.int64))
        added.append(group)
    owners, values = np.concatenate(owner), np.concatenate(added)
    return owners[values >= 0], values[values >= 0]
