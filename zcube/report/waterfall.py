"""What times to first token consist of, as bars: the mean and the slowest requests of every fabric, part after part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zcube.report.names import display_names
from zcube.report.palette import ON_DARK, ON_LIGHT, PAPER
from zcube.report.part_colours import looks_of, parts_shown
from zcube.report.picture import conditions, picture_text, plain, title
from zcube.verdict.rows import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.results import Results

#: Compositions of a run and what they are of.
PANELS = {"mean": "mean of all requests", "slowest": "mean of the slowest, from the P99 on"}
#: Part of the longest bar from which on a part has its figure written in it.
_LABELLED = 0.08


def plot_waterfall(results: Results) -> Figure:
    """Draw what times to first token consist of, part after part, of all requests and of the slowest hundredth.

    Parts add up to the time to first token; one below 0 leads back, drawn thinner.

    Parameters
    ----------
    results : Results
        What came of the fabrics.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = display_names(results.fabrics)
    parts_s = {name: fabric["ttft_parts_s"] for name, fabric in results.fabrics.items()}
    shown = parts_shown([one[panel] for one in parts_s.values() for panel in PANELS])
    looks = looks_of(list(next(iter(parts_s.values()))["mean"]))
    figure = Figure(figsize=(7, 2.6 + 1.1 * len(names)), layout="constrained")
    above, below = figure.subplots(2, 1)
    for axes, (panel, of) in zip((above, below), PANELS.items(), strict=True):
        _bars(axes, {names[name]: one[panel] for name, one in parts_s.items()}, shown, looks)
        axes.set_xlabel(f"s, {of}", fontsize=10)
    handles = [Patch(facecolor=looks[part][0], hatch=looks[part][1], edgecolor=PAPER, label=looks[part][2]) for part in shown]
    if handles:
        above.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=4,
            columnspacing=1.2,
            fontsize=9,
            frameon=False,
        )
    title(figure, "What the time to first token consists of", conditions(results))
    return figure


def _bars(axes: Axes, bars: dict[str, dict[str, Any]], shown: list[str], looks: dict[str, tuple[str, str, str]]) -> None:
    """Draw a bar a fabric."""
    longest_s = max(sum(one[part] or 0.0 for part in shown) for one in bars.values()) or 1.0
    for row, one in enumerate(bars.values()):
        at_s = 0.0
        for part in shown:
            colour, hatch, _ = looks[part]
            seconds = one[part] or 0.0
            height = 0.62 if seconds >= 0 else 0.3
            axes.barh(row, seconds, height, at_s, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.8)
            if seconds > _LABELLED * longest_s:
                ink = ON_DARK if part in ("prefill", "kv_memory") else ON_LIGHT
                middle_s = at_s + seconds / 2
                axes.text(middle_s, row, significant(seconds, 3), ha="center", va="center", color=ink, fontsize=9.5)
            at_s += seconds
        total = "no request completed" if None in one.values() else f"{significant(at_s)} s"
        axes.text(at_s + 0.015 * longest_s, row, total, va="center", fontsize=10)
    axes.set_yticks(range(len(bars)), [picture_text(name) for name in bars], fontsize=10)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * longest_s)
    plain(axes)
