"""The measured tables as arrays of points, for one kind of GPU and one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zcube.arrays import BoolArray, FloatArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard, load_card
from zcube.llm.devices import ExpertKernel
from zcube.llm.tables.source import CsvSource, PackageSource
from zcube.node import GPUS_PER_NODE

Source: TypeAlias = CsvSource | PackageSource

#: Beyond this batch the tables were taken without CUDA graphs.
LARGEST_DECODE_BATCH = 256
#: Load distributions of the MoE tables.
BALANCES = ("balanced", "power_law_1.01", "power_law_1.2")
#: The card whose expert sizes aiconfigurator measured behind DeepEP.
DEEPEP_MODEL = "deepseek-v3.2"
#: Rows a token's expert is padded to by DeepGEMM. Of an even load that leaves an expert fewer, aiconfigurator's prefill
#: benchmark passes the rows unpadded, so that most experts are never read; those points are left out.
_PADDED_ROWS = 128
#: Ranks from which on DeepEP's experts are read; a B200 has 4 and 16, not 8.
_LEAST_DEEPEP_RANKS = 4
#: Bundled card -> the name under which the tables hold its attention. GLM-5 and GLM-5.1 have the same sizes,
#: and so have GLM-5.2's layers with an indexer.
MEASURED_MODELS = {"glm-5.1": "zai-org/GLM-5-FP8", "deepseek-v3.2": "deepseek-ai/DeepSeek-V3.2"}
GLM_5 = MEASURED_MODELS["glm-5.1"]
#: Bundled card -> the name under which the tables hold its layers that take an earlier layer's choice.
SHARED_MODELS = {"glm-5.2": "zai-org/GLM-5.2-FP8"}
_TABLE_DTYPE = {"fp8": "fp8", "bf16": "bfloat16"}
_ATTENTION_COLUMNS = ("model", "kv_cache_dtype", "num_heads", "batch_size", "isl", "step", "latency")
#: Types of the fused kernel's weights, the first that was measured in a model's sizes counts.
MOE_DTYPES = ("fp8_block", "fp8", "w4a16_mxfp4", "w4a8_mxfp4_mxfp8", "nvfp4", "bfloat16")
_MOE_COLUMNS = ("moe_dtype", "num_tokens", "moe_tp_size", "moe_ep_size", "distribution", "latency")
#: What may differ between two cards whose layers take the same time.
_NOT_TIMED = (
    "name", "description", "source", "layers", "index_layers", "first_dense_layers", "vocabulary", "mtp_layers",
    "max_positions", "config",
)  # fmt: skip


@dataclass(frozen=True)
class AttentionTable:
    """Measured attention blocks; arrays of shape (points,).

    Attributes
    ----------
    heads, batch, new_tokens, prefix_tokens : float array
        Heads on the GPU, equal pieces (or requests), new tokens and cached tokens of each.
    seconds : float array
        Measured time of one layer.
    """

    heads: FloatArray
    batch: FloatArray
    new_tokens: FloatArray
    prefix_tokens: FloatArray
    seconds: FloatArray

    def rows(self, keep: BoolArray) -> AttentionTable:
        """Return some of the points."""
        return AttentionTable(
            self.heads[keep], self.batch[keep], self.new_tokens[keep], self.prefix_tokens[keep], self.seconds[keep]
        )


@dataclass(frozen=True)
class ExpertTable:
    """Measured expert layers of one kernel; arrays of shape (points,).

    Attributes
    ----------
    card : ModelCard
        The model whose sizes were measured.
    tokens, moe_tp, moe_ep : float array
        Tokens of the expert-parallel group, slices of an expert, ranks of the group.
    balance : object array
        Name of the load distribution.
    seconds : float array
        Measured time of one layer.
    """

    card: ModelCard
    tokens: FloatArray
    moe_tp: FloatArray
    moe_ep: FloatArray
    balance: NDArray[np.object_]
    seconds: FloatArray

    def rows(self, keep: BoolArray) -> ExpertTable:
        """Return some of the points."""
        return ExpertTable(
            self.card, self.tokens[keep], self.moe_tp[keep], self.moe_ep[keep], self.balance[keep], self.seconds[keep]
        )


def table_model(card: ModelCard) -> str:
    """Return the name under which the tables hold a model with this card's layer sizes, of layers with an indexer.

    Raises
    ------
    InputError
        If no measured model has them.
    """
    return _named(card, MEASURED_MODELS)


def shared_model(card: ModelCard) -> str:
    """Return the same of the layers that take an earlier layer's choice, of a card ``without_indexer``."""
    return _named(card, SHARED_MODELS)


def _named(card: ModelCard, models: Mapping[str, str]) -> str:
    sizes = card.model_dump(exclude=set(_NOT_TIMED))
    for name, model in models.items():
        known = load_card(name)
        if (known if card.index_heads else known.without_indexer).model_dump(exclude=set(_NOT_TIMED)) == sizes:
            return model
    expected = "layer sizes of " + " or ".join(models) + ", or the roofline"
    raise InputError(Fault(f"model card {card.name}", "layer sizes that no measured table has", expected))


