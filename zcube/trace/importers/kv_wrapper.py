"""A log of KV transfers that any engine can write: what its own logs lack, one JSON object per transfer.

Wrap the call that writes (Mooncake ``TransferEngine.batch_transfer_sync_write``, TileRT ``Transport.write``, a NIXL post and
its completion) and write one line each::

    {"t0": 1767225600.001, "t1": 1767225600.0119, "session": "10.0.0.7:17001", "n_desc": 237, "bytes": 6800000, "gpu": 0,
     "peer": 8}

(on one line). Log only transfers that happened: Mooncake's calls return -1, and raise nothing, where they failed; of a NIXL
transfer ``t1`` is when its state became DONE, not when the post returned. A line with a ``ret`` other than 0 is left out.
``t0`` and ``t1`` are seconds before and after, of one clock; ``bytes`` what was written; ``gpu`` the rank that sends; ``peer``
the rank that receives. Without ``peer`` it is ``target_rank``, without ``gpu`` ``source_rank``. ``session`` keeps transfers of
one connection in order when chains are asked for; ``n_desc`` is not used.
"""

from __future__ import annotations

from typing import Any

from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import time_us, whole
from zcube.trace.importers.source import Source

_US_PER_S = 1_000_000


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file has objects of this log."""
    return head.lstrip()[:1] in (b"{", b"[") and all(key in head for key in (b'"t0"', b'"t1"', b'"bytes"'))


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the logs of one job."""
    gathered = Gathered(options.chain)
    gathered.ranks = 1 + max(options.source_rank, options.kv_target)
    guessed = 0
    for source in sources:
        with source.guard():
            for record in JsonStream(source).objects():
                call = _call(source, record, options)
                if isinstance(call, str):
                    source.skip(call, record)
                else:
                    guessed += "peer" not in record
                    source.report.used += 1
                    gathered.add(call)
    if guessed:
        gathered.note(f"{guessed} transfers name no peer; they go to rank {options.kv_target} (target_rank)")
    return gathered


def _call(source: Source, record: Any, options: Options) -> Call | str:
    if not isinstance(record, dict):
        return "not an object"
    if record.get("ret", 0) != 0:
        return "a call that failed (ret is not 0)"
    size = whole(record.get("bytes"))
    gpu = whole(record.get("gpu", options.source_rank), MAX_RANKS - 1)
    peer = whole(record.get("peer", options.kv_target), MAX_RANKS - 1)
    if not size:
        return "no bytes"
    if gpu is None or peer is None:
        return "no usable gpu or peer"
    begin, end = time_us(record.get("t0")), time_us(record.get("t1"))
    start = None if begin is None else begin * _US_PER_S
    duration = (end - begin) * _US_PER_S if begin is not None and end is not None and end >= begin else None
    return Call(
        source.index, source.number, Role.SEND, "kv-write", gpu, size, "", peer, None, start, duration,
        str(record.get("session"))[:200], None, start is None,
    )  # fmt: skip
