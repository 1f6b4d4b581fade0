"""Pictures of a comparison's variations: a tornado over parameters, and curves over the values of a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from zcube.report.names import display_names
from zcube.report.palette import GREEN, INK, ORANGE, SKY, SOFT, fabric_colours
from zcube.report.picture import conditions, picture_text, plain, title
from zcube.report.variations_table import swept_fabrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.report.picture import Draws
    from zcube.report.results import Results

#: Names of the pictures' files, ending left out.
PICTURES = ("sensitivity", "sweep")

#: Figures of a tornado: key, words, key of the published change.
_JUDGED = (("output", "output throughput", "throughput"), ("ttft_p99", "P99 time to first token", "ttft_p99"))

_DARK, _SOFT, _PUBLISHED = INK, SOFT, GREEN
#: Bars to the left of the scenario's own figure, and to the right.
_SIDES = (SKY, ORANGE)
#: Height of a setting and of what is around a panel's settings, in inches.
_LINE, _AROUND = 0.24, 1.1
#: Least half of what a tornado's axis spans.
LEAST_REACH_PERCENT = 0.1


NO_RATES = "no rates: every run was too brief for a window"


def variation_draws(results: Results) -> Draws:
    """Return what draws the variations that a comparison has, by the name of the picture's file, ending left out."""
    draws = {"sensitivity": plot_tornado, "sweep": plot_sweep}
    return {name: partial(draw, results) for name, draw in draws.items() if results.document.get(name)}


def plot_tornado(results: Results) -> Figure:
    """Draw how each parameter moves what a fabric changes against the baseline, published changes marked.

    A bar spans the settings of a parameter and the scenario's own; parameters with long bars stand above. Whiskers are
    intervals over the seeds.

    Parameters
    ----------
    results : Results
        With ``sensitivity``.
    """
    return tornado(results.document["sensitivity"], "One parameter at a time", conditions(results), "the scenario")


def tornado(sensitivity: Mapping[str, Any], head: str, under: str, own_words: str) -> Figure:
    """Draw a tornado of changes by parameter and setting, as ``sensitivity`` of a comparison has them.

    Parameters
    ----------
    sensitivity : mapping
        Changes, and those that stand in the middle.
    head, under : str
        What is shown, and under which conditions.
    own_words : str
        What the changes in the middle are of.
    """
    from matplotlib.figure import Figure

    shown = [one for one in _JUDGED if any(_changes(sensitivity, one[0]))] or _JUDGED[-1:]
    settings = max(1, *(sum(1 for _ in _changes(sensitivity, key)) for key, _, _ in _JUDGED))
    figure = Figure(figsize=(8, len(shown) * (_LINE * settings + _AROUND) + 0.9), layout="constrained")
    for axes, (key, words, published) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        mark = None if sensitivity["published"] is None else sensitivity["published"][published]
        _tornado(axes, sensitivity, key, f"change of {words} (%)", mark, own_words)
    others = [name for name in sensitivity["scenario"] if name != sensitivity["baseline"]]
    names = display_names(list(sensitivity["scenario"]))
    against = (
        f"{picture_text(', '.join(names[name] for name in others))} against {picture_text(names[sensitivity['baseline']])}"
    )
    seeds = sensitivity["seeds"]
    whiskers = f"; whiskers: 95 % intervals over {seeds} seeds" if seeds > 1 else ""
    title(figure, f"{head}: {against}", under + whiskers + "".join(f"; {words}" for words in left_out(sensitivity)))
    return figure


def left_out(sensitivity: Mapping[str, Any]) -> list[str]:
    """Return, in words, the panels that a tornado leaves out."""
    return [f"{words} left out, no change of it is known" for key, words, _ in _JUDGED if not any(_changes(sensitivity, key))]


