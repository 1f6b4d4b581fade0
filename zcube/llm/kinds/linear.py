"""Linear attention by the gated delta rule (Yang et al., 2024), as Qwen3-Next and Qwen3.5 have it.

A head of values keeps a state of ``d_k x d_v`` numbers, whatever the context.

Prefill runs in chunks of C = 64 tokens (chunkwise parallel form). A chunk of one head of values costs, in FLOPs::

    2 C^2 (2 d_k + d_k + 2 d_v) + 6 C d_k d_v

the products of keys with keys and queries with keys, of the triangular inverse with keys and values, of the scores with
values, and three products with the state. Chunks of a sequence wait for each other::

    t = base + max(FLOPs / c, chunks of the longest piece * s) + max(0, bytes - cache) / m

what passes from kernel to kernel goes through the memory as far as the cache does not hold it.

Decode reads and writes the state of every request, in fp32::

    t = base + n * 2 * state bytes / m
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.llm.cards import ModelCard
from zcube.llm.decode_steps import DecodeRates
from zcube.llm.devices import Device, Peaks
from zcube.llm.kinds.efficiencies import LinearEfficiency, load_efficiencies, measured_as
from zcube.llm.kinds.layer import AttentionTime, Roofline
from zcube.llm.kinds.projections import Projections
from zcube.llm.kinds.spread import Spread

#: Tokens of a chunk in the kernels of flash-linear-attention.
CHUNK_TOKENS = 64
_BF16, _FP32 = 2, 4


@dataclass(frozen=True, slots=True)
class StateShape:
    """Heads of one GPU, of keys and of values, and their sizes."""

    key_heads: Any
    value_heads: Any
    key_dim: int
    value_dim: int

    @property
    def token_flops(self) -> Any:
        """FLOPs of a token in the chunkwise form, over all heads of values."""
        scores = 2.0 * CHUNK_TOKENS * (3 * self.key_dim + 2 * self.value_dim)
        return self.value_heads * (scores + 6.0 * self.key_dim * self.value_dim)

    @property
    def token_bytes(self) -> Any:
        """Bytes of a token that go in and out: queries, keys, values, results; the convolution before reads and writes too."""
        return 2 * _BF16 * (2 * self.key_heads * self.key_dim + 2 * self.value_heads * self.value_dim)

    @property
    def state_bytes(self) -> Any:
        """Bytes of a request's state of one layer, without the convolution's."""
        return self.value_heads * self.key_dim * self.value_dim * _FP32


def chunks_s(figures: LinearEfficiency, peak: Peaks, shape: StateShape, tokens: Any, longest: Any) -> Any:
    """Return the time of the kernels in prefill, elementwise; ``longest``: new tokens of the longest piece."""
    flops_s = tokens * shape.token_flops / (figures.peak_share * peak.bf16_tflops * 1e12)
    moved = np.maximum(tokens * shape.token_bytes - figures.cache_mbytes * 1e6, 0.0)
    waits_s = np.ceil(longest / CHUNK_TOKENS) * figures.chunk_us * 1e-6
    moved_s = moved / (figures.memory_share * peak.memory_gbytes_per_s * 1e9)
    return figures.base_us * 1e-6 + np.maximum(flops_s, waits_s) + moved_s


def state_s(figures: LinearEfficiency, peak: Peaks, shape: StateShape, requests: Any) -> Any:
    """Return the time of the kernels in a decode step, elementwise."""
    moved = requests * 2.0 * shape.state_bytes
    return figures.step_us * 1e-6 + moved / (figures.state_share * peak.memory_gbytes_per_s * 1e9)


class Linear(Roofline):
    """Layers of linear attention; parameters as :class:`~zcube.llm.kinds.grouped.Grouped`."""

    name = "linear"

    def __init__(self, card: ModelCard, device: Device, spread: Spread):
        efficiencies = load_efficiencies(measured_as(device), "linear")
        assert efficiencies.linear is not None
        self.stated_error = efficiencies.stated_error
        self.layers, self.attended_tokens, self.rates = card.linear_layers, 1, DecodeRates(0.0, 0.0, 0.0, 0.0)
        self.shape = StateShape(
            spread.heads(card.linear_key_heads), spread.heads(card.linear_value_heads),
            card.linear_key_head_dim, card.linear_value_head_dim,
        )  # fmt: skip
        self._figures, self._peak, self._spread = efficiencies.linear, device.peak, spread
        values = 2 * self.shape.key_heads * self.shape.key_dim + 2 * self.shape.value_heads * self.shape.value_dim
        self.projections = Projections.of(device, efficiencies.gemm, linear_parameters(card, self.shape), 2, values)

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node; what is cached before does not count."""
        share = self._spread.work_share
        tokens, longest = sum(new_tokens) * share, max(new_tokens)
        projection_s = self.projection_s(tokens)
        return AttentionTime(
            projection_s + float(chunks_s(self._figures, self._peak, self.shape, tokens, longest)), projection_s, 0.0
        )

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step, whatever the contexts."""
        return self.projection_s(requests) + float(state_s(self._figures, self._peak, self.shape, requests))

    def measured_prefill_s(self, batch: Any, tokens: Any) -> Any:
        """Return the kernels' time for equal pieces, elementwise."""
        return chunks_s(self._figures, self._peak, self.shape, batch * tokens, tokens)

    def measured_step_s(self, batch: Any, context: Any) -> Any:
        """Return the kernels' time in a decode step, elementwise."""
        return state_s(self._figures, self._peak, self.shape, batch)


def linear_parameters(card: ModelCard, shape: StateShape) -> int:
    """Return the weights of one layer's projections on a GPU."""
    keys, values = shape.key_heads * shape.key_dim, shape.value_heads * shape.value_dim
    into = card.hidden * (2 * keys + 2 * values + 2 * shape.value_heads)
    return int(into + values * card.hidden)
