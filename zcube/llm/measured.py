"""NVIDIA aiconfigurator's measured GLM-5 tables, and the error of the roofline against them.

The tables (Apache-2.0) give milliseconds of one layer on one GPU of a kind, in CSV files named
``<device>_sxm_glm5_{dsa_context,dsa_generation,moe}.csv``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zcube.errors import Fault, InputError
from zcube.llm.attention import decode_fixed_s, decode_rates, prefill_attention_s, prefill_work
from zcube.llm.cards import ModelCard
from zcube.llm.compute import StatedError
from zcube.llm.devices import DecodeAttention, Device, ExpertBalance, Experts, PrefillAttention
from zcube.llm.experts import expert_layer_s

FloatArray: TypeAlias = NDArray[np.float64]

#: Largest table read; the published ones have less than a megabyte.
MAX_TABLE_BYTES = 64 << 20
#: Fewer new tokens than this only measure the host's launch time and would flatter the prefill error.
LEAST_NEW_TOKENS = 512
#: Beyond this batch the tables were taken without CUDA graphs.
LARGEST_DECODE_BATCH = 256
#: (moe_tp, moe_ep) the model uses: experts sliced over a node, or spread over one to eight nodes.
EXPERT_LAYOUTS = ((8, 1), (1, 8), (1, 16), (1, 32), (1, 64))
#: Load distributions of the MoE table.
BALANCES = ("balanced", "power_law_1.01", "power_law_1.2")
_TABLE_DTYPE = {"fp8": "fp8", "bf16": "bfloat16"}
_ATTENTION_COLUMNS = ("model", "kv_cache_dtype", "num_heads", "batch_size", "isl", "step", "latency")
_MOE_COLUMNS = ("moe_dtype", "num_tokens", "moe_tp_size", "moe_ep_size", "distribution", "latency")


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


@dataclass(frozen=True)
class ExpertTable:
    """Measured expert layers; arrays of shape (points,).

    Attributes
    ----------
    tokens, moe_tp, moe_ep : float array
        Tokens of the expert-parallel group, slices of an expert, ranks of the group.
    balance : object array
        Name of the load distribution.
    seconds : float array
        Measured time of one layer.
    """

    tokens: FloatArray
    moe_tp: FloatArray
    moe_ep: FloatArray
    balance: NDArray[np.object_]
    seconds: FloatArray


def read_prefill(folder: Path, device: str, kv: str) -> AttentionTable:
    """Read the prefill attention points of at least 512 new tokens.

    Parameters
    ----------
    folder : Path
        Where the tables lie.
    device : str
        ``h200`` or ``b200``.
    kv : {"fp8", "bf16"}
        KV dtype.

    Raises
    ------
    InputError
        If the table is missing, too large or lacks a column or any usable point.
    """
    path = folder / f"{device}_sxm_glm5_dsa_context.csv"
    frame = _attention_frame(path, kv)
    return _attention_table(frame[frame["batch_size"] * frame["isl"] >= LEAST_NEW_TOKENS], path)


def read_decode(folder: Path, device: str, kv: str) -> AttentionTable:
    """Read the decode attention points of batches up to 256; as :func:`read_prefill`."""
    path = folder / f"{device}_sxm_glm5_dsa_generation.csv"
    frame = _attention_frame(path, kv)
    return _attention_table(frame[frame["batch_size"] <= LARGEST_DECODE_BATCH], path)


def read_experts(folder: Path, device: str) -> ExpertTable:
    """Read the fp8 expert points of the layouts the model uses; as :func:`read_prefill`."""
    path = folder / f"{device}_sxm_glm5_moe.csv"
    frame = _frame(path, _MOE_COLUMNS)
    used = np.array([pair in EXPERT_LAYOUTS for pair in zip(frame["moe_tp_size"], frame["moe_ep_size"])], dtype=bool)
    frame = frame[used & (frame["moe_dtype"] == "fp8_block") & frame["distribution"].isin(BALANCES)]
    tokens, moe_tp, moe_ep, latency_ms = _columns(frame, ("num_tokens", "moe_tp_size", "moe_ep_size", "latency"), path)
    balance = frame["distribution"].to_numpy(dtype=object)
    return ExpertTable(tokens, moe_tp, moe_ep, balance, latency_ms * 1e-3)


def _frame(path: Path, columns: tuple[str, ...]) -> Any:
    import pandas as pd

    if not path.is_file() or path.stat().st_size > MAX_TABLE_BYTES:
        raise InputError(Fault(str(path), "no usable file", f"a CSV table of at most {MAX_TABLE_BYTES} bytes"))
    try:
        frame = pd.read_csv(path)
    except ValueError as error:
        raise InputError(Fault(str(path), str(error), "a CSV table")) from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(Fault(f"{path}: {column}", "nothing", "this column") for column in missing)
    return frame


def _attention_frame(path: Path, kv: str) -> Any:
    frame = _frame(path, _ATTENTION_COLUMNS)
    # GLM-5.2 shares its indexer between layers; its rows describe another model.
    return frame[(frame["model"] == "zai-org/GLM-5-FP8") & (frame["kv_cache_dtype"] == _TABLE_DTYPE[kv])]


def _attention_table(frame: Any, path: Path) -> AttentionTable:
    heads, batch, new, prefix, latency_ms = _columns(frame, ("num_heads", "batch_size", "isl", "step", "latency"), path)
    return AttentionTable(heads, batch, new, prefix, latency_ms * 1e-3)


def _columns(frame: Any, names: tuple[str, ...], path: Path) -> list[FloatArray]:
    try:
        columns = [frame[name].to_numpy(dtype=np.float64) for name in names]
    except ValueError as error:
        raise InputError(Fault(str(path), str(error), "numbers in the columns " + ", ".join(names))) from error
    if not columns[0].size or not all(np.isfinite(column).all() for column in columns) or columns[-1].min() <= 0:
        raise InputError(Fault(str(path), "no usable point", "finite numbers and positive latencies"))
    return columns


def model_prefill_s(card: ModelCard, figures: PrefillAttention, table: AttentionTable, padded_heads: int) -> FloatArray:
    """Return the model's time of each prefill point."""
    work = prefill_work(
        card,
        table.heads,
        table.new_tokens,
        table.prefix_tokens,
        padded_heads=padded_heads,
        all_slots=figures.computes_all_slots,
    )
    batch = type(work)(
        work.linear_flops * table.batch,
        work.dense_flops * table.batch,
        work.sparse_flops * table.batch,
        work.index_flops * table.batch,
        work.prefix_tokens * table.batch,
        work.is_dense,
    )
    return np.asarray(prefill_attention_s(figures, batch))


