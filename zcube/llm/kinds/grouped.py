"""Grouped-query attention, full or of a sliding window, multi-head attention among it.

Prefill, pieces of M new tokens at cached prefix P, on a GPU with h heads of queries and k of keys and values, of d and d_v
values, by the kernel of FlashAttention (Dao, 2023: causal, tiles of queries against keys):

* pairs of a piece: ``sum over its tokens of min(P + i, W)``, i = 1 .. M (W: window), and half a tile of queries more for each
  token, since the tile on the diagonal (and on the window's edge) is computed whole
* FLOPs: ``2 h (d + d_v) * pairs``
* ``t = base + max(FLOPs, row) / c + tokens * bytes of queries and results / m``; row: one tile against all keys of the longest
  piece, times the tiles that run side by side, which is what a single long row of keys takes

Decode, one step of n requests with contexts c::

    t = base + n * k * r + sum min(c + 1, W) * k (d + d_v) bytes / m + max c * l

Every key and value is read once a step for all heads of its group (Ainslie et al., 2023). Projections are beside it
(:mod:`zcube.llm.kinds.projections`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zcube.llm.cards import NO_CHOICE, ModelCard
from zcube.llm.decode_steps import DecodeRates
from zcube.llm.devices import Device, Peaks
from zcube.llm.elementwise import larger
from zcube.llm.kinds.efficiencies import GroupedEfficiency, ScoreEfficiency, StepEfficiency, load_efficiencies, measured_as
from zcube.llm.kinds.layer import AttentionTime, Roofline
from zcube.llm.kinds.projections import Projections
from zcube.llm.kinds.spread import Spread

_BF16 = 2


def pairs(new_tokens: Any, prefix_tokens: Any, window: Any = NO_CHOICE) -> Any:
    """Return the pairs of query and key of pieces, ``sum over i of min(P + i, W)``, elementwise."""
    rising = np.clip(window - prefix_tokens, 0, new_tokens)
    return rising * prefix_tokens + rising * (rising + 1) / 2 + (new_tokens - rising) * window


@dataclass(frozen=True, slots=True)
class HeadShape:
    """The heads of one GPU: of queries, of keys and values; values of a key and of a value; bytes of each when cached."""

    heads: Any
    kv_heads: Any
    head_dim: Any
    value_dim: Any
    kv_bytes: int

    @property
    def pair_flops(self) -> Any:
        """FLOPs of a pair of query and key, over all heads."""
        return 2.0 * self.heads * (self.head_dim + self.value_dim)

    @property
    def token_bytes(self) -> Any:
        """Bytes of a cached token."""
        return self.kv_heads * (self.head_dim + self.value_dim) * self.kv_bytes


def score_s(
    figures: ScoreEfficiency, peak: Peaks, shape: HeadShape, all_pairs: Any, tokens: Any, longest: Any, edges: Any
) -> Any:
    """Return the time of the kernel in prefill, elementwise.

    Parameters
    ----------
    figures, peak, shape
        Efficiencies, data sheet, heads.
    all_pairs, tokens : float or array
        Pairs and new tokens of this GPU.
    longest : float or array
        Keys of the longest row.
    edges : float or array
        Edges of a token's run of keys that cut tiles: 1, the diagonal, or 2, the window's too.
    """
    width, rate = shape.pair_flops, figures.peak_share * 1e12 * (peak.fp8_tflops if shape.kv_bytes == 1 else peak.bf16_tflops)
    flops = width * (all_pairs + edges * tokens * figures.tile_tokens / 2)
    row = width / shape.heads * figures.tile_tokens * longest * figures.row_units
    moved = tokens * shape.heads * (shape.head_dim + shape.value_dim) * _BF16
    moved_s = moved / (figures.memory_share * peak.memory_gbytes_per_s * 1e9)
    return figures.base_us * 1e-6 + larger(flops, row) / rate + moved_s


def read_rates(figures: StepEfficiency, peak: Peaks, shape: HeadShape) -> tuple[float, Any, Any, float]:
    """Return what a decode step takes: fixed, of a request, of a cached token, of a token of the longest context."""
    token_s = shape.token_bytes / (figures.memory_share * peak.memory_gbytes_per_s * 1e9)
    request_s = figures.request_us * 1e-6 * shape.kv_heads
    return figures.base_us * 1e-6, request_s, token_s, figures.longest_us_per_ktoken * 1e-6 / 1024


def kernel_prefill_s(figures: ScoreEfficiency, peak: Peaks, shape: HeadShape, batch: Any, tokens: Any, window: Any) -> Any:
    """Return the kernel's time for equal pieces without a prefix, elementwise; ``window`` :data:`NO_CHOICE`: every token."""
    edges = np.where(np.asarray(window) == NO_CHOICE, 1, 2)
    return score_s(figures, peak, shape, batch * pairs(tokens, 0, window), batch * tokens, np.minimum(tokens, window), edges)


