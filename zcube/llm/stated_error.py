"""Errors that a compute model states: by operation, against what was measured; what was not measured is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from zcube.arrays import FloatArray
from zcube.llm.cards import ModelCard
from zcube.llm.devices import DeclaredError, Device, Exchanges, NodeLinks
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kinds.efficiencies import Kind, is_measured, load_efficiencies, measured_as
from zcube.llm.kinds.of_model import table_dtype
from zcube.llm.scaled_device import SCALED


@dataclass(frozen=True, slots=True)
class StatedError:
    """Relative error ``|model / measured - 1|`` of one operation.

    Attributes
    ----------
    median, p90, mape : float
        Median, 90th percentile and mean, as fractions.
    points : int
        Measured points; 0 where the device itself was not measured.
    against : str
        The measurements, and the part of them that was used.
    """

    median: float
    p90: float
    mape: float
    points: int
    against: str


def relative_error(model_s: FloatArray, measured_s: FloatArray, against: str) -> StatedError:
    """Return the distribution of ``|model / measured - 1|``."""
    error = np.abs(model_s / measured_s - 1.0)
    return StatedError(float(np.median(error)), float(np.quantile(error, 0.9)), float(error.mean()), int(error.size), against)


def measured_kinds(card: ModelCard) -> tuple[Kind, ...]:
    """Return the kinds of a model's layers with efficiencies; an indexer in every layer has the device's figures."""
    kinds: tuple[tuple[Kind, bool], ...] = (
        ("shared", bool(card.index_heads) and card.indexed_layers < card.layers),
        ("latent", card.attention == "latent" and not card.index_heads),
        ("grouped", card.attention == "grouped" and card.full_layers > 0),
        ("window", card.window_layers > 0),
        ("linear", card.linear_layers > 0),
    )
    return tuple(kind for kind, has in kinds if has)


def unmeasured(card: ModelCard, device: Device) -> list[str]:
    """Return the kinds of attention that nobody measured on a device, whose efficiencies are other devices'."""
    return [f"{kind} attention" for kind in measured_kinds(card) if not is_measured(device, kind)]


def measured_parts(device: Device) -> dict[str, dict[str, bool]]:
    """Return of attention, experts, collectives and exchanges which parts were measured on a device itself."""
    attention = {kind: is_measured(device, kind) for kind in get_args(Kind)}
    sources = {
        "experts": {kernel: figures.kernel for kernel, figures in device.experts.items()},
        "collectives": _sources(device.links),
        "exchanges": _sources(device.exchanges),
    }
    return {"attention": {"sparse": device.scaled_from is None, **attention}} | {
        what: {part: not source.startswith((SCALED, "inferred")) for part, source in parts.items()}
        for what, parts in sources.items()
    }


def _sources(lines: NodeLinks | Exchanges) -> dict[str, str]:
    return {part: one.source for part in type(lines).model_fields if (one := getattr(lines, part)) is not None}


def stated_errors(card: ModelCard, device: Device, engine: EngineLayout) -> dict[str, StatedError]:
    """Return the errors by operation: ``prefill_attention``, ``decode_attention``, ``prefill_moe``, ``decode_moe``.

    Of a model with several kinds of attention the attention is given by kind, such as ``decode_attention_window``.
    """
    kv, kinds = table_dtype(engine.kv_dtype), measured_kinds(card)
    several = len(kinds) + bool(card.index_heads) > 1
    found: dict[str, DeclaredError] = {}
    for phase in ("prefill", "decode"):
        own = device.stated_error[f"{phase}_attention_{kv}"]
        if card.index_heads:
            found[f"{phase}_attention{'_sparse' if several else ''}"] = own
        for kind in kinds:
            error = load_efficiencies(measured_as(device), kind).stated_error.get(f"{phase}_{kind}", own)
            if not is_measured(device, kind) and error.points:
                error = error.model_copy(update={"points": 0, "against": f"unmeasured: figures of others; {error.against}"})
            found[f"{phase}_attention{f'_{kind}' if several else ''}"] = error
    if card.moe_layers:
        found |= {
            "prefill_moe": device.stated_error[f"moe_{engine.prefill_experts}"],
            "decode_moe": device.stated_error[f"moe_{engine.decode_experts}"],
        }
    return {operation: StatedError(**error.model_dump()) for operation, error in found.items()}
