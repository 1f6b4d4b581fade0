"""The heat maps of a matrix: fabrics as rows, transports as columns, the figure in each cell, hatched inside the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zcube.report.matrix_shades import Panel, panels
from zcube.report.names import display_names
from zcube.report.picture import picture_text, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches of a column, a row, and what stands around a panel.
_COLUMN, _ROW, _LEFT, _AROUND = 1.25, 0.62, 2.3, 1.25


def plot_matrix(document: Mapping[str, Any]) -> Figure:
    """Draw a matrix.

    Parameters
    ----------
    document : mapping
        ``Matrix.document()``.
    """
    from matplotlib.figure import Figure

    found = panels(document)
    rows, columns = len(document["fabrics"]), len(document["transports"])
    size = (max(6.5, _LEFT + _COLUMN * columns), (_AROUND + _ROW * rows) * len(found) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    for axes, panel in zip(figure.subplots(len(found), squeeze=False).flat, found, strict=True):
        _draw(axes, panel, document)
    title(figure, "Fabrics against transports", matrix_conditions(document))
    return figure


def matrix_conditions(document: Mapping[str, Any]) -> str:
    """Return in one line under which conditions a matrix was made."""
    load, suffers = document["load"], document["conditions"]
    parts = [f"{load['name']}", f"fidelity {document['fidelity']}", f"{document['seeds']} seeds from {document['seed']}"]
    if suffers["failed_links"]:
        parts.append(f"{suffers['failed_links']} failed links between switches")
    if suffers["slow_nics"]:
        parts.append(f"{suffers['slow_nics']} slow NICs at {suffers['slow_nic_share']:.0%} of their rate")
    return "; ".join(parts)


def _draw(axes: Axes, panel: Panel, document: Mapping[str, Any]) -> None:
    from matplotlib.patches import Rectangle

    names, columns = display_names(document["fabrics"]), list(document["transports"])
    for y, cells in enumerate(panel.cells.values()):
        for x, cell in enumerate(cells.values()):
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=cell.background, edgecolor="white", linewidth=1.5))
            if cell.hatched:
                hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": cell.ink, "alpha": 0.3, "hatch": "////"}
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=0.0, **hatched))
            box = {"facecolor": cell.background, "edgecolor": "none", "pad": 1.2} if cell.hatched else None
            above = y - 0.1 if cell.under else y
            axes.text(x, above, cell.text, ha="center", va="center", fontsize=10, color=cell.ink, bbox=box)
            if cell.under:
                axes.text(x, y + 0.27, cell.under, ha="center", va="center", fontsize=6.5, color=cell.ink, bbox=box)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(panel.cells) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [picture_text(name).replace("+", "\n+ ") for name in columns], fontsize=8)
    axes.set_yticks(range(len(panel.cells)), [picture_text(names[row]) for row in panel.cells], fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{picture_text(panel.title)}\n", fontsize=10, loc="left")
    axes.text(0, 1.02, panel.note, transform=axes.transAxes, fontsize=7.5, color="#555555", va="bottom")
