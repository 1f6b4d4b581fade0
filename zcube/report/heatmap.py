"""The picture of link loads: one panel per fabric, one row per switch, one cell per link that leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.report.names import display_names
from zcube.report.picture import conditions, picture_text, title
from zcube.verdict.rows import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.comparison import Comparison, FabricResult

#: Switches and links per switch beyond which single cells would be too small to see.
MOST_ROWS, MOST_COLUMNS = 300, 300

_PANELS_PER_ROW = 2
_TICKS = 20
_IDLE = "#e4e4e4"


@dataclass(frozen=True, eq=False)
class Band:
    """The switches of one role.

    Attributes
    ----------
    role : str
        Leaf, spine, or a ZCube group.
    percent : float array [switches, links]
        Utilisation of the links that leave each switch, in percent: links to GPUs first, then links to switches, each by port
        number; nan where a switch has fewer links.
    gpu_links : int
        How many of the columns are links to GPUs.
    peers : str
        Roles of the switches that the others lead to.
    """

    role: str
    percent: np.ndarray
    gpu_links: int
    peers: str

    def collapsed(self) -> np.ndarray:
        """Return mean and maximum over links to GPUs, then over links to switches [switches, 4]; nan where there are none."""
        columns = []
        for part in (self.percent[:, : self.gpu_links], self.percent[:, self.gpu_links :]):
            known = np.isfinite(part)
            count = known.sum(axis=1)
            total = np.where(known, part, 0.0).sum(axis=1)
            columns.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
            columns.append(np.where(count > 0, np.where(known, part, 0.0).max(axis=1, initial=0.0), np.nan))
        return np.stack(columns, axis=1)


def switch_bands(result: FabricResult) -> list[Band]:
    """Return the load of every link that leaves a switch, by role of the switch.

    Empty where the run's links are not the fabric's, as under the ideal fidelity, which has no switches.
    """
    fabric, table = result.fabric, result.run.links_in_window
    if len(table.size_bytes) != fabric.links:
        return []
    percent = 100.0 * table.utilisation(result.run.window.length_s)
    first, last = fabric.gpus, fabric.gpus + fabric.switches
    link = np.flatnonzero((fabric.link_source >= first) & (fabric.link_source < last))
    source, target = fabric.link_source[link], fabric.link_target[link]
    port = np.stack([fabric.cables.a_port, fabric.cables.b_port], axis=1).ravel()[link]
    to_gpu = target < fabric.gpus
    bands = []
    for group in fabric.groups:
        mine = (source >= group.first_node) & (source < group.first_node + group.count)
        parts = [
            _cells(source[mine & side] - group.first_node, port[mine & side], percent[link[mine & side]], group.count)
            for side in (to_gpu, ~to_gpu)
        ]
        met = np.unique(target[mine & ~to_gpu])
        peers = [
            other.name for other in fabric.groups if ((met >= other.first_node) & (met < other.first_node + other.count)).any()
        ]
        bands.append(Band(group.name, np.concatenate(parts, axis=1), parts[0].shape[1], " and ".join(peers)))
    return bands


def plot_link_heatmap(comparison: Comparison) -> Figure:
    """Draw how full every link that leaves a switch was, fabrics side by side on one colour scale.

    Where a fabric has more switches or links per switch than can be told apart, each switch shows the mean and the maximum
    over its links to GPUs and over its links to switches.

    Parameters
    ----------
    comparison : Comparison
        What came of the fabrics.
    """
    from matplotlib.figure import Figure

    names = display_names(comparison.results)
    bands = {name: switch_bands(result) for name, result in comparison.results.items()}
    loads = [band.percent[np.isfinite(band.percent)] for fabric in bands.values() for band in fabric]
    highest = max((float(load.max(initial=0.0)) for load in loads), default=0.0)
    columns = min(_PANELS_PER_ROW, len(bands))
    lines = -(-len(bands) // columns)
    figure = Figure(figsize=(1.4 + 5.2 * columns, 1.5 + 4.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    image = None
    for axes, name in zip(panels.flat, bands, strict=False):
        drawn = _panel(axes, bands[name], highest or 1.0)
        axes.set_title(f"{picture_text(names[name])}\n{_uplinks(comparison.results[name])}", fontsize=9)
        image = drawn or image
    for axes in panels.flat[len(bands) :]:
        axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=panels, shrink=0.85, pad=0.015)
        bar.set_label("utilisation over the run (%); grey: carried nothing")
    title(figure, "How full the links out of switches were", conditions(comparison))
    return figure


def _cells(row: np.ndarray, port: np.ndarray, percent: np.ndarray, rows: int) -> np.ndarray:
    """Return links as cells [switches, most links of a switch], by port."""
    order = np.lexsort((port, row))
    row, percent = row[order], percent[order]
    count = np.bincount(row, minlength=rows)
    column = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    cells = np.full((rows, int(count.max(initial=0))), np.nan)
    cells[row, column] = percent
    return cells


def _uplinks(result: FabricResult) -> str:
    """Return how full the fullest link out of a GPU was, since the panel leaves those out."""
    table = result.run.links_in_window
    nic = table.leaves_gpu & (np.array(table.kind) == "nic")
    fullest = 100.0 * float(table.utilisation(result.run.window.length_s)[nic].max(initial=0.0))
    return f"(links out of GPUs are not drawn: at most {significant(fullest, 3)} %)"


def _panel(axes: Axes, bands: list[Band], highest: float) -> Any:
    """Draw one fabric; return the image for the colour bar, None if there is nothing to draw."""
    from matplotlib import colormaps

    if not bands:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "This fidelity has no switches,\nonly the NICs' links.", ha="center", va="center")
        return None
    rows = sum(len(band.percent) for band in bands)
    collapse = rows > MOST_ROWS or max(band.percent.shape[1] for band in bands) > MOST_COLUMNS
    blocks = [band.collapsed() if collapse else band.percent for band in bands]
    gap = max(2, round(0.055 * rows))
    width = max(block.shape[1] for block in blocks)
    cells = np.full((rows + gap * len(blocks), width), np.nan)
    starts = []
    at = 0
    for block in blocks:
        at += gap
        starts.append(at)
        cells[at : at + len(block), : block.shape[1]] = block
        at += len(block)
    # Links that carried nothing are set apart from those that carried little; nan, no link, stays white.
    shades = colormaps["viridis_r"].with_extremes(under=_IDLE)
    cells[cells == 0.0] = -1.0
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap=shades, vmin=0.0, vmax=highest)
    for band, start in zip(bands, starts, strict=True):
        split = 2 if collapse else band.gpu_links
        _label_band(axes, band, start, split, 4 if collapse else band.percent.shape[1], gap)
    _label_axes(axes, bands, starts, collapse)
    return image


def _label_band(axes: Axes, band: Band, start: int, split: int, width: int, gap: int) -> None:
    """Write above a role's rows where its links lead, and part the two kinds by a line."""
    height = start - 0.5 - 0.15 * gap
    if band.gpu_links:
        axes.text(split / 2 - 0.5, height, "to GPUs", ha="center", va="bottom", fontsize=8)
    if band.percent.shape[1] > band.gpu_links:
        left = split if band.gpu_links or split == 2 else 0
        axes.text((left + width) / 2 - 0.5, height, f"to {picture_text(band.peers)}", ha="center", va="bottom", fontsize=8)
    if band.gpu_links and band.percent.shape[1] > band.gpu_links:
        axes.plot([split - 0.5] * 2, [start - 0.5, start + len(band.percent) - 0.5], color="white", linewidth=2.5)


def _label_axes(axes: Axes, bands: list[Band], starts: list[int], collapse: bool) -> None:
    rows = sum(len(band.percent) for band in bands)
    step = max(1, -(-rows // _TICKS))
    ticks = [
        (start + switch, f"{picture_text(band.role)}{switch}")
        for band, start in zip(bands, starts, strict=True)
        for switch in range(0, len(band.percent), step)
    ]
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks], fontsize=7)
    axes.set_ylabel("switch")
    if collapse:
        axes.set_xticks(range(4), ["mean", "maximum", "mean", "maximum"], fontsize=8)
        axes.set_xlabel("over the links of the switch")
    else:
        axes.set_xlabel("link of the switch (by port number)")
    axes.spines[:].set_visible(False)
