"""Time of one layer's block of sparse latent attention (projections, MLA, indexer) on one GPU.

Prefill, pieces of M new tokens at cached prefix P::

    t = max(floor, base + F_lin / b + F_att / c + F_idx / d + prefix index bytes / g)

* F_lin = 2 * (projections of this GPU's heads + replicated query and KV latents + indexer) * M
* F_att = 2 * max(heads, padded) * (2 kv_lora + rope) * sum over the M tokens of min(P + i, topk); where the kernel
  computes every slot, ``topk`` instead of the minimum
* F_idx = 2 * index_heads * index_head_dim * sum (P + i); the indexer is not split over heads

When every context fits in ``topk`` tokens the engine runs dense attention without indexer: F_att becomes
2 * heads * (nope + rope + v) * sum (P + i), F_idx and the gather vanish. The floor is the host's launch time.

Decode, one step of n requests with cached contexts c::

    t = base + [max c >= topk] * sparse_base + max(weights / w, F_lin / b) + n * r + sum min(c + 1, topk) * s
        + max c * l + sum c * x

A layer that takes an earlier layer's choice (:attr:`~zcube.llm.cards.ModelCard.without_indexer`) has no indexer: its
projections, logits and keys fall away. Dense latent attention at any context is :mod:`zcube.llm.kinds.latent`'s.

The forms follow SGLang's GLM-5 kernels; the figures are fitted to NVIDIA aiconfigurator's GLM-5 tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from zcube.llm.cards import ModelCard
from zcube.llm.decode_steps import DecodeRates
from zcube.llm.devices import DecodeAttention, PrefillAttention
from zcube.llm.elementwise import larger

#: Bytes of one cached fp8 indexer key of 128 values with its scale, as gathered in prefill.
INDEX_KEY_BYTES = 132
#: Head count the decode figures were fitted with.
FITTED_HEADS = 64


def projection_parameters(card: ModelCard, heads: Any) -> Any:
    """Return the attention and indexer weights one GPU holds with ``heads`` of the heads; latents are replicated."""
    per_head = (
        (card.q_lora_rank or card.hidden) * (card.qk_nope_head_dim + card.qk_rope_head_dim)
        + card.kv_lora_rank * (card.qk_nope_head_dim + card.v_head_dim)
        + card.v_head_dim * card.hidden
    )
    return card.attention_parameters + card.indexer_parameters - (card.heads - heads) * per_head


class PrefillWork(NamedTuple):
    """Work of attention in one layer on one GPU; scalars, or arrays of one shape.

    Attributes
    ----------
    linear_flops, dense_flops, sparse_flops, index_flops : float or array
        Work of the projections, of dense attention, of sparse attention and of the indexer.
    prefix_tokens : float or array
        Cached tokens whose indexer keys are read.
    is_dense : bool or array
        Whether dense attention is run.
    """

    linear_flops: Any
    dense_flops: Any
    sparse_flops: Any
    index_flops: Any
    prefix_tokens: Any
    is_dense: Any


class PrefillSizes(NamedTuple):
    """The prefill form with the model's sizes put in: work per new token, per context token and per selected token."""

    linear_flops: Any
    dense_flops: Any
    sparse_flops: Any
    index_flops: Any
    topk: int
    all_slots: bool


def prefill_sizes(card: ModelCard, heads: Any, *, padded_heads: int, all_slots: bool) -> PrefillSizes:
    """Return the coefficients of the work; parameters as :func:`prefill_work`."""
    sparse_width = 2 * card.kv_lora_rank + card.qk_rope_head_dim
    dense_width = card.qk_nope_head_dim + card.qk_rope_head_dim + card.v_head_dim
    computed = max(heads, padded_heads) if isinstance(heads, int) else np.maximum(heads, padded_heads)
    return PrefillSizes(
        linear_flops=2.0 * projection_parameters(card, heads),
        dense_flops=2.0 * heads * dense_width,
        sparse_flops=2.0 * computed * sparse_width,
        index_flops=2.0 * card.index_heads * card.index_head_dim,
        topk=card.attended_tokens,
        all_slots=all_slots,
    )


