"""Error of the interpolation on points that it was not given.

Every second value of every coordinate is struck out with all points that have it (the outermost values stay), and those
points are predicted from the rest: on a grid twice as coarse as the one in use, so that a query between measured points
should do better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from zcube.arrays import BoolArray, FloatArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device, ExpertKernel, Experts
from zcube.llm.measured import LEAST_NEW_TOKENS
from zcube.llm.stated_error import StatedError, relative_error
from zcube.llm.tables.grid import RatioGrid
from zcube.llm.tables.grids import decode_points, expert_points, prefill_points
from zcube.llm.tables.read import AttentionTable, ExpertTable

#: Predicted and measured, both relative to the roofline.
Pairs: TypeAlias = tuple[FloatArray, FloatArray]
#: Most pieces of the points the rooflines were fitted to; iterations of more are stated apart.
FEW_PIECES = 4


def held_out_errors(phase: str, card: ModelCard, device: Device, kv: str, table: AttentionTable) -> dict[str, StatedError]:
    """Return the held-out error of sparse attention by operation, ``prefill_attention`` or ``decode_attention``.

    If the table has points of more than four pieces, those are ``prefill_attention_many_pieces``.
    """
    pairs = (held_out_prefill if phase == "prefill" else held_out_decode)(card, device, kv, table)
    text = f"points held out of NVIDIA aiconfigurator's {device.name} table, every second value of every coordinate"
    notes = {
        "prefill_attention": f"{text}, {kv} KV, >= {LEAST_NEW_TOKENS} new tokens in at most {FEW_PIECES} pieces",
        "prefill_attention_many_pieces": f"{text}, {kv} KV, >= {LEAST_NEW_TOKENS} new tokens in more pieces",
        "decode_attention": f"{text}, {kv} KV",
    }
    return {operation: relative_error(*pairs[operation], note) for operation, note in notes.items() if operation in pairs}


def held_out_expert_error(card: ModelCard, device: Device, kernel: ExpertKernel, table: ExpertTable) -> StatedError:
    """Return the held-out error of routed experts; the text says where the table is another model's than ``card``."""
    figures = device.experts[kernel]
    points = f"points held out of NVIDIA aiconfigurator's {device.name} table, every second value of every coordinate"
    carried = "" if table.card.hidden == card.hidden else f"; the ratio to the roofline is carried to {card.name}"
    return relative_error(*held_out_experts(figures, table), f"{points}, fp8, {table.card.name}, {figures.kernel}{carried}")


def held_out_experts(figures: Experts, table: ExpertTable) -> Pairs:
    """Return predicted and measured times of the expert points held out, both divided by the roofline."""
    parts = []
    for balance in sorted(set(table.balance) & set(figures.balance)):
        for moe_tp in np.unique(table.moe_tp):
            rows = table.rows(np.asarray((table.balance == balance) & (table.moe_tp == moe_tp)))
            axes, ratio = expert_points(figures, rows)
            parts.append((axes, ratio, np.ones(len(ratio), dtype=bool)))
    return predicted(parts)


def held_out_prefill(card: ModelCard, device: Device, kv: str, table: AttentionTable) -> dict[str, Pairs]:
    """Return predicted and measured times of sparse prefill held out, both divided by the roofline, by operation."""
    few_parts, many_parts = [], []
    for heads in np.unique(table.heads):
        axes, ratio, regimes = prefill_points(card, device, kv, table.rows(table.heads == heads))
        enough, few = axes[:, 0] >= LEAST_NEW_TOKENS, axes[:, 1] <= FEW_PIECES
        few_parts += [(axes[rows], ratio[rows], (enough & few)[rows]) for rows in regimes]
        many_parts += [(axes[rows], ratio[rows], (enough & ~few)[rows]) for rows in regimes]
    many = {"prefill_attention_many_pieces": predicted(many_parts)} if table.batch.max() > FEW_PIECES else {}
    return many | {"prefill_attention": predicted(few_parts)}


def held_out_decode(card: ModelCard, device: Device, kv: str, table: AttentionTable) -> dict[str, Pairs]:
    """Return predicted and measured times of sparse decode; as :func:`held_out_prefill`."""
    parts = []
    for heads in np.unique(table.heads):
        axes, ratio = decode_points(card, device, kv, table.rows(table.heads == heads))
        parts.append((axes, ratio, np.ones(len(ratio), dtype=bool)))
    return {"decode_attention": predicted(parts)}


def every_second(axes: FloatArray) -> BoolArray:
    """Return which points stay, shape (points,)."""
    stay = np.ones(len(axes), dtype=bool)
    for coordinate in axes.T:
        stay &= ~np.isin(coordinate, np.unique(coordinate)[1:-1:2])
    return stay


def predicted(parts: Iterable[tuple[FloatArray, FloatArray, BoolArray]]) -> Pairs:
    """Return predicted and measured ratios of the points struck out of parts: coordinates, ratios, those that count.

    Raises
    ------
    InputError
        If no point can be struck out.
    """
    ours, measured = [], []
    for axes, ratio, wanted in parts:
        stay = every_second(axes)
        if not stay.any():
            continue
        grid = RatioGrid(axes[stay], ratio[stay])
        out = ~stay & wanted
        ours += [float(grid.at(*point)) for point in axes[out]]
        measured += ratio[out].tolist()
    if not measured:
        raise InputError(Fault("measured table", "no point to hold out", "three values of a coordinate, other points beside"))
    return np.array(ours), np.array(measured)
