"""Sparse latent attention: layers with an indexer of their own, and layers that take an earlier one's choice.

Forms and figures are :mod:`zcube.llm.attention`'s, fitted to blocks measured whole. A layer without an indexer has the same
block without the indexer's projections, logits and keys; where such layers were measured, with figures of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from zcube.llm.attention import PrefillRates, decode_fixed_s, decode_rates, iteration_work, prefill_sizes
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device
from zcube.llm.kinds.efficiencies import load_efficiencies, measured_as
from zcube.llm.kinds.layer import AttentionTime, Roofline
from zcube.llm.kinds.spread import Spread


class SparseLatent(Roofline):
    """Layers of sparse latent attention.

    Parameters
    ----------
    card : ModelCard
        The model, or :attr:`~zcube.llm.cards.ModelCard.without_indexer` of it.
    device, kv, spread
        GPU, measured KV dtype, and how a node spreads it.
    layers : int
        How many.
    """

    def __init__(self, card: ModelCard, device: Device, kv: str, spread: Spread, layers: int):
        self.name: Literal["sparse", "shared"] = "sparse" if card.index_heads else "shared"
        self.layers, self.attended_tokens = layers, card.attended_tokens
        self.card, self._padded = card, device.padded_heads
        self.heads = spread.heads(card.heads)
        shared = None if card.index_heads else load_efficiencies(measured_as(device), "shared").shared.get(kv)
        figures, self._decode = (shared.prefill, shared.decode) if shared else (device.prefill[kv], device.decode[kv])
        self._prefill_rates = PrefillRates.of(figures)
        self._sizes = prefill_sizes(card, self.heads, padded_heads=device.padded_heads, all_slots=figures.computes_all_slots)
        self._work_share, self._gather_share = spread.work_share, spread.prefix_share if card.index_heads else 0.0
        self.rates = decode_rates(card, self._decode, self.heads, device.padded_heads)

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""
        rates = self._prefill_rates
        work = iteration_work(self._sizes, new_tokens, prefix_tokens, self._work_share, self._gather_share)
        total_s = float(rates.seconds(work))
        projection_s = min(float(work.linear_flops) / rates.linear_flops_per_s, total_s)
        indexer_s = 0.0 if work.is_dense else float(work.index_flops) / rates.index_flops_per_s
        return AttentionTime(total_s, projection_s, min(indexer_s, total_s - projection_s))

    def piece_s(self, new_tokens: int, prefix_tokens: int) -> float:
        """Return the whole of one layer's time in an iteration of one piece, as :meth:`prefill` does."""
        shares = self._work_share, self._gather_share
        return self._prefill_rates.piece_s(self._sizes, new_tokens, prefix_tokens, *shares)

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts."""
        return float(decode_fixed_s(self.card, self._decode, self.heads, requests, self._padded))