def prefill_work(
    card: ModelCard, heads: Any, new_tokens: Any, prefix_tokens: Any, *, padded_heads: int, all_slots: bool
) -> PrefillWork:
    """Return the work of single pieces, elementwise.

    Parameters
    ----------
    card : ModelCard
        The model.
    heads : int or array
        Heads on this GPU.
    new_tokens, prefix_tokens : int or array
        M and P of each piece.
    padded_heads : int
        Least number of heads the sparse kernel computes.
    all_slots : bool
        Whether the sparse kernel computes ``topk`` slots for every token.
    """
    sizes = prefill_sizes(card, heads, padded_heads=padded_heads, all_slots=all_slots)
    new = np.asarray(new_tokens, dtype=np.float64)
    prefix = np.asarray(prefix_tokens, dtype=np.float64)
    contexts = new * prefix + new * (new + 1) / 2
    topk = card.attended_tokens
    rising = np.clip(topk - prefix, 0, new)
    selected = new * topk if all_slots else rising * prefix + rising * (rising + 1) / 2 + (new - rising) * topk
    return PrefillWork(
        linear_flops=sizes.linear_flops * new,
        dense_flops=sizes.dense_flops * contexts,
        sparse_flops=sizes.sparse_flops * selected,
        index_flops=sizes.index_flops * contexts,
        prefix_tokens=prefix * bool(card.index_heads),
        is_dense=new + prefix <= topk,
    )


def iteration_work(
    sizes: PrefillSizes, new_tokens: Sequence[int], prefix_tokens: Sequence[int], flops_share: float, gather_share: float
) -> PrefillWork:
    """Return the work of all pieces of one iteration, or a share of it; dense only if every piece is.

    The same as the sum of :func:`prefill_work`, in whole numbers: an iteration has too few pieces for arrays to pay.
    """
    tokens = contexts = selected = prefixes = 0
    is_dense = True
    for new, prefix in zip(new_tokens, prefix_tokens, strict=True):
        tokens += new
        prefixes += prefix
        contexts += new * prefix + new * (new + 1) // 2
        selected += selected_tokens(sizes, new, prefix)
        is_dense = is_dense and new + prefix <= sizes.topk
    return PrefillWork(
        linear_flops=sizes.linear_flops * tokens * flops_share,
        dense_flops=sizes.dense_flops * contexts * flops_share,
        sparse_flops=sizes.sparse_flops * selected * flops_share,
        index_flops=sizes.index_flops * contexts * flops_share,
        prefix_tokens=prefixes * gather_share,
        is_dense=is_dense,
    )


def selected_tokens(sizes: PrefillSizes, new: int, prefix: int) -> int:
    """Return what the sparse kernel attends to for all tokens of a piece: ``sum min(P + i, topk)``, or every slot."""
    topk = sizes.topk
    if sizes.all_slots or prefix >= topk:
        return new * topk
    rising = min(topk - prefix, new)
    return rising * prefix + rising * (rising + 1) // 2 + (new - rising) * topk