def kernel_step_s(figures: StepEfficiency, peak: Peaks, shape: HeadShape, batch: Any, context: Any, window: Any) -> Any:
    """Return the kernel's time in a decode step of equal contexts, elementwise; the longest of a window does not count."""
    base_s, request_s, token_s, longest_s = read_rates(figures, peak, shape)
    longest = np.where(np.asarray(window) == NO_CHOICE, context, 0)
    return base_s + batch * (request_s + np.minimum(context + 1, window) * token_s) + longest * longest_s


class Grouped(Roofline):
    """Layers of grouped queries.

    Parameters
    ----------
    card, device, kv, spread
        Model, GPU, KV dtype (``fp8`` or ``bf16``), and how a node spreads it.
    kind : {"grouped", "window"}
        Whether every token is kept, or those of a window.
    """

    def __init__(self, card: ModelCard, device: Device, kv: str, spread: Spread, kind: Literal["grouped", "window"]):
        is_window = kind == "window"
        kv_heads = (is_window and card.window_kv_heads) or card.kv_heads
        efficiencies = load_efficiencies(measured_as(device), kind)
        self.name, self.stated_error = kind, efficiencies.stated_error
        self.layers = card.window_layers if is_window else card.full_layers
        self.attended_tokens = card.window_tokens if is_window else NO_CHOICE
        self.shape = HeadShape(
            spread.heads(card.heads), spread.heads(kv_heads), card.head_dim, card.value_head_dim, 1 if kv == "fp8" else 2
        )
        self._peak, self._spread = device.peak, spread
        self._figures: GroupedEfficiency = efficiencies.of_heads(kind, kv, card.head_dim)
        self.projections = Projections.of(
            device, efficiencies.gemm, grouped_parameters(card, self.shape), 2,
            self.shape.heads * card.head_dim + self.shape.kv_heads * (card.head_dim + card.value_head_dim),
        )  # fmt: skip
        base_s, self._request_s, token_s, longest_s = read_rates(self._figures.decode, device.peak, self.shape)
        # Where every token is kept, each adds as much; a window's are capped.
        self._base_s = base_s
        if is_window:
            self.rates = DecodeRates(0.0, token_s, 0.0, 0.0)
        else:
            self.rates = DecodeRates(0.0, 0.0, longest_s, token_s)
            self._request_s += token_s

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""
        share, window = self._spread.work_share, self.attended_tokens
        tokens, all_pairs, longest = 0, 0.0, 0
        for new, prefix in zip(new_tokens, prefix_tokens, strict=True):
            tokens += new
            rising = min(max(window - prefix, 0), new)
            all_pairs += rising * prefix + rising * (rising + 1) / 2 + (new - rising) * window
            longest = max(longest, min(new + prefix, window))
        edges = 1 if window == NO_CHOICE else 2
        scores_s = float(
            score_s(self._figures.prefill, self._peak, self.shape, all_pairs * share, tokens * share, longest, edges)
        )
        projection_s = self.projection_s(tokens * share)
        return AttentionTime(projection_s + scores_s, projection_s, 0.0)

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts."""
        return self.projection_s(requests) + self._base_s + requests * float(self._request_s)

    def measured_prefill_s(self, batch: Any, tokens: Any) -> Any:
        """Return the kernel's time for equal pieces without a prefix, elementwise."""
        return kernel_prefill_s(self._figures.prefill, self._peak, self.shape, batch, tokens, self.attended_tokens)

    def measured_step_s(self, batch: Any, context: Any) -> Any:
        """Return the kernel's time in a decode step of equal contexts, elementwise."""
        return kernel_step_s(self._figures.decode, self._peak, self.shape, batch, context, self.attended_tokens)


def grouped_parameters(card: ModelCard, shape: HeadShape) -> int:
    """Return the weights of one layer's projections on a GPU: keys and values may be held by several."""
    query = card.hidden * shape.heads * card.head_dim * (2 if card.attention_gate else 1)
    keys_and_values = card.hidden * shape.kv_heads * (card.head_dim + card.value_head_dim)
    return int(query + keys_and_values + shape.heads * card.value_head_dim * card.hidden)
