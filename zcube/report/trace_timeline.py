"""The picture of a trace over time: a row per GPU, or per node where there are many, coloured by operation.

A row's upper half shows what the GPU computes, its lower half what it sends; white is neither. Operations that overlap share
the height, up to three of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.report.palette import COLOURS
from zcube.report.picture import picture_text, title
from zcube.report.quantities import time_text
from zcube.trace.comm_trace import CommTrace, Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: GPUs that get a row each; of more, every node does, and then every few nodes.
MOST_GPUS, MOST_NODES = 64, 128
#: Columns of the picture, about one per dot.
COLUMNS = 1600
#: Lines of half a row: as many operations as are seen at once.
LINES = 3
#: An operation is shown beside a longer one in a cell if it fills this part of what the longer one fills.
_LEAST_SHARE = 0.1
_OTHER, _OTHER_COLOUR = "other operations", "#8c8c8c"
#: Units of the time axis, largest first, and from which span of time each serves.
_TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


@dataclass(frozen=True, eq=False)
class TimelineGrid:
    """Which operations fill each cell.

    Attributes
    ----------
    colour : int array [rows, 2, LINES, columns]
        Index into ``labels``, -1 for none; first computations, then what is sent.
    labels : tuple of str
        Operations by total time, longest first; the last may stand for all others.
    ranks_per_row : int
        GPUs of a row.
    begin_s, end_s : float
        Span of time of the columns.
    """

    colour: IntArray
    labels: tuple[str, ...]
    ranks_per_row: int
    begin_s: float
    end_s: float


def timeline_grid(trace: CommTrace, start_s: FloatArray, finish_s: FloatArray, columns: int = COLUMNS) -> TimelineGrid:
    """Return the cells of a timeline.

    Parameters
    ----------
    trace : CommTrace
        Any trace; collectives are drawn on all ranks of their group.
    start_s, finish_s : float arrays [operations]
        When each starts and ends; nan leaves an operation out.
    columns : int
        Cells along the time axis.
    """
    shown = np.flatnonzero((finish_s > start_s) & (trace.kind != Kind.COLLECTIVE))
    joined = np.flatnonzero((finish_s > start_s) & (trace.kind == Kind.COLLECTIVE))
    groups = [np.array(trace.groups[group], dtype=np.int64) for group in trace.group[joined].tolist()]
    row = np.concatenate([shown, np.repeat(joined, [len(group) for group in groups])])
    rank = np.concatenate([trace.source[shown], *groups]).astype(np.int64)
    per_row = _ranks_per_row(trace)
    halves = 2 * -(-trace.ranks // per_row)
    half = 2 * (rank // per_row) + (trace.kind[row] != Kind.COMPUTE)
    begin_s = float(start_s[row].min()) if len(row) else 0.0
    end_s = float(finish_s[row].max()) if len(row) else 0.0
    width = (end_s - begin_s) / columns or 1.0
    code, labels = _codes(trace, row, finish_s[row] - start_s[row])
    filled = np.zeros((len(labels), halves, columns))
    for number in range(len(labels)):
        mine = code == number
        edges = (start_s[row[mine]] - begin_s) / width, (finish_s[row[mine]] - begin_s) / width
        filled[number] = _filled(half[mine], *edges, halves, columns)
    colour = _shared(filled).reshape(halves // 2, 2, LINES, columns)
    return TimelineGrid(colour, labels, per_row, begin_s, end_s)


def plot_timeline(trace: CommTrace, start_s: FloatArray, finish_s: FloatArray, under: str = "") -> Figure:
    """Draw what GPUs compute and send over time.

    Parameters
    ----------
    trace, start_s, finish_s
        As in :func:`timeline_grid`.
    under : str
        Where the times come from, written below the picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    grid = timeline_grid(trace, start_s, finish_s)
    rows = len(grid.colour)
    colours = [_OTHER_COLOUR if label == _OTHER else COLOURS[number] for number, label in enumerate(grid.labels)]
    figure = Figure(figsize=(11, min(12.0, 2.2 + 0.32 * rows)), layout="constrained")
    axes = figure.subplots()
    unit, size = next(((name, size) for name, size in _TIME_UNITS if grid.end_s >= 2 * size), _TIME_UNITS[-1])
    cells = grid.colour.reshape(2 * LINES * rows, -1)
    pixels = np.full((*cells.shape, 3), 255, dtype=np.uint8)
    for number, colour in enumerate(colours):
        pixels[cells == number] = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    span = (grid.begin_s / size, max(grid.end_s, grid.begin_s + 1e-9) / size)
    axes.imshow(pixels, aspect="auto", interpolation="nearest", extent=(*span, rows - 0.5, -0.5))
    for edge in range(1, rows):
        axes.axhline(edge - 0.5, color="#bbbbbb", linewidth=0.5)
    _label_rows(axes, trace, grid, rows)
    axes.set_xlabel(f"time ({unit}); of a row, the upper half computes, the lower half sends")
    axes.spines[["top", "right"]].set_visible(False)
    handles: list[Any] = [Patch(facecolor=colour, label=picture_text(label)) for label, colour in zip(grid.labels, colours)]
    if handles:
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8.5, frameon=False)
    remark = f"{len(trace):,} operations of {trace.ranks:,} GPUs, {time_text(grid.end_s - grid.begin_s)}"
    title(figure, "What GPUs compute and send", f"{remark}; {under}" if under else remark)
    return figure