@dataclass(frozen=True, slots=True)
class PrefillRates:
    """The prefill form with the device's figures put in: FLOPs and bytes a second, fixed and least times in seconds."""

    linear_flops_per_s: float
    dense_flops_per_s: float
    sparse_flops_per_s: float
    index_flops_per_s: float
    gather_bytes_per_s: float
    dense_base_s: float
    dense_floor_s: float
    sparse_base_s: float
    sparse_floor_s: float

    @classmethod
    def of(cls, figures: PrefillAttention) -> Self:
        """Return those of a device's figures."""
        return cls(
            linear_flops_per_s=figures.linear_tflops * 1e12,
            dense_flops_per_s=figures.dense_tflops * 1e12,
            sparse_flops_per_s=figures.sparse_tflops * 1e12,
            index_flops_per_s=figures.index_tflops * 1e12,
            gather_bytes_per_s=figures.gather_gbytes_per_s * 1e9,
            dense_base_s=figures.dense_base_us * 1e-6,
            dense_floor_s=figures.dense_floor_us * 1e-6,
            sparse_base_s=figures.sparse_base_us * 1e-6,
            sparse_floor_s=figures.sparse_floor_us * 1e-6,
        )

    def seconds(self, work: PrefillWork) -> Any:
        """Return the time of one layer, in the shape of the work."""
        if isinstance(work.is_dense, bool):
            return self._dense_s(work) if work.is_dense else self._sparse_s(work)
        return np.where(work.is_dense, self._dense_s(work), self._sparse_s(work))[()]

    def piece_s(self, sizes: PrefillSizes, new: int, prefix: int, flops_share: float, gather_share: float) -> float:
        """Return the time of one layer for one piece: to the bit what :meth:`seconds` makes of its :func:`iteration_work`."""
        contexts = new * prefix + new * (new + 1) // 2
        linear_s = sizes.linear_flops * new * flops_share / self.linear_flops_per_s
        if new + prefix <= sizes.topk:
            dense_s = self.dense_base_s + linear_s + sizes.dense_flops * contexts * flops_share / self.dense_flops_per_s
            return float(max(self.dense_floor_s, dense_s))
        sparse_s = (
            self.sparse_base_s
            + linear_s
            + sizes.sparse_flops * selected_tokens(sizes, new, prefix) * flops_share / self.sparse_flops_per_s
            + sizes.index_flops * contexts * flops_share / self.index_flops_per_s
            + prefix * gather_share * INDEX_KEY_BYTES / self.gather_bytes_per_s
        )
        return float(max(self.sparse_floor_s, sparse_s))

    def _dense_s(self, work: PrefillWork) -> Any:
        dense_s = self.dense_base_s + work.linear_flops / self.linear_flops_per_s + work.dense_flops / self.dense_flops_per_s
        return larger(self.dense_floor_s, dense_s)

    def _sparse_s(self, work: PrefillWork) -> Any:
        sparse_s = (
            self.sparse_base_s
            + work.linear_flops / self.linear_flops_per_s
            + work.sparse_flops / self.sparse_flops_per_s
            + work.index_flops / self.index_flops_per_s
            + work.prefix_tokens * INDEX_KEY_BYTES / self.gather_bytes_per_s
        )
        return larger(self.sparse_floor_s, sparse_s)


def prefill_attention_s(figures: PrefillAttention, work: PrefillWork) -> Any:
    """Return the time of one layer, in the shape of the work."""
    return PrefillRates.of(figures).seconds(work)


def decode_rates(card: ModelCard, figures: DecodeAttention, heads: int, padded_heads: int) -> DecodeRates:
    """Return the coefficients that multiply context lengths; attention grows with heads beyond the padding.

    A layer without an indexer looks through no token.
    """
    per_token = 1e-6 / 1024
    chosen = 1.0 if card.index_heads else 0.0
    return DecodeRates(
        sparse_s=figures.sparse_base_us * 1e-6,
        selected_s=figures.selected_us_per_ktoken * per_token * max(heads, padded_heads) / FITTED_HEADS,
        longest_s=figures.longest_us_per_ktoken * per_token * chosen,
        context_s=figures.context_us_per_ktoken * per_token * chosen,
    )


def decode_fixed_s(card: ModelCard, figures: DecodeAttention, heads: Any, requests: Any, padded_heads: int) -> Any:
    """Return the part of a decode step's attention that does not depend on context lengths, elementwise."""
    weights = projection_parameters(card, heads)
    weight_s = weights / (figures.weight_gbytes_per_s * 1e9)
    flops_s = 2.0 * weights * requests / (figures.linear_tflops * 1e12)
    request_s = figures.request_us * 1e-6 * np.maximum(heads, padded_heads) / FITTED_HEADS
    return figures.base_us * 1e-6 + np.maximum(weight_s, flops_s) + requests * request_s
