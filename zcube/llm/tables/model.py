"""The compute model that interpolates measured tables: the roofline, scaled everywhere by ``measured / roofline``.

Attention, routed experts and NVLink collectives follow the tables; shared experts, dense feed-forward, norms, router and the
output head stay on the roofline. The experts' benchmark moves every token of the group through a GPU; the ratio found there
scales the roofline of the tokens that reach the GPU. Experts behind DeepEP were measured in DeepSeek-V3's sizes only; other
sizes take the same ratio to their own roofline.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.compute import RooflineModel, check_engine
from zcube.llm.devices import Device, ExpertKernel
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.feed_forward import FeedForward
from zcube.llm.tables.grid import RatioGrid
from zcube.llm.tables.grids import covered_experts, expert_ratios
from zcube.llm.tables.held_out import held_out_expert_error
from zcube.llm.tables.kinds import measured_phase
from zcube.llm.tables.links import measured_links
from zcube.llm.tables.read import BALANCES, GLM_5, read_kernel, table_model
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
        device = device.model_copy(update={"links": measured_links(card, device.links, source, device.name)})
        super().__init__(card, device, engine)
        self._prefill_kinds, found, covers = measured_phase("prefill", self._prefill_kinds, card, device, engine, source)
        self._decode_kinds, more, covers_more = measured_phase("decode", self._decode_kinds, card, device, engine, source)
        kernels = {"prefill_moe": engine.prefill_experts, "decode_moe": engine.decode_experts} if card.moe_layers else {}
        experts = {kernel: read_kernel(source, device.name, card, kernel) for kernel in sorted(set(kernels.values()))}
        ratios: dict[ExpertKernel, RatioGrid] = {}
        for kernel, table in experts.items():
            sliced = GPUS_PER_NODE if kernel == "fused" else 1
            grid = table and expert_ratios(device.experts[kernel], table, engine.moe_balance, sliced)
            if grid and (kernel != "fused" or _sliced(engine) == {GPUS_PER_NODE}):
                ratios[kernel] = grid
        for operation, kernel in kernels.items():
            table = experts[kernel] if kernel in ratios else None
            covers[operation] = covered_experts(table)
            if table is not None:
                found[operation] = held_out_expert_error(card, device, kernel, table)
        # What has no table keeps the roofline's error.
        self.stated_error = {**self.stated_error, **found, **more}
        self.range: Mapping[str, str] = {**covers, **covers_more}
        self._feed_forward = FeedForward(card, device, engine, ratios)
        self.tables: Mapping[str, str] = {"source": source.label, **source.read}
        self.name += f", interpolated in {source.describe()}"


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
    if isinstance(source, CsvSource) and (not card.index_heads or table_model(card) != GLM_5):
        raise InputError(Fault(f"model card {card.name}", "CSV tables, which hold GLM-5 only", "the package's tables"))
    return MeasuredModel(card, device, source, engine)


def _sliced(engine: EngineLayout) -> set[int]:
    """Return over how many GPUs the fused kernel's experts are sliced: tables of it are of eight."""
    phases = (
        (engine.prefill_experts, engine.prefill_stage_gpus),
        (engine.decode_experts, engine.decode_stage_gpus),
    )
    return {gpus for kernel, gpus in phases if kernel == "fused"}
