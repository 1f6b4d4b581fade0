"""Where a page defines each figure: one entry a metric, which all its statistics share."""

from __future__ import annotations

from dataclasses import dataclass

from zcube.verdict.rows import Document, Row
from zcube.verdict.table import STATISTICS, shown_rows


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition: the id of its row on the page, name, unit, and formula in words and symbols."""

    entry: str
    name: str
    unit: str
    text: str


def entry_key(row: Row) -> tuple[str, str, str]:
    """Return what rows have in common that one entry defines: section, metric and unit."""
    name = row.label
    for statistic in STATISTICS.values():
        name = name.removesuffix(f" {statistic}")
    return row.section, name, row.unit


def definition_entries(document: Document) -> dict[tuple[str, str, str], Entry]:
    """Return the definitions of a comparison's figures by :func:`entry_key`."""
    entries: dict[tuple[str, str, str], Entry] = {}
    for row in shown_rows(document):
        key = entry_key(row)
        entries.setdefault(key, Entry(f"definition-{len(entries) + 1}", key[1], row.unit, row.definition))
    return entries
