"""What recordings could be replayed as, what they lack, and how sure it is where their ranks are; without writing a trace.

The files go through the importers as an import's do; what is said here is counted from the calls and the trace that come of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zcube.trace.comm_trace import CommTrace, Kind
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.catalog import formats_of, import_with
from zcube.trace.importers.report import FileReport, ImportReport

#: Ranks listed of those that no file is of.
MOST_LISTED = 16

#: Formats in which every rank records its own calls.
_BY_RANK = ("nccl-log", "hccl-log", "nccl-inspector", "nccl-chrome", "kineto", "pytorch-et", "chakra-json", "chakra-et")

#: What a reason for leaving out a record says is missing.
_REASONS = (
    ("peers", re.compile(r"peer|comm_dst|comm_src|Src Rank|without its send|no host$|two ranks")),
    ("groups", re.compile(r"ranks are not known|list of ranks|set-up line|its group|no group|that is not a set")),
    (
        "sizes",
        re.compile(r"no size|comm_size|dtype|data type|no throughput|no bytes are recorded|without metadata|usable .*tensors"),
    ),
    ("times", re.compile(r"no time$|start")),
    ("whole files", re.compile(r"cut short|more than \d+ bytes")),
)
_CURES = {
    "peers": "record the other side of each transfer, or all ranks of the job",
    "groups": "--groups FILE, or NCCL_DEBUG_SUBSYS with INIT beside COLL",
    "sizes": "a recording with sizes: record_shapes of the profiler, newer vLLM, the log of the engine that sends",
    "times": "a recording with times, or --chain for the order of each rank",
    "whole files": "the files as they were when the job ended",
    "durations": "the Inspector or a profile, where measured times are to be compared",
    "hosts": "--ranks-per-node, or a recording that names hosts (NCCL's log, the Inspector)",
    "ranks": "the files of all ranks",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that recordings lack: what, how much of it, and what would mend it."""

    what: str
    found: str
    cure: str


@dataclass(frozen=True)
class Checked:
    """What the files of one format are good for.

    Attributes ---------- report : ImportReport What was read, used and left out. trace : CommTrace What would be replayed.
    files : tuple of mappings Of each file: ``path``, ``records``, ``used``, ``broken``, ``ranks`` (first and last, how
    many), and of its calls how many have ``sizes``, ``starts``, ``durations``, and are ``sends``, ``receives``,
    ``collectives``, ``computations``. placement : mapping ``how`` (``recorded``, ``partly recorded``, ``given``,
    ``assumed``), ``hosts``, ``ranks_per_node``, ``nodes``. missing : tuple of Missing What is not there.
    """

    report: ImportReport
    trace: CommTrace
    files: tuple[dict[str, Any], ...]
    placement: dict[str, Any]
    missing: tuple[Missing, ...]

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        trace = self.trace
        rows = trace.kind == Kind.TRANSFER
        return {
            "format": self.report.format,
            "replayable": {
                "operations": len(trace),
                "transfers": int(rows.sum()),
                "collectives": int((trace.kind == Kind.COLLECTIVE).sum()),
                "computations": int((trace.kind == Kind.COMPUTE).sum()),
                "ranks": trace.ranks,
                "bytes_by_operation": {name: total.size_bytes for name, total in self.report.operations.items()},
                "order": _order(trace),
            },
            "placement": self.placement,
            "missing": [{"what": each.what, "found": each.found, "cure": each.cure} for each in self.missing],
            "doubts": list(self.report.notes),
            "files": list(self.files),
        }


def check_recordings(paths: Sequence[Path], options: Options) -> list[Checked]:
    """Say what recordings could be replayed as, by format: the files of each are taken as one job.

    Parameters
    ----------
    paths : sequence of Path
        Files, of several formats if need be.
    options : Options
        As of an import.

    Raises
    ------
    InputError
        If a file cannot be read, its format cannot be told, or nothing in the files of a format can be used.
    """
    return [_checked(files, form, options) for form, files in formats_of(paths).items()]


