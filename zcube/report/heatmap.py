"""The picture of link loads: one panel per fabric, one row per switch, one cell per link that leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.report.link_bands import Band
from zcube.report.palette import LOAD, PAPER
from zcube.report.picture import conditions, picture_text, title
from zcube.verdict.rows import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.results import Results

#: Switches and links per switch beyond which single cells would be too small to see.
MOST_ROWS, MOST_COLUMNS = 300, 300

_PANELS_PER_ROW = 2
_TICKS = 20


def plot_link_heatmap(results: Results) -> Figure:
    """Draw how full every link that leaves a switch was, fabrics side by side on one colour scale.

    Where a fabric has more switches or links per switch than can be told apart, each switch shows the mean and the maximum
    over its links to GPUs and over its links to switches.

    Parameters
    ----------
    results : Results
        What came of the fabrics.
    """
    from matplotlib.figure import Figure

    names = results.names
    bands = {name: results.loads[name].bands for name in names}
    columns = min(_PANELS_PER_ROW, len(bands))
    lines = -(-len(bands) // columns)
    figure = Figure(figsize=(1.4 + 5.2 * columns, 1.5 + 4.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False)
    image = None
    for axes, name in zip(panels.flat, bands, strict=False):
        drawn = _panel(axes, bands[name])
        axes.set_title(f"{picture_text(names[name])}\n{_uplinks(results.loads[name].fullest_from_gpu)}", fontsize=9)
        image = drawn or image
    for axes in panels.flat[len(bands) :]:
        axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=panels, shrink=0.85, pad=0.015)
        bar.set_label("utilisation over the window (% of line rate)")
    title(figure, "How full the links out of switches were", conditions(results))
    return figure


def _uplinks(fullest: float) -> str:
    """Return how full the fullest link out of a GPU was, since the panel leaves those out."""
    return f"(links out of GPUs are not drawn: at most {significant(fullest, 3)} %)"


def _panel(axes: Axes, bands: Sequence[Band]) -> Any:
    """Draw one fabric; return the image for the colour bar, None if there is nothing to draw."""
    from matplotlib.colors import LinearSegmentedColormap

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
    # The scale ends where a link is full, whatever the fullest one was; where there is no link the paper shows.
    shades = LinearSegmentedColormap.from_list("load", LOAD)
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap=shades, vmin=0.0, vmax=100.0)
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
        axes.plot([split - 0.5] * 2, [start - 0.5, start + len(band.percent) - 0.5], color=PAPER, linewidth=2.5)


def _label_axes(axes: Axes, bands: Sequence[Band], starts: list[int], collapse: bool) -> None:
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
