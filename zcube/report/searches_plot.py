"""What searches over loads found: tails of first tokens against load, and the part of requests within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from zcube.report.palette import SOFT
from zcube.report.picture import conditions, picture_text, plain, title
from zcube.verdict.rows import ABSENT, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.picture import Draws
    from zcube.report.results import Results

#: Figure of a search's runs: key, words, what it is multiplied by for its axis; and key of the load that was found.
_DRAWN = {
    "knee": ("ttft_p99_s", "P99 time to first token (s)", 1.0, "holds"),
    "capacity": ("share", "requests within the bounds (%)", 100.0, "load"),
}
_TITLES = {"knee": "First tokens against load", "capacity": "Service levels against load"}


def search_draws(results: Results) -> Draws:
    """Return what draws the searches that a comparison has, by the name of the picture's file, ending left out."""
    return {name: partial(plot_search, results, name) for name in _DRAWN if results.document.get(name)}


def plot_search(results: Results, name: str) -> Figure:
    """Draw a search's figure over the loads that were run, a line a fabric; the load that was found is marked.

    Parameters
    ----------
    results : Results
        With that search.
    name : {"knee", "capacity"}
        Which one; of the knee the ideal core's is dotted.
    """
    from matplotlib.figure import Figure

    found = results.document[name]
    key, words, scale, at = _DRAWN[name]
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (fabric, search) in enumerate(found["fabrics"].items()):
        colour, shown = results.colours[fabric], picture_text(results.names[fabric])
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4, "linewidth": max(1.2, 2.8 - 0.9 * number)}
        _line(axes, search["runs"], key, scale, label=shown, **style)
        if name == "knee":
            _line(axes, search["runs"], "ideal_ttft_p99_s", scale, color=colour, linestyle="dotted", linewidth=1.0)
        if search[at] is not None:
            axes.axvline(search[at], color=colour, linestyle=(0, (4, 2)), linewidth=1.0)
    if name == "capacity":
        axes.axhline(scale * found["share"], color=SOFT, linewidth=0.8)
        axes.set_ylim(0, 102)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"load ({found['unit']})")
    axes.set_ylabel(words)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, frameon=False)
    plain(axes)
    title(figure, _TITLES[name], conditions(results))
    return figure


def search_cells(found: Mapping[str, Any], name: str, names: Mapping[str, str]) -> list[list[str]]:
    """Return the runs of a search as a table, heads first: a row a fabric and load."""
    key, words, scale, _ = _DRAWN[name]
    cells = [["Fabric", f"Load ({found['unit']})", words[0].upper() + words[1:]]]
    for fabric, search in found["fabrics"].items():
        for run in sorted(search["runs"], key=lambda run: float(run["load"])):
            value = run[key]
            cells.append([names[fabric], significant(run["load"]), ABSENT if value is None else significant(scale * value)])
    return cells


def _line(axes: Axes, runs: Sequence[Mapping[str, Any]], key: str, scale: float, **style: Any) -> None:
    known = sorted((run["load"], scale * run[key]) for run in runs if run[key] is not None)
    axes.plot([load for load, _ in known], [value for _, value in known], **style)
