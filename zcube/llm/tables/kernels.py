"""Measured points of kinds of attention that the tables hold by kernel or block, as arrays; times in seconds.

The package's latencies are milliseconds in these tables, and microseconds in those of DeepEP's exchanges
(:mod:`zcube.llm.tables.links`); ``tests/contract/test_measured_kinds.py`` holds them against the data sheet's rates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from zcube.arrays import BoolArray, FloatArray
from zcube.llm.tables.read import LARGEST_DECODE_BATCH, Source, columns

_TABLE_DTYPE = {"fp8": "fp8", "bf16": "bfloat16"}


class _Points:
    """Arrays of one shape, by field."""

    def rows(self, keep: BoolArray) -> Self:
        """Return some of the points."""
        return type(self)(*(getattr(self, field.name)[keep] for field in fields(self)))  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.seconds)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class HeadPoints(_Points):
    """Kernels of grouped queries; arrays of shape (points,).

    ``tokens`` are the new tokens of a piece in prefill, the cached tokens of a request in decode; ``window`` 0: none;
    ``heads`` and ``kv_heads`` lie on the GPU.
    """

    batch: FloatArray
    tokens: FloatArray
    heads: FloatArray
    kv_heads: FloatArray
    head_dim: FloatArray
    window: FloatArray
    seconds: FloatArray


@dataclass(frozen=True)
class BlockPoints(_Points):
    """Blocks of dense latent attention; as :class:`HeadPoints`."""

    batch: FloatArray
    tokens: FloatArray
    heads: FloatArray
    seconds: FloatArray


@dataclass(frozen=True)
class StatePoints(_Points):
    """Kernels of the gated delta rule with the convolution before; ``tokens`` 1 in decode."""

    batch: FloatArray
    tokens: FloatArray
    key_heads: FloatArray
    value_heads: FloatArray
    key_dim: FloatArray
    value_dim: FloatArray
    seconds: FloatArray


@dataclass(frozen=True)
class GemmPoints(_Points):
    """Dense products of fp8 weights [inputs, outputs] for some tokens."""

    tokens: FloatArray
    outputs: FloatArray
    inputs: FloatArray
    seconds: FloatArray


def read_heads(source: Source, phase: str, device: str, kv: str) -> HeadPoints:
    """Read kernels of grouped queries.

    Parameters
    ----------
    source, device
        As :func:`zcube.llm.tables.read.read_attention`.
    phase : {"context", "generation"}
        Prefill without cached tokens, or decode with batches up to 256.
    kv : {"fp8", "bf16"}
        KV dtype; fp8 prefill computes in fp8, decode in bf16.

    Where several kernels were measured side by side, as on B200, those of a size of head and window are the kernel's with most
    points.

    Raises
    ------
    InputError
        If the table is missing, too large or lacks a column or any usable point.
    """
    at = "isl" if phase == "context" else "step"
    names = ("batch_size", at, "num_heads", "num_key_value_heads", "head_dim", "window_size", "latency")
    rows: dict[str, str | int] = {"kv_cache_dtype": _TABLE_DTYPE[kv]}
    if phase == "context":
        rows["attn_dtype"] = _TABLE_DTYPE[kv]
    frame, path = source.frame(f"{phase}_attention", device, (*names, "kernel_source"), rows)
    frame = _of_usual_kernel(frame)
    if phase == "generation":
        frame = frame[frame["batch_size"] <= LARGEST_DECODE_BATCH]
    batch, tokens, heads, kv_heads, head_dim, window, latency_ms = columns(frame, names, path)
    return HeadPoints(batch, tokens, heads, kv_heads, head_dim, window, latency_ms * 1e-3)


def _of_usual_kernel(frame: Any) -> Any:
    """Return the rows of the kernel that was measured most, for each size of head and window."""
    sizes = ["head_dim", "window_size"]
    counts = frame.groupby([*sizes, "kernel_source"], as_index=False).size().sort_values(["size", "kernel_source"])
    return frame.merge(counts.drop_duplicates(sizes, keep="last")[[*sizes, "kernel_source"]], on=[*sizes, "kernel_source"])


def read_blocks(source: Source, phase: str, device: str) -> BlockPoints:
    """Read DeepSeek-V3's blocks, fp8 weights and fp8 KV; of kernels measured side by side the fastest.

    Parameters and errors as :func:`read_heads`.
    """
    names = ("batch_size", "isl", "num_heads", "latency")
    rows: dict[str, str | int] = {"model": "deepseek-ai/DeepSeek-V3", "kv_cache_dtype": "fp8", "gemm_type": "fp8_block"}
    frame, path = source.frame(f"latent_{phase}", device, names, rows)
    frame = frame.groupby(["batch_size", "isl", "num_heads"], as_index=False)["latency"].min()
    if phase == "generation":
        frame = frame[frame["batch_size"] <= LARGEST_DECODE_BATCH]
    batch, tokens, heads, latency_ms = columns(frame, names, path)
    return BlockPoints(batch, tokens, heads, latency_ms * 1e-3)


def read_states(source: Source, phase: str, device: str) -> StatePoints:
    """Read the gated delta rule's kernels, summed over the convolution and the rule; as :func:`read_heads`."""
    keys = ["batch_size", "seq_len", "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim"]
    frame, path = source.frame("linear", device, (*keys, "kernel_source", "latency"), {"phase": phase})
    # Several models share a shape: the least of each kernel, which other work on the GPU only raises, then the sum of the two.
    frame = frame.groupby([*keys, "kernel_source"], as_index=False)["latency"].min()
    kernels = frame.groupby(keys)["latency"].transform("size") == frame["kernel_source"].nunique()
    frame = frame[kernels].groupby(keys, as_index=False)["latency"].sum()
    if phase == "generation":
        frame = frame[frame["batch_size"] <= LARGEST_DECODE_BATCH]
    batch, tokens, key_heads, value_heads, key_dim, value_dim, latency_ms = columns(frame, (*keys, "latency"), path)
    return StatePoints(batch, tokens, key_heads, value_heads, key_dim, value_dim, latency_ms * 1e-3)


def read_gemms(source: Source, device: str) -> GemmPoints:
    """Read dense products of weights in blocks of fp8; as :func:`read_heads`."""
    names = ("m", "n", "k", "latency")
    frame, path = source.frame("gemm", device, names, {"gemm_dtype": "fp8_block"})
    tokens, outputs, inputs, latency_ms = columns(frame, names, path)
    return GemmPoints(tokens, outputs, inputs, latency_ms * 1e-3)


def halves(points: Any) -> tuple[BoolArray, BoolArray]:
    """Return which points a fit is given and which it is held against: every second, in the order of their coordinates."""
    coordinates = [getattr(points, field.name) for field in fields(points)][:-1]
    fitted = np.zeros(len(coordinates[0]), dtype=bool)
    fitted[np.lexsort(coordinates)[::2]] = True
    return fitted, ~fitted
