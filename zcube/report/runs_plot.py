"""A figure of several runs: a point a run and fabric, with its interval over the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zcube.report.palette import SOFT
from zcube.report.picture import picture_text, plain, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.report.results import Results
    from zcube.verdict.rows import Row

_MARKERS = "os^Dvp"


def plot_runs(
    runs: Mapping[str, Results], row: Row, names: Mapping[str, str], shown: Mapping[str, str], colours: Mapping[str, str]
) -> Figure:
    """Draw a figure of every run and fabric; the axis begins at 0.

    Parameters
    ----------
    runs : mapping
        What is compared.
    row : Row
        The figure.
    names, shown, colours : mapping
        How runs and fabrics are called, and the colour of each fabric.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 1.6 + 0.45 * len(runs)), layout="constrained")
    axes = figure.subplots()
    labelled: set[str] = set()
    spread = 0.6 / max(1, len(shown))
    places = {fabric: (at - (len(shown) - 1) / 2) * spread for at, fabric in enumerate(shown)}
    for line, results in enumerate(runs.values()):
        for fabric, found in results.fabrics.items():
            value, noise = row.value(found), None if row.exact else row.noise(found)
            if value is None:
                continue
            at, colour = line + places[fabric], colours[fabric]
            if noise is not None and noise["interval"] is not None:
                axes.plot([row.scale * end for end in noise["interval"]], [at, at], color=colour, linewidth=1.6)
            marker = _MARKERS[list(shown).index(fabric) % len(_MARKERS)]
            label = "" if fabric in labelled else picture_text(shown[fabric])
            axes.plot([value], [at], marker, color=colour, markersize=5.5, label=label or "_nolegend_")
            labelled.add(fabric)
    axes.set_yticks(range(len(runs)), [picture_text(names[name]) for name in runs])
    axes.set_ylim(len(runs) - 0.5, -0.5)
    if labelled:
        axes.set_xlim(left=0)
    else:
        # Axes without a point would carry made-up numbers.
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no run has a value", transform=axes.transAxes, ha="center", va="center", color=SOFT)
    axes.set_xlabel(f"{row.label} ({row.unit})")
    if labelled:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.5, frameon=False)
    plain(axes)
    title(figure, row.label, "")
    return figure
