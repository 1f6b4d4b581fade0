"""Efficiencies of attention kernels: what share of a data sheet's rates they reach, by device and kind.

A file a device, ``zcube/llm/efficiencies/NAME.toml``, fitted by ``benchmarks/fit_attention.py`` to every second point of
NVIDIA aiconfigurator's tables; its ``stated_error`` is over the other points. Which file a device takes follows from what its
card says of the GPU, not from its name. A device that no file is of, or a kind without a table there, takes ``default.toml``,
one set fitted to all measured devices together; its errors are the wide ones between devices.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from zcube.inputs import Declared, read_toml, validate
from zcube.llm.devices import (
    DeclaredError,
    DecodeAttention,
    Device,
    NotNegative,
    Peaks,
    Positive,
    PrefillAttention,
    load_device,
)

_FOLDER = Path(__file__).resolve().parents[1] / "efficiencies"
#: File of devices that were not measured.
DEFAULT = "default"

#: Kinds with efficiencies; sparse attention with an indexer in every layer has figures in the device's own file.
Kind: TypeAlias = Literal["shared", "latent", "grouped", "window", "linear"]

Share = Annotated[float, Field(gt=0, le=2)]


class GemmEfficiency(Declared):
    """A dense product of fp8 weights.

    Attributes
    ----------
    base_us : float
        Fixed time of a kernel.
    peak_share, memory_share : float
        Of the fp8 peak, and of the memory's rate for weights.
    """

    base_us: NotNegative
    peak_share: Share
    memory_share: Share


class ScoreEfficiency(Declared):
    """Attention over keys and values in prefill; see :mod:`zcube.llm.kinds.grouped`.

    Attributes
    ----------
    base_us : float
        Fixed time.
    tile_tokens : float
        Tokens of a tile of queries; the tile on the diagonal is computed whole.
    row_units : float
        Tiles that run side by side: one tile's row of keys takes this many times its share of the GPU.
    peak_share : float
        Of the peak of the keys' type (bf16, or fp8).
    memory_share : float
        Of the memory's rate, for queries and results.
    """

    base_us: NotNegative
    tile_tokens: Positive
    row_units: Positive
    peak_share: Share
    memory_share: Share


class StepEfficiency(Declared):
    """Attention over keys and values in one decode step; see :mod:`zcube.llm.kinds.grouped`.

    Attributes
    ----------
    base_us : float
        Fixed time.
    request_us : float
        Of a request and head of keys and values.
    memory_share : float
        Of the memory's rate, for keys and values.
    longest_us_per_ktoken : float
        Per 1,024 tokens of the longest context.
    """

    base_us: NotNegative
    request_us: NotNegative
    memory_share: Share
    longest_us_per_ktoken: NotNegative


class GroupedEfficiency(Declared):
    """Kernels of grouped queries with one size of head.

    Attributes
    ----------
    prefill : ScoreEfficiency
        In prefill.
    decode : StepEfficiency
        In a decode step.
    """

    prefill: ScoreEfficiency
    decode: StepEfficiency


class LatentPrefill(Declared):
    """A whole block of dense latent attention in prefill.

    Attributes
    ----------
    floor_us, base_us : float
        Least time, set by the host that launches the kernels, and fixed time on the GPU.
    linear_share, attention_share : float
        Of the fp8 peak, for the projections, and of the bf16 peak, for attention.
    """

    floor_us: NotNegative
    base_us: NotNegative
    linear_share: Share
    attention_share: Share


class LatentStep(Declared):
    """A whole block of dense latent attention in one decode step.

    Attributes
    ----------
    base_us : float
        Fixed time.
    weight_share, linear_share : float
        Of the memory's rate and of the fp8 peak, for the projections.
    request_us : float
        Of a request.
    memory_share, attention_share : float
        Of the memory's rate and of the bf16 peak, for the latents of every cached token; the two add up.
    longest_us_per_ktoken : float
        Per 1,024 tokens of the longest context.
    """

    base_us: NotNegative
    weight_share: Share
    linear_share: Share
    request_us: NotNegative
    memory_share: Share
    attention_share: Share
    longest_us_per_ktoken: NotNegative


class LatentEfficiency(Declared):
    """Blocks of dense latent attention.

    Attributes
    ----------
    prefill : LatentPrefill
        In prefill.
    decode : LatentStep
        In a decode step.
    """

    prefill: LatentPrefill
    decode: LatentStep


class LinearEfficiency(Declared):
    """Kernels of the gated delta rule with their convolution; see :mod:`zcube.llm.kinds.linear`.

    Attributes
    ----------
    base_us : float
        Fixed time in prefill.
    chunk_us : float
        Of a chunk of 64 tokens, one after the other in a sequence.
    peak_share : float
        Of the bf16 peak.
    memory_share : float
        Of the memory's rate, for what goes in and out.
    cache_mbytes : float
        Of what goes in and out, what stays in the cache, in MB.
    step_us : float
        Fixed time of a decode step.
    state_share : float
        Of the memory's rate, for states read and written.
    """

    base_us: NotNegative
    chunk_us: NotNegative
    peak_share: Share
    memory_share: Share
    cache_mbytes: NotNegative
    step_us: NotNegative
    state_share: Share


class SharedIndex(Declared):
    """Blocks of sparse attention without an indexer.

    Attributes
    ----------
    prefill : PrefillAttention
        As a device's own figures; those of indexer and gather do not count.
    decode : DecodeAttention
        Likewise.
    """

    prefill: PrefillAttention
    decode: DecodeAttention


class Efficiencies(Declared):
    """What the kernels of one device reach.

    Attributes
    ----------
    source : str
        What they were fitted to.
    gemm : GemmEfficiency
        Projections of kinds that were measured by their kernels alone.
    grouped, window : dict
        By KV type (``fp8``, ``bf16``) and size of a head.
    shared : dict
        By KV type, layers that take an earlier layer's choice.
    latent : LatentEfficiency or None
        Dense latent attention; None: not measured.
    linear : LinearEfficiency or None
        Linear layers; None: not measured.
    stated_error : dict
        By phase and kind, such as ``decode_window``, ``prefill_grouped``.
    """

    source: str
    gemm: GemmEfficiency
    grouped: dict[str, dict[int, GroupedEfficiency]] = Field(default_factory=dict)
    window: dict[str, dict[int, GroupedEfficiency]] = Field(default_factory=dict)
    shared: dict[str, SharedIndex] = Field(default_factory=dict)
    latent: LatentEfficiency | None = None
    linear: LinearEfficiency | None = None
    stated_error: dict[str, DeclaredError]

    def has(self, kind: Kind) -> bool:
        """Return whether a kind was measured."""
        return bool(getattr(self, kind))

    def of_heads(self, kind: Literal["grouped", "window"], kv: str, head_dim: int) -> GroupedEfficiency:
        """Return the kernels of the measured size of head that is nearest."""
        sizes = getattr(self, kind)[kv]
        chosen: GroupedEfficiency = sizes[min(sizes, key=lambda size: abs(size - head_dim))]
        return chosen


@lru_cache(maxsize=64)
def load_efficiencies(device: str, kind: Kind | None = None) -> Efficiencies:
    """Return a device's efficiencies, or the default ones where the device, or this kind on it, was not measured."""
    path = _FOLDER / f"{device}.toml"
    if device in measured_devices():
        found = validate(Efficiencies, read_toml(path), path.name)
        if kind is None or found.has(kind):
            return found
    path = _FOLDER / f"{DEFAULT}.toml"
    return validate(Efficiencies, read_toml(path), path.name)


def measured_devices() -> list[str]:
    """Return the devices with a file, sorted."""
    return sorted({path.stem for path in _FOLDER.glob("*.toml")} - {DEFAULT})


def measured_as(device: Device) -> str:
    """Return the device with a file that has a device's GPU: of its name, else the only one; else :data:`DEFAULT`.

    The links among GPUs may differ: H800 has H100's GPU.
    """
    same = [name for name in measured_devices() if device.peak.is_gpu_of(_peak(name))]
    return device.name if device.name in same else same[0] if len(same) == 1 else DEFAULT


@cache
def _peak(name: str) -> Peaks:
    return load_device(name).peak


def is_measured(device: Device, kind: Kind) -> bool:
    """Return whether a kind was measured on a device's GPU."""
    return measured_as(device) != DEFAULT and load_efficiencies(measured_as(device)).has(kind)
