"""NVIDIA aiconfigurator's measured GLM-5 tables, and the error of the roofline against them.

The tables (Apache-2.0) give milliseconds of one layer on one GPU of a kind, in CSV files named
``<device>_sxm_glm5_{dsa_context,dsa_generation,moe}.csv``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zcube.arrays import FloatArray
from zcube.llm.attention import decode_fixed_s, decode_rates, prefill_attention_s, prefill_work
from zcube.llm.cards import ModelCard, load_card
from zcube.llm.devices import EXPERT_KERNELS, DecodeAttention, Device, Experts, PrefillAttention
from zcube.llm.experts import expert_layer_s
from zcube.llm.stated_error import StatedError, relative_error
from zcube.llm.tables import read as tables
from zcube.llm.tables.read import LARGEST_DECODE_BATCH, AttentionTable, ExpertTable, Source, read_attention
from zcube.llm.tables.source import CsvSource

#: Fewer new tokens than this only measure the host's launch time and would flatter the prefill error.
LEAST_NEW_TOKENS = 512
#: (moe_tp, moe_ep) the model uses: experts sliced over a node, or spread over one to eight nodes.
EXPERT_LAYOUTS = ((8, 1), (1, 8), (1, 16), (1, 32), (1, 64))


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
    table = read_attention(CsvSource(folder), "context", device, kv)
    return table.rows(table.batch * table.new_tokens >= LEAST_NEW_TOKENS)


def read_decode(folder: Path, device: str, kv: str) -> AttentionTable:
    """Read the decode attention points of batches up to 256; as :func:`read_prefill`."""
    return read_attention(CsvSource(folder), "generation", device, kv)


def read_experts(folder: Path, device: str) -> ExpertTable:
    """Read GLM-5's fp8 expert points of the layouts the figures are fitted to; as :func:`read_prefill`."""
    table = tables.read_experts(CsvSource(folder), device, load_card("glm-5.1"))
    assert table is not None
    return table.rows(np.array([pair in EXPERT_LAYOUTS for pair in zip(table.moe_tp, table.moe_ep)], dtype=bool))


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
        rates, rows = decode_rates(card, figures, int(heads), padded_heads), table.heads == heads
        context, batch = table.prefix_tokens[rows], table.batch[rows]
        attended = batch * np.minimum(context + 1, card.index_topk)
        seconds[rows] += rates.sparse_s * (context >= card.index_topk) + rates.selected_s * attended
        seconds[rows] += (rates.longest_s + rates.context_s * batch) * context
    return seconds


def model_experts_s(figures: Experts, table: ExpertTable) -> FloatArray:
    """Return the model's time of each expert point, for the sizes that were measured."""
    seconds = np.full(table.tokens.shape, np.nan)
    for name, balance in figures.balance.items():
        rows = table.balance == name
        sizes = table.tokens[rows], table.moe_tp[rows], table.moe_ep[rows]
        seconds[rows] = expert_layer_s(table.card, figures, balance, *sizes)
    return seconds


def measure_errors(card: ModelCard, device: Device, folder: Path) -> dict[str, StatedError]:
    """Return the errors of a device's figures against its GLM-5 tables, under the keys of ``Device.stated_error``.

    Experts behind DeepEP have no such table; see :func:`measure_deepep_errors`.

    Raises
    ------
    InputError
        If a table is missing or not as published.
    """
    errors = {}
    fitted = f"the fitted points themselves: NVIDIA aiconfigurator {device.name} GLM-5"
    for kv in ("fp8", "bf16"):
        prefill = read_prefill(folder, device.name, kv)
        errors[f"prefill_attention_{kv}"] = relative_error(
            model_prefill_s(card, device.prefill[kv], prefill, device.padded_heads),
            prefill.seconds,
            f"{fitted} context table, {kv} KV, >= {LEAST_NEW_TOKENS} new tokens, 8 .. 64 heads",
        )
        decode = read_decode(folder, device.name, kv)
        errors[f"decode_attention_{kv}"] = relative_error(
            model_decode_s(card, device.decode[kv], decode, device.padded_heads),
            decode.seconds,
            f"{fitted} generation table, {kv} KV, batch <= {LARGEST_DECODE_BATCH}, 8 .. 64 heads",
        )
    experts = read_experts(folder, device.name)
    errors["moe_fused"] = relative_error(
        model_experts_s(device.experts["fused"], experts),
        experts.seconds,
        f"{fitted} MoE table, fp8, TP8 and EP8 .. EP64, three load distributions; {device.experts['fused'].kernel}",
    )
    return errors


def measure_deepep_errors(device: Device, source: Source) -> dict[str, StatedError]:
    """Return the errors of the experts behind DeepEP against the tables they were fitted to, as :func:`measure_errors`."""
    errors = {}
    for kernel in EXPERT_KERNELS[1:]:
        table = tables.read_deepep_experts(source, device.name, kernel)
        if table is not None:
            figures = device.experts[kernel]
            errors[f"moe_{kernel}"] = relative_error(
                model_experts_s(figures, table),
                table.seconds,
                f"the fitted points themselves: NVIDIA aiconfigurator {device.name} DeepSeek-V3 table, fp8, EP4 .. EP256, "
                f"three load distributions; {figures.kernel}",
            )
    return errors
