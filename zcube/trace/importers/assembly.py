"""The trace of an import, from the calls of its files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from zcube.errors import Fault, InputError
from zcube.node import GPUS_PER_NODE
from zcube.trace.comm_trace import MAX_RANKS, NONE, CommTrace, Kind
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.merging import Merge, Operation
from zcube.trace.importers.ordering import Ordered, order
from zcube.trace.importers.report import FileReport

_US = 1e-6


def assemble(gathered: Gathered, reports: Sequence[FileReport], options: Options, metadata: Mapping[str, Any]) -> CommTrace:
    """Return the trace of all calls.

    Starts are relative to the earliest recorded one; the metadata keep that as ``origin_us``. An operation of several ranks
    starts when the last of them has come and lasts until the last of them is done.

    Raises
    ------
    InputError
        If no call can be used, or a rank is outside ``options.ranks``.
    """
    operations = Merge(gathered, reports).run()
    if not operations:
        raise InputError(_nothing(reports))
    ranks = _ranks(gathered, operations, options)
    ordered = order(gathered, operations)
    starts = [operation.start_us for operation in ordered.operations if operation.start_us is not None]
    origin = min(starts) if starts else None
    metadata = {**metadata, "origin_us": origin, "recorded_starts": len(starts), "notes": list(gathered.notes)}
    per_node = options.ranks_per_node or gathered.ranks_per_node or GPUS_PER_NODE
    trace = _trace(ordered, gathered, origin or 0, ranks, per_node, metadata)
    trace.check()
    return trace


def _nothing(reports: Sequence[FileReport]) -> list[Fault]:
    faults = []
    for report in reports:
        if report.broken is not None:
            faults.append(report.broken)
        reasons = "; ".join(f"{count} x {reason}" for reason, count in report.skipped.most_common(5))
        found = f"{report.read} {report.unit}s, none of use" + (f" ({reasons})" if reasons else "")
        faults.append(Fault(report.path, found, "at least one communication or computation"))
    return faults


def _ranks(gathered: Gathered, operations: Sequence[Operation], options: Options) -> int:
    named = {rank for operation in operations for rank in (operation.source, operation.target)}
    used = {operation.group for operation in operations if operation.kind == Kind.COLLECTIVE}
    named |= {max(gathered.groups[group]) for group in used}
    found = max(gathered.ranks, 1 + max(named))
    most = MAX_RANKS if options.ranks is None else options.ranks
    if found > most:
        raise InputError(Fault("ranks", f"rank {found - 1} in the files", f"at most {most} ranks"))
    return found if options.ranks is None else options.ranks


def _trace(
    ordered: Ordered, gathered: Gathered, origin: float, ranks: int, ranks_per_node: int, metadata: Mapping[str, Any]
) -> CommTrace:
    rows = ordered.operations

    def column(value: Callable[[Operation], Any], kind: type = np.int64) -> Any:
        return np.fromiter((value(row) for row in rows), dtype=kind, count=len(rows))

    names: dict[str, int] = {}
    groups: dict[tuple[int, ...], int] = {}

    def group(row: Operation) -> int:
        return _code(groups, gathered.groups[row.group]) if row.kind == Kind.COLLECTIVE else NONE

    counts = np.fromiter((len(waits) for waits in ordered.waits), dtype=np.int64, count=len(rows))
    nothing = np.full(len(rows), NONE, dtype=np.int64)
    return CommTrace(
        kind=column(lambda row: row.kind),
        name=column(lambda row: _code(names, row.name)),
        phase=nothing,
        layer=nothing.copy(),
        source=column(lambda row: row.source),
        target=column(lambda row: row.target),
        group=column(group),
        size_bytes=column(lambda row: row.size_bytes),
        start_s=column(lambda row: 0.0 if row.start_us is None else (row.start_us - origin) * _US, np.float64),
        duration_s=column(_duration_s, np.float64),
        first_dependency=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        dependency=np.fromiter((wait for waits in ordered.waits for wait in waits), dtype=np.int64, count=int(counts.sum())),
        names=tuple(names),
        phases=(),
        groups=tuple(groups),
        ranks=ranks,
        ranks_per_node=ranks_per_node,
        metadata=dict(metadata),
    )


def _duration_s(row: Operation) -> float:
    if row.duration_us is None:
        return 0.0 if row.kind == Kind.COMPUTE else float("nan")
    return row.duration_us * _US


def _code(codes: dict[Any, int], key: Hashable) -> int:
    return codes.setdefault(key, len(codes))
