"""Feed-forward blocks of a node's layers: routed and shared experts with what surrounds them, dense blocks, the output head.

A dense model has no experts, and their times are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Protocol, Self

from zcube.llm.around import around_experts_s, norms_s
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device, ExpertKernel
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.expert_placement import Placed, placed
from zcube.llm.experts import expert_layer_s
from zcube.llm.kinds.of_model import table_dtype
from zcube.llm.node_links import resident_share


class Ratios(Protocol):
    """``measured / roofline`` at ranks and tokens of an expert-parallel group."""

    def at(self, *query: Any) -> Any:
        """Return the ratio."""


class FeedForward:
    """What a node's feed-forward blocks take.

    Parameters
    ----------
    card, device, engine
        Model, GPU, layouts.
    ratios : mapping, optional
        By kernel of the experts, where it was measured.
    """

    def __init__(
        self, card: ModelCard, device: Device, engine: EngineLayout, ratios: Mapping[ExpertKernel, Ratios] | None = None
    ):
        kv = table_dtype(engine.kv_dtype)
        self._card, self._device, self._engine, self._ratios = card, device, engine, ratios or {}
        self._prefill_tflops, self._decode = device.prefill[kv].linear_tflops, device.decode[kv]
        self._decode_memory = device.memory
        self._prefill_gpus, self._decode_gpus = engine.prefill_stage_gpus, engine.decode_stage_gpus

    def with_decode_kernel(self, base_us: float) -> Self:
        """Return the same with another start of decode's kernels that only move bytes."""
        other = copy(self)
        other._decode_memory = self._decode_memory.model_copy(update={"base_us": base_us})
        return other

    def prefill_s(self, tokens: float) -> tuple[float, float, float]:
        """Return one layer's routed experts, the rest of such a layer, and a dense layer's block, of a node's new tokens."""
        card, memory, engine, share = self._card, self._device.memory, self._engine, tokens / self._prefill_gpus
        # GPUs that slice heads hold all tokens of their group; those that slice experts choose for all tokens.
        own = tokens / (engine.prefill_sizes.cp * engine.prefill_sizes.dp)
        dense_s = self._prefill_gemm_s(card.dense_parameters, tokens) + norms_s(card, memory, own)
        if not card.moe_layers:
            return 0.0, 0.0, dense_s
        routed = tokens if engine.prefill_experts == "fused" else share
        shared_s = self._prefill_gemm_s(card.shared_experts * card.shared_parameters, tokens)
        return (
            self._experts_s(engine.prefill_experts, tokens, engine.prefill_ep_nodes, self._prefill_gpus),
            shared_s + around_experts_s(card, memory, engine.prefill_experts, own, routed),
            dense_s,
        )

    def decode_experts_s(self, node_tokens: float, ep_nodes: int) -> float:
        """Return the routed experts' time of one layer in a decode step, of a node's tokens."""
        return self._experts_s(self._engine.decode_experts, node_tokens, ep_nodes, self._decode_gpus)

    def decode_shared_s(self, tokens: int) -> float:
        """Return the rest of a layer with experts in a decode step, of a GPU's tokens."""
        card = self._card
        if not card.moe_layers:
            return 0.0
        shared_s = self._gemm_s(card.shared_experts * card.shared_parameters / self._slices, tokens, 1)
        return shared_s + around_experts_s(card, self._decode_memory, self._engine.decode_experts, tokens, tokens)

    def decode_dense_s(self, tokens: int) -> float:
        """Return a dense layer's block in a decode step, of a GPU's tokens."""
        return self._gemm_s(self._card.dense_parameters / self._slices, tokens, 1) + norms_s(
            self._card, self._decode_memory, tokens
        )

    def head_s(self, tokens: int) -> float:
        """Return the output head's time in a decode step, of a node's tokens."""
        return self._gemm_s(self._card.embedding_parameters / self._decode_gpus, tokens, 2)

    @property
    def _slices(self) -> int:
        return self._engine.decode_sizes.tp

    def _experts_s(self, kernel: ExpertKernel, node_tokens: float, ep_nodes: int, gpus: int) -> float:
        if not self._card.moe_layers:
            return 0.0
        figures = self._device.experts[kernel]
        balance = figures.balance[self._engine.moe_balance]
        if kernel == "fused":
            seconds = float(expert_layer_s(self._card, figures, balance, node_tokens, gpus, 1))
            ranks = 1
        else:
            ranks, tokens = gpus * ep_nodes, node_tokens * ep_nodes
            resident = tokens * resident_share(self._card, ranks)
            where = self._placed(kernel, ep_nodes, ranks, tokens)
            seconds = float(expert_layer_s(self._card, figures, balance, tokens, 1, ranks, resident, where))
        ratios = self._ratios.get(kernel)
        return seconds if ratios is None else seconds * float(ratios.at(ranks, node_tokens * ep_nodes))

    def _placed(self, kernel: ExpertKernel, nodes: int, ranks: int, tokens: float) -> Placed | None:
        """Return how a load balancer places the experts of a phase, None where they lie in order."""
        engine = self._engine
        copies = engine.prefill_redundant_experts if kernel == "deepep_normal" else engine.decode_redundant_experts
        return None if copies is None else placed(self._card, engine.moe_balance, copies, nodes, ranks, tokens)

    def _prefill_gemm_s(self, parameters: int, tokens: float) -> float:
        # Sliced by weight or by token, each GPU does an equal part.
        return 2.0 * parameters * tokens / self._prefill_gpus / (self._prefill_tflops * 1e12)

    def _gemm_s(self, parameters: float, tokens: int, bytes_per_parameter: int) -> float:
        read_s = parameters * bytes_per_parameter / (self._decode.weight_gbytes_per_s * 1e9)
        return max(read_s, 2.0 * parameters * tokens / (self._decode.linear_tflops * 1e12))