def model_decode_s(card: ModelCard, figures: DecodeAttention, table: AttentionTable, padded_heads: int) -> FloatArray:
    """Return the model's time of each decode point."""
    seconds = np.asarray(decode_fixed_s(card, figures, table.heads, table.batch, padded_heads))
    for heads in np.unique(table.heads):
        rates, rows = decode_rates(figures, int(heads), padded_heads), table.heads == heads
        context, batch = table.prefix_tokens[rows], table.batch[rows]
        attended = batch * np.minimum(context + 1, card.index_topk)
        seconds[rows] += rates.sparse_s * (context >= card.index_topk) + rates.selected_s * attended
        seconds[rows] += (rates.longest_s + rates.context_s * batch) * context
    return seconds


def model_experts_s(card: ModelCard, figures: Experts, balances: dict[str, ExpertBalance], table: ExpertTable) -> FloatArray:
    """Return the model's time of each expert point."""
    seconds = np.full(table.tokens.shape, np.nan)
    for name, balance in balances.items():
        rows = table.balance == name
        seconds[rows] = expert_layer_s(card, figures, balance, table.tokens[rows], table.moe_tp[rows], table.moe_ep[rows])
    return seconds


def relative_error(model_s: FloatArray, measured_s: FloatArray, against: str) -> StatedError:
    """Return the distribution of ``|model / measured - 1|``."""
    error = np.abs(model_s / measured_s - 1.0)
    return StatedError(float(np.median(error)), float(np.quantile(error, 0.9)), float(error.mean()), int(error.size), against)


def measure_errors(card: ModelCard, device: Device, folder: Path) -> dict[str, StatedError]:
    """Return the errors of a device's figures against its tables, under the keys of ``Device.stated_error``.

    Raises
    ------
    InputError
        If a table is missing or not as published.
    """
    errors = {}
    tables = f"the fitted points themselves: NVIDIA aiconfigurator {device.name} GLM-5"
    for kv in ("fp8", "bf16"):
        prefill = read_prefill(folder, device.name, kv)
        errors[f"prefill_attention_{kv}"] = relative_error(
            model_prefill_s(card, device.prefill[kv], prefill, device.padded_heads),
            prefill.seconds,
            f"{tables} context table, {kv} KV, >= {LEAST_NEW_TOKENS} new tokens, 8 .. 64 heads",
        )
        decode = read_decode(folder, device.name, kv)
        errors[f"decode_attention_{kv}"] = relative_error(
            model_decode_s(card, device.decode[kv], decode, device.padded_heads),
            decode.seconds,
            f"{tables} generation table, {kv} KV, batch <= {LARGEST_DECODE_BATCH}, 8 .. 64 heads",
        )
    experts = read_experts(folder, device.name)
    errors["moe"] = relative_error(
        model_experts_s(card, device.experts, device.experts.balance, experts),
        experts.seconds,
        f"{tables} MoE table, fp8, TP8 and EP8 .. EP64, three load distributions",
    )
    return errors
