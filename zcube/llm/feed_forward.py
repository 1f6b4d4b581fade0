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
from zcube.llm.experts import ExpertForm
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
        self._decode, self._decode_memory = device.decode[kv], device.memory
        self._prefill_gpus, self._decode_gpus = engine.prefill_stage_gpus, engine.decode_stage_gpus
        self._prefill_kernel, self._decode_kernel = engine.prefill_experts, engine.decode_experts
        self._has_experts = card.moe_layers > 0
        #: Of prefill: FLOPs of a token in a dense block and in the shared experts, a GPU's rate, GPUs of which each holds other
        #: tokens.
        self._dense_flops, self._shared_flops = (
            2.0 * card.dense_parameters,
            2.0 * (card.shared_experts * card.shared_parameters),
        )
        self._prefill_flops_per_s = device.prefill[kv].linear_tflops * 1e12
        self._token_gpus = engine.prefill_sizes.cp * engine.prefill_sizes.dp
        #: Of experts in order, by kernel, ways that each is sliced, and ranks.
        self._forms: dict[tuple[ExpertKernel, int, int], ExpertForm] = {}

    def with_decode_kernel(self, base_us: float) -> Self:
        """Return the same with another start of decode's kernels that only move bytes."""
        other = copy(self)
        other._decode_memory = self._decode_memory.model_copy(update={"base_us": base_us})
        return other

    @property
    def is_elementwise(self) -> bool:
        """Whether :meth:`prefill_s` takes arrays: not where each number of tokens is placed, or scaled, by itself."""
        return not self._ratios and self._engine.prefill_redundant_experts is None

    def prefill_s(self, tokens: Any) -> tuple[Any, Any, Any]:
        """Return one layer's routed experts, the rest of such a layer, and a dense layer's block, of a node's new tokens."""
        card, memory, kernel = self._card, self._device.memory, self._prefill_kernel
        # GPUs that slice heads hold all tokens of their group; those that slice experts choose for all tokens.
        own = tokens / self._token_gpus
        dense_s = self._prefill_gemm_s(self._dense_flops, tokens) + norms_s(card, memory, own)
        if not self._has_experts:
            return 0.0, 0.0, dense_s
        routed = tokens if kernel == "fused" else tokens / self._prefill_gpus
        shared_s = self._prefill_gemm_s(self._shared_flops, tokens)
        return (
            self._experts_s(kernel, tokens, self._engine.prefill_ep_nodes, self._prefill_gpus),
            shared_s + around_experts_s(card, memory, kernel, own, routed),
            dense_s,
        )

    def decode_experts_s(self, node_tokens: float, ep_nodes: int) -> float:
        """Return the routed experts' time of one layer in a decode step, of a node's tokens."""
        return float(self._experts_s(self._decode_kernel, node_tokens, ep_nodes, self._decode_gpus))

    def decode_shared_s(self, tokens: int) -> float:
        """Return the rest of a layer with experts in a decode step, of a GPU's tokens."""
        card = self._card
        if not self._has_experts:
            return 0.0
        shared_s = self._gemm_s(card.shared_experts * card.shared_parameters / self._slices, tokens, 1)
        return shared_s + around_experts_s(card, self._decode_memory, self._decode_kernel, tokens, tokens)

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

    def _experts_s(self, kernel: ExpertKernel, node_tokens: Any, ep_nodes: int, gpus: int) -> Any:
        if not self._has_experts:
            return 0.0
        if kernel == "fused":
            ranks, seconds = 1, self._form(kernel, gpus, 1).seconds(node_tokens)
        else:
            ranks, tokens = gpus * ep_nodes, node_tokens * ep_nodes
            resident = tokens * resident_share(self._card, ranks)
            where = self._placed(kernel, ep_nodes, ranks, tokens)
            seconds = self._form(kernel, 1, ranks, where).seconds(tokens, resident)
        ratios = self._ratios.get(kernel)
        return seconds if ratios is None else seconds * float(ratios.at(ranks, node_tokens * ep_nodes))

    def _form(self, kernel: ExpertKernel, moe_tp: int, moe_ep: int, where: Placed | None = None) -> ExpertForm:
        found = self._forms.get((kernel, moe_tp, moe_ep)) if where is None else None
        if found is None:
            figures = self._device.experts[kernel]
            found = ExpertForm.of(self._card, figures, figures.balance[self._engine.moe_balance], moe_tp, moe_ep, where)
            if where is None:
                self._forms[kernel, moe_tp, moe_ep] = found
        return found

    def _placed(self, kernel: ExpertKernel, nodes: int, ranks: int, tokens: float) -> Placed | None:
        """Return how a load balancer places the experts of a phase, None where they lie in order."""
        engine = self._engine
        copies = engine.prefill_redundant_experts if kernel == "deepep_normal" else engine.decode_redundant_experts
        return None if copies is None else placed(self._card, engine.moe_balance, copies, nodes, ranks, tokens)

    def _prefill_gemm_s(self, token_flops: float, tokens: Any) -> Any:
        # Sliced by weight or by token, each GPU does an equal part.
        return token_flops * tokens / self._prefill_gpus / self._prefill_flops_per_s

    def _gemm_s(self, parameters: float, tokens: int, bytes_per_parameter: int) -> float:
        read_s = parameters * bytes_per_parameter / (self._decode.weight_gbytes_per_s * 1e9)
        return max(read_s, 2.0 * parameters * tokens / (self._decode.linear_tflops * 1e12))
