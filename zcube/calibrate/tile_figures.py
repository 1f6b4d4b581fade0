"""Measured tile parts as figures: of TileRT's node, and of an engine that launches kernels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zcube.calibrate.tile_choices import KERNELS, PUTS, STAGES, TileChoices
from zcube.calibrate.tile_parts import Part, TileParts
from zcube.calibrate.tile_times import gpu_kinds
from zcube.llm.decode_node.figures import DecodeNode, NodeFigures
from zcube.llm.devices import Device, device_names, load_device
from zcube.node import GPUS_PER_NODE

#: Words behind a device's name that leave it the SXM module of the data sheet: memory and socket.
_SAME_MODULE = re.compile(r"[0-9]+gb|hbm[0-9]e?|sxm[0-9]?", re.ASCII)
#: What is taken for a part of zero, as the low end of a line through scattered times may be: a picosecond, or a millionth of
#: a peak.
LEAST = 1e-6
#: As documented. Not beside the class, which every scenario names: making a class's first value takes milliseconds.
DEFAULT = TileChoices()
#: What a conventional engine's decode takes.
CONVENTIONAL = ("memory.base_us", "links.decode_all_reduce")


@dataclass(frozen=True, slots=True)
class Taken:
    """A figure as measured: in its own unit, with the interval of its part, and what it takes the place of."""

    figure: str
    value: float
    low: float
    high: float
    instead_of: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures that were measured, and why others keep their defaults, by name."""

    taken: tuple[Taken, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """The measured figures by name."""
        return {one.figure: one.value for one in self.taken}

    def document(self) -> dict[str, Any]:
        """Return what is said of them, JSON-ready."""
        names = ("figure", "value", "low", "high", "instead_of", "source")
        return {"applied": [{name: getattr(one, name) for name in names} for one in self.taken], "kept": dict(self.kept)}


def measured_device(parts: TileParts) -> str | None:
    """Return the bundled device that was measured, by the model in the hardware's name; None where there is none of it.

    Of ``NVIDIA H200`` or ``NVIDIA H100 80GB HBM3``, ``h200`` and ``h100``; ``H200 NVL`` and ``H100 PCIe`` are other devices.
    """
    kinds = gpu_kinds(parts.hardware)
    if len(kinds) != 1:
        return None
    name, *rest = next(iter(kinds)).lower().removeprefix("nvidia ").replace("-", " ").split() or [""]
    same = name in device_names() and all(_SAME_MODULE.fullmatch(word) for word in rest)
    return name if same else None


def node_figures(
    node: DecodeNode, parts: TileParts, choices: TileChoices = DEFAULT, given: NodeFigures | None = None
) -> Figures:
    """Return a node's figures as measured.

    ``signal_us`` is what a put takes beyond its bytes, ``stage_us`` and ``kernel_us`` what a dependent stage takes beyond its
    weights as a part of a running kernel and as a kernel of a chain, ``select_us`` the exact top-k beyond its stage,
    ``all_reduce_us`` an all-reduce in a running kernel beyond its bytes. ``memory_share`` and ``index_share`` are measured
    rates over the peaks of the device that was measured, so that they carry over to other GPUs.

    Parameters
    ----------
    node : DecodeNode
        With the figures of its file.
    parts : TileParts
        What was measured.
    choices : TileChoices
        Which ways are taken.
    given : NodeFigures, optional
        Figures that were asked for, which go before.
    """
    device = measured_device(parts)
    peak = None if device is None else load_device(device).peak
    memory_peak = choices.peak_memory_gbytes_per_s or (None if peak is None else peak.memory_gbytes_per_s)
    index_peak = choices.peak_bf16_tflops or (None if peak is None else peak.bf16_tflops)
    gpu = "; ".join(sorted(gpu_kinds(parts.hardware)))
    found: dict[str, tuple[Part | None, str]] = {
        "signal_us": (getattr(parts, PUTS[choices.put]), "no put was measured"),
        "all_reduce_us": (_all_reduce(parts, "persistent_us", choices.growth), _why_no_all_reduce(choices.growth)),
        "stage_us": (getattr(parts, STAGES[choices.stage]), "no stage was measured"),
        "kernel_us": (getattr(parts, KERNELS[choices.launch][0]), "no kernel of a chain was measured"),
        "select_us": (parts.select_us, "no selection was measured"),
        "memory_share": _share(parts.memory_gbytes_per_s, memory_peak, "tiles.peak_memory_gbytes_per_s", gpu),
        "index_share": _share(parts.index_tflops, index_peak, "tiles.peak_bf16_tflops", gpu),
        "overlap": (None, "not measured"),
        "id_flag_factor": (None, "not measured"),
    }
    asked = {} if given is None else given.given
    taken = tuple(
        _taken(name, part, getattr(node, name)) for name, (part, _) in found.items() if part is not None and name not in asked
    )
    kept = {name: why for name, (part, why) in found.items() if part is None and name not in asked}
    return Figures(taken, kept | dict.fromkeys(asked, "asked for by the scenario"))


def conventional_figures(device: Device, parts: TileParts, choices: TileChoices = DEFAULT) -> Figures:
    """Return what the decode of an engine that launches kernels takes: a kernel's start, and its all-reduce's.

    Attention and experts are measured tables, launches included, and stay.
    """
    kernel_name, reduce_name = KERNELS[choices.launch]
    kernel: Part | None = getattr(parts, kernel_name)
    growth = choices.growth if choices.conventional_all_reduce == "extrapolated" else "none"
    reduced = None if reduce_name is None else _all_reduce(parts, reduce_name, growth)
    line = device.links.decode_all_reduce
    found = (
        (CONVENTIONAL[0], kernel, device.memory.base_us, "no kernel of a chain was measured"),
        (CONVENTIONAL[1], reduced, line.base_us, _why_no_all_reduce(growth)),
    )
    return Figures(
        tuple(_taken(name, one, was) for name, one, was, _ in found if one is not None),
        {name: why for name, one, _, why in found if one is None},
    )


def drawn_parts(parts: TileParts, generator: np.random.Generator) -> TileParts:
    """Return the parts with each anywhere within its interval, evenly, apart from the others."""

    def anywhere(part: Part) -> Part:
        return part.model_copy(update={"value": float(generator.uniform(part.low, part.high))})

    drawn = {name: anywhere(part) for name in TileParts.model_fields if isinstance(part := getattr(parts, name), Part)}
    reduced = tuple(
        times.model_copy(
            update={name: anywhere(part) for name in type(times).model_fields if isinstance(part := getattr(times, name), Part)}
        )
        for times in parts.all_reduces
    )
    return parts.model_copy(update={**drawn, "all_reduces": reduced})


def _taken(figure: str, part: Part, instead_of: float | None) -> Taken:
    value, low, high = (max(end, LEAST) for end in (part.value, part.low, part.high))
    return Taken(figure, value, low, high, instead_of, part.source)


def _share(part: Part | None, peak: float | None, key: str, gpu: str) -> tuple[Part | None, str]:
    if part is None or not peak:
        return None, "its rate was not measured" if part is None else f"the peak of {gpu} is not known ({key})"
    share = {name: min(getattr(part, name) / peak, 1.0) for name in ("value", "low", "high")}
    return part.model_copy(update={**share, "source": f"{part.source}, over {peak:g}"[:500]}), ""


def _why_no_all_reduce(growth: str) -> str:
    expected = "" if growth == "none" else ", nor among two smaller numbers of GPUs"
    return f"no all-reduce was measured among {GPUS_PER_NODE}{expected}"


def _all_reduce(parts: TileParts, kind: str, growth: str) -> Part | None:
    """Return an all-reduce among a node's GPUs beyond its bytes: of the smallest size that all numbers of GPUs have."""
    by_gpus: dict[int, dict[int, Part]] = {}
    for times in parts.all_reduces:
        if (part := getattr(times, kind)) is not None:
            by_gpus.setdefault(times.gpus, {})[times.size_bytes] = part
    if GPUS_PER_NODE in by_gpus:
        size = min(by_gpus[GPUS_PER_NODE])
        return _beyond_bytes(by_gpus[GPUS_PER_NODE][size], GPUS_PER_NODE, size, parts)
    if growth == "none" or len(by_gpus) < 2:
        return None
    fewer, more = min(by_gpus), max(by_gpus)
    sizes = by_gpus[fewer].keys() & by_gpus[more].keys()
    if not sizes:
        return None
    size = min(sizes)
    first, last = (_beyond_bytes(by_gpus[gpus][size], gpus, size, parts) for gpus in (fewer, more))
    steps = [float(gpus - 1) if growth == "peers" else math.log2(gpus) for gpus in (fewer, more, GPUS_PER_NODE)]
    ahead = (steps[2] - steps[1]) / (steps[1] - steps[0])

    def reached(end: float, start: float) -> float:
        return end + ahead * max(end - start, 0.0)

    source = f"{last.source}: {size} B among {fewer} and {more}, as many further {growth} to {GPUS_PER_NODE}"
    value = reached(last.value, first.value)
    low, high = reached(last.low, first.high), reached(last.high, first.low)
    return Part(value=value, low=min(low, value), high=max(high, value), source=source[:500])


def _beyond_bytes(part: Part, gpus: int, size_bytes: int, parts: TileParts) -> Part:
    """Return an all-reduce's time less that of its bytes at the rate of NVLink in the data sheet, where that is known."""
    device = measured_device(parts)
    if device is None:
        return part
    moved_us = (gpus - 1) * size_bytes / load_device(device).peak.nvlink_gbytes_per_s * 1e-3
    less = {name: max(getattr(part, name) - moved_us, 0.0) for name in ("value", "low", "high")}
    return part.model_copy(update=less)
