"""Kinds of attention scaled by their measured tables: for each kind of a model's layers its ratios, errors and ranges.

Kernels of grouped queries and linear layers are taken at the very heads, sizes and window that lie on a GPU, where these
were measured, dense latent blocks at the number of heads that is nearest. Sparse attention was measured with cached tokens, the
others without: their ratio of a piece with a prefix is taken at the length of its context (inferred). What has no table stays
the roofline, and the range says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from zcube.arrays import FloatArray
from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kinds.grouped import Grouped
from zcube.llm.kinds.latent import Latent
from zcube.llm.kinds.layer import LayerKind
from zcube.llm.kinds.linear import Linear
from zcube.llm.kinds.of_model import table_dtype
from zcube.llm.kinds.scaled import Scaled
from zcube.llm.kinds.sparse import SparseLatent
from zcube.llm.layout import layout_of
from zcube.llm.stated_error import StatedError, relative_error
from zcube.llm.tables.grid import RatioGrid
from zcube.llm.tables.grids import BEYOND, covered_attention, decode_ratios, equal_pieces, prefill_ratios
from zcube.llm.tables.held_out import held_out_errors, predicted
from zcube.llm.tables.kernels import read_blocks, read_heads, read_states
from zcube.llm.tables.read import Source, read_attention, shared_model, table_model

Phase: TypeAlias = Literal["prefill", "decode"]
#: Phase -> what the tables call it.
TABLE_OF_PHASE: dict[Phase, str] = {"prefill": "context", "decode": "generation"}
#: Fewer new tokens than this measure the launch; the error does not count them.
LEAST_NEW_TOKENS = 512
#: More than an iteration of a node computes; the error does not count them either.
MOST_NEW_TOKENS = 1 << 17
#: Least measured points of a shape to interpolate among.
LEAST_POINTS = 8
NO_TABLE = "no table: the roofline"


@dataclass(frozen=True)
class Measured:
    """A kind of layer with what is known of it in one phase: errors by operation, what its table covers.

    Where there is no table the kind is the roofline, and there are no errors.
    """

    kind: LayerKind
    errors: dict[str, StatedError] = field(default_factory=dict)
    covers: str = NO_TABLE


def measured_phase(
    phase: Phase, kinds: Sequence[LayerKind], card: ModelCard, device: Device, engine: EngineLayout, source: Source
) -> tuple[tuple[LayerKind, ...], dict[str, StatedError], dict[str, str]]:
    """Return the kinds of a phase scaled by their tables, their errors, and what the tables cover, by operation.

    Operations are ``prefill_attention``, ``decode_attention``; of several kinds each is named, ``decode_attention_window``.

    Raises
    ------
    InputError
        If a table is not usable, or sparse attention has sizes that no table has.
    """
    layout = engine.prefill_layout if phase == "prefill" else engine.decode_layout
    gpus = engine.prefill_stage_gpus if phase == "prefill" else engine.decode_stage_gpus
    kv = table_dtype(engine.kv_dtype)
    scaled: list[LayerKind] = []
    errors: dict[str, StatedError] = {}
    covers: dict[str, str] = {}
    for kind in kinds:
        suffix = f"_{kind.name}" if len(kinds) > 1 else ""
        if isinstance(kind, SparseLatent):
            found = _sparse(phase, kind, device, kv, (layout, gpus), source)
        else:
            found = measured_kind(phase, kind, card, device, kv, (layout, gpus), source)
        scaled.append(found.kind)
        errors |= {f"{operation}{suffix}": error for operation, error in found.errors.items()}
        covers[f"{phase}_attention{suffix}"] = found.covers
    return tuple(scaled), errors, covers


def measured_kind(
    phase: Phase, kind: LayerKind, card: ModelCard, device: Device, kv: str, layout: tuple[str, int], source: Source
) -> Measured:
    """Return a kind other than sparse attention scaled by the tables of a source, or as it is where they lack it.

    Parameters
    ----------
    phase : {"prefill", "decode"}
        Which tables.
    kind : LayerKind
        A kind of :mod:`zcube.llm.kinds`.
    card, device, kv, layout
        What it was built from; ``kv``: ``fp8`` or ``bf16``; ``layout`` with the GPUs of a stage.
    source : CsvSource or PackageSource
        Where the tables lie.
    """
    grid = _GRIDS[type(kind)](phase, kind, card, device, kv, source)
    if grid is None:
        return Measured(kind)
    axes, ratio = grid
    ratios = RatioGrid(axes, ratio)
    if phase == "prefill":
        scaled = Scaled(kind, prefill_ratio=_at_pieces(ratios, layout_of(*layout).dp))
    else:
        scaled = Scaled(kind, decode_ratio=lambda requests, context: ratios.at(requests, context))
    tokens = axes[:, 0] * axes[:, 1]
    counts = (tokens >= LEAST_NEW_TOKENS) & (tokens <= MOST_NEW_TOKENS) if phase == "prefill" else tokens > 0
    text = f"points held out of NVIDIA aiconfigurator's {device.name} table, every second value of every coordinate"
    error = relative_error(*predicted([(axes, ratio, counts)]), f"{text}, {kv} KV, {kind.name} attention")
    return Measured(scaled, {f"{phase}_attention": error}, _covers(phase, axes))


def _sparse(phase: Phase, kind: SparseLatent, device: Device, kv: str, layout: tuple[str, int], source: Source) -> Measured:
    card, heads = kind.card, kind.heads
    model = table_model(card) if card.index_heads else shared_model(card)
    table = read_attention(source, TABLE_OF_PHASE[phase], device.name, kv, model)
    if phase == "prefill":
        ratios = prefill_ratios(card, device, kv, table, heads)

        def at(new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> float:
            new, prefix = np.asarray(new_tokens), np.asarray(prefix_tokens)
            is_dense = bool(np.all(new + prefix <= card.index_topk))
            return ratios.at(is_dense, *equal_pieces(layout[0], new, prefix, layout[1]))

        scaled = Scaled(kind, prefill_ratio=at)
    else:
        grid = decode_ratios(card, device, kv, table, heads)
        scaled = Scaled(kind, decode_ratio=lambda requests, context: grid.at(requests, context))
    return Measured(scaled, held_out_errors(phase, card, device, kv, table), covered_attention(phase, table))


def _at_pieces(grid: RatioGrid, groups: int) -> Callable[[Sequence[int], Sequence[int]], float]:
    def ratio(new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> float:
        """Take the ratio at as many equal pieces as have the same sum and sum of squares, of the mean context's length."""
        new, prefix = np.asarray(new_tokens, dtype=np.float64), np.asarray(prefix_tokens, dtype=np.float64)
        total = float(new.sum())
        pieces = total**2 / float((new**2).sum()) / groups
        return float(grid.at(max(1.0, pieces), float((new * (new + prefix)).sum()) / total))

    return ratio


