"""The KV transfer of a request as operations: after each prefill chunk, between two nodes.

Every transfer starts with the control plane's set-up (``setup_s``) and waits for the one before it between the same GPUs. Bytes
are the cache's own: what of the line rate they reach is the network model's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from zcube.arrays import IntArray
from zcube.inputs import Declared
from zcube.llm.schedules.kv_plans import KvPlan, KvTransfer
from zcube.node import GPUS_PER_NODE
from zcube.trace.builder import TraceBuilder

PHASE = "kv"
Seconds = Annotated[float, Field(ge=0, le=3600)]


class KvTiming(Declared):
    """Times of a KV transfer that are not the network's.

    Attributes
    ----------
    setup_s : float
        Before each transfer: the intercept of a fit to Mooncake's published vLLM figures (nine prompts, Qwen3-8B, 8 x 200G).
        Their slope is 0.69 of the line rate (the engine's authors report 0.7 to 0.9); no such factor is put on the bytes.
    staging_s, convert_s : float
        TileRT: gathering the layers on prefill GPU 0 before the write, and dequantising on decode GPU 0 after it; not
        published, left out by default.
    rows_per_queue_pair : bool
        Whether each queue pair is a transfer of its own, so that a hashing fabric may part them.
    """

    setup_s: Seconds = 0.00037
    staging_s: Seconds = 0.0
    convert_s: Seconds = 0.0
    rows_per_queue_pair: bool = True


def append_kv(
    builder: TraceBuilder, plan: KvPlan, ready: Sequence[Sequence[IntArray]], source_node: int, target_node: int,
    timing: KvTiming, after: Sequence[int] = (), gpus: int = GPUS_PER_NODE,
) -> list[IntArray]:  # fmt: skip
    """Append a request's transfer.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to.
    plan : KvPlan
        What goes where.
    ready : sequence of sequences of int arrays [gpus]
        Per prefill chunk, operations after which each GPU of the prefill node holds its cache; -1 for none.
    source_node, target_node : int
        Prefill and decode node.
    timing : KvTiming
        What else takes time.
    after : sequence of int
        Operations every transfer waits for besides, e.g. those that free the receiver's buffer.
    gpus : int
        GPUs of every node.

    Returns
    -------
    list of int arrays [gpus]
        Operations after which each GPU of the decode node holds its cache, -1 for none.
    """
    arrived: list[list[int]] = [[] for _ in range(gpus)]
    before: dict[tuple[int, int], list[int]] = {}
    for transfer in plan.transfers:
        # A plan made after the prefill counts its only chunk as whichever came last.
        chunk = min(transfer.chunk, len(ready) - 1) if plan.connector == "mooncake-push" else len(ready) - 1
        waits = [int(ends[transfer.source_rank]) for ends in ready[chunk]]
        pair = (transfer.source_rank, transfer.target_rank)
        rows = _append_transfer(
            builder, plan, transfer, waits + before.get(pair, list(after)), source_node * gpus, target_node * gpus, timing
        )
        before[pair] = rows
        arrived[transfer.target_rank] += rows
    if plan.connector == "tilert":
        arrived = _append_inject(builder, plan, arrived[0], target_node * gpus, timing)
    return _columns(arrived)


def _append_transfer(
    builder: TraceBuilder, plan: KvPlan, transfer: KvTransfer, waits: list[int], first_source: int, first_target: int,
    timing: KvTiming,
) -> list[int]:  # fmt: skip
    source, target = first_source + transfer.source_rank, first_target + transfer.target_rank
    # A read is set up by the GPU that pulls.
    caller = target if plan.connector == "nixl-pull" else source
    if plan.connector == "tilert":
        waits = [int(builder.compute("kv-staging", source, timing.staging_s, phase=PHASE, after=waits)[0])]
    begin = builder.compute("kv-setup", caller, timing.setup_s, phase=PHASE, after=waits)
    sizes = transfer.per_queue_pair()[0] if timing.rows_per_queue_pair else np.array([transfer.size_bytes])
    name = "kv-read" if plan.connector == "nixl-pull" else "kv-write"
    return builder.transfer(name, source, target, sizes[sizes > 0], phase=PHASE, after=[begin[0]]).tolist()


def _append_inject(builder: TraceBuilder, plan: KvPlan, arrived: list[int], first: int, timing: KvTiming) -> list[list[int]]:
    done = builder.compute("kv-convert", first, timing.convert_s, phase=PHASE, after=arrived)
    peers = first + np.arange(1, GPUS_PER_NODE)
    rows = builder.transfer("kv-inject", first, peers, plan.inject_bytes, phase=PHASE, after=[done[0]])
    return [done.tolist(), *([int(row)] for row in rows)]


def _columns(arrived: list[list[int]]) -> list[IntArray]:
    """Turn lists of operations per GPU into columns over the GPUs."""
    deepest = max((len(rows) for rows in arrived), default=0)
    return [
        np.array([rows[place] if place < len(rows) else -1 for rows in arrived], dtype=np.int64) for place in range(deepest)
    ]
