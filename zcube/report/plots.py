"""Pictures of a comparison: parts of the time to first token, link loads, bills; its distributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from zcube.report.distributions import plot_kv_transfer_cdf, plot_tpot_cdf, plot_ttft_cdf
from zcube.report.heatmap import plot_link_heatmap
from zcube.report.palette import ON_DARK, ON_LIGHT, PAPER, tint
from zcube.report.picture import picture_text, plain, title
from zcube.report.waterfall import plot_waterfall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zcube.report.results import Results

#: Strength of a fabric's colour in the parts of its bar, from the first part to the last.
_STRENGTHS = (1.0, 0.65, 0.35)


def plot_cost_bars(results: Results) -> Figure:
    """Draw each fabric's bill as a bar: switches, switch-side optics, NIC-side optics, in million USD.

    Parameters
    ----------
    results : Results
        What came of the fabrics.
    """
    document = results.document
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
        results,
        headline="What the fabrics cost",
        under=f"Price book {book}; switches bought whole; NICs left out; cables and labour carry no price",
        labels=("switches", "switch-side optics", "NIC-side optics"),
        parts=parts,
        remark=remark,
        axis="million USD",
        value=lambda usd: f"{usd:,.2f}",
    )


def _stacked_bars(
    results: Results,
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

    names, colours = results.names, results.colours
    lengths = {name: [part or 0.0 for part in parts(name)] for name in names}
    longest = max(sum(bar) for bar in lengths.values()) or 1.0
    figure = Figure(figsize=(8, 2.0 + 0.7 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        left = 0.0
        for length, strength in zip(lengths[name], _STRENGTHS, strict=True):
            axes.barh(row, length, 0.6, left, color=tint(colours[name], strength), edgecolor=PAPER)
            if length > 0.07 * longest:
                ink = ON_DARK if strength > 0.9 else ON_LIGHT
                axes.text(left + length / 2, row, value(length), ha="center", va="center", color=ink, fontsize=9)
            left += length
        axes.text(left + 0.01 * longest, row, remark(name), va="center", fontsize=8.5)
    axes.set_yticks(range(len(names)), [picture_text(name) for name in names.values()])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * longest)
    axes.set_xlabel(axis)
    shades = [
        Patch(facecolor=tint("#333333", strength), edgecolor=PAPER, label=label)
        for label, strength in zip(labels, _STRENGTHS, strict=True)
    ]
    axes.legend(handles=shades, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(labels), fontsize=8.5, frameon=False)
    plain(axes)
    title(figure, headline, under)
    return figure


#: Every picture of a comparison, by the name its file has.
FIGURES: Mapping[str, Callable[[Results], Figure]] = MappingProxyType(
    {
        "ttft_cdf": plot_ttft_cdf,
        "tpot_cdf": plot_tpot_cdf,
        "kv_transfer_cdf": plot_kv_transfer_cdf,
        "ttft_parts": plot_waterfall,
        "link_load": plot_link_heatmap,
        "cost": plot_cost_bars,
    }
)
