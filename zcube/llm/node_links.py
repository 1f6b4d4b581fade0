"""Collectives among the GPUs of a node over NVLink, per layer.

Lines of all-reduce and gather are of eight GPUs. Among n a GPU sends (n - 1) / n of the bytes instead of 7 / 8; that starts
stay what they are is inferred: switches reduce and copy, so that steps do not grow with the GPUs.

None overlaps with computation: NVIDIA's GLM-5 context-parallel profile shows the layer's steps in series.
"""

from __future__ import annotations

from zcube.llm.cards import ModelCard
from zcube.llm.devices import NodeLinks
from zcube.llm.expert_traffic import (
    low_latency_combine_bytes,
    low_latency_dispatch_bytes,
    normal_combine_bytes,
    normal_dispatch_bytes,
)
from zcube.llm.layout import layout_of
from zcube.node import GPUS_PER_NODE

#: Share of the bytes that a GPU of eight sends to the others.
_OF_EIGHT = (GPUS_PER_NODE - 1) / GPUS_PER_NODE
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
    card: ModelCard, links: NodeLinks, layout: str, tokens: float, ep_nodes: int, has_experts: bool, gpus: int = GPUS_PER_NODE
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
    gpus : int
        GPUs of a stage of the node. Groups that share the requests exchange side by side.
    """
    kind, tp, cp, dp = layout_of(layout, gpus)
    beyond = _against_eight(tp * cp)
    group_tokens = tokens / dp * beyond
    hidden_bytes = group_tokens * _BF16 * card.hidden
    dispatched = has_experts and dispatches(layout, ep_nodes, gpus)
    seconds = _dispatch_combine_s(card, links, tokens, gpus) if dispatched and ep_nodes == 1 and gpus > 1 else 0.0
    if tp * cp == 1:
        return seconds
    if kind == "tp":
        second = links.gather if dispatched else links.all_reduce
        return seconds + links.all_reduce.seconds(hidden_bytes) + second.seconds(hidden_bytes)
    if kind == "cp":
        scatter = links.reduce_scatter or links.gather
        hidden = 0.0 if dispatched else links.gather.seconds(hidden_bytes) + scatter.seconds(hidden_bytes)
        return seconds + attention_gather_s(card, links, group_tokens) + hidden
    # Groups that slice heads reduce what attention gives.
    return seconds + links.all_reduce.seconds(hidden_bytes)


def dispatches(layout: str, ep_nodes: int, gpus: int = GPUS_PER_NODE) -> bool:
    """Return whether prefill sends tokens to experts, without which every layer has the same collectives."""
    return layout_of(layout, gpus).kind == "dp" or ep_nodes > 1


def _against_eight(gpus: int) -> float:
    """Return what a GPU of so many sends in a collective, over what one of eight does."""
    return (gpus - 1) / gpus / _OF_EIGHT


def prefill_operations(layout: str, ep_nodes: int) -> tuple[str, ...]:
    """Return NCCL's collectives of :func:`prefill_layer_s` by their plain names; dispatch and combine are DeepEP's."""
    if layout.startswith("tp"):
        return ("all-reduce", *(("all-gather",) if ep_nodes > 1 else ()))
    return ("all-gather", "reduce-scatter") if layout.startswith("cp") else ()


def _dispatch_combine_s(card: ModelCard, links: NodeLinks, tokens: float, gpus: int) -> float:
    # Every GPU forwards, by symmetry, as many copies as it receives, all but its own to another GPU.
    copies = tokens * resident_share(card, gpus) * ((gpus - 1) / gpus)
    dispatch = copies * normal_dispatch_bytes(card.hidden, card.experts_per_token)
    combine = copies * normal_combine_bytes(card.hidden, card.experts_per_token)
    return links.dispatch.seconds(dispatch) + links.combine.seconds(combine)


def decode_layer_s(
    card: ModelCard, links: NodeLinks, layout: str, requests: int, fullest: int, has_experts: bool, gpus: int = GPUS_PER_NODE
) -> float:
    """Return the time of one layer's collectives in one decode step.

    tp8: two small all-reduces. dp8: low-latency dispatch and combine, paced by the GPU with most requests; of experts over
    several nodes :mod:`zcube.llm.exchanges` has them.
    """
    kind, tp, _, dp = layout_of(layout, gpus)
    group_bytes = -(-requests // dp) * _BF16 * card.hidden
    reduced_s = links.decode_all_reduce.seconds(group_bytes * _against_eight(tp)) if tp > 1 else 0.0
    if kind == "tp":
        return 2 * reduced_s
    if not has_experts or gpus == 1:
        return reduced_s
    messages = fullest * card.experts_per_token * ((gpus - 1) / gpus)
    dispatch = links.low_latency_dispatch.seconds(messages * low_latency_dispatch_bytes(card.hidden))
    return reduced_s + dispatch + links.low_latency_combine.seconds(messages * low_latency_combine_bytes(card.hidden))
