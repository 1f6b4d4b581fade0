"""Traces as Chrome trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A node is a process. A rank has a thread for its computations, one for what it sends and one for what it receives, and more
of a kind where several overlap, since slices of one thread must not. Arrows lead from senders to receivers. Format: "Trace
Event Format", the Chromium project.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.outputs import write_file
from zcube.trace.comm_trace import CommTrace, Kind

_US_PER_S = 1e6
#: Times are written to the picosecond; Perfetto keeps nanoseconds.
_DECIMALS = 6
_ROLES = ("computes", "sends", "receives")


def write_chrome(trace: CommTrace, start_s: FloatArray, finish_s: FloatArray, path: Path) -> None:
    """Write a trace with given times for Perfetto.

    Parameters
    ----------
    trace : CommTrace
        Any trace. Collectives are drawn on all ranks of their group; expand them first to see their transfers.
    start_s, finish_s : float arrays [operations]
        When each starts and ends: of a replay, of :func:`~zcube.trace.unloaded.unloaded_times`, or as recorded. Operations
        without a time (nan) and computations that take none are left out.
    path : Path
        JSON to write.

    Raises
    ------
    ValueError
        If times do not match the trace or an operation ends before it starts.
    """
    if len(start_s) != len(trace) or len(finish_s) != len(trace):
        raise ValueError(f"{len(start_s)} starts and {len(finish_s)} ends for {len(trace)} operations")
    if (finish_s < start_s).any():
        raise ValueError(f"operation {int(np.flatnonzero(finish_s < start_s)[0])} ends before it starts")
    write_file(path, lambda temporary: _write(trace, start_s, finish_s, temporary))


def _write(trace: CommTrace, start_s: FloatArray, finish_s: FloatArray, path: Path) -> None:
    slices = _Slices(trace, start_s, finish_s)
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write('{"displayTimeUnit":"ns","traceEvents":[')
        mark = "\n"
        for event in slices.events():
            handle.write(mark + encode(event))
            mark = ",\n"
        handle.write("\n]}\n")


class _Slices:
    """Every appearance of an operation on a rank: a computation on one, a transfer on two, a collective on its group."""

    def __init__(self, trace: CommTrace, start_s: FloatArray, finish_s: FloatArray):
        self._trace = trace
        shown = np.isfinite(start_s) & np.isfinite(finish_s) & ((trace.kind != Kind.COMPUTE) | (finish_s > start_s))
        computes, sends, collectives = (np.flatnonzero(shown & (trace.kind == kind)) for kind in Kind)
        size = np.array([len(group) for group in trace.groups], dtype=np.int64)
        joined = [np.array(trace.groups[group], dtype=np.int64) for group in trace.group[collectives].tolist()]
        operation = [computes, sends, np.repeat(collectives, size[trace.group[collectives]]), sends]
        rank = [trace.source[computes], trace.source[sends], np.concatenate([np.zeros(0, dtype=np.int64), *joined])]
        rank.append(trace.target[sends])
        role = np.repeat([0, 1, 1, 2], [len(part) for part in operation])
        self._rows = np.concatenate(operation)
        self._rank, self._role = np.concatenate(rank), role
        self._begin = np.round(start_s[self._rows] * _US_PER_S, _DECIMALS)
        self._end = np.round(finish_s[self._rows] * _US_PER_S, _DECIMALS)
        self._lane = _lanes(self._rank * len(_ROLES) + role, self._begin, self._end)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield names of processes and threads, then slices and arrows."""
        key = np.stack([self._rank, self._role, self._lane], axis=1)
        threads, thread = np.unique(key, axis=0, return_inverse=True)
        yield from self._names(threads)
        columns = (self._rows, self._role, self._rank // self._trace.ranks_per_node, thread.ravel(), self._begin, self._end)
        names = [self._trace.names[code] for code in self._trace.name.tolist()]
        arguments = list(self._arguments())
        for row, role, pid, tid, begin, end in zip(*(column.tolist() for column in columns), strict=True):
            place = {"pid": pid, "tid": tid + 1, "ts": begin}
            duration = max(0.0, round(end - begin, _DECIMALS))
            yield {"ph": "X", "name": names[row], "cat": _ROLES[role], **place, "dur": duration, "args": arguments[row]}
            if "target" in arguments[row]:
                arrow = {"name": names[row], "cat": "transfer", "id": row, **place}
                yield {"ph": "s", **arrow} if role == 1 else {"ph": "f", "bp": "e", **arrow}

    def _names(self, threads: IntArray) -> Iterator[dict[str, Any]]:
        per_node = self._trace.ranks_per_node
        for node in np.unique(threads[:, 0] // per_node).tolist():
            yield {"ph": "M", "name": "process_name", "pid": node, "tid": 0, "args": {"name": f"node {node}"}}
            yield {"ph": "M", "name": "process_sort_index", "pid": node, "tid": 0, "args": {"sort_index": node}}
        for place, (rank, role, lane) in enumerate(threads.tolist(), start=1):
            more = f" ({lane + 1})" if lane else ""
            name = f"GPU {rank % per_node} (rank {rank}) {_ROLES[role]}{more}"
            thread = {"pid": rank // per_node, "tid": place}
            yield {"ph": "M", "name": "thread_name", **thread, "args": {"name": name}}
            yield {"ph": "M", "name": "thread_sort_index", **thread, "args": {"sort_index": place}}

    def _arguments(self) -> Iterator[dict[str, Any]]:
        """Yield what is shown of each operation beside its name and times."""
        trace = self._trace
        columns = (trace.kind, trace.size_bytes, trace.source, trace.target, trace.layer, trace.phase)
        for row, (kind, size, source, target, layer, phase) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            arguments: dict[str, Any] = {"operation": row}
            if kind != Kind.COMPUTE:
                arguments["bytes"] = size
            if kind == Kind.TRANSFER:
                arguments |= {"source": source, "target": target}
            if layer >= 0:
                arguments["layer"] = layer
            if phase >= 0:
                arguments["phase"] = trace.phases[phase]
            yield arguments


def _lanes(track: IntArray, begin: FloatArray, end: FloatArray) -> IntArray:
    """Return for each slice the lowest lane of its track that is free by then."""
    lane = np.zeros(len(track), dtype=np.int64)
    order = np.lexsort((end, begin, track))
    current = -1
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for slot, mine, start, stop in zip(
        order.tolist(), track[order].tolist(), begin[order].tolist(), end[order].tolist(), strict=True
    ):  # fmt: skip
        if mine != current:
            current, free, busy = mine, [], []
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        chosen = heapq.heappop(free) if free else len(busy)
        lane[slot] = chosen
        heapq.heappush(busy, (stop, chosen))
    return lane
