"""Compute time of an eight-GPU node: a fitted roofline with its stated error.

The sum over the layers of attention block, experts (or dense feed-forward), norms, router and NVLink collectives, without
overlap. Left out: exchanges of experts over nodes, with what of them stays inside (:mod:`zcube.llm.exchanges`), scheduler,
sampling and detokenisation, the multi-token-prediction layer. The stated errors are per layer and operation, on the points
the figures were fitted to; no whole iteration was measured. Attention and fused experts were fitted to GLM-5, experts
behind DeepEP to DeepSeek-V3, the only model whose were measured; another model takes the same device figures with its own
sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self, TypeAlias, TypeGuard, get_args

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.around import around_experts_s, norms_s
from zcube.llm.attention import decode_fixed_s, decode_rates, iteration_work, prefill_attention_s, prefill_sizes
from zcube.llm.cards import ModelCard
from zcube.llm.decode_steps import MAX_CONTEXT, attention_steps_s
from zcube.llm.devices import Device, Exchanges, ExpertKernel, Line
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.experts import expert_layer_s
from zcube.llm.kv import KvDtype
from zcube.llm.layer_times import DecodeLayer, PrefillLayer
from zcube.llm.node_links import (
    GPUS_PER_NODE,
    DecodeLayout,
    PrefillLayout,
    decode_layer_s,
    prefill_layer_s,
    resident_share,
)

#: Numbers of the pieces of an iteration.
Pieces: TypeAlias = Sequence[int] | IntArray

#: Tokens a piece or a context may have, steps a call may ask for, nodes the experts may span.
MAX_TOKENS = MAX_CONTEXT
MAX_STEPS = 1 << 20
MAX_EP_NODES = 128
#: Tokens a request verifies in one decode step.
MAX_QUERY_TOKENS = 64


@dataclass(frozen=True, slots=True)
class StatedError:
    """Relative error ``|model / measured - 1|`` of one operation.

    Attributes
    ----------
    median, p90, mape : float
        Median, 90th percentile and mean, as fractions.
    points : int
        Measured points.
    against : str
        The measurements, and the part of them that was used.
    """

    median: float
    p90: float
    mape: float
    points: int
    against: str


class ComputeModel(Protocol):
    """How long an eight-GPU node computes.

    Attributes
    ----------
    name : str
        Model, device and layouts.
    exchanges : Exchanges or None
        DeepEP's figures of the device; None where exchanges over nodes take what the network gives.
    stated_error : mapping
        By operation: ``prefill_attention``, ``decode_attention``, and the routed experts, ``prefill_moe`` and
        ``decode_moe``, of the kernel that runs in the layout.
    """

    @property
    def name(self) -> str:
        """Model, device and layouts."""

    @property
    def exchanges(self) -> Exchanges | None:
        """DeepEP's figures."""

    @property
    def stated_error(self) -> Mapping[str, StatedError]:
        """Error by operation."""

    def prefill_iteration_s(self, new_tokens: Pieces, prefix_tokens: Pieces) -> float:
        """Return the time of one chunked-prefill iteration of a node, all layers."""

    def decode_steps_s(self, context_tokens: IntArray, steps: int) -> FloatArray:
        """Return the durations of the next ``steps`` decode steps of an instance's batch."""


