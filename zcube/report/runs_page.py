"""Several runs side by side: headline figures by run and fabric, and the conditions in which they differ."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube import __version__
from zcube.outputs import flat
from zcube.report.definitions import Entry, definition_entries, entry_key
from zcube.report.headline_table import headline_rows
from zcube.report.inline_svg import inline_svg
from zcube.report.names import display_names, printable
from zcube.report.page import Section, render_page
from zcube.report.palette import fabric_colours
from zcube.report.picture import svg_bytes
from zcube.report.results import Results
from zcube.report.runs_apart import pairing, side_by_side
from zcube.report.runs_plot import plot_runs
from zcube.verdict.headline import OUTPUT, TTFT_P99
from zcube.verdict.rows import ABSENT, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Figures that are drawn, each a picture.
_DRAWN = {"runs-output": OUTPUT, "runs-ttft": TTFT_P99}


def runs_page(runs: Mapping[str, Results], sections: Sequence[Section] = ()) -> str:
    """Return the page of several runs.

    Parameters
    ----------
    runs : mapping
        By the folder's name as it was given; the others are compared with the first.
    sections : sequence of Section
        Parts from other rooms.
    """
    names = display_names(runs)
    entries: dict[tuple[str, str, str], Entry] = {}
    for results in runs.values():
        for key, entry in definition_entries(results.document).items():
            entries.setdefault(key, Entry(f"definition-{len(entries) + 1}", entry.name, entry.unit, entry.text))
    fabrics = {name: fabric for results in runs.values() for name, fabric in results.fabrics.items()}
    colours, shown = fabric_colours(fabrics), display_names(fabrics)
    return render_page(
        "runs.html.j2",
        runs=[_run(name, names[name], results) for name, results in runs.items()],
        rows=[
            {
                "label": row.label,
                "unit": row.unit,
                "entry": entries[entry_key(row)].entry if entry_key(row) in entries else "",
                "fabric": shown[fabric],
                "colour": colours[fabric],
                "cells": cells,
            }
            for row in headline_rows()
            for fabric, cells in side_by_side(runs, row).items()
        ],
        pictures={name: _picture(name, row, plot_runs(runs, row, names, shown, colours)) for name, row in _DRAWN.items()},
        unpaired=[(names[run], printable(said)) for run, said in pairing(runs, names)],
        cautions=[
            f"{names[run]}: {printable(said)}"
            for run, results in runs.items()
            for said in results.document["verdict"]["sentences"]["cautions"]
        ],
        sections=sections,
        differences=_differences(runs),
        definitions=entries.values(),
        version=__version__,
    )


def _run(given: str, name: str, results: Results) -> dict[str, Any]:
    sentences = results.document["verdict"]["sentences"]["headline"]
    return {
        "name": name,
        "folder": printable(given),
        "verdict": [printable(sentence) for sentence in sentences],
        "call": printable(shlex.join(["zcube", *results.call])) if results.call else "",
    }


def _picture(name: str, row: Row, figure: Figure) -> dict[str, Any]:
    alt, caption = f"{row.label} by run and fabric", f"{row.label} ({row.unit}); lines are 95 % intervals over the seeds."
    return {"svg": inline_svg(svg_bytes(figure), name, alt), "alt": alt, "caption": caption}


def _differences(runs: Mapping[str, Results]) -> list[tuple[str, list[str]]]:
    """Return the keys in which the runs' scenarios differ, with the value of each run."""
    tables = [flat(results.scenario) for results in runs.values()]
    keys = dict.fromkeys(key for table in tables for key in table)
    texts = {key: [_text(table.get(key)) for table in tables] for key in keys}
    return [(printable(key), values) for key, values in texts.items() if len(set(values)) > 1]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value)) or ABSENT)
    return ABSENT if value is None or value == "" else printable(str(value))