def _checked(paths: Sequence[Path], form: str, options: Options) -> Checked:
    imported, gathered = import_with(paths, form, options)
    calls: list[list[Call]] = [[] for _ in paths]
    for call in gathered.calls:
        calls[call.file].append(call)
    files = tuple(_file(report, found) for report, found in zip(imported.report.files, calls, strict=True))
    trace = imported.trace
    missing = tuple(_missing(imported.report, trace, gathered, options))
    return Checked(imported.report, trace, files, _placement(trace, gathered, options), missing)


def _file(report: FileReport, calls: Sequence[Call]) -> dict[str, Any]:
    roles = Counter(call.role for call in calls)
    ranks = {call.rank for call in calls}
    moved = [call for call in calls if call.role != Role.COMPUTE]
    return {
        "path": report.path,
        "records": report.read,
        "used": report.used,
        "broken": str(report.broken) if report.broken else None,
        "ranks": {"first": min(ranks, default=None), "last": max(ranks, default=None), "count": len(ranks)},
        "calls": len(calls),
        "sends": roles[Role.SEND],
        "receives": roles[Role.RECEIVE],
        "collectives": roles[Role.COLLECTIVE],
        "computations": roles[Role.COMPUTE],
        "sizes": sum(call.size_bytes > 0 for call in moved),
        "starts": sum(call.start_us is not None for call in calls),
        "durations": sum(call.duration_us is not None for call in moved),
        "skipped": dict(report.skipped),
    }


def _missing(report: ImportReport, trace: CommTrace, gathered: Gathered, options: Options) -> list[Missing]:
    found = []
    for what, pattern in _REASONS:
        reasons = {reason: count for reason, count in report.skipped.items() if pattern.search(reason)}
        if reasons:
            told = "; ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:3])
            found.append(Missing(what, told, _CURES[what]))
    if broken := [file.broken for file in report.files if file.broken]:
        found.append(Missing("whole files", f"{len(broken)} break off, the first at {broken[0].where}", _CURES["whole files"]))
    moves = trace.kind != Kind.COMPUTE
    timed = sum(call.start_us is not None for call in gathered.calls)
    if gathered.calls and timed < len(gathered.calls):
        found.append(
            Missing("times", f"{len(gathered.calls) - timed} of {len(gathered.calls)} calls have no start", _CURES["times"])
        )
    lasting = int(np.isfinite(trace.duration_s[moves]).sum())
    if lasting < int(moves.sum()):
        found.append(
            Missing("durations", f"{int(moves.sum()) - lasting} of {int(moves.sum())} operations", _CURES["durations"])
        )
    if not gathered.hosts and not gathered.placed and options.ranks_per_node is None:
        found.append(Missing("hosts", f"no file names hosts; {trace.ranks_per_node} ranks a node are assumed", _CURES["hosts"]))
    named = {call.rank for call in gathered.calls} | {call.peer for call in gathered.calls if call.role == Role.SEND}
    silent = [rank for rank in range(trace.ranks) if rank not in named]
    if silent and report.format in _BY_RANK:
        listed = ", ".join(map(str, silent[:MOST_LISTED])) + (", ..." if len(silent) > MOST_LISTED else "")
        found.append(Missing("ranks", f"{len(silent)} of {trace.ranks} ranks have no record: {listed}", _CURES["ranks"]))
    return found


def _placement(trace: CommTrace, gathered: Gathered, options: Options) -> dict[str, Any]:
    how = "given" if options.ranks_per_node is not None else "assumed"
    if gathered.placed:
        how = "recorded"
    elif gathered.hosts:
        how = "partly recorded"
    return {
        "how": how,
        "hosts": gathered.hosts or None,
        "ranks_per_node": trace.ranks_per_node,
        "nodes": -(-trace.ranks // trace.ranks_per_node),
    }


def _order(trace: CommTrace) -> str:
    """Return what says which operation comes after which."""
    waits, starts = len(trace.dependency) > 0, trace.metadata["recorded_starts"] > 0
    if waits and starts:
        return "recorded starts and dependencies"
    return "recorded starts" if starts else "dependencies" if waits else "none: all start at once"