class RooflineModel:
    """The fitted roofline; built by :func:`roofline`.

    Attributes
    ----------
    calibrated : tuple of mapping
        Which of prefill's collectives are a calibration's, JSON-ready.
    device : Device
        The GPUs, with the lines that are taken.
    """

    def __init__(self, card: ModelCard, device: Device, engine: EngineLayout):
        self.name = f"{card.name} on {device.name}, prefill {engine.prefill_layout}, decode {engine.decode_layout}"
        if not card.index_heads:
            self.name += ", attention unmeasured"
        kv = table_dtype(engine)
        self.stated_error: Mapping[str, StatedError] = _stated(card, device, engine)
        self.calibrated: tuple[Mapping[str, Any], ...] = ()
        self._card, self._device = card, device
        self._decode_memory = device.memory
        self._prefill_layout, self._decode_layout = engine.prefill_layout, engine.decode_layout
        self._ep_nodes, self._decode_nodes = engine.prefill_ep_nodes, engine.decode_ep_nodes
        self._decode_ranks = 1 if engine.decode_layout == "tp8" else GPUS_PER_NODE * engine.decode_ep_nodes
        self.exchanges: Exchanges | None = device.exchanges if engine.exchanges == "deepep" else None
        self._moe_balance = engine.moe_balance
        self._prefill_experts, self._decode_experts = engine.prefill_experts, engine.decode_experts
        self._prefill, self._decode = device.prefill[kv], device.decode[kv]
        self._prefill_heads = _heads(card, engine.prefill_layout)
        self._prefill_sizes = prefill_sizes(
            card, self._prefill_heads, padded_heads=device.padded_heads, all_slots=self._prefill.computes_all_slots
        )
        # Under tp8 heads are split, else tokens; under context parallelism every GPU reads the whole prefix's keys, under
        # data parallelism only its requests'.
        self._flops_share = 1.0 if engine.prefill_layout == "tp8" else 1.0 / GPUS_PER_NODE
        self._gather_share = 1.0 / GPUS_PER_NODE if engine.prefill_layout == "dp8" else 1.0
        self._decode_heads = _heads(card, engine.decode_layout)
        self._rates = decode_rates(card, self._decode, self._decode_heads, device.padded_heads)
        self._keep_what_recurs()

    def _keep_what_recurs(self) -> None:
        # Full chunks, whole blocks before them, and batch sizes from step to step recur; what depends only on them is worth
        # keeping.
        self._one_piece_s = lru_cache(maxsize=1 << 15, typed=True)(self._one_piece)
        self._by_tokens = lru_cache(maxsize=1 << 14)(self._prefill_by_tokens)
        self._fixed_s = lru_cache(maxsize=4096)(self._decode_fixed_s)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is kept, which another process cannot take over."""
        return {key: value for key, value in vars(self).items() if not hasattr(value, "cache_info")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with nothing kept."""
        vars(self).update(state)
        self._keep_what_recurs()

    def with_prefill_links(
        self, lines: Mapping[str, Line], stated_error: Mapping[str, StatedError], calibrated: tuple[Mapping[str, Any], ...]
    ) -> Self:
        """Return the same model with other times of some of prefill's collectives.

        Parameters
        ----------
        lines : mapping
            By the fields of :class:`~zcube.llm.devices.NodeLinks`.
        stated_error : mapping
            Their errors, by operation.
        calibrated : tuple of mapping
            What is said of them.
        """
        model, links = copy(self), self._device.links
        # A reduce-scatter that is told by the all-gather stays what it was where that alone changes.
        kept = {"reduce_scatter": links.reduce_scatter or links.gather} if "gather" in lines else {}
        model._device = self._device.model_copy(update={"links": links.model_copy(update={**kept, **lines})})
        model.stated_error = {**self.stated_error, **stated_error}
        model.calibrated = calibrated
        model.name = f"{self.name}, prefill's {', '.join(one['operation'] for one in calibrated)} as calibrated"
        return model

    @property
    def device(self) -> Device:
        """The GPUs."""
        return self._device

    def with_decode_starts(self, kernel_us: float | None, all_reduce_us: float | None) -> Self:
        """Return the same model with other starts in decode: of kernels that only move bytes, and of its all-reduce.

        None leaves what it is. What attention and experts take is measured with their launches and stays.
        """
        model = copy(self)
        if kernel_us is not None:
            model._decode_memory = self._decode_memory.model_copy(update={"base_us": kernel_us})
        if all_reduce_us is not None:
            links = self._device.links
            line = links.decode_all_reduce.model_copy(update={"base_us": all_reduce_us})
            links = links.model_copy(update={"decode_all_reduce": line})
            model._device = self._device.model_copy(update={"links": links})
        return model

    def prefill_links_s(self, new_tokens: int) -> float:
        """Return the time of the collectives of an iteration of a node, all layers."""
        _, _, _, sparse_s, dense_s = self._by_tokens(new_tokens)
        return self._card.moe_layers * sparse_s + self._card.first_dense_layers * dense_s

    def prefill_iteration_s(self, new_tokens: Pieces, prefix_tokens: Pieces) -> float:
        """Return the time of one chunked-prefill iteration of a node, all layers.

        The pieces' work is spread evenly over the GPUs: by heads (tp8) or by tokens (cp8, dp8; dp8 thus assumes that
        the scheduler fills its eight ranks evenly).

        Parameters
        ----------
        new_tokens, prefix_tokens : list of int or int array, shape (pieces,)
            Tokens computed and tokens cached before them, >= 1 and >= 0.

        Raises
        ------
        InputError
            If there is no piece, the shapes differ or a number is out of range.
        """
        if type(new_tokens) is list and type(prefix_tokens) is list and len(new_tokens) == len(prefix_tokens) == 1:
            return self._one_piece_s(new_tokens[0], prefix_tokens[0])
        return self._iteration_s(new_tokens, prefix_tokens)

    def _one_piece(self, new_tokens: int, prefix_tokens: int) -> float:
        return self._iteration_s([new_tokens], [prefix_tokens])

    def _iteration_s(self, new_tokens: Pieces, prefix_tokens: Pieces) -> float:
        card, layer = self._card, self.prefill_layer(new_tokens, prefix_tokens)
        _, _, _, sparse_links_s, dense_links_s = self._by_tokens(int(sum(new_tokens)))
        sparse_layer_s = layer.experts_s + layer.shared_s + sparse_links_s
        dense_layer_s = layer.dense_s + dense_links_s
        return float(
            card.layers * layer.attention_s + card.moe_layers * sparse_layer_s + card.first_dense_layers * dense_layer_s
        )

    def prefill_layer(self, new_tokens: Pieces, prefix_tokens: Pieces) -> PrefillLayer:
        """Return one layer of an iteration; parameters and errors as :meth:`prefill_iteration_s`."""
        new, prefix = _pieces(new_tokens, prefix_tokens)
        figures = self._prefill
        work = iteration_work(self._prefill_sizes, new, prefix, self._flops_share, self._gather_share)
        attention_s = float(prefill_attention_s(figures, work))
        projection_s = min(float(work.linear_flops) / (figures.linear_tflops * 1e12), attention_s)
        indexer_s = 0.0 if work.is_dense else float(work.index_flops) / (figures.index_tflops * 1e12)
        experts_s, shared_s, dense_s, _, _ = self._by_tokens(sum(new))
        return PrefillLayer(attention_s, projection_s, min(indexer_s, attention_s - projection_s), experts_s, shared_s, dense_s)

    def decode_steps_s(self, context_tokens: IntArray, steps: int) -> FloatArray:
        """Return the durations of the next ``steps`` decode steps; every context grows by one per step.

        Under dp8 request i sits on GPU ``i % ranks`` of the instance's eight per node; the GPUs run in lockstep and the slowest
        sets the pace.

        Parameters
        ----------
        context_tokens : int array, shape (requests,)
            Tokens cached before the first step, of all requests of the instance.
        steps : int
            How many steps, 0 .. 2**20.

        Returns
        -------
        float64 array, shape (steps,)
            Seconds.

        Raises
        ------
        InputError
            If there is no request or a number is out of range.
        """
        contexts = _contexts(context_tokens, steps)
        if steps == 0:
            check_range(contexts)
            return np.empty(0)
        fixed_s, rest_s = self._fixed_s(len(contexts))
        ranks = min(self._decode_ranks, len(contexts))
        seconds = attention_steps_s(self._rates, self._card.attended_tokens, contexts, fixed_s, ranks, steps)
        if seconds[0] < 0.0:
            check_range(contexts)
        seconds *= self._card.layers
        seconds += rest_s
        return seconds

    def decode_layer(self, context_tokens: IntArray, *, query_tokens: int = 1, ep_nodes: int = 1) -> DecodeLayer:
        """Return one layer of one step; under dp8, of the GPU with the first requests.

        Parameters
        ----------
        context_tokens : int array, shape (requests,)
            Tokens cached before the step, of a node's requests, dealt as in :meth:`decode_steps_s`.
        query_tokens : int
            Tokens verified at once per request (drafts plus one). They multiply the work of weights and experts; of
            attention only the part that grows with requests and selected tokens (inferred).
        ep_nodes : int
            Nodes the experts are spread over; each decodes as many requests. Under dp8 only.

        Raises
        ------
        InputError
            If a number is out of range.
        """
        given = _contexts(context_tokens, 1)
        check_range(given)
        contexts = given.tolist()
        wanted = (("query_tokens", query_tokens, MAX_QUERY_TOKENS), ("ep_nodes", ep_nodes, MAX_EP_NODES))
        faults = [Fault(key, str(value), f"1 .. {most}") for key, value, most in wanted if not 1 <= value <= most]
        if faults:
            raise InputError(faults)
        card, figures, rates = self._card, self._decode, self._rates
        tp8 = self._decode_layout == "tp8"
        mine = contexts if tp8 else contexts[::GPUS_PER_NODE]
        queries, longest = len(mine) * query_tokens, max(mine)
        attended = query_tokens * sum(min(context + 1, card.attended_tokens) for context in mine)
        attention_s = float(decode_fixed_s(card, figures, self._decode_heads, queries, self._device.padded_heads))
        attention_s += rates.sparse_s * (longest >= card.attended_tokens) + rates.selected_s * attended
        attention_s += rates.longest_s * longest + rates.context_s * sum(mine)
        everyone = len(contexts) * query_tokens
        return DecodeLayer(
            attention_s=attention_s,
            experts_s=self._experts_s(self._decode_experts, everyone, ep_nodes),
            shared_s=self._decode_shared_s(queries),
            dense_s=self._decode_dense_s(queries),
            head_s=self._gemm_s(card.embedding_parameters / GPUS_PER_NODE, everyone, 2),
        )

    def _prefill_by_tokens(self, new_tokens: int) -> tuple[float, float, float, float, float]:
        """Return what depends only on an iteration's new tokens, of one layer.

        Routed experts, the rest of such a layer, dense feed-forward, and the collectives of a layer with experts and of one
        without.
        """
        card, memory, tokens, share = self._card, self._device.memory, float(new_tokens), new_tokens / GPUS_PER_NODE
        # GPUs that slice heads hold all tokens; those that slice experts choose for all tokens.
        own = tokens if self._prefill_layout == "tp8" else share
        routed = tokens if self._prefill_experts == "fused" else share
        shared_s = self._prefill_gemm_s(card.shared_experts * card.expert_parameters, tokens)
        return (
            self._experts_s(self._prefill_experts, tokens, self._ep_nodes),
            shared_s + around_experts_s(card, memory, self._prefill_experts, own, routed),
            self._prefill_gemm_s(card.dense_parameters, tokens) + norms_s(card, memory, own),
            self._prefill_links_s(tokens, True),
            self._prefill_links_s(tokens, False),
        )

    def _experts_s(self, kernel: ExpertKernel, node_tokens: float, ep_nodes: int) -> float:
        """Return the routed experts' time of one layer, of a node's tokens."""
        figures = self._device.experts[kernel]
        balance = figures.balance[self._moe_balance]
        if kernel == "fused":
            return float(expert_layer_s(self._card, figures, balance, node_tokens, GPUS_PER_NODE, 1))
        group, tokens = GPUS_PER_NODE * ep_nodes, node_tokens * ep_nodes
        resident = tokens * resident_share(self._card, group)
        return float(expert_layer_s(self._card, figures, balance, tokens, 1, group, resident))

    def _prefill_gemm_s(self, parameters: int, tokens: float) -> float:
        # Sliced by weight or by token, each GPU does an eighth.
        return 2.0 * parameters * tokens / GPUS_PER_NODE / (self._prefill.linear_tflops * 1e12)

    def _prefill_links_s(self, tokens: float, has_experts: bool) -> float:
        return prefill_layer_s(self._card, self._device.links, self._prefill_layout, tokens, self._ep_nodes, has_experts)

    def _decode_fixed_s(self, requests: int) -> tuple[tuple[float, float], float]:
        """Return what depends only on the batch size: attention of a fuller and an emptier GPU, and the rest."""
        card, figures, nodes = self._card, self._decode, self._decode_nodes
        fullest = -(-requests // self._decode_ranks)
        attention = tuple(
            float(decode_fixed_s(card, figures, self._decode_heads, count, self._device.padded_heads))
            for count in (fullest, max(fullest - 1, 0))
        )
        moe_s = self._experts_s(self._decode_experts, requests / nodes, nodes) + self._decode_shared_s(fullest)
        if nodes == 1:
            moe_s += decode_layer_s(card, self._device.links, self._decode_layout, requests, fullest, True)
        dense_s = self._decode_dense_s(fullest)
        dense_s += decode_layer_s(card, self._device.links, self._decode_layout, requests, fullest, False)
        head_s = self._gemm_s(card.embedding_parameters / GPUS_PER_NODE, -(-requests // nodes), 2)
        rest_s = float(card.moe_layers * moe_s + card.first_dense_layers * dense_s + head_s)
        return (attention[0], attention[1]), rest_s

    def _decode_shared_s(self, tokens: int) -> float:
        card, slices = self._card, GPUS_PER_NODE if self._decode_layout == "tp8" else 1
        shared_s = self._gemm_s(card.shared_experts * card.expert_parameters / slices, tokens, 1)
        return shared_s + around_experts_s(card, self._decode_memory, self._decode_experts, tokens, tokens)

    def _decode_dense_s(self, tokens: int) -> float:
        card, slices = self._card, GPUS_PER_NODE if self._decode_layout == "tp8" else 1
        return self._gemm_s(card.dense_parameters / slices, tokens, 1) + norms_s(card, self._decode_memory, tokens)

    def _gemm_s(self, parameters: float, tokens: int, bytes_per_parameter: int) -> float:
        read_s = parameters * bytes_per_parameter / (self._decode.weight_gbytes_per_s * 1e9)
        return max(read_s, 2.0 * parameters * tokens / (self._decode.linear_tflops * 1e12))


def roofline(card: ModelCard, device: Device, engine: EngineLayout) -> ComputeModel:
    """Build the compute model of one kind of node.

    Parameters
    ----------
    card, device : ModelCard, Device
        The model and the GPU.
    engine : EngineLayout
        Layouts, nodes over which the experts are spread, KV cache, balance of the experts.

    Raises
    ------
    InputError
        With every choice that is not offered.
    """
    check_engine(card, device, engine)
    return RooflineModel(card, device, engine)


def check_engine(card: ModelCard, device: Device, engine: EngineLayout) -> None:
    """Refuse choices that a compute model does not offer, all at once."""
    offered = (
        ("prefill_layout", engine.prefill_layout, get_args(PrefillLayout)),
        ("decode_layout", engine.decode_layout, get_args(DecodeLayout)),
        ("kv_dtype", engine.kv_dtype, get_args(KvDtype)),
        ("moe_balance", engine.moe_balance, tuple(device.experts["fused"].balance)),
    )
    faults = [
        Fault(key, repr(value), "one of " + ", ".join(choices)) for key, value, choices in offered if value not in choices
    ]
    for key, nodes in (("prefill_ep_nodes", engine.prefill_ep_nodes), ("decode_ep_nodes", engine.decode_ep_nodes)):
        if not 1 <= nodes <= MAX_EP_NODES:
            faults.append(Fault(key, str(nodes), f"1 .. {MAX_EP_NODES}"))
    if engine.decode_ep_nodes > 1 and engine.decode_layout != "dp8":
        faults.append(Fault("decode_ep_nodes", str(engine.decode_ep_nodes), f"1 with decode_layout = {engine.decode_layout}"))
    if card.heads % GPUS_PER_NODE:
        faults.append(Fault(f"{card.name}: heads", str(card.heads), f"a multiple of {GPUS_PER_NODE}"))
    if faults:
        raise InputError(faults)


def table_dtype(engine: EngineLayout) -> str:
    """Return the KV dtype whose measurements hold."""
    return "fp8" if engine.kv_dtype == "fp8" else "bf16"


def _heads(card: ModelCard, layout: str) -> int:
    return card.heads // GPUS_PER_NODE if layout == "tp8" else card.heads


def _stated(card: ModelCard, device: Device, engine: EngineLayout) -> dict[str, StatedError]:
    """Return the device's errors, found on models with indexers: of attention without one nothing was measured."""
    kv = table_dtype(engine)
    keys = {
        "prefill_attention": f"prefill_attention_{kv}",
        "decode_attention": f"decode_attention_{kv}",
        "prefill_moe": f"moe_{engine.prefill_experts}",
        "decode_moe": f"moe_{engine.decode_experts}",
    }
    if not card.index_heads:
        keys = {operation: key for operation, key in keys.items() if not operation.endswith("_attention")}
    return {operation: StatedError(**device.stated_error[key].model_dump()) for operation, key in keys.items()}


def _pieces(new_tokens: Pieces, prefix_tokens: Pieces) -> tuple[list[int], list[int]]:
    if not (_are_whole(new_tokens, 1) and _are_whole(prefix_tokens, 0) and len(new_tokens) == len(prefix_tokens)):
        # Arrays, or something is wrong.
        return _checked_pieces(new_tokens, prefix_tokens)
    return new_tokens, prefix_tokens


def _are_whole(numbers: Pieces, least: int) -> TypeGuard[list[int]]:
    """Return whether some numbers are a list of whole ones in range, at least one of them."""
    if type(numbers) is not list or not numbers:
        return False
    return all([type(number) is int and least <= number <= MAX_TOKENS for number in numbers])


def _checked_pieces(new_tokens: Pieces, prefix_tokens: Pieces) -> tuple[list[int], list[int]]:
    new, prefix = np.atleast_1d(np.asarray(new_tokens)), np.atleast_1d(np.asarray(prefix_tokens))
    if new.shape != prefix.shape or new.ndim != 1 or not new.size:
        shapes = f"shapes {new.shape} and {prefix.shape}"
        raise InputError(Fault("new_tokens, prefix_tokens", shapes, "two lists of one length, at least 1"))
    faults = []
    for key, array, least in (("new_tokens", new, 1), ("prefix_tokens", prefix, 0)):
        if array.dtype.kind not in "iu":
            faults.append(Fault(key, f"numbers of type {array.dtype}", "whole numbers"))
        elif array.min() < least or array.max() > MAX_TOKENS:
            faults.append(Fault(key, f"{array.min()} .. {array.max()}", f"{least} .. {MAX_TOKENS}"))
    if faults:
        raise InputError(faults)
    return new.tolist(), prefix.tolist()


def _contexts(context_tokens: IntArray, steps: int) -> IntArray:
    """Return contexts as the kernels take them; whether they are in range is for :func:`check_range`."""
    given = np.asarray(context_tokens)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu":
        found = f"shape {given.shape} of type {given.dtype}"
        raise InputError(Fault("context_tokens", found, "a list of whole numbers, at least 1"))
    if not 0 <= steps <= MAX_STEPS:
        raise InputError(Fault("steps", str(steps), f"0 .. {MAX_STEPS}"))
    if given.dtype != np.int64 or not given.flags.c_contiguous:
        check_range(given)
        given = np.ascontiguousarray(given, dtype=np.int64)
    return given


def check_range(context_tokens: IntArray) -> None:
    """Refuse contexts out of range."""
    if context_tokens.min() < 0 or context_tokens.max() > MAX_TOKENS:
        found = f"{context_tokens.min()} .. {context_tokens.max()}"
        raise InputError(Fault("context_tokens", found, f"0 .. {MAX_TOKENS}"))
