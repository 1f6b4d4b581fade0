"""Compute time of a node, or of a stage of one: a fitted roofline with its stated error.

The sum over the layers of attention block (by kind: :mod:`zcube.llm.kinds`), experts or dense feed-forward, norms, router and
NVLink collectives, without overlap. Left out: exchanges of experts over nodes, with what of them stays inside
(:mod:`zcube.llm.exchanges`), scheduler, sampling and detokenisation, the multi-token-prediction layer. The stated errors are
per layer and operation; no whole iteration was measured. Sparse attention and fused experts were fitted to GLM-5, experts
behind DeepEP to DeepSeek-V3, the only model whose were measured; another model takes the same device figures with its own
sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from typing import Any, Protocol, Self, get_args

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute_inputs import (
    MAX_EP_NODES,
    MAX_QUERY_TOKENS,
    Pieces,
    check_range,
    checked_contexts,
    checked_pieces,
    is_piece,
)
from zcube.llm.decode_steps import row_of, steps_of_layers
from zcube.llm.devices import Device, Exchanges, Line
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.expert_placement import check_copies
from zcube.llm.feed_forward import FeedForward
from zcube.llm.kinds.layer import Roofline, mean_piece_s, mean_s, mean_time
from zcube.llm.kinds.of_model import layer_kinds
from zcube.llm.kv import KvDtype
from zcube.llm.layer_times import BesideAttention, DecodeLayer, PrefillLayer
from zcube.llm.layout import layout_of
from zcube.llm.node_links import decode_layer_s, dispatches, prefill_layer_s
from zcube.llm.stated_error import StatedError, stated_errors, unmeasured

#: Numbers of tokens whose times beside attention are found together: a run's iterations have most of them sooner or later.
TOKENS_AT_ONCE = 256


class ComputeModel(Protocol):
    """How long a node computes.

    Attributes
    ----------
    name : str
        Model, device and layouts.
    device : Device
        The GPUs.
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
    def device(self) -> Device:
        """The GPUs."""

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
        prefill, decode = engine.told
        self.name = f"{card.name} on {device.name}, prefill {prefill}, decode {decode}"
        if missing := unmeasured(card, device):
            self.name += f", {', '.join(missing)} unmeasured"
        self._prefill_kinds = layer_kinds(card, device, engine.kv_dtype, engine.prefill_layout, engine.prefill_stage_gpus)
        self._decode_kinds = layer_kinds(card, device, engine.kv_dtype, engine.decode_layout, engine.decode_stage_gpus)
        self._feed_forward = FeedForward(card, device, engine)
        self.stated_error: Mapping[str, StatedError] = stated_errors(card, device, engine)
        self.calibrated: tuple[Mapping[str, Any], ...] = ()
        self._card, self._device = card, device
        self._prefill_layout, self._decode_layout = engine.prefill_layout, engine.decode_layout
        self._dispatches = dispatches(engine.prefill_layout, engine.prefill_ep_nodes, engine.prefill_stage_gpus)
        self._ep_nodes, self._decode_nodes = engine.prefill_ep_nodes, engine.decode_ep_nodes
        self._prefill_gpus, self._decode_gpus = engine.prefill_stage_gpus, engine.decode_stage_gpus
        self._decode_dp = engine.decode_sizes.dp
        self._decode_ranks = self._decode_dp * engine.decode_ep_nodes
        self.exchanges: Exchanges | None = device.exchanges if engine.exchanges == "deepep" else None
        self._keep_what_recurs()

    def _keep_what_recurs(self) -> None:
        # Full chunks, whole blocks before them, and batch sizes from step to step recur; what depends only on them is worth
        # keeping.
        self._one_piece_s = lru_cache(maxsize=1 << 14, typed=True)(self._one_piece)
        self._by_tokens = lru_cache(maxsize=1 << 14)(lambda tokens: self._prefill_by_tokens(float(tokens)))
        self._at_once = lru_cache(maxsize=1 << 10)(self._beside_at_once_s)
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
            model._feed_forward = self._feed_forward.with_decode_kernel(kernel_us)
        if all_reduce_us is not None:
            links = self._device.links
            line = links.decode_all_reduce.model_copy(update={"base_us": all_reduce_us})
            links = links.model_copy(update={"decode_all_reduce": line})
            model._device = self._device.model_copy(update={"links": links})
        return model

    def prefill_links_s(self, new_tokens: int) -> float:
        """Return the time of the collectives of an iteration of a node, all layers."""
        beside = self._by_tokens(new_tokens)
        return self._card.moe_layers * beside.moe_links_s + self._card.first_dense_layers * beside.dense_links_s

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
        if not is_piece(new_tokens, prefix_tokens):
            return self._iteration_s([new_tokens], [prefix_tokens])
        moe_s, dense_s = self._beside_s(new_tokens)
        return float(self._card.layers * mean_piece_s(self._prefill_kinds, new_tokens, prefix_tokens) + moe_s + dense_s)

    def _iteration_s(self, new_tokens: Pieces, prefix_tokens: Pieces) -> float:
        new, prefix = checked_pieces(new_tokens, prefix_tokens)
        moe_s, dense_s = self._beside_s(sum(new))
        attention_s = mean_time(self._prefill_kinds, new, prefix).total_s
        return float(self._card.layers * attention_s + moe_s + dense_s)

    def prefill_layer(self, new_tokens: Pieces, prefix_tokens: Pieces) -> PrefillLayer:
        """Return one layer of an iteration, attention's mean over the layers; else as :meth:`prefill_iteration_s`."""
        new, prefix = checked_pieces(new_tokens, prefix_tokens)
        beside = self._by_tokens(sum(new))
        attention = mean_time(self._prefill_kinds, new, prefix)
        return PrefillLayer(*attention, beside.experts_s, beside.shared_s, beside.dense_s)

    def decode_steps_s(self, context_tokens: IntArray, steps: int) -> FloatArray:
        """Return the durations of the next ``steps`` decode steps; every context grows by one per step.

        Under dp8 request i sits on GPU ``i % ranks`` of the instance; the GPUs run in lockstep and the slowest sets the pace.

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
        contexts = checked_contexts(context_tokens, steps)
        if steps == 0:
            check_range(contexts)
            return np.empty(0)
        fixed_s, rest_s, rows = self._fixed_s(len(contexts))
        ranks, seconds = min(self._decode_ranks, len(contexts)), np.empty(steps)
        if rows is not None:
            steps_of_layers(rows, rest_s, contexts, ranks, seconds)
            if seconds[0] < 0.0:
                check_range(contexts)
            return seconds
        seconds.fill(0.0)
        for kind, of_kind_s in zip(self._decode_kinds, fixed_s, strict=True):
            layer_s = kind.steps_s(contexts, of_kind_s, ranks, steps)
            if layer_s[0] < 0.0:
                check_range(contexts)
            layer_s *= kind.layers
            seconds += layer_s
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
        given = checked_contexts(context_tokens, 1)
        check_range(given)
        contexts = given.tolist()
        wanted = (("query_tokens", query_tokens, MAX_QUERY_TOKENS), ("ep_nodes", ep_nodes, MAX_EP_NODES))
        faults = [Fault(key, str(value), f"1 .. {most}") for key, value, most in wanted if not 1 <= value <= most]
        if faults:
            raise InputError(faults)
        mine = contexts[:: self._decode_dp]
        everyone, queries, forward = len(contexts) * query_tokens, len(mine) * query_tokens, self._feed_forward
        return DecodeLayer(
            attention_s=mean_s(self._decode_kinds, [kind.step_s(mine, query_tokens) for kind in self._decode_kinds]),
            experts_s=forward.decode_experts_s(everyone, ep_nodes),
            shared_s=forward.decode_shared_s(queries),
            dense_s=forward.decode_dense_s(queries),
            head_s=forward.head_s(everyone),
        )

    def _beside_s(self, new_tokens: int) -> tuple[float, float]:
        """Return what all layers with experts take beside attention, and all without."""
        block, at = divmod(new_tokens, TOKENS_AT_ONCE)
        at_once = self._at_once(block)
        if at_once is not None:
            return at_once[at]
        beside = self._by_tokens(new_tokens)
        return beside.moe_layers_s, beside.dense_layers_s

    def _beside_at_once_s(self, block: int) -> list[tuple[float, float]] | None:
        """Return the same of each number of tokens of a block; None where they have to be asked for one by one."""
        if not (self._feed_forward.is_elementwise and self._device.links.are_straight):
            return None
        beside = self._prefill_by_tokens(np.arange(block * TOKENS_AT_ONCE, (block + 1) * TOKENS_AT_ONCE, dtype=np.float64))
        moe_s, dense_s = (np.broadcast_to(of_all, TOKENS_AT_ONCE) for of_all in (beside.moe_layers_s, beside.dense_layers_s))
        return list(zip(moe_s.tolist(), dense_s.tolist(), strict=True))

    def _prefill_by_tokens(self, tokens: Any) -> BesideAttention:
        """Return what an iteration takes beside attention, elementwise."""
        card = self._card
        experts_s, shared_s, dense_s = self._feed_forward.prefill_s(tokens)
        moe_links_s = self._prefill_links_s(tokens, True)
        dense_links_s = self._prefill_links_s(tokens, False) if self._dispatches else moe_links_s
        return BesideAttention(
            experts_s, shared_s, dense_s, moe_links_s, dense_links_s,
            card.moe_layers * (experts_s + shared_s + moe_links_s), card.first_dense_layers * (dense_s + dense_links_s),
        )  # fmt: skip

    def _prefill_links_s(self, tokens: Any, has_experts: bool) -> Any:
        links, layout, gpus = self._device.links, self._prefill_layout, self._prefill_gpus
        return prefill_layer_s(self._card, links, layout, tokens, self._ep_nodes, has_experts, gpus)

    def _decode_fixed_s(self, requests: int) -> tuple[tuple[tuple[float, float], ...], float, FloatArray | None]:
        """Return what depends only on the batch size: attention by kind, of a fuller and an emptier GPU, and the rest.

        Then the rows for :func:`~zcube.llm.decode_steps.steps_of_layers`; None where a kind is no line in the contexts.
        """
        card, links, forward, nodes = self._card, self._device.links, self._feed_forward, self._decode_nodes
        fullest = -(-requests // self._decode_ranks)
        attention = tuple((kind.fixed_s(fullest), kind.fixed_s(max(fullest - 1, 0))) for kind in self._decode_kinds)
        moe_s = forward.decode_experts_s(requests / nodes, nodes) + forward.decode_shared_s(fullest)
        if nodes == 1:
            moe_s += decode_layer_s(card, links, self._decode_layout, requests, fullest, True, self._decode_gpus)
        dense_s = forward.decode_dense_s(fullest)
        dense_s += decode_layer_s(card, links, self._decode_layout, requests, fullest, False, self._decode_gpus)
        head_s = forward.head_s(-(-requests // nodes))
        rows = None
        if all(isinstance(kind, Roofline) for kind in self._decode_kinds):
            of_kinds = zip(self._decode_kinds, attention, strict=True)
            rows = np.array([row_of(kind.rates, kind.attended_tokens, own_s, kind.layers) for kind, own_s in of_kinds]).ravel()
        return attention, float(card.moe_layers * moe_s + card.first_dense_layers * dense_s + head_s), rows


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
        ("kv_dtype", engine.kv_dtype, get_args(KvDtype)),
        ("moe_balance", engine.moe_balance, tuple(device.experts["fused"].balance)),
    )
    faults = [
        *_layout_faults(card, "prefill_layout", engine.prefill_layout, engine.prefill_stage_gpus),
        *_layout_faults(card, "decode_layout", engine.decode_layout, engine.decode_stage_gpus),
    ]
    if engine.decode_layout.startswith("cp"):
        faults.append(Fault("decode_layout", repr(engine.decode_layout), "tp or dp and a size"))
    faults += [
        Fault(key, repr(value), "one of " + ", ".join(choices)) for key, value, choices in offered if value not in choices
    ]
    for key, nodes in (("prefill_ep_nodes", engine.prefill_ep_nodes), ("decode_ep_nodes", engine.decode_ep_nodes)):
        if not 1 <= nodes <= MAX_EP_NODES:
            faults.append(Fault(key, str(nodes), f"1 .. {MAX_EP_NODES}"))
    if engine.decode_ep_nodes > 1 and not engine.decode_layout.startswith("dp"):
        faults.append(Fault("decode_ep_nodes", str(engine.decode_ep_nodes), f"1 with decode_layout = {engine.decode_layout}"))
    ranks = engine.prefill_stage_gpus * engine.prefill_ep_nodes, engine.decode_stage_gpus * engine.decode_ep_nodes
    kernels, copies = (
        (engine.prefill_experts, engine.decode_experts),
        (engine.prefill_redundant_experts, engine.decode_redundant_experts),
    )
    for phase, kernel, redundant, gpus in zip(("prefill", "decode"), kernels, copies, ranks, strict=True):
        if redundant is not None and kernel == "fused":
            faults.append(Fault(f"{phase}.redundant_experts", str(redundant), "none: every GPU holds a part of each expert"))
        elif redundant is not None:
            faults += check_copies(card, f"{phase}.redundant_experts", redundant, gpus)
    if engine.prefill_layout.startswith("cp") and card.linear_layers:
        expected = "tp or dp and a size with linear layers, whose states run through a sequence"
        faults.append(Fault("prefill_layout", repr(engine.prefill_layout), expected))
    if faults:
        raise InputError(faults)


def _layout_faults(card: ModelCard, key: str, layout: str, gpus: int) -> list[Fault]:
    """Return what is wrong with a layout, on so many GPUs and for a model's heads."""
    try:
        sizes = layout_of(layout, gpus)
    except ValueError as error:
        return [Fault(key, repr(layout), str(error))]
    if card.heads % sizes.tp:
        return [Fault(f"{card.name}: heads", str(card.heads), f"a multiple of {sizes.tp}, over which {key} slices them")]
    return []
