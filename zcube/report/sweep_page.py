"""The page of a sweep: any two figures against each other, every point, how far each key moves them, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from math import isnan
from typing import TYPE_CHECKING, Any

from zcube import __version__
from zcube.report.inline_svg import inline_svg
from zcube.report.names import display_names, printable
from zcube.report.page import render_page
from zcube.report.palette import fabric_colours
from zcube.report.sweep_labels import column_label
from zcube.report.sweep_plot import number_columns, rows_by_place, values_of
from zcube.report.sweep_text import caution_lines, conditions_of, effect_cells, sweep_cells
from zcube.sweep.effects import mean_interval

if TYPE_CHECKING:
    import pandas as pd

    from zcube.sweep.sweep import Sweep

#: Figures that the page can draw against each other beside the overrides; the table has all.
FIGURES = (
    "throughput.output_tokens_per_s",
    "throughput.requests_per_s",
    "ttft_s.mean",
    "ttft_s.p50",
    "ttft_s.p99",
    "tpot_s.mean",
    "tpot_s.p99",
    "e2e_s.mean",
    "e2e_s.p99",
    "kv_transfer_s.mean",
    "kv_transfer_s.p99",
    "congestion.type1_slowdown",
    "congestion.type2_slowdown",
    "congestion.max_link_utilisation",
    "occupancy.prefill.busy",
    "occupancy.busiest_nic",
    "occupancy.busiest_switch_link",
    "prefix_cache.hit_fraction",
    "cost.fabric.usd_per_million_output_tokens",
    "bill.total_usd",
)
#: Points on fabrics that the page draws and lists; the table has all.
MOST_MARKS = 2000


def sweep_page(
    sweep: Sweep, frame: pd.DataFrame, document: Mapping[str, Any], pictures: Mapping[str, tuple[str, bytes]]
) -> str:
    """Return the page of a sweep.

    Parameters
    ----------
    sweep, frame, document
        What was run, its table and its document.
    pictures : mapping
        Caption and SVG by name.
    """
    cells = sweep_cells(document)
    return render_page(
        "sweep.html.j2",
        scripts=["sweep.js"],
        styles=["sweep.css"],
        data={"sweep-data": _drawn(sweep, frame)},
        description=printable(sweep.asked.description) if sweep.asked.description else "",
        conditions=conditions_of(document),
        heads=cells[0],
        numbers=len(cells[0]) - 4,
        rows=cells[1 : MOST_MARKS + 1],
        cautions=caution_lines(document)[:MOST_MARKS],
        left_out=max(0, len(cells) - 1 - MOST_MARKS),
        effects=None if document["effects"] is None else effect_cells(document["effects"]),
        against=_against(document),
        rule="" if document["effects"] is None else document["effects"]["rule"],
        pictures=[_picture(name, printable(caption), svg) for name, (caption, svg) in pictures.items()],
        failed=[
            (printable(one["scenario"]), one["point"], printable(one["fabric"]), one["seed"], printable(one["error"]))
            for one in document["failed"][:MOST_MARKS]
        ],
        version=__version__,
    )


def _picture(name: str, caption: str, svg: bytes) -> dict[str, Any]:
    return {"caption": caption, "svg": inline_svg(svg, name, caption), "alt": caption.split(":")[0]}


def _against(document: Mapping[str, Any]) -> str:
    effects = document["effects"]
    return "" if effects is None else f"{printable(effects['fabric'])} against {printable(effects['baseline'])}"


def _drawn(sweep: Sweep, frame: pd.DataFrame) -> dict[str, Any]:
    """Return what the script draws: columns, fabrics with their colours, and every mark's mean and interval by column."""
    numbers = number_columns(frame)
    overrides = [key for key in sweep.asked.keys if key in numbers and len(frame[key].unique()) > 1]
    columns = [*overrides, *(name for name in FIGURES if name in numbers)]
    families: dict[str, dict[str, Any]] = {}
    for run, done in zip(sweep.runs, sweep.done, strict=True):
        if not families.get(run.fabric):
            families[run.fabric] = {"family": done.figures["family"]} if done.figures else {}
    names, colours = display_names(families), fabric_colours(families)
    order = list(families)
    several = len(frame["scenario"].unique()) > 1
    varied = [key for key in sweep.asked.keys if key in frame and len(frame[key].unique()) > 1]
    of_key = {key: list(frame[key]) for key in varied}
    of_column = [values_of(frame, name) for name in columns]
    marks = []
    for (in_scenario, point, fabric), rows in islice(rows_by_place(frame).items(), MOST_MARKS):
        scenario = [printable(str(in_scenario))] if several else []
        keys = [printable(f"{key} {values[rows[0]]}") for key, values in of_key.items()]
        values = [_said([value for value in held[rows].tolist() if not isnan(value)]) for held in of_column]
        marks.append([order.index(fabric), ", ".join([f"point {point}", *scenario, *keys]), values])
    return {
        "columns": [printable(name) for name in columns],
        "labels": [printable(column_label(name)) for name in columns],
        # None of the figures can be negative.
        "from_zero": [name in FIGURES for name in columns],
        "start": [0, _at(columns, "throughput.output_tokens_per_s", "ttft_s.p99")],
        "fabrics": [{"name": names[fabric], "colour": colours[fabric]} for fabric in order],
        "marks": marks,
    }


def _said(values: list[float]) -> list[float] | None:
    """Return mean, and ends of the interval where there is one, to the digits that are drawn."""
    said = mean_interval(values)
    return None if said["mean"] is None else [float(f"{value:.6g}") for value in (said["mean"], *(said["interval"] or ()))]


def _at(columns: list[str], *wanted: str) -> int:
    return next((columns.index(name) for name in wanted if name in columns), max(0, len(columns) - 1))
