"""Dense latent attention (MLA of DeepSeek-V3 and Kimi-K2), fitted to blocks that were measured whole.

Prefill computes keys and values of every head from the latents (nope + rope and v values), decode attends to the latents
themselves (absorbed: 2 kv_lora + rope values a head), as SGLang does::

    prefill  t = max(floor, base + F_lin / b + F_att / c),    F_att = 2 h (nope + rope + v) * sum over the tokens of (P + i)
    decode   t = base + max(weights / w, F_lin / b) + n * r
                 + sum (c + 1) * (row bytes / m + 2 h (2 kv_lora + rope) / c) + max c * l

A cached prefix's keys and values are computed anew from its latents: ``2 kv_lora h (nope + v)`` FLOPs a token of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zcube.llm.attention import projection_parameters
from zcube.llm.cards import NO_CHOICE, ModelCard
from zcube.llm.decode_steps import DecodeRates
from zcube.llm.devices import Device, Peaks
from zcube.llm.elementwise import larger
from zcube.llm.kinds.efficiencies import LatentPrefill, LatentStep, load_efficiencies, measured_as
from zcube.llm.kinds.layer import AttentionTime, Roofline
from zcube.llm.kinds.spread import Spread
from zcube.llm.kv import KvDtype, KvLayout, latent_row_bytes


def block_s(
    card: ModelCard, figures: LatentPrefill, peak: Peaks, heads: Any, tokens: Any, all_pairs: Any, prefix: Any = 0.0
) -> tuple[Any, Any]:
    """Return one layer's time in prefill and its projections' part, elementwise.

    ``tokens`` and ``all_pairs`` are this GPU's new tokens and pairs of query and key, ``prefix`` the cached tokens it reads.
    """
    again = card.kv_lora_rank * heads * (card.qk_nope_head_dim + card.v_head_dim)
    linear = 2.0 * (projection_parameters(card, heads) * tokens + again * prefix)
    scores = 2.0 * heads * (card.qk_nope_head_dim + card.qk_rope_head_dim + card.v_head_dim) * all_pairs
    linear_s = linear / (figures.linear_share * peak.fp8_tflops * 1e12)
    scores_s = scores / (figures.attention_share * peak.bf16_tflops * 1e12)
    return larger(figures.floor_us * 1e-6, figures.base_us * 1e-6 + linear_s + scores_s), linear_s


def step_fixed_s(card: ModelCard, figures: LatentStep, peak: Peaks, heads: Any, requests: Any) -> Any:
    """Return what a decode step takes whatever the contexts, elementwise."""
    weights = projection_parameters(card, heads)
    read_s = weights / (figures.weight_share * peak.memory_gbytes_per_s * 1e9)
    flops_s = 2.0 * weights * requests / (figures.linear_share * peak.fp8_tflops * 1e12)
    return figures.base_us * 1e-6 + np.maximum(read_s, flops_s) + requests * figures.request_us * 1e-6


def step_token_s(card: ModelCard, figures: LatentStep, peak: Peaks, heads: Any, row_bytes: int) -> Any:
    """Return what a decode step takes a cached token, elementwise."""
    flops = 2.0 * heads * (2 * card.kv_lora_rank + card.qk_rope_head_dim)
    read_s = row_bytes / (figures.memory_share * peak.memory_gbytes_per_s * 1e9)
    return read_s + flops / (figures.attention_share * peak.bf16_tflops * 1e12)


def measured_prefill_s(card: ModelCard, figures: LatentPrefill, peak: Peaks, heads: Any, batch: Any, tokens: Any) -> Any:
    """Return the block's time for equal pieces without a prefix, elementwise."""
    return block_s(card, figures, peak, heads, batch * tokens, batch * tokens * (tokens + 1) / 2)[0]


def measured_step_s(card: ModelCard, figures: LatentStep, peak: Peaks, heads: Any, batch: Any, context: Any) -> Any:
    """Return the block's time in a decode step of equal contexts, elementwise; as measured, with fp8 KV."""
    token_s = step_token_s(card, figures, peak, heads, latent_row_bytes(card, KvLayout("fp8")))
    fixed_s = step_fixed_s(card, figures, peak, heads, batch)
    return fixed_s + batch * (context + 1) * token_s + context * figures.longest_us_per_ktoken * 1e-6 / 1024


class Latent(Roofline):
    """Layers of dense latent attention; parameters as :class:`~zcube.llm.kinds.grouped.Grouped`."""

    name = "latent"

    def __init__(self, card: ModelCard, device: Device, kv: KvDtype, spread: Spread):
        efficiencies = load_efficiencies(measured_as(device), "latent")
        assert efficiencies.latent is not None
        self.stated_error = efficiencies.stated_error
        self.layers, self.attended_tokens = card.full_layers, NO_CHOICE
        self._card, self._figures, self._peak, self._spread = card, efficiencies.latent, device.peak, spread
        self.heads = spread.heads(card.heads)
        figures = efficiencies.latent.decode
        self._token_s = float(step_token_s(card, figures, device.peak, self.heads, latent_row_bytes(card, KvLayout(kv))))
        self.rates = DecodeRates(0.0, 0.0, figures.longest_us_per_ktoken * 1e-6 / 1024, self._token_s)

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""
        share = self._spread.work_share
        all_pairs = sum(new * prefix + new * (new + 1) / 2 for new, prefix in zip(new_tokens, prefix_tokens, strict=True))
        total_s, projection_s = block_s(
            self._card, self._figures.prefill, self._peak, self.heads, sum(new_tokens) * share, all_pairs * share,
            sum(prefix_tokens) * self._spread.prefix_share,
        )  # fmt: skip
        return AttentionTime(float(total_s), min(float(projection_s), float(total_s)), 0.0)

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts."""
        fixed_s = step_fixed_s(self._card, self._figures.decode, self._peak, self.heads, requests)
        return float(fixed_s) + requests * self._token_s

    def measured_prefill_s(self, batch: Any, tokens: Any, heads: Any) -> Any:
        """Return the block's time for equal pieces without a prefix, elementwise."""
        return measured_prefill_s(self._card, self._figures.prefill, self._peak, heads, batch, tokens)

    def measured_step_s(self, batch: Any, context: Any, heads: Any) -> Any:
        """Return the block's time in a decode step of equal contexts, elementwise."""
        return measured_step_s(self._card, self._figures.decode, self._peak, heads, batch, context)
