"""The figures that a comparison is judged by, with their intervals over the seeds: what a reader sees first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.definitions import Entry, entry_key
from zcube.report.names import display_names
from zcube.verdict.request_sets import marked
from zcube.verdict.rows import ABSENT, Document, Row, significant
from zcube.verdict.table import ROWS

#: Rows by label and unit, in their order.
HEADLINE = (
    ("Output", "tok/s"),
    ("TTFT mean", "s"),
    ("TTFT P99", "s"),
    ("TPOT P99", "ms"),
    ("End to end P99", "s"),
    ("KV transfer mean", "ms"),
    ("KV transfer P99", "ms"),
    ("Total", "USD"),
    ("Fabric, power too", "USD/Mtok"),
)


def headline_table(document: Document, entries: Mapping[tuple[str, str, str], Entry]) -> dict[str, Any]:
    """Return caption and rows: a cell a fabric with value, interval, change against the baseline and the change's interval.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    entries : mapping
        Where figures are defined, as :func:`zcube.report.definitions.definition_entries` gives it.
    """
    seeds, base = document["seeds"], document["baseline"]
    shown = display_names(document["fabrics"])[base]
    held = f"In brackets: 95 % intervals over {seeds} seeds." if seeds > 1 else "One seed: its noise is not known."
    return {
        "caption": f"Differences are against {shown}. {held}",
        "rows": [
            {
                "label": row.label,
                "unit": row.unit,
                "entry": entries[entry_key(row)].entry if entry_key(row) in entries else "",
                "cells": [_cell(row, document, name) for name in document["fabrics"]],
            }
            for row in headline_rows()
        ],
    }


def headline_rows() -> list[Row]:
    """Return the rows of these figures."""
    found = {(row.label, row.unit): row for row in ROWS}
    return [found[key] for key in HEADLINE]


def _cell(row: Row, document: Document, name: str) -> dict[str, str]:
    fabric, base = document["fabrics"][name], document["fabrics"][document["baseline"]]
    cell = plain_cell(row, fabric, base)
    return {**cell, "change": marked(cell["change"], row, fabric)}


def plain_cell(row: Row, fabric: Document, base: Document) -> dict[str, str]:
    """Return value, interval, change against another's figure, the change's interval, and whether it is better or worse."""
    noise = None if row.exact else row.noise(fabric)
    change, better = row.against(fabric, base)
    return {
        "value": row.text(row.value(fabric)),
        "interval": "" if noise is None else between(noise["interval"], row.scale, signed=False),
        "change": change,
        "difference": "" if noise is None else between(noise["difference_interval"], row.scale, signed=True),
        "mark": "" if better is None else "better" if better else "worse",
    }


def between(ends: list[float] | None, scale: float, signed: bool) -> str:
    """Return an interval in words; nothing where there is none."""
    if ends is None or None in ends:
        return ABSENT if ends else ""
    low, high = (scale * end for end in ends)
    if signed:
        return " to ".join(f"{'+' if end > 0 else ''}{significant(end, 3)}" for end in (low, high))
    return f"{significant(low)} to {significant(high)}"
