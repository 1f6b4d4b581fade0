"""Collectives among the eight GPUs of a node over NVLink, per layer.

None overlaps with computation: NVIDIA's GLM-5 context-parallel profile shows the layer's steps in series.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from zcube.llm.cards import ModelCard
from zcube.llm.devices import NodeLinks
from zcube.llm.expert_traffic import (
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.node import GPUS_PER_NODE

PrefillLayout: TypeAlias = Literal["tp8", "cp8", "dp8"]
DecodeLayout: TypeAlias = Literal["tp8", "dp8"]

_PEERS_SHARE = (GPUS_PER_NODE - 1) / GPUS_PER_NODE
#: Bytes per token of the indexer keys and latents gathered under context parallelism: bf16, 128 and 576 values.
_BF16 = 2


def resident_share(card: ModelCard, ranks: int) -> float:
    """Return the share of an expert-parallel group's tokens that reach one of its ranks (uniform routing)."""
    return 1.0 - (1.0 - 1.0 / ranks) ** card.experts_per_token


def attention_gather_s(card: ModelCard, links: NodeLinks, tokens: float) -> float:
    """Return the time to gather new rows, and indexer keys in layers that have them, under context parallelism: all-gathers."""
    keys = links.gather.seconds(tokens * _BF16 * card.index_head_dim) if card.index_heads else 0.0
    return keys * (card.indexed_layers / card.layers) + links.gather.seconds(tokens * _BF16 * card.row_values)


def prefill_layer_s(
    card: ModelCard, links: NodeLinks, layout: PrefillLayout, tokens: float, ep_nodes: int, has_experts: bool
) -> float:
    """Return the time of one layer's collectives in prefill.

    tp8: two all-reduces of the hidden states. cp8: all-gathers of indexer keys, latents and hidden states and a
    reduce-scatter. dp8: dispatch and combine of the experts, none in a dense layer. When the experts span nodes
    (``ep_nodes > 1``), dispatch and combine replace the second all-reduce of tp8, with an all-gather that restores
    its layout, and the hidden-state pair of cp8; their own time, NVLink included, is :mod:`zcube.llm.exchanges`'.

    Parameters
    ----------
    tokens : float
        New tokens of the node in this iteration.
    ep_nodes : int
        Nodes the experts are spread over.
    has_experts : bool
        Whether this is an MoE layer.
    """
    hidden_bytes = tokens * _BF16 * card.hidden
    dispatched = has_experts and (layout == "dp8" or ep_nodes > 1)
    seconds = _dispatch_combine_s(card, links, tokens) if dispatched and ep_nodes == 1 else 0.0
    if layout == "tp8":
        second = links.gather if dispatched else links.all_reduce
        return seconds + links.all_reduce.seconds(hidden_bytes) + second.seconds(hidden_bytes)
    if layout == "cp8":
        scatter = links.reduce_scatter or links.gather
        hidden = 0.0 if dispatched else links.gather.seconds(hidden_bytes) + scatter.seconds(hidden_bytes)
        return seconds + attention_gather_s(card, links, tokens) + hidden
    return seconds


def prefill_operations(layout: PrefillLayout, ep_nodes: int) -> tuple[str, ...]:
    """Return NCCL's collectives of :func:`prefill_layer_s` by their plain names; dispatch and combine are DeepEP's."""
    if layout == "tp8":
        return ("all-reduce", *(("all-gather",) if ep_nodes > 1 else ()))
    return ("all-gather", "reduce-scatter") if layout == "cp8" else ()


def _dispatch_combine_s(card: ModelCard, links: NodeLinks, tokens: float) -> float:
    # Every GPU forwards, by symmetry, as many copies as it receives, seven eighths of them to another GPU.
    copies = tokens * resident_share(card, GPUS_PER_NODE) * _PEERS_SHARE
    dispatch = copies * normal_dispatch_bytes(card.hidden, card.experts_per_token)
    combine = copies * normal_combine_bytes(card.hidden, card.experts_per_token)
    return links.dispatch.seconds(dispatch) + links.combine.seconds(combine)


def decode_layer_s(
    card: ModelCard, links: NodeLinks, layout: DecodeLayout, requests: int, fullest: int, has_experts: bool
) -> float:
    """Return the time of one layer's collectives in one decode step.

    tp8: two small all-reduces. dp8: low-latency dispatch and combine, paced by the GPU with most requests; of experts over
    several nodes :mod:`zcube.llm.exchanges` has them.
    """
    if layout == "tp8":
        return 2 * links.decode_all_reduce.seconds(requests * _BF16 * card.hidden)
    if not has_experts:
        return 0.0
    messages = fullest * card.experts_per_token * _PEERS_SHARE
    dispatch = links.low_latency_dispatch.seconds(messages * low_latency_dispatch_bytes(card.hidden))
    return dispatch + links.low_latency_combine.seconds(messages * low_latency_combine_bytes(card.hidden))
