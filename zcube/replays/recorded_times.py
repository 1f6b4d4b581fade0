"""How long operations took in a recording, beside how long they take in a replay.

Recorded durations hold what a rank waited for the others, up to all of it. What stands for an operation is therefore the
shortest of those of equal name, number of ranks and bytes; of one that ran once, that still is what that one took. A
collective's time in a trace is already from when the last rank has come to when the last is done, in recordings of all ranks;
in a replay it is from the last rank's start to the last one's end, the shortest again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.dependent_run import OperationTimes
from zcube.trace.collectives import END, START
from zcube.trace.comm_trace import CommTrace, Kind

#: Bytes above which what the links carry, and not their start, is most of the time.
LARGE_BYTES = 1_000_000
#: Rows listed, those of the most bytes first.
LISTED = 200


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """One kind of operation: shortest time recorded and simulated, and how many there are of it on either side."""

    operation: str
    ranks: int
    size_bytes: int
    recorded_s: float
    simulated_s: float
    recorded: int
    simulated: int

    @property
    def error(self) -> float:
        """``simulated / recorded - 1``."""
        return self.simulated_s / self.recorded_s - 1.0


_Key = tuple[str, int, int]


def compared_times(recording: CommTrace, given: CommTrace, simulated_s: FloatArray) -> tuple[RecordedTime, ...]:
    """Return what was recorded beside what is simulated, for every operation that has both, largest first.

    Parameters
    ----------
    recording : CommTrace
        With durations of some of its operations.
    given : CommTrace
        What was replayed, collectives not expanded.
    simulated_s : float array [operations]
        How long each took; NaN for none.
    """
    there, here = _shortest(recording, recording.duration_s), _shortest(given, simulated_s)
    rows = [
        RecordedTime(*key, there[key][0], here[key][0], there[key][1], here[key][1])
        for key in sorted(there.keys() & here.keys(), key=lambda key: (-key[2], key))
    ]
    return tuple(rows)


def simulated_times(given: CommTrace, trace: CommTrace, row_before: IntArray, times: OperationTimes) -> FloatArray:
    """Return how long every operation took that was replayed, NaN of one without a transfer [operations].

    Parameters
    ----------
    given : CommTrace
        With collectives.
    trace : CommTrace
        Expanded.
    row_before : int array [operations of trace]
        Which operation of ``given`` each belongs to.
    times : OperationTimes
        When each ran.
    """
    names = np.array([*trace.names, ""], dtype=object)[trace.name]
    begun, ended = np.full(len(given), -np.inf), np.full(len(given), -np.inf)
    sends, starts, ends = trace.kind == Kind.TRANSFER, names == START, names == END
    whole = given.kind[row_before] == Kind.TRANSFER
    for mask in (starts, sends & whole):
        np.maximum.at(begun, row_before[mask], times.start_s[mask])
    for mask in (ends, sends & whole):
        np.maximum.at(ended, row_before[mask], times.finish_s[mask])
    done = np.isfinite(begun) & (ended > begun)
    return np.where(done, np.where(done, ended, 0.0) - np.where(done, begun, 0.0), np.nan)


def times_document(rows: tuple[RecordedTime, ...]) -> dict[str, Any]:
    """Return them JSON-ready, with the errors by size of the operation; docs/replay.md defines every key."""
    decades = sorted({len(str(row.size_bytes)) - 1 for row in rows})
    return {
        "operations": len(rows),
        "errors": _errors(rows),
        "errors_above_1_mb": _errors(row for row in rows if row.size_bytes > LARGE_BYTES),
        "by_size_decade": [
            {"from_bytes": 10**decade, **(_errors(row for row in rows if len(str(row.size_bytes)) - 1 == decade) or {})}
            for decade in decades
        ],
        "shortest": [
            {
                "operation": row.operation,
                "ranks": row.ranks,
                "bytes": row.size_bytes,
                "recorded_s": row.recorded_s,
                "simulated_s": row.simulated_s,
                "error": row.error,
                "recorded": row.recorded,
                "simulated": row.simulated,
            }
            for row in rows[:LISTED]
        ],
    }


def _errors(rows: Iterable[RecordedTime]) -> dict[str, Any] | None:
    error = np.array([row.error for row in rows])
    if not len(error):
        return None
    far = np.abs(error)
    return {
        "operations": len(far),
        "median": float(np.median(far)),
        "largest": float(far.max()),
        "mean_signed": float(error.mean()),
    }


def _shortest(trace: CommTrace, duration_s: FloatArray) -> dict[_Key, tuple[float, int]]:
    """Return the shortest time of each kind of operation that has one, and how many have."""
    rows = np.flatnonzero((trace.kind != Kind.COMPUTE) & (np.nan_to_num(duration_s) > 0) & (trace.size_bytes > 0))
    size = np.array([*(len(group) for group in trace.groups), 2], dtype=np.int64)
    # Two ranks take part in a transfer, which has no group.
    columns = np.stack([trace.name[rows], size[trace.group[rows]], trace.size_bytes[rows]])
    keys, place, counts = np.unique(columns, axis=1, return_inverse=True, return_counts=True)
    least = np.full(keys.shape[1], np.inf)
    np.minimum.at(least, place.ravel(), duration_s[rows])
    return {
        (trace.names[name], int(ranks), int(size_bytes)): (float(seconds), int(count))
        for (name, ranks, size_bytes), seconds, count in zip(keys.T.tolist(), least, counts, strict=True)
    }
