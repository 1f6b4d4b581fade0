"""``measured / roofline`` of one kind of GPU, model and KV dtype, as grids to interpolate in.

Prefill is indexed by new tokens on the GPU, pieces and the prefix of each, apart for dense and sparse attention; decode by
requests and the mean context; experts by ranks and tokens of the group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device, Experts
from zcube.llm.layout import layout_of
from zcube.llm.measured import model_decode_s, model_experts_s, model_prefill_s
from zcube.llm.tables.grid import RatioGrid
from zcube.llm.tables.read import AttentionTable, ExpertTable
from zcube.node import GPUS_PER_NODE


def prefill_points(
    card: ModelCard, device: Device, kv: str, table: AttentionTable
) -> tuple[FloatArray, FloatArray, list[BoolArray]]:
    """Return coordinates (new tokens, pieces, prefix), ratios, and the rows of dense and of sparse attention."""
    axes = np.column_stack([table.batch * table.new_tokens, table.batch, table.prefix_tokens])
    ratio = table.seconds / model_prefill_s(card, device.prefill[kv], table, device.padded_heads)
    dense = table.new_tokens + table.prefix_tokens <= card.index_topk
    return axes, ratio, [dense, ~dense]


def decode_points(card: ModelCard, device: Device, kv: str, table: AttentionTable) -> tuple[FloatArray, FloatArray]:
    """Return coordinates (requests, context) and ratios."""
    ratio = table.seconds / model_decode_s(card, device.decode[kv], table, device.padded_heads)
    return np.column_stack([table.batch, table.prefix_tokens]), ratio


def expert_points(figures: Experts, table: ExpertTable) -> tuple[FloatArray, FloatArray]:
    """Return coordinates (ranks, tokens) and ratios, for the sizes that were measured."""
    ratio = table.seconds / model_experts_s(figures, table)
    return np.column_stack([table.moe_ep, table.tokens]), ratio


@dataclass(frozen=True)
class PrefillRatios:
    """Prefill attention of a GPU that holds a given number of heads."""

    dense: RatioGrid
    sparse: RatioGrid

    def at(self, is_dense: bool, tokens: float, pieces: float, prefix: float) -> float:
        """Return the ratio for ``pieces`` equal pieces of together ``tokens`` new tokens."""
        return float((self.dense if is_dense else self.sparse).at(tokens, pieces, prefix))


def prefill_ratios(card: ModelCard, device: Device, kv: str, table: AttentionTable, heads: int) -> PrefillRatios:
    """Return the prefill grids of one number of heads; as :func:`decode_ratios`."""
    rows = _with_heads(table, heads, "prefill")
    axes, ratio, (dense, sparse) = prefill_points(card, device, kv, rows)
    if not dense.any() or not sparse.any():
        found = "no point of " + ("dense" if not dense.any() else "sparse") + " attention"
        raise InputError(Fault(f"prefill attention table, {heads} heads", found, "points of dense and of sparse attention"))
    return PrefillRatios(RatioGrid(axes[dense], ratio[dense]), RatioGrid(axes[sparse], ratio[sparse]))


def decode_ratios(card: ModelCard, device: Device, kv: str, table: AttentionTable, heads: int) -> RatioGrid:
    """Return the decode grid of one number of heads.

    Raises
    ------
    InputError
        If the table has no such point.
    """
    return RatioGrid(*decode_points(card, device, kv, _with_heads(table, heads, "decode")))


def expert_ratios(figures: Experts, table: ExpertTable, balance: str, moe_tp: int) -> RatioGrid | None:
    """Return the expert grid of one load distribution and slicing, None where these were not measured."""
    keep = np.asarray((table.balance == balance) & (table.moe_tp == moe_tp))
    return RatioGrid(*expert_points(figures, table.rows(keep))) if keep.any() else None


def equal_pieces(layout: str, new: IntArray, prefix: IntArray, gpus: int = GPUS_PER_NODE) -> tuple[float, float, float]:
    """Return the equal pieces that stand for one GPU's share of an iteration: new tokens, pieces, prefix.

    Pieces of n_i tokens count as ``(sum n)**2 / sum n**2`` equal ones; the prefix is the one that leaves the mean context
    of a new token unchanged. cp8 leaves an eighth of every piece on a GPU, dp8 an eighth of the pieces.

    Parameters
    ----------
    layout : str
        How a stage's GPUs share the pieces: ``tp8``, ``cp8`` or ``dp8``.
    new, prefix : int array, shape (pieces,)
        New and cached tokens of each piece.
    gpus : int
        GPUs of the stage.
    """
    sizes = layout_of(layout, gpus)
    tokens = new.astype(np.float64)
    total = float(tokens.sum())
    pieces = total**2 / float((tokens**2).sum())
    context = float((tokens * (prefix + (tokens + 1) / 2)).sum()) / total
    share = total / (sizes.cp * sizes.dp)
    if sizes.dp > 1:
        pieces = max(1.0, pieces / sizes.dp)
    return share, pieces, max(0.0, context - (share / pieces + 1) / 2)


BEYOND = "; beyond, the roofline times the ratio at the nearest measured point"


def covered_attention(phase: str, table: AttentionTable) -> str:
    """Return what a table of sparse attention covers; the text says what happens beyond."""
    if phase == "prefill":
        tokens = _span(table.batch * table.new_tokens)
        return f"{tokens} new tokens on a GPU, {_span(table.batch)} pieces, prefix {_span(table.prefix_tokens)}{BEYOND}"
    spans = f"{_span(table.batch)} requests on a GPU, context {_span(table.prefix_tokens)}"
    return f"{spans}, the larger the batch the shorter{BEYOND}"


def covered_experts(table: ExpertTable | None) -> str:
    """Return what a table of experts covers."""
    if table is None:
        return "no table: the roofline"
    return f"{_span(table.tokens)} tokens of the group, {_span(table.moe_ep)} ranks, sizes of {table.card.name}{BEYOND}"


def _span(values: FloatArray) -> str:
    return f"{values.min():.0f} .. {values.max():.0f}"


def _with_heads(table: AttentionTable, heads: int, phase: str) -> AttentionTable:
    keep = table.heads == heads
    if not keep.any():
        found = ", ".join(f"{count:.0f}" for count in np.unique(table.heads)) + " heads"
        raise InputError(Fault(f"{phase} attention table", found, f"points with {heads} heads"))
    return table.rows(keep)
