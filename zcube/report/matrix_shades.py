"""Shades of a matrix's cells, the same in pictures and on the page: readable on light and dark, told apart by all readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zcube.matrix.findings import value_of
from zcube.report.matrix_table import ABSENT, FAILED
from zcube.report.palette import BLUE, VERMILLION, tint
from zcube.verdict.rows import significant

#: Of cells without a figure.
BLANK, DARK, LIGHT = "#e4e4e4", "#1b1b1b", "#ffffff"
#: Least and most of a colour.
WEAK, STRONG = 0.08, 1.0
#: Changes from here on have the strongest shade.
MOST_CHANGE = 0.6


@dataclass(frozen=True, slots=True)
class ShadedCell:
    """A cell as drawn: text, colours, and whether it is hatched."""

    text: str
    under: str
    background: str
    ink: str
    hatched: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """A heat map: what it shows, what its hatching says, and cells by row and column."""

    title: str
    note: str
    cells: Mapping[str, Mapping[str, ShadedCell]]


def panels(document: Mapping[str, Any]) -> list[Panel]:
    """Return the heat maps of a matrix: the figure itself, and its change against the baseline's fabric and transport."""
    figure, base = document["figure"], document["baseline"]
    unit = f" ({figure['unit']})" if figure["unit"] else ""
    found = [_figures(document, f"{figure['label']}{unit}")]
    if document["seeds"] > 1:
        for against, what in (
            ("fabric", f"{base['fabric']} under the same transport"),
            ("transport", f"the same fabric with {base['transport']}"),
        ):
            found.append(_changes(document, against, f"Change against {what}"))
    return found


def _figures(document: Mapping[str, Any], title: str) -> Panel:
    key, base = document["figure"]["key"], document["baseline"]
    values = {
        (row, column): value_of(cell["figures"], key)
        for row, cells in document["cells"].items()
        for column, cell in cells.items()
    }
    known = [value for value in values.values() if value is not None and value > 0]
    low, high = (min(known), max(known)) if known else (1.0, 1.0)

    def shaded(row: str, column: str) -> ShadedCell:
        value, cell = values[row, column], document["cells"][row][column]
        if value is None:
            return ShadedCell(FAILED if cell["figures"] is None else ABSENT, "", BLANK, DARK, False)
        place = math.log(value / low) / math.log(high / low) if high > low and value > 0 else 0.0
        change, seeds = _change(cell, "baseline", key), cell["by_seed"]
        between = f"{significant(min(seeds), 3)} to {significant(max(seeds), 3)}" if len(seeds) > 1 else ""
        return _shade(significant(value, 3), between, BLUE, place, change is not None and not change["differs"])

    small = " Small: least and most of the seeds." if document["seeds"] > 1 else ""
    note = f"Darker is slower. Hatched: inside the noise against {base['fabric']} with {base['transport']}.{small}"
    return Panel(title, note, _cells(document, shaded))


def _changes(document: Mapping[str, Any], against: str, title: str) -> Panel:
    key = document["figure"]["key"]

    def shaded(row: str, column: str) -> ShadedCell:
        change = _change(document["cells"][row][column], against, key)
        if change is None or change["relative"] is None:
            return ShadedCell(ABSENT, "", BLANK, DARK, False)
        low, high = change["relative_interval"]
        place = min(1.0, abs(change["relative"]) / MOST_CHANGE)
        colour = BLUE if change["relative"] < 0 else VERMILLION
        under = f"{100 * low:+.0f} to {100 * high:+.0f} %"
        return _shade(f"{100 * change['relative']:+.1f} %", under, colour, place, not change["differs"])

    note = "Blue: lower, better. Red: higher, worse. Hatched: inside the noise. Small: 95 % interval over the seeds."
    return Panel(title, note, _cells(document, shaded))


def _cells(document: Mapping[str, Any], shaded: Any) -> dict[str, dict[str, ShadedCell]]:
    return {row: {column: shaded(row, column) for column in document["transports"]} for row in document["fabrics"]}


def _change(cell: Mapping[str, Any], against: str, key: str) -> Mapping[str, Any] | None:
    found = None if cell["against"] is None else cell["against"][against]
    return None if found is None else found.get(key)


def _shade(text: str, under: str, colour: str, place: float, hatched: bool) -> ShadedCell:
    background = tint(colour, WEAK + (STRONG - WEAK) * place)
    red, green, blue = (int(background[at : at + 2], 16) / 255 for at in (1, 3, 5))
    # Relative luminance as of WCAG, by its simple approximation.
    dark_ink = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.25
    return ShadedCell(text, under, background, DARK if dark_ink else LIGHT, hatched)
