"""Pictures of a comparison: latency distribution, parts of the time to first token, link loads, bills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray
from zcube.quantiles import QUANTILES
from zcube.report.heatmap import plot_link_heatmap
from zcube.report.names import display_names
from zcube.report.palette import COLOURS, fabric_colours, tint
from zcube.report.picture import conditions, picture_text, title
from zcube.report.waterfall import plot_waterfall
from zcube.serving.journey import COMPLETED
from zcube.verdict.rows import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.comparison import Comparison, FabricResult

__all__ = ["FIGURES", "plot_cost_bars", "plot_link_heatmap", "plot_ttft_cdf", "plot_waterfall"]

#: Points of a curve beyond which more would not change the picture.
MOST_POINTS = 4000

#: Strength of a fabric's colour in the parts of its bar, from the first part to the last.
_STRENGTHS = (1.0, 0.65, 0.35)
_DASHES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def plot_ttft_cdf(comparison: Comparison) -> Figure:
    """Draw which part of the completed requests had its first token within a time, per fabric.

    Later fabrics are drawn thinner and dashed, so that curves that coincide are all seen.

    Parameters
    ----------
    comparison : Comparison
        What came of the fabrics.
    """
    from matplotlib.figure import Figure

    names, colours = display_names(comparison.results), _colours(comparison)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    longest_s = 0.0
    for number, (name, result) in enumerate(comparison.results.items()):
        ttft_s, percent = _distribution(result)
        if not len(ttft_s):
            axes.plot([], [], color=colours[name], label=f"{picture_text(names[name])}: no request completed")
            continue
        longest_s = max(longest_s, float(ttft_s[-1]))
        axes.step(
            np.concatenate([ttft_s[:1], ttft_s]),
            np.concatenate([[0.0], percent]),
            where="post",
            color=colours[name],
            linewidth=max(1.4, 3.6 - 1.1 * number),
            linestyle=_DASHES[(number + number // len(COLOURS)) % len(_DASHES)],
            label=f"{picture_text(names[name])}: {_quantiles(result)}",
        )
        _shade(axes, result, colours[name], ttft_s, percent)
    for mark in (50, 80, 90, 99):
        axes.axhline(mark, color="#999999", linewidth=0.7, zorder=0)
        axes.annotate(f"P{mark}", (1.0, mark), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points")
    axes.set_xlim(0, 1.02 * longest_s or 1.0)
    axes.set_ylim(0, 101)
    axes.set_xlabel("time to first token (s)")
    axes.set_ylabel("completed requests with at most this time (%)")
    axes.legend(loc="lower right", fontsize=9)
    _plain(axes)
    title(figure, "Time to first token", conditions(comparison))
    return figure


def plot_cost_bars(comparison: Comparison) -> Figure:
    """Draw each fabric's bill as a bar: switches, switch-side optics, NIC-side optics, in million USD.

    Parameters
    ----------
    comparison : Comparison
        What came of the fabrics.
    """
    document = comparison.document()
    bills = {name: fabric["bill"] for name, fabric in document["fabrics"].items()}

    def parts(name: str) -> list[float | None]:
        bill = bills[name]
        switch_side, both = bill["optics_usd"], bill["with_nic_side"]["optics_usd"]
        nic_side = None if switch_side is None or both is None else both - switch_side
        return [None if usd is None else usd / 1e6 for usd in (bill["switch_usd"], switch_side, nic_side)]

    def remark(name: str) -> str:
        total = bills[name]["total_usd"]
        if total is None:
            return "total unknown:\na price is missing"
        relative = document["fabrics"][name]["relative"]["bill_usd"]
        change = "" if name == document["baseline"] or relative is None else f" ({100 * relative:+.1f} %)"
        return f"switch side {total / 1e6:,.2f}{change}\nwith NIC side {sum(part or 0.0 for part in parts(name)):,.2f}"

    book = next(iter(bills.values()))["price_book"]
    return _stacked_bars(
        comparison,
        headline="What the fabrics cost",
        under=f"Price book {book}; switches bought whole; NICs left out; cables and labour carry no price",
        labels=("switches", "switch-side optics", "NIC-side optics"),
        parts=parts,
        remark=remark,
        axis="million USD",
        value=lambda usd: f"{usd:,.2f}",
    )


def _stacked_bars(
    comparison: Comparison,
    headline: str,
    under: str,
    labels: tuple[str, ...],
    parts: Callable[[str], list[float | None]],
    remark: Callable[[str], str],
    axis: str,
    value: Callable[[float], str],
) -> Figure:
    """Draw one bar per fabric in shades of its colour; a part without a value is left out."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names, colours = display_names(comparison.results), _colours(comparison)
    lengths = {name: [part or 0.0 for part in parts(name)] for name in names}
    longest = max(sum(bar) for bar in lengths.values()) or 1.0
    figure = Figure(figsize=(8, 2.0 + 0.7 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        left = 0.0
        for length, strength in zip(lengths[name], _STRENGTHS, strict=True):
            axes.barh(row, length, 0.6, left, color=tint(colours[name], strength), edgecolor="white")
            if length > 0.07 * longest:
                ink = "white" if strength > 0.9 else "black"
                axes.text(left + length / 2, row, value(length), ha="center", va="center", color=ink, fontsize=9)
            left += length
        axes.text(left + 0.01 * longest, row, remark(name), va="center", fontsize=8.5)
    axes.set_yticks(range(len(names)), [picture_text(name) for name in names.values()])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * longest)
    axes.set_xlabel(axis)
    shades = [
        Patch(facecolor=tint("#333333", strength), edgecolor="white", label=label)
        for label, strength in zip(labels, _STRENGTHS, strict=True)
    ]
    axes.legend(handles=shades, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(labels), fontsize=8.5, frameon=False)
    _plain(axes)
    title(figure, headline, under)
    return figure


def _distribution(result: FabricResult) -> tuple[np.ndarray, np.ndarray]:
    """Return times to first token in order and the percentage of completed requests with at most each, thinned."""
    ttft_s = np.sort(result.run.journeys.ttft_s()[_counted(result)])
    percent = 100.0 * np.arange(1, len(ttft_s) + 1) / max(1, len(ttft_s))
    kept = np.unique(np.linspace(0, len(ttft_s) - 1, min(len(ttft_s), MOST_POINTS)).round().astype(int))
    return ttft_s[kept], percent[kept]


def _counted(result: FabricResult) -> BoolArray:
    """Return which requests latencies count: those that arrived in the window and completed [requests]."""
    journeys = result.run.journeys
    return (journeys.outcome == COMPLETED) & result.run.window.holds(journeys.arrival_s)


def _quantiles(result: FabricResult) -> str:
    ttft_s = result.metrics["ttft_s"]
    return ", ".join(f"{key.upper()} {significant(ttft_s[key], 3)} s" for key in ("p50", "p80", "p90", "p99"))


def _shade(axes: Axes, result: FabricResult, colour: str, ttft_s: np.ndarray, percent: np.ndarray) -> None:
    """Shade a calibration's band about a distribution, from the first quantile to the last; between them it is interpolated."""
    band = {} if result.band is None else result.band.figures
    known = {name: 100 * mark for name, mark in QUANTILES.items() if f"ttft_s.{name}" in band}
    if not known:
        return
    marks, mean = list(known.values()), result.metrics["ttft_s"]
    inside = (percent >= marks[0]) & (percent <= marks[-1])
    ends = [
        ttft_s[inside] + np.interp(percent[inside], marks, [band[f"ttft_s.{name}"][end] - mean[name] for name in known])
        for end in range(2)
    ]
    axes.fill_betweenx(percent[inside], *ends, color=colour, alpha=0.3, linewidth=0)
    for name, mark in known.items():
        reach = [result.repeats[0]["ttft_s"][name] + end - mean[name] for end in band[f"ttft_s.{name}"]]
        axes.plot(reach, [mark, mark], color=colour, marker="|", linewidth=1.2)


def _colours(comparison: Comparison) -> dict[str, str]:
    return fabric_colours({name: {"family": result.fabric.family} for name, result in comparison.results.items()})


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)


#: Every picture of a comparison, by the name its file has.
FIGURES: Mapping[str, Callable[[Comparison], Figure]] = MappingProxyType(
    {
        "ttft_cdf": plot_ttft_cdf,
        "ttft_parts": plot_waterfall,
        "link_load": plot_link_heatmap,
        "cost": plot_cost_bars,
    }
)
