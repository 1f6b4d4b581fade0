"""Prefill of one iteration under data-parallel attention, experts spread over a group of nodes (DeepEP normal mode)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.layer_times import LayerTimes
from zcube.llm.schedules.expert_pipeline import BatchTimes, ExpertPipeline, Overlap
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.normal_exchange import PHASE, NormalExchange
from zcube.llm.schedules.normal_plan import dealt
from zcube.llm.schedules.pieces import Piece, halves, layer_times, new_tokens
from zcube.trace.builder import TraceBuilder

MAX_CHUNKS = 1024


def append_expert_prefill(
    builder: TraceBuilder, card: ModelCard, times: LayerTimes, pieces: Sequence[Sequence[Piece]], routing: ExpertRouting, *,
    first_node: int = 0, after: ArrayLike = -1, layers: int | None = None, overlap: Overlap = "two-batch", chunks: int = 1,
) -> IntArray:  # fmt: skip
    """Append one iteration of a group of nodes.

    A node's tokens are dealt evenly to its GPUs, as the compute model assumes. Experts take the time of the slowest
    node's figure everywhere: the all-to-all keeps the nodes in step.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to.
    card, times
        Model, and its compute times for the layout with ``prefill_ep_nodes`` = the nodes of the group.
    pieces : sequence of sequences of Piece
        What each node of the group computes.
    routing : ExpertRouting
        Where its tokens go.
    first_node : int
        The group's first node.
    after : int or int array [ranks]
        Operations the group's GPUs wait for, -1 for none.
    layers : int, optional
        Only the first layers; default all.
    overlap : {"two-batch", "none"}
        See :mod:`zcube.llm.schedules.expert_pipeline`.
    chunks : int
        Parts of a message over the rail; see :class:`~zcube.llm.schedules.normal_exchange.NormalExchange`.

    Returns
    -------
    int array [ranks]
        The last operation of each GPU, which takes no time and gathers what it waits for.

    Raises
    ------
    InputError
        If the pieces are not one list per node, none has tokens, or the chunks or the overlap are not offered.
    """
    faults = []
    if len(pieces) != routing.nodes or not any(new_tokens(node) for node in pieces):
        faults.append(Fault("pieces", f"{len(pieces)} lists", f"one for each of {routing.nodes} nodes, at least one token"))
    if not 1 <= chunks <= MAX_CHUNKS:
        faults.append(Fault("chunks", str(chunks), f"1 .. {MAX_CHUNKS}"))
    if overlap not in ("two-batch", "none"):
        faults.append(Fault("overlap", repr(overlap), "two-batch or none"))
    if faults:
        raise InputError(faults)
    parts = [halves(node) if overlap == "two-batch" else (list(node),) for node in pieces]
    batches = [[part[batch] for part in parts] for batch in range(len(parts[0]))]
    size = routing.gpus_per_node
    first_rank = first_node * size
    tokens = [dealt([new_tokens(node) for node in batch], size) for batch in batches]
    exchange = NormalExchange(builder, routing, first_rank, tokens, chunks)
    of_batches = [_batch_times(times, batch, size) for batch in batches]
    pipeline = ExpertPipeline(builder, exchange, of_batches, first_rank, card.first_dense_layers, PHASE)
    ends = pipeline.append(card.layers if layers is None else layers, overlap, after)
    return builder.compute("iteration-end", first_rank + np.arange(routing.ranks), 0.0, phase=PHASE, after=ends)


def _batch_times(times: LayerTimes, batch: Sequence[Sequence[Piece]], gpus_per_node: int) -> BatchTimes:
    nodes = [layer_times(times, pieces) for pieces in batch]
    experts_s = np.full(len(nodes), max(node.experts_s for node in nodes))

    def spread(values: Sequence[float]) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype=np.float64), gpus_per_node)

    return BatchTimes(
        attention_s=spread([node.attention_s for node in nodes]),
        experts_s=spread(experts_s.tolist()),
        shared_s=spread([node.shared_s for node in nodes]),
        dense_s=spread([node.dense_s for node in nodes]),
    )