def _ranks_per_row(trace: CommTrace) -> int:
    if trace.ranks <= MOST_GPUS:
        return 1
    nodes = -(-trace.ranks // trace.ranks_per_node)
    return trace.ranks_per_node * -(-nodes // MOST_NODES)


def _codes(trace: CommTrace, row: IntArray, taken_s: FloatArray) -> tuple[IntArray, tuple[str, ...]]:
    """Return the colour of every slice: one each for the operations that take longest, one for all others."""
    total = np.bincount(trace.name[row], taken_s, len(trace.names))
    used = [name for name in np.argsort(-total, kind="stable").tolist() if total[name] > 0]
    named = used if len(used) <= len(COLOURS) else used[: len(COLOURS)]
    code = np.full(len(trace.names), len(named))
    code[named] = np.arange(len(named))
    labels = [trace.names[name] for name in named]
    return code[trace.name[row]], (*labels, _OTHER) if len(used) > len(named) else tuple(labels)


def _filled(half: IntArray, begin: FloatArray, end: FloatArray, halves: int, columns: int) -> FloatArray:
    """Return how much of each cell some slices fill, edges given in columns; overlapping ones add up."""
    cover = np.zeros((halves, columns + 2))
    # A slice is a step up at its begin and a step down at its end; each step is shared between two cells.
    for edge, sign in ((begin, 1.0), (end, -1.0)):
        cell = np.minimum(edge.astype(np.int64), columns)
        part = edge - cell
        np.add.at(cover, (half, cell), sign * (1.0 - part))
        np.add.at(cover, (half, cell + 1), sign * part)
    return np.asarray(np.cumsum(cover, axis=1)[:, :columns])


def _shared(filled: FloatArray) -> IntArray:
    """Return the operations of every line of every cell [halves, LINES, columns], from how much each fills it."""
    halves, columns = filled.shape[1:]
    if not len(filled):
        return np.full((halves, LINES, columns), -1)
    order = np.argsort(-filled, axis=0, kind="stable")[:LINES]
    amount = np.take_along_axis(filled, order, axis=0)
    seen = (amount > 1e-9) & (amount >= _LEAST_SHARE * amount[:1])
    count = seen.sum(axis=0)
    # Operations keep their order from above to below whichever fills more, so that a stripe stays a stripe.
    chosen = np.sort(np.where(seen, order, len(filled)), axis=0)
    place = np.arange(LINES)[:, None, None] * count // LINES
    colour = np.take_along_axis(chosen, np.minimum(place, len(chosen) - 1), axis=0)
    return np.asarray(np.where(count > 0, colour, -1).swapaxes(0, 1))


def _label_rows(axes: Axes, trace: CommTrace, grid: TimelineGrid, rows: int) -> None:
    step = max(1, -(-rows // 32))
    places = list(range(0, rows, step))
    per_node, per_row = trace.ranks_per_node, grid.ranks_per_row
    if per_row == 1:
        labels = [f"node {rank // per_node} GPU {rank % per_node}" for rank in places]
    else:
        nodes = per_row // per_node
        first = [place * nodes for place in places]
        labels = [f"node {node}" if nodes == 1 else f"nodes {node}-{node + nodes - 1}" for node in first]
    axes.set_yticks(places, labels, fontsize=7.5)
