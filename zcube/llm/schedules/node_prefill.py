"""Prefill of one iteration inside one node: TP8, CP8 and CP8 with LayerSplit.

Per layer, in series as NVIDIA's GLM-5 context-parallel profile on B200 shows:

* tp8: attention, all-reduce of the hidden states, feed-forward, all-reduce.
* cp8: projections, all-gathers of indexer keys (``256`` bytes a token in all) and latents (``1152``), attention, all-gather
  of the hidden states (``2 * hidden``), feed-forward, reduce-scatter of the same size. All in bf16. Tokens are padded to a
  multiple of eight, so that every GPU holds as many.
* LayerSplit: each GPU keeps the cache of its own layers only and broadcasts a layer's cache to the other seven before its
  sparse attention (Z.ai; SGLang ``--enable-dsa-cache-layer-split``).

That all projections run before the gathers and the indexer between gathers and sparse attention is inferred; it does not
change the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.kv import KvLayout, bytes_per_token
from zcube.llm.layer_times import LayerTimes, PrefillLayer
from zcube.llm.rankmap import layer_counts
from zcube.llm.schedules.pieces import Piece, context_tokens, layer_times, new_tokens
from zcube.node import GPUS_PER_NODE
from zcube.trace.builder import TraceBuilder
from zcube.trace.comm_trace import NONE

PHASE = "prefill"
_BF16 = 2


@dataclass(frozen=True)
class LayerSplit:
    """How a layer's cache is broadcast.

    Attributes
    ----------
    rows : {"referenced", "whole-buffer"}
        The rows of the iteration's contexts, or the layer's whole buffer. SGLang broadcast the buffer at first (pull request
        29421); 39601 restricts it to referenced rows.
    buffer_tokens : int
        Tokens of a layer's buffer, for ``whole-buffer``.
    beside : {"indexer", "previous-layer"}
        What the broadcast runs beside: the layer's indexer (Z.ai), or everything after the previous layer's sparse attention
        (SGLang's prefetch on its own stream, first layer exposed).
    kv : KvLayout
        Bytes of a row.
    """

    rows: Literal["referenced", "whole-buffer"] = "referenced"
    buffer_tokens: int = 0
    beside: Literal["indexer", "previous-layer"] = "indexer"
    kv: KvLayout = field(default_factory=KvLayout)

    def size_bytes(self, card: ModelCard, pieces: Sequence[Piece]) -> int:
        """Return the bytes of one layer's broadcast.

        Raises
        ------
        InputError
            If the buffer is smaller than the contexts.
        """
        tokens = context_tokens(pieces)
        if self.rows == "whole-buffer":
            if self.buffer_tokens < tokens:
                raise InputError(
                    Fault("buffer_tokens", str(self.buffer_tokens), f"at least the {tokens} tokens of the contexts")
                )
            tokens = self.buffer_tokens
        return -(-bytes_per_token(card, KvLayout(self.kv.dtype)) // card.layers) * tokens


@dataclass(frozen=True)
class CpGather:
    """Bytes of one layer's collectives under context parallelism, what one GPU puts in (the reduce-scatter: everything)."""

    index_keys: int
    latents: int
    hidden: int
    scattered: int

    @classmethod
    def of(cls, card: ModelCard, tokens: int, gpus: int = GPUS_PER_NODE) -> CpGather:
        """Return the sizes for new tokens of an iteration on so many GPUs."""
        share = -(-tokens // gpus)
        hidden = share * _BF16 * card.hidden
        latents = round(share * _BF16 * card.row_values)
        return cls(share * _BF16 * card.index_head_dim * card.indexed_layers // card.layers, latents, hidden, hidden * gpus)


def append_tensor_parallel(
    builder: TraceBuilder, card: ModelCard, times: LayerTimes, pieces: Sequence[Piece], *, node: int = 0,
    after: ArrayLike = -1, layers: int | None = None, gpus: int = GPUS_PER_NODE,
) -> IntArray:  # fmt: skip
    """Append one iteration under tensor parallelism.

    Parameters
    ----------
    builder : TraceBuilder
        Appended to.
    card, times
        Model, and its compute times for the layout.
    pieces : sequence of Piece
        What the iteration computes.
    node : int
        The node.
    after : int or int array [gpus]
        Operations the node's GPUs wait for, -1 for none.
    layers : int, optional
        Only the first layers; default all.
    gpus : int
        GPUs of every node.

    Returns
    -------
    int array [gpus]
        The last operation of each GPU.
    """
    lane = _Lane(builder, node, gpus, after)
    work, size_bytes = layer_times(times, pieces), new_tokens(pieces) * _BF16 * card.hidden
    for layer in range(card.layers if layers is None else layers):
        lane.compute("attention", work.attention_s, layer)
        lane.collective("all-reduce", size_bytes, layer)
        lane.feed_forward(card, work, layer)
        lane.collective("all-reduce", size_bytes, layer)
    return lane.ends


def append_context_parallel(
    builder: TraceBuilder, card: ModelCard, times: LayerTimes, pieces: Sequence[Piece], *, node: int = 0,
    after: ArrayLike = -1, layers: int | None = None, split: LayerSplit | None = None, gpus: int = GPUS_PER_NODE,
) -> IntArray:  # fmt: skip
    """Append one iteration under context parallelism; parameters and result as :func:`append_tensor_parallel`.

    Parameters
    ----------
    split : LayerSplit, optional
        With it each GPU keeps only its own layers' cache.
    """
    count = card.layers if layers is None else layers
    lane, work = _Lane(builder, node, gpus, after), layer_times(times, pieces)
    sizes = CpGather.of(card, new_tokens(pieces), gpus)
    owner = np.repeat(np.arange(gpus), layer_counts(card.layers, gpus))
    cache_bytes = split.size_bytes(card, pieces) if split else 0
    attended = lane.ends
    for layer in range(count):
        lane.compute("projections", work.projection_s, layer)
        if sizes.index_keys:
            lane.collective("all-gather", sizes.index_keys, layer)
        lane.collective("all-gather", sizes.latents, layer)
        if split:
            # On its own stream: the broadcast does not hold up the computation before the sparse attention.
            begin = attended if split.beside == "previous-layer" else lane.ends
            sent = lane.broadcast(cache_bytes, int(owner[layer]), layer, begin)
            if card.index_heads:
                lane.compute("indexer", work.indexer_s, layer)
            lane.compute("attention", work.attention_s - work.projection_s - work.indexer_s, layer, beside=sent)
        else:
            lane.compute("attention", work.attention_s - work.projection_s, layer)
        attended = lane.ends
        lane.collective("all-gather", sizes.hidden, layer)
        lane.feed_forward(card, work, layer)
        lane.collective("reduce-scatter", sizes.scattered, layer)
    return lane.ends


class _Lane:
    """The operations of a node's GPUs, one after the other."""

    def __init__(self, builder: TraceBuilder, node: int, gpus: int, after: ArrayLike):
        self._builder = builder
        self._gpus = node * gpus + np.arange(gpus)
        self._group = tuple(int(gpu) for gpu in self._gpus)
        self.ends: IntArray = np.broadcast_to(np.asarray(after, dtype=np.int64), gpus)

    def compute(self, name: str, duration_s: float, layer: int, beside: int | None = None) -> None:
        after: list[ArrayLike] = [self.ends, NONE if beside is None else beside]
        self.ends = self._builder.compute(name, self._gpus, max(duration_s, 0.0), phase=PHASE, layer=layer, after=after)

    def feed_forward(self, card: ModelCard, work: PrefillLayer, layer: int) -> None:
        if layer < card.first_dense_layers:
            self.compute("dense", work.dense_s, layer)
        else:
            self.compute("experts", work.experts_s + work.shared_s, layer)

    def collective(self, name: str, size_bytes: int, layer: int) -> None:
        row = self._builder.collective(name, self._group, size_bytes, phase=PHASE, layer=layer, after=_distinct(self.ends))
        self.ends = np.full(len(self._gpus), row, dtype=np.int64)

    def broadcast(self, size_bytes: int, owner: int, layer: int, after: IntArray) -> int:
        return self._builder.collective(
            "broadcast", self._group, size_bytes, root=self._group[owner], phase=PHASE, layer=layer, after=_distinct(after)
        )


def _distinct(ends: IntArray) -> list[int]:
    return [int(end) for end in np.unique(ends) if end >= 0]