def _tornado(axes: Axes, sensitivity: Mapping[str, Any], key: str, label: str, published: float | None, own_words: str) -> None:
    own = next(iter(_of(sensitivity["scenario"], key)), None)
    by_parameter: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for parameter, setting, change in _changes(sensitivity, key):
        by_parameter.setdefault(parameter, []).append((setting, change))
    centre = None if own is None else 100 * own["change"]

    def reach(parameter: str) -> float:
        ends = [100 * change["change"] for _, change in by_parameter[parameter]] + ([] if centre is None else [centre])
        return max(ends) - min(ends)

    place, ticks, labels = 0.0, [], []
    for parameter in sorted(by_parameter, key=lambda name: (-reach(name), name)):
        for setting, change in by_parameter[parameter]:
            value = 100 * change["change"]
            if centre is not None:
                axes.barh(place, value - centre, left=centre, height=0.62, color=_SIDES[value >= centre], alpha=0.85, zorder=2)
            if change["interval"] is not None:
                axes.plot([100 * end for end in change["interval"]], [place, place], color=_DARK, linewidth=1.0, zorder=3)
            axes.plot([value], [place], marker="o", markersize=3.5, color=_DARK, zorder=4)
            ticks.append(place)
            labels.append(f"{picture_text(parameter)}: {picture_text(setting)}")
            place += 1.0
        place += 0.4
    axes.set_yticks(ticks, labels, fontsize=8.5)
    axes.set_ylim(place - 0.2, -0.9)
    axes.axvline(0, color=_SOFT, linewidth=0.8, zorder=1)
    handles = []
    if centre is not None:
        handles.append(
            axes.axvline(centre, color=_DARK, linewidth=1.2, zorder=1, label=f"{own_words} {round(centre, 1) + 0.0:+.1f} %")
        )
    if published is not None:
        mark = f"published {100 * published:+.1f} %"
        handles.append(axes.axvline(100 * published, color=_PUBLISHED, linewidth=1.4, linestyle=(0, (4, 2)), label=mark))
    if handles:
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, frameon=False)
    if not by_parameter:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no change is known", transform=axes.transAxes, ha="center", va="center", color=_SOFT)
    low, high = axes.get_xlim()
    if high - low < 2 * LEAST_REACH_PERCENT:
        # Rounding of the last digits is no change.
        axes.set_xlim((low + high) / 2 - LEAST_REACH_PERCENT, (low + high) / 2 + LEAST_REACH_PERCENT)
    axes.set_xlabel(label)
    plain(axes)


def plot_sweep(results: Results) -> Figure:
    """Draw output throughput and times to first token over the values of a key, a line per fabric.

    Values that are no numbers stand evenly spaced.

    Parameters
    ----------
    results : Results
        With ``sweep``.
    """
    from matplotlib.figure import Figure

    sweep = results.document["sweep"]
    runs = sweep["runs"]
    fabrics = swept_fabrics(sweep)
    names, colours = display_names(list(fabrics)), fabric_colours(fabrics)
    at = [_number(run["setting"]) for run in runs]
    numbers = [value for value in at if value is not None]
    even = len(numbers) < len(at)
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for number, name in enumerate(fabrics):
        style: dict[str, Any] = {
            "color": colours[name],
            "marker": "o",
            "markersize": 4,
            "linewidth": max(1.2, 2.8 - 0.9 * number),
        }
        for axes, key, dash, what in (
            (above, "output", "solid", ""), (below, "ttft_p99", "solid", " P99"), (below, "ttft_mean", (0, (4, 2)), " mean")
        ):  # fmt: skip
            points = [
                (place if even else value, run["fabrics"].get(name, {}).get(key))
                for place, (value, run) in enumerate(zip(at, runs, strict=True))
            ]
            known = sorted((x, y) for x, y in points if x is not None and y is not None)
            axes.plot(
                [x for x, _ in known],
                [y for _, y in known],
                linestyle=dash,
                label=f"{picture_text(names[name])}{what}",
                **style,
            )
    if even:
        below.set_xticks(range(len(runs)), [picture_text(run["setting"]) for run in runs], fontsize=8.5)
    if not any(fabric["output"] is not None for run in runs for fabric in run["fabrics"].values()):
        # Axes without a point would carry made-up numbers.
        above.set_yticks([])
        above.text(0.5, 0.5, NO_RATES, transform=above.transAxes, ha="center", va="center", color=_SOFT)
    above.set_ylabel("output tokens/s")
    below.set_ylabel("time to first token (s)")
    below.set_xlabel(picture_text(runs[0]["parameter"]))
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        # Above the axes, where it lies on no curve.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8.5, frameon=False)
        plain(axes)
    title(figure, f"Over {picture_text(runs[0]['parameter'])}", conditions(results))
    return figure


def _number(setting: str) -> float | None:
    try:
        return float(setting)
    except ValueError:
        return None


def _changes(sensitivity: Mapping[str, Any], key: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Give parameter, setting and change of every variation of the first fabric that is not the baseline."""
    for run in sensitivity["runs"]:
        for change in _of(run["fabrics"], key):
            yield run["parameter"], run["setting"], change


def _of(fabrics: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the change of the first fabric that is not the baseline; nothing where it has none."""
    others = [fabric["against"] for fabric in fabrics.values() if fabric["against"] is not None]
    return [against[key] for against in others[:1] if against[key] is not None]
