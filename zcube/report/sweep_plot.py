"""Pictures of a sweep: any two columns of its table against each other, means over the seeds with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.outputs import INFINITE
from zcube.report.names import display_names
from zcube.report.palette import fabric_colours
from zcube.report.picture import picture_text, plain, title
from zcube.report.sweep_labels import column_label
from zcube.sweep.effects import JUDGED, mean_interval
from zcube.sweep.table import override_column
from zcube.verdict.table import ROWS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zcube.kept_runs import KeptRun
    from zcube.sweep.runs import Run
    from zcube.sweep.settings import SweepSettings
    from zcube.sweep.sweep import Sweep

_LINES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
#: Lines of other overrides that a legend names.
MOST_NAMED = 12
#: First parts of figures' names that no row of the comparison's table has.
MORE_HEADS = frozenset({"duration_s", "gpus", "occupancy", "reachability", "tilert", "ttft_links", "ttft_parts_s", "window"})
#: Columns that are named in the place of one that is not there.
NEAREST = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a plot: where it stands, the ends of its intervals, and which line it is of."""

    fabric: str
    family: str
    line: str
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None


def plots_of(asked: SweepSettings, frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the columns of the plots that a sweep asks for, or of those that are drawn of each.

    Raises
    ------
    InputError
        With every column that the table lacks or that holds no number.
    """
    numbers = number_columns(frame)
    chosen = [(plot.x, plot.y) for plot in asked.plots]
    if not chosen:
        keys = [key for key in asked.keys if key in numbers and len(frame[key].unique()) > 1]
        chosen = [(key, figure) for key in keys for figure in JUDGED.values() if figure in numbers]
    lacking = dict.fromkeys(name for plot in chosen for name in plot if name not in numbers)
    if lacking:
        raise InputError(Fault(f"plot of {name}", "no column of numbers", _nearest(name, numbers)) for name in lacking)
    return chosen


def check_plots(asked: SweepSettings, runs: Sequence[Run], known: Mapping[str, KeptRun]) -> None:
    """Refuse plots of columns that the table will not have, as far as runs that are known tell its figures.

    Parameters
    ----------
    asked, runs
        The sweep and its runs.
    known : mapping of KeptRun
        Runs by key; without one of this sweep's any name of figures may be one, by its first part.

    Raises
    ------
    InputError
        With every column that will not be there, or that holds text.
    """
    figures = {
        key: value for run in runs if run.key is not None and run.key in known for key, value in known[run.key].figures.items()
    }
    heads = {row.path[0] for row in ROWS} | MORE_HEADS
    overridden = {override_column(key, list(figures)): key for key in asked.keys}
    numbers = [key for key, value in figures.items() if value == INFINITE or not isinstance(value, str | bool)]
    for column, key in overridden.items():
        values = [run.case.point.overrides.get(key) for run in runs]
        if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
            numbers.append(column)
    named = dict.fromkeys(name for plot in asked.plots for name in (plot.x, plot.y))
    told = numbers if figures else [*numbers, *dict.fromkeys(".".join(row.path) for row in ROWS)]
    faults = [
        Fault(f"plot of {name}", "no column of numbers", _nearest(name, told))
        for name in named
        if name not in numbers and (figures or name in overridden or name.split(".")[0] not in heads)
    ]
    if faults:
        raise InputError(faults)


def _nearest(name: str, numbers: Sequence[str]) -> str:
    """Return the columns whose names, or last parts of them, are most like one, and where all stand."""
    near = get_close_matches(name, numbers, NEAREST, 0.5)
    near += [one for one in numbers if name in one.split(".") and one not in near]
    said = f"{', '.join(near[:NEAREST]) or ', '.join(numbers[:NEAREST])}, or another"
    return f"{said} of the {len(numbers)} columns of numbers of points.parquet (docs/sweep.md)"


def number_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns that hold numbers, at least one, which say more than a row's place."""
    places = ("point", "seed")
    return [str(name) for name in frame if frame[name].dtype.kind in "if" and name not in places and frame[name].notna().any()]


def plot_columns(sweep: Sweep, frame: pd.DataFrame, x: str, y: str, under: str) -> Figure:
    """Draw one column of a sweep's table over another, a colour a fabric; points of a grid are joined along ``x``."""
    from matplotlib.figure import Figure

    marks = marks_of(sweep, frame, x, y)
    fabrics = {mark.fabric: {"family": mark.family} for mark in marks}
    names, colours = display_names(list(fabrics)), fabric_colours(fabrics)
    lines: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        lines.setdefault((mark.fabric, mark.line), []).append(mark)
    others = list(dict.fromkeys(line for _, line in lines))
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for number, ((fabric, line), held) in enumerate(lines.items()):
        held = sorted(held, key=lambda mark: (mark.x, mark.y))
        style = _LINES[others.index(line) % len(_LINES)] if sweep.asked.grid is not None and len(held) > 1 else "none"
        label = names[fabric] + (f", {line}" if line and sweep.asked.grid is not None else "")
        named = picture_text(label) if number < MOST_NAMED and (style != "none" or line == others[0]) else None
        axes.errorbar(
            [mark.x for mark in held], [mark.y for mark in held], xerr=_reach(held, "x"), yerr=_reach(held, "y"),
            linestyle=style, marker="o", markersize=4, linewidth=1.3, elinewidth=0.9, capsize=2,
            color=colours[fabric], label=named,
        )  # fmt: skip
    if not marks:
        axes.text(0.5, 0.5, "no run has both", transform=axes.transAxes, ha="center", va="center")
    elif min(mark.y for mark in marks) >= 0:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(picture_text(column_label(x)))
    axes.set_ylabel(picture_text(column_label(y)))
    plain(axes)
    if marks:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, frameon=False)
    title(figure, picture_text(f"{y} over {x}"), f"{under}; bars: 95 % intervals of the mean over the seeds")
    return figure


