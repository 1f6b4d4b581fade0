"""The compute model that interpolates measured tables: the roofline, scaled everywhere by ``measured / roofline``.

Attention, routed experts and NVLink collectives follow the tables; shared experts, dense feed-forward, norms, router and the
output head stay on the roofline. The experts' benchmark moves every token of the group through a GPU; the ratio found there
scales the roofline of the tokens that reach the GPU. Experts behind DeepEP were measured in DeepSeek-V3's sizes only; other
sizes take the same ratio to their own roofline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute import Pieces, RooflineModel, _contexts, check_engine, check_range, table_dtype
from zcube.llm.decode_steps import attention_steps_s
from zcube.llm.devices import Device, ExpertKernel
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.layer_times import DecodeLayer, PrefillLayer
from zcube.llm.tables.grids import decode_ratios, described_ranges, equal_pieces, expert_ratios, prefill_ratios
from zcube.llm.tables.held_out import held_out_errors, held_out_expert_error
from zcube.llm.tables.links import measured_links
from zcube.llm.tables.read import (
    BALANCES,
    GLM_5,
    read_attention,
    read_kernel,
    table_model,
)
from zcube.llm.tables.source import CsvSource, PackageSource, open_source
from zcube.node import GPUS_PER_NODE


class MeasuredModel(RooflineModel):
    """The interpolating model; built by :func:`measured`.

    Attributes
    ----------
    name : str
        Model, device, layouts, and the tables, of a package with their versions.
    stated_error : mapping
        By operation, on points held out; see :mod:`zcube.llm.tables.held_out`.
    tables : mapping
        ``source`` and, for each table read, the version of what was measured (package) or a checksum (CSV).
    range : mapping
        By operation: what the tables cover and what holds beyond.
    """

    def __init__(
        self,
        card: ModelCard,
        device: Device,
        source: CsvSource | PackageSource,
        engine: EngineLayout,
    ):
        model, kv = table_model(card), table_dtype(engine)
        context = read_attention(source, "context", device.name, kv, model)
        generation = read_attention(source, "generation", device.name, kv, model)
        kernels = {"prefill_moe": engine.prefill_experts, "decode_moe": engine.decode_experts}
        experts = {kernel: read_kernel(source, device.name, card, kernel) for kernel in sorted(set(kernels.values()))}
        links = measured_links(card, device.links, source, device.name)
        device = device.model_copy(update={"links": links})
        super().__init__(card, device, engine)
        self.tables: Mapping[str, str] = {"source": source.label, **source.read}
        self.name += f", interpolated in {source.describe()}"
        # What has no table keeps the roofline's error.
        self.stated_error = {
            **self.stated_error,
            **held_out_errors(card, device, kv, context, generation),
            **{
                operation: held_out_expert_error(card, device, kernel, table)
                for operation, kernel in kernels.items()
                if (table := experts[kernel]) is not None
            },
        }
        tables = {operation: experts[kernel] for operation, kernel in kernels.items()}
        self.range: Mapping[str, str] = described_ranges(context, generation, tables)
        self._prefill_ratios = prefill_ratios(card, device, kv, context, self._prefill_heads)
        self._decode_ratios = decode_ratios(card, device, kv, generation, self._decode_heads)
        self._expert_ratios = {
            kernel: expert_ratios(device.experts[kernel], table, engine.moe_balance, GPUS_PER_NODE if kernel == "fused" else 1)
            for kernel, table in experts.items()
            if table is not None
        }

    def decode_steps_s(self, context_tokens: IntArray, steps: int) -> FloatArray:
        """Return the durations of the next ``steps`` decode steps, as :meth:`RooflineModel.decode_steps_s`.

        The ratio of a GPU is taken at the mean of its contexts.
        """
        contexts = _contexts(context_tokens, steps)
        check_range(contexts)
        if steps == 0:
            return np.empty(0)
        fixed_s, rest_s = self._fixed_s(len(contexts))
        ranks = min(self._decode_ranks, len(contexts))
        fuller = len(contexts) % ranks or ranks
        grown = np.arange(steps, dtype=np.float64)
        seconds = np.zeros(steps)
        for rank in range(ranks):
            own = np.ascontiguousarray(contexts[rank::ranks])
            base_s = fixed_s[0] if rank < fuller else fixed_s[1]
            gpu_s = attention_steps_s(self._rates, self._card.index_topk, own, (base_s, base_s), 1, steps)
            gpu_s *= self._decode_ratios.at(len(own), grown + int(own.sum()) / len(own))
            np.maximum(seconds, gpu_s, out=seconds)
        return seconds * self._card.layers + rest_s

    def prefill_layer(self, new_tokens: Pieces, prefix_tokens: Pieces) -> PrefillLayer:
        """Return one layer of an iteration; the parts of attention share its ratio."""
        layer = super().prefill_layer(new_tokens, prefix_tokens)
        new, prefix = np.atleast_1d(np.asarray(new_tokens)), np.atleast_1d(np.asarray(prefix_tokens))
        dense = bool(np.all(new + prefix <= self._card.index_topk))
        ratio = self._prefill_ratios.at(dense, *equal_pieces(self._prefill_layout, new, prefix))
        return replace(
            layer,
            attention_s=layer.attention_s * ratio,
            projection_s=layer.projection_s * ratio,
            indexer_s=layer.indexer_s * ratio,
        )

    def decode_layer(self, context_tokens: IntArray, *, query_tokens: int = 1, ep_nodes: int = 1) -> DecodeLayer:
        """Return one layer of one step; tokens verified at once count as requests, as in the roofline."""
        layer = super().decode_layer(context_tokens, query_tokens=query_tokens, ep_nodes=ep_nodes)
        contexts = np.asarray(context_tokens)
        own = contexts if self._decode_layout == "tp8" else contexts[::GPUS_PER_NODE]
        ratio = float(self._decode_ratios.at(len(own) * query_tokens, float(own.mean())))
        return replace(layer, attention_s=layer.attention_s * ratio)

    def _experts_s(self, kernel: ExpertKernel, node_tokens: float, ep_nodes: int) -> float:
        seconds = super()._experts_s(kernel, node_tokens, ep_nodes)
        if kernel not in self._expert_ratios:
            return seconds
        ranks = 1 if kernel == "fused" else GPUS_PER_NODE * ep_nodes
        return seconds * float(self._expert_ratios[kernel].at(ranks, node_tokens * ep_nodes))


def measured(card: ModelCard, device: Device, engine: EngineLayout, tables: Path | None = None) -> MeasuredModel:
    """Build the compute model of one kind of node from measured tables.

    Parameters
    ----------
    card, device, engine
        As :func:`zcube.llm.compute.roofline`; that roofline is what the tables scale.
    tables : Path, optional
        Folder of NVIDIA aiconfigurator's CSV extracts; without it the installed package ``aiconfigurator-core``.

    Raises
    ------
    InputError
        With every choice that is not offered; if the package is missing (naming the extra), or the tables lack this device
        or model.
    """
    check_engine(card, device, engine)
    if engine.moe_balance not in BALANCES:
        raise InputError(Fault("moe_balance", repr(engine.moe_balance), "a measured one: " + ", ".join(BALANCES)))
    source = open_source(tables)
    if isinstance(source, CsvSource) and table_model(card) != GLM_5:
        raise InputError(Fault(f"model card {card.name}", "CSV tables, which hold GLM-5 only", "the package's tables"))
    return MeasuredModel(card, device, source, engine)