def _covers(phase: Phase, axes: FloatArray) -> str:
    (batch, tokens) = ((values.min(), values.max()) for values in axes.T)
    what = ("pieces of", "tokens without a prefix") if phase == "prefill" else ("requests on a GPU with contexts of", "tokens")
    return f"{batch[0]:.0f} .. {batch[1]:.0f} {what[0]} {tokens[0]:.0f} .. {tokens[1]:.0f} {what[1]}{BEYOND}"


#: Coordinates (pieces or requests, tokens of each) and the ratio there.
_Grid: TypeAlias = tuple[FloatArray, FloatArray]


def _grid(phase: Phase, kind: Any, points: Any, *more: Any) -> _Grid | None:
    if len(points) < LEAST_POINTS:
        return None
    model_s = (kind.measured_prefill_s if phase == "prefill" else kind.measured_step_s)(points.batch, points.tokens, *more)
    return np.column_stack([points.batch, points.tokens]), points.seconds / model_s


def _heads(phase: Phase, kind: Grouped, card: ModelCard, device: Device, kv: str, source: Source) -> _Grid | None:
    if not source.find(f"{TABLE_OF_PHASE[phase]}_attention", device.name) or card.value_head_dim != card.head_dim:
        return None
    shape, table = kind.shape, read_heads(source, TABLE_OF_PHASE[phase], device.name, kv)
    window = card.window_tokens if kind.name == "window" else 0
    same = (table.heads == shape.heads) & (table.kv_heads == shape.kv_heads)
    return _grid(phase, kind, table.rows(same & (table.head_dim == shape.head_dim) & (table.window == window)))


def _blocks(phase: Phase, kind: Latent, card: ModelCard, device: Device, kv: str, source: Source) -> _Grid | None:
    if not source.find(f"latent_{TABLE_OF_PHASE[phase]}", device.name):
        return None
    table = read_blocks(source, TABLE_OF_PHASE[phase], device.name)
    sizes = np.unique(table.heads)
    heads = sizes[np.abs(np.log(sizes / kind.heads)).argmin()]
    return _grid(phase, kind, table.rows(table.heads == heads), heads)


def _states(phase: Phase, kind: Linear, card: ModelCard, device: Device, kv: str, source: Source) -> _Grid | None:
    if not source.find("linear", device.name):
        return None
    shape, table = kind.shape, read_states(source, TABLE_OF_PHASE[phase], device.name)
    same = (table.key_heads == shape.key_heads) & (table.value_heads == shape.value_heads)
    return _grid(phase, kind, table.rows(same & (table.key_dim == shape.key_dim) & (table.value_dim == shape.value_dim)))


_GRIDS: dict[type, Callable[..., _Grid | None]] = {Grouped: _heads, Latent: _blocks, Linear: _states}
