"""Decode steps of conventional engines: TP8 inside a node, and data-parallel attention with experts over nodes (DeepEP).

Draft layers' own passes are left out; ``query_tokens`` are the tokens a request verifies in one step. Sampling takes no time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.layer_times import DecodeLayer, LayerTimes
from zcube.llm.schedules.expert_pipeline import BatchTimes, ExpertPipeline, Overlap
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.low_latency_exchange import PHASE, LowLatencyExchange
from zcube.node import GPUS_PER_NODE
from zcube.trace.builder import TraceBuilder

_BF16 = 2


def append_tensor_parallel_step(
    builder: TraceBuilder, card: ModelCard, times: LayerTimes, contexts: Sequence[int], *, query_tokens: int = 1,
    node: int = 0, after: ArrayLike = -1, layers: int | None = None, size: int = GPUS_PER_NODE,
) -> IntArray:  # fmt: skip
    """Append one decode step of a node under tensor parallelism: two all-reduces of the hidden states per layer.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to.
    card, times
        Model, and its compute times for the decode layout.
    contexts : sequence of int
        Cached tokens of each request of the node.
    query_tokens : int
        Tokens of a request in this step.
    node : int
        The node.
    after : int or int array [size]
        Operations its GPUs wait for, -1 for none.
    layers : int, optional
        Only the first layers; default all.
    size : int
        GPUs of every node.

    Returns
    -------
    int array [size]
        The last operation of each GPU.
    """
    work = times.decode_layer(np.asarray(contexts, dtype=np.int64), query_tokens=query_tokens)
    gpus = node * size + np.arange(size)
    group, size_bytes = [int(gpu) for gpu in gpus], len(contexts) * query_tokens * _BF16 * card.hidden
    ends: IntArray = np.broadcast_to(np.asarray(after, dtype=np.int64), size)

    def compute(name: str, duration_s: float, layer: int) -> IntArray:
        return builder.compute(name, gpus, duration_s, phase=PHASE, layer=layer, after=[ends])

    def all_reduce(layer: int) -> IntArray:
        row = builder.collective("all-reduce", group, size_bytes, phase=PHASE, layer=layer, after=ends.tolist())
        return np.full(size, row, dtype=np.int64)

    for layer in range(card.layers if layers is None else layers):
        dense = layer < card.first_dense_layers
        ends = compute("attention", work.attention_s, layer)
        ends = all_reduce(layer)
        ends = compute("dense" if dense else "experts", work.dense_s if dense else work.experts_s + work.shared_s, layer)
        ends = all_reduce(layer)
    return compute("output-head", work.head_s, -1)


def append_expert_step(
    builder: TraceBuilder, card: ModelCard, times: LayerTimes, batch_per_gpu: int, context: int, routing: ExpertRouting, *,
    query_tokens: int = 1, first_node: int = 0, after: ArrayLike = -1, layers: int | None = None,
    overlap: Overlap = "five-stage",
) -> IntArray:  # fmt: skip
    """Append one decode step of a group of nodes, every GPU with the same batch.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to.
    card, times
        Model, and its compute times for the decode layout.
    batch_per_gpu, context : int
        Requests of a GPU, >= 1, and cached tokens of each.
    routing : ExpertRouting
        Where tokens go; its nodes are the group's.
    query_tokens, layers
        As in :func:`append_tensor_parallel_step`.
    first_node : int
        The group's first node.
    after : int or int array [ranks]
        Operations its GPUs wait for, -1 for none.
    overlap : {"five-stage", "two-batch", "none"}
        See :mod:`zcube.llm.schedules.expert_pipeline`. A batch of one request is not cut.

    Returns
    -------
    int array [ranks]
        The last operation of each GPU.
    """
    if batch_per_gpu == 1:
        overlap = "none"
    sizes = [batch_per_gpu] if overlap == "none" else [-(-batch_per_gpu // 2), batch_per_gpu // 2]
    tokens: list[IntArray] = [np.full(routing.ranks, size * query_tokens, dtype=np.int64) for size in sizes]
    work = [
        times.decode_layer(
            np.full(size * routing.gpus_per_node, context, dtype=np.int64), query_tokens=query_tokens, ep_nodes=routing.nodes
        )
        for size in sizes
    ]
    first_rank = first_node * routing.gpus_per_node
    exchange = LowLatencyExchange(builder, routing, first_rank, tokens)
    pipeline = ExpertPipeline(
        builder, exchange, [_batch_times(layer, routing.ranks) for layer in work], first_rank, card.first_dense_layers, PHASE
    )
    ends = pipeline.append(card.layers if layers is None else layers, overlap, after)
    head_s = sum(layer.head_s for layer in work)
    return builder.compute("output-head", first_rank + np.arange(routing.ranks), head_s, phase=PHASE, after=ends)


def _batch_times(layer: DecodeLayer, ranks: int) -> BatchTimes:
    return BatchTimes(*(np.full(ranks, s) for s in (layer.attention_s, layer.experts_s, layer.shared_s, layer.dense_s)))
