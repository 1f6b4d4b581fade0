"""NCCL Inspector: a JSON object per operation and rank, with bytes and time.

Written by NCCL's inspector plugin (``NCCL_PROFILER_PLUGIN=libnccl-profiler-inspector.so NCCL_INSPECTOR_ENABLE=1``; NCCL
source, plugins/profiler/inspector), one object per line, one after another or in an array. ``coll_perf`` records become
collectives, matched over ranks by communicator, name and ``coll_sn``; ``p2p_perf`` records become transfers, the k-th send
from one rank to another matched with its k-th receive. The plugin leaves out operations below
``NCCL_INSPECTOR_DUMP_MIN_SIZE_BYTES`` (8192 unless set) and may drop some between two dumps.

``coll_msg_size_bytes`` is the call's count times the size of its type: the plugin multiplies it by the ranks for the
bandwidth of all-gathers and reduce-scatters; so it is converted as NCCL's counts are
(:func:`~zcube.trace.importers.operations.bytes_put_in`). An operation starts with its first kernel, else with
``coll_start_ts``, else ``dump_timestamp_us`` less its execution time; it lasts ``coll_exec_time_us``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.communicators import Communicators, Process
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import span_us, time_us, whole
from zcube.trace.importers.operations import bytes_put_in
from zcube.trace.importers.source import Source
from zcube.trace.operation_names import RECEIVE, SEND, canonical


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file has records of the inspector."""
    return head.lstrip()[:1] in (b"{", b"[") and (b'"coll_perf"' in head or b'"p2p_perf"' in head)


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the dumps of one job, one file per process or several processes in one."""
    gathered = Gathered(options.chain)
    communicators, clocks = Communicators(), Counter[str]()
    for source in sources:
        with source.guard():
            for record in JsonStream(source).objects():
                reason = _take(source, record, gathered, communicators, clocks)
                if reason:
                    source.skip(reason, record)
                else:
                    source.report.used += 1
    communicators.to_trace(gathered, options)
    gathered.note("starts come from " + ", ".join(f"{clock} ({count} records)" for clock, count in sorted(clocks.items())))
    gathered.note("the inspector leaves out small operations (8192 bytes unless set otherwise) and may drop some between dumps")
    return gathered


def _take(source: Source, record: Any, gathered: Gathered, communicators: Communicators, clocks: Counter[str]) -> str | None:
    """Add a record's call; return why it cannot be used."""
    if not isinstance(record, dict):
        return "not an object"
    header, metadata = record.get("header"), record.get("metadata")
    kind = "coll" if isinstance(record.get("coll_perf"), dict) else "p2p"
    body = record.get(f"{kind}_perf")
    if not isinstance(header, dict) or not isinstance(body, dict):
        return "no header with coll_perf or p2p_perf"
    metadata = metadata if isinstance(metadata, dict) else {}
    name, rank, ranks = (
        str(header.get("id"))[:200],
        whole(header.get("rank"), MAX_RANKS),
        whole(header.get("n_ranks"), MAX_RANKS),
    )
    if rank is None or ranks is None or rank >= ranks:
        return "no rank below n_ranks"
    operation = canonical(str(body.get(kind)))
    if operation is None or (kind == "p2p") != (operation in (SEND, RECEIVE)):
        return "an operation of an unknown name"
    count = whole(body.get(f"{kind}_msg_size_bytes"))
    size = None if count is None else whole(bytes_put_in(operation, count, ranks))
    if size is None:
        return "no usable message size"
    peer = whole(body.get("p2p_peer"), ranks - 1) if kind == "p2p" else whole(body.get("coll_root"), ranks - 1)
    if kind == "p2p" and peer is None:
        return "no peer of the communicator"
    host = str(metadata.get("hostname") or "")[:300]
    process = Process(f"{host or source.path}:{metadata.get('pid', 0)}"[:340], source.index, host)
    if not communicators.join(name, rank, ranks, process):
        return "a communicator that contradicts another record"
    duration = span_us(body.get(f"{kind}_exec_time_us"))
    start, clock = _start_us(body, kind, metadata, duration)
    clocks[clock] += 1
    role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation, Role.COLLECTIVE)
    sequence = whole(body.get("coll_sn")) if kind == "coll" else None
    gathered.add(
        Call(
            source.index, source.number, role, operation, rank, size, name, NONE if peer is None else peer, sequence, start,
            duration, name, "p2p" if kind == "p2p" else None, ordered=start is None,
        )
    )  # fmt: skip
    return None


def _start_us(body: dict[str, Any], kind: str, metadata: dict[str, Any], duration: float | None) -> tuple[float | None, str]:
    """Return the best start a record has, and what it is."""
    stamps = body.get("event_trace_ts")
    if isinstance(stamps, dict):
        events = stamps.get("kernel_events")
        kernels = (
            [event.get("kernel_start_ts") for event in events if isinstance(event, dict)] if isinstance(events, list) else []
        )
        starts = [start for start in map(time_us, kernels) if start]
        if starts:
            return min(starts), "the first kernel's start"
        start = time_us(stamps.get(f"{kind}_start_ts"))
        if start is not None:
            return start, "the call's start"
    dumped = time_us(metadata.get("dump_timestamp_us"))
    if dumped is None:
        return None, "the order of records"
    return dumped - (duration or 0), "the dump's time less the execution time"
