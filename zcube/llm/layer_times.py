"""Compute times of single layers, the parts a schedule puts between its communication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from zcube.arrays import IntArray


@dataclass(frozen=True, slots=True)
class PrefillLayer:
    """One layer of a prefill iteration on one GPU, communication left out.

    Attributes
    ----------
    attention_s : float
        The whole attention block.
    projection_s, indexer_s : float
        Parts of it: the projections, and the sparse-attention indexer (0 where attention is dense).
    experts_s, shared_s : float
        Routed experts on the fullest GPU, and the rest of a layer that has them: shared experts, router, norms.
    dense_s : float
        The feed-forward block of a layer without experts, and its norms.
    """

    attention_s: float
    projection_s: float
    indexer_s: float
    experts_s: float
    shared_s: float
    dense_s: float


class BesideAttention(NamedTuple):
    """What a prefill iteration of a node takes beside attention, which depends only on its new tokens.

    Attributes
    ----------
    experts_s, shared_s, dense_s : float
        As of :class:`PrefillLayer`.
    moe_links_s, dense_links_s : float
        Collectives of a layer with experts, and of one without.
    moe_layers_s, dense_layers_s : float
        All layers with experts, and all without, collectives included.
    """

    experts_s: float
    shared_s: float
    dense_s: float
    moe_links_s: float
    dense_links_s: float
    moe_layers_s: float
    dense_layers_s: float


@dataclass(frozen=True, slots=True)
class DecodeLayer:
    """One layer of a decode step on the fullest GPU, communication left out; ``head_s`` is the output head, once a step."""

    attention_s: float
    experts_s: float
    shared_s: float
    dense_s: float
    head_s: float


class LayerTimes(Protocol):
    """A compute model that tells single layers apart."""

    @property
    def name(self) -> str:
        """Model, device and layouts."""

    def prefill_layer(self, new_tokens: Sequence[int] | IntArray, prefix_tokens: Sequence[int] | IntArray) -> PrefillLayer:
        """Return one layer of a prefill iteration of a node."""

    def decode_layer(self, context_tokens: IntArray, *, query_tokens: int = 1, ep_nodes: int = 1) -> DecodeLayer:
        """Return one layer of a decode step of a node."""