def read_attention(source: Source, table: str, device: str, kv: str, model: str = GLM_5) -> AttentionTable:
    """Read the points of an attention table.

    Parameters
    ----------
    source : CsvSource or PackageSource
        Where the tables lie.
    table : {"context", "generation"}
        Prefill, or decode with batches up to 256.
    device : str
        ``h200``, ``b200``, ...
    kv : {"fp8", "bf16"}
        KV dtype.
    model : str
        A value of :data:`MEASURED_MODELS`.

    Raises
    ------
    InputError
        If the table is missing, too large or lacks a column or any usable point.
    """
    frame, path = source.frame(table, device, _ATTENTION_COLUMNS, {"model": model, "kv_cache_dtype": _TABLE_DTYPE[kv]})
    if table == "generation":
        frame = frame[frame["batch_size"] <= LARGEST_DECODE_BATCH]
    names = ("num_heads", "batch_size", "isl", "step", "latency")
    heads, batch, new, prefix, latency_ms = columns(frame, names, path)
    return AttentionTable(heads, batch, new, prefix, latency_ms * 1e-3)


def read_kernel(source: Source, device: str, card: ModelCard, kernel: ExpertKernel) -> ExpertTable | None:
    """Read the fp8 points of routed experts.

    Parameters
    ----------
    source, device
        As :func:`read_attention`.
    card : ModelCard
        Whose experts the fused kernel computes: sliced over a node, or spread over 8 ranks or more. A CSV extract holds
        GLM-5's only.
    kernel : {"fused", "deepep_normal", "deepep_low_latency"}
        Behind DeepEP the points are :data:`DEEPEP_MODEL`'s, of 4 ranks or more.

    Returns
    -------
    ExpertTable or None
        None where the source has no table of a kernel behind DeepEP, or none of the model's sizes.

    Raises
    ------
    InputError
        If a table is missing, too large or lacks a column or any usable point.
    """
    return read_experts(source, device, card) if kernel == "fused" else read_deepep_experts(source, device, kernel)


def read_experts(source: Source, device: str, card: ModelCard) -> ExpertTable | None:
    """Read the fused kernel's points, of fp8 weights or, where a model's sizes have none, of the next of :data:`MOE_DTYPES`.

    None where the package has none of its sizes; errors as :func:`read_kernel`.
    """
    if not source.find("moe", device) and not isinstance(source, CsvSource):
        return None
    sizes = _expert_rows(card)
    if isinstance(source, CsvSource):
        sizes["moe_dtype"] = MOE_DTYPES[0]
    frame, path = source.frame("moe", device, _MOE_COLUMNS, sizes)
    sliced = (frame["moe_tp_size"] == GPUS_PER_NODE) & (frame["moe_ep_size"] == 1)
    spread = (frame["moe_tp_size"] == 1) & (frame["moe_ep_size"] >= GPUS_PER_NODE)
    frame = frame[(sliced | spread) & frame["distribution"].isin(BALANCES)]
    if isinstance(source, CsvSource):
        return _expert_table(card, frame, path)
    for dtype in MOE_DTYPES:
        if not (found := frame[frame["moe_dtype"] == dtype]).empty:
            return _expert_table(card, found, path)
    return None


def read_deepep_experts(source: Source, device: str, kernel: ExpertKernel) -> ExpertTable | None:
    """Read the points of a kernel behind DeepEP, whose tokens are the group's too; as :func:`read_kernel`."""
    if not source.find(f"moe_{kernel}", device):
        return None
    card = load_card(DEEPEP_MODEL)
    rows = {**_expert_rows(card), "moe_dtype": MOE_DTYPES[0]}
    frame, path = source.frame(f"moe_{kernel}", device, _MOE_COLUMNS, rows)
    frame = frame.assign(distribution=frame["distribution"].replace("uniform", "balanced"))
    keep = (frame["moe_ep_size"] >= _LEAST_DEEPEP_RANKS) & frame["distribution"].isin(BALANCES)
    if kernel == "deepep_normal":
        padded = frame["num_tokens"] * card.experts_per_token >= _PADDED_ROWS * card.routed_experts
        keep &= padded | (frame["distribution"] != "balanced")
    return _expert_table(card, frame[keep], path)


def _expert_rows(card: ModelCard) -> dict[str, str | int]:
    return {
        "hidden_size": card.hidden,
        "inter_size": card.moe_intermediate,
        "topk": card.experts_per_token,
        "num_experts": card.routed_experts,
    }


def _expert_table(card: ModelCard, frame: Any, path: Path) -> ExpertTable:
    tokens, moe_tp, moe_ep, latency_ms = columns(frame, ("num_tokens", "moe_tp_size", "moe_ep_size", "latency"), path)
    return ExpertTable(card, tokens, moe_tp, moe_ep, frame["distribution"].to_numpy(dtype=object), latency_ms * 1e-3)


def columns(frame: Any, names: tuple[str, ...], path: Path) -> list[FloatArray]:
    """Return columns of numbers, the last of them times.

    Raises
    ------
    InputError
        If there is no row, a number is not finite, or a time not positive.
    """
    try:
        arrays = [frame[name].to_numpy(dtype=np.float64) for name in names]
    except ValueError as error:
        raise InputError(Fault(str(path), str(error), "numbers in the columns " + ", ".join(names))) from error
    finite = all(np.isfinite(array).all() and (array >= 0).all() for array in arrays)
    if not arrays[0].size or not finite or arrays[-1].min() <= 0:
        raise InputError(Fault(str(path), "no usable point", "finite numbers, >= 0, and positive latencies"))
    return arrays
