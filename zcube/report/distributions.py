"""How a latency is distributed over the completed requests, a curve a fabric: first token, further tokens, KV transfer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.quantiles import QUANTILES
from zcube.report.band_lines import band_of
from zcube.report.palette import COLOURS, LINE
from zcube.report.picture import CURVE, REACH, conditions, picture_text, plain, title
from zcube.verdict.rows import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.results import Results

#: Points of a curve beyond which more would not change the picture.
MOST_POINTS = 600
#: Where the slowest requests lie so far out that they would press all others together, the axis ends at this part of them;
#: it is said how far the longest goes.
_DRAWN, _FAR = 0.999, 1.5
_DASHES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_MARKS = (50, 80, 90, 99)


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency: its key and column, what it is called, and its unit with how many of that make a second."""

    key: str
    title: str
    axis: str
    unit: str
    per_s: float


TTFT = Latency("ttft_s", "Time to first token", "time to first token", "s", 1.0)
TPOT = Latency("tpot_s", "Time per output token after the first", "time per output token", "ms", 1e3)
KV_TRANSFER = Latency("kv_transfer_s", "KV transfer", "from a request's last KV push to its last byte", "ms", 1e3)

LATENCIES = (TTFT, TPOT, KV_TRANSFER)


def plot_ttft_cdf(results: Results) -> Figure:
    """Draw which part of the completed requests had its first token within a time, per fabric."""
    return plot_distribution(results, TTFT)


def plot_tpot_cdf(results: Results) -> Figure:
    """Draw which part of the completed requests had at most a time per output token, per fabric."""
    return plot_distribution(results, TPOT)


def plot_kv_transfer_cdf(results: Results) -> Figure:
    """Draw which part of the completed requests had its KV cache within a time of its last push, per fabric."""
    return plot_distribution(results, KV_TRANSFER)


def plot_distribution(results: Results, latency: Latency) -> Figure:
    """Draw which part of the completed requests had at most a latency, per fabric.

    Under several seeds the curves, and the values told beside their names, are those of the first: its requests are kept.
    Later fabrics are drawn thinner and dashed, so that curves that coincide are all seen. The axis begins at 0.

    Parameters
    ----------
    results : Results
        What came of the fabrics.
    latency : Latency
        Of what.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    of_seed = f", seed {results.document['seed']}" if results.document["seeds"] > 1 else ""
    sorted_ = {name: latency.per_s * counted(results, name, latency.key) for name in results.fabrics}
    for number, (name, values) in enumerate(sorted_.items()):
        colour, shown = results.colours[name], picture_text(results.names[name])
        if not len(values):
            axes.plot([], [], color=colour, label=f"{shown}: no request completed")
            continue
        at, percent = _thinned(values)
        (line,) = axes.step(
            np.concatenate([at[:1], at]),
            np.concatenate([[0.0], percent]),
            where="post",
            color=colour,
            linewidth=max(1.4, 3.6 - 1.1 * number),
            linestyle=_DASHES[(number + number // len(COLOURS)) % len(_DASHES)],
            label=f"{shown}{of_seed}: {_quantiles(values, latency)}",
        )
        line.set_gid(CURVE + results.names[name])
        _shade(axes, results, name, latency, values)
    _scale(axes, [values for values in sorted_.values() if len(values)], latency)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, fontsize=8.5, frameon=False)
    plain(axes)
    title(figure, latency.title, conditions(results))
    return figure


def counted(results: Results, name: str, key: str) -> FloatArray:
    """Return a latency of the requests of a fabric that latencies count, in order, in seconds."""
    table = results.requests[name]
    values = table.loc[table["counted"].to_numpy(dtype=bool), key].to_numpy(dtype=float)
    return np.sort(values[np.isfinite(values)])


def _scale(axes: Axes, curves: list[FloatArray], latency: Latency) -> None:
    """Give the axes their marks; from 0 on, as far as all but the very slowest."""
    for mark in _MARKS:
        axes.axhline(mark, color=LINE, linewidth=0.7, zorder=0)
        axes.annotate(
            f"P{mark}",
            (1.0, mark),
            xycoords=("axes fraction", "data"),
            xytext=(3, -3),
            textcoords="offset points",
            fontsize=8.5,
        )
    longest = max((float(values[-1]) for values in curves), default=0.0)
    most = max((float(np.quantile(values, _DRAWN)) for values in curves), default=0.0)
    end = most if longest > _FAR * most > 0 else longest
    label = f"{latency.axis} ({latency.unit})"
    axes.set_xlim(0, 1.02 * end or 1.0)
    axes.set_ylim(0, 101)
    reach = {"low": 0, "high": axes.get_xlim()[1], "top": axes.get_ylim()[1], "unit": latency.unit}
    axes.patch.set_gid(REACH + json.dumps(reach))
    axes.set_xlabel(label if end == longest else f"{label}; the longest took {significant(longest, 3)} {latency.unit}")
    axes.set_ylabel("requests with at most this (%)")


def _thinned(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sorted values and the percentage of all with at most each, at so many places that no more can be seen."""
    percent = 100.0 * np.arange(1, len(values) + 1) / len(values)
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(int))
    return values[kept], percent[kept]


def _quantiles(values: FloatArray, latency: Latency) -> str:
    """Return what the drawn curve has at some of its marks, in the curve's unit."""
    marks = [(key, float(np.quantile(values, QUANTILES[key]))) for key in ("p50", "p90", "p99")]
    return ", ".join(f"{key.upper()} {significant(value, 3)} {latency.unit}" for key, value in marks)


def _shade(axes: Axes, results: Results, name: str, latency: Latency, values: FloatArray) -> None:
    """Shade a calibration's band about a distribution, from the first quantile to the last; between them it is interpolated."""
    band, mean = band_of(results.fabrics[name]), results.fabrics[name][latency.key]
    known = {key: 100 * mark for key, mark in QUANTILES.items() if f"{latency.key}.{key}" in band and mean[key] is not None}
    if not known:
        return
    ends = {key: latency.per_s * (np.array(band[f"{latency.key}.{key}"]) - mean[key]) for key in known}
    at, percent = _thinned(values)
    marks = list(known.values())
    inside = (percent >= marks[0]) & (percent <= marks[-1])
    sides = [at[inside] + np.interp(percent[inside], marks, [reach[side] for reach in ends.values()]) for side in range(2)]
    colour = results.colours[name]
    axes.fill_betweenx(percent[inside], *sides, color=colour, alpha=0.3, linewidth=0)
    for key, mark in known.items():
        reach = float(np.quantile(values, mark / 100)) + ends[key]
        axes.plot(reach, [mark, mark], color=colour, marker="|", linewidth=1.2)
