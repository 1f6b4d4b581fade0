"""Files of the field that look like recordings of transfers and are none: told apart, with what to record instead.

* KV cache events of vLLM, SGLang and Dynamo (``BlockStored``, ``BlockRemoved``; Dynamo's recorder writes ``stored`` with
  ``block_hash``): which blocks a worker holds, by hash, neither their bytes nor where they came from.
* Tables of nccl-tests: measurements, for ``zcube calibrate``; beside NCCL's log in one file the log counts.
* NIXL's telemetry buffer itself (src/utils/common/cyclic_buffer.h): a ring in shared memory that its own reader empties.
"""

from __future__ import annotations

import struct
from pathlib import Path

from zcube.errors import Fault

_BLOCKS = (b"BlockStored", b"BlockRemoved", b'"block_hashes"', b'"block_hash"', b'"tokens_hash"')
_TABLES = (b"# nThread ", b"# Collective test starting:")
#: Places of writer and reader, version twice, capacity and mask.
_RING = struct.Struct("<QQIIQQ")
_EVENT_BYTES = 16
_KV_CURE = (
    "a log of transfers: SGLang --enable-request-time-stats-logging (prefill side), vLLM's KV Transfer metrics, Mooncake with"
    " MC_TE_METRIC=1, or a wrapper's lines (kv-wrapper)"
)


def told(path: Path, head: bytes) -> Fault | None:
    """Return the fault of a file that holds no transfers, None if it is none of these."""
    if any(mark in head for mark in _BLOCKS):
        return Fault(str(path), "KV cache events: blocks stored and removed, without bytes and ends of transfers", _KV_CURE)
    if any(mark in head for mark in _TABLES) and b" NCCL INFO " not in head:
        return Fault(
            str(path),
            "a table of nccl-tests: times of one operation, no job's",
            "a recording of a job; zcube calibrate read takes tables",
        )
    if len(head) >= _RING.size:
        _, _, version, expected, capacity, mask = _RING.unpack_from(head)
        power = 0 < capacity <= 1 << 32 and capacity & (capacity - 1) == 0
        if (
            power
            and mask == capacity - 1
            and version == expected <= 64
            and path.stat().st_size == _RING.size + _EVENT_BYTES * capacity
        ):
            return Fault(
                str(path), "NIXL's telemetry buffer", "what its telemetry_reader prints of it, with NIXL_TELEMETRY_ENABLE=1"
            )
    return None