def marks_of(sweep: Sweep, frame: pd.DataFrame, x: str, y: str) -> list[Mark]:
    """Return the points of a plot: of every scenario, point and fabric the means over the seeds of what both columns have."""
    several = len(frame["scenario"].unique()) > 1
    varied = [key for key in sweep.asked.keys if key != x and key in frame and len(frame[key].unique()) > 1]
    families = list(frame["family"]) if "family" in frame else [None] * len(frame)
    of_key = {key: list(frame[key]) for key in varied}
    both = np.stack([values_of(frame, name) for name in (x, y)])
    known = [not (isnan(one) or isnan(other)) for one, other in both.T.tolist()]
    found = []
    for (scenario, _, fabric), rows in rows_by_place(frame).items():
        said = [mean_interval(values[[row for row in rows if known[row]]].tolist()) for values in both]
        if any(one["mean"] is None for one in said):
            continue
        words = ([str(scenario)] if several else []) + [f"{key} {values[rows[0]]}" for key, values in of_key.items()]
        ends = [None if one["interval"] is None else tuple(one["interval"]) for one in said]
        family = next((str(families[row]) for row in rows if isinstance(families[row], str)), "")
        found.append(Mark(str(fabric), family, ", ".join(words), said[0]["mean"], said[1]["mean"], ends[0], ends[1]))
    return found


def rows_by_place(frame: pd.DataFrame) -> dict[tuple[str, int, str], list[int]]:
    """Return the rows of every scenario, point and fabric of a sweep's table, in their order."""
    places: dict[tuple[str, int, str], list[int]] = {}
    for row, place in enumerate(zip(frame["scenario"], frame["point"], frame["fabric"], strict=True)):
        places.setdefault(place, []).append(row)
    return places


def values_of(frame: pd.DataFrame, name: str) -> FloatArray:
    """Return a column of numbers, NaN where none is known."""
    return np.asarray(frame[name].astype("Float64").to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)


def _reach(marks: Sequence[Mark], axis: str) -> Any:
    """Return how far intervals reach below and above, None where no mark has one."""
    if all(getattr(mark, f"{axis}_ends") is None for mark in marks):
        return None
    ends = [getattr(mark, f"{axis}_ends") or (getattr(mark, axis),) * 2 for mark in marks]
    here = [getattr(mark, axis) for mark in marks]
    return [
        [at - low for at, (low, _) in zip(here, ends, strict=True)],
        [high - at for at, (_, high) in zip(here, ends, strict=True)],
    ]
