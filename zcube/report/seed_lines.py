"""What is said of the seeds a comparison was run under: how many, and the intervals of the figures it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.verdict.request_sets import marked
from zcube.verdict.rows import ABSENT, Row, significant
from zcube.verdict.table import ROWS

#: Rows whose intervals and bands are written out; the document has those of all.
JUDGED = (("Output", "tok/s"), ("TTFT P99", "s"), ("TPOT P99", "ms"), ("End to end P99", "s"), ("KV transfer P99", "ms"))


def seed_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    first, count = document["seed"], document["seeds"]
    if count == 1:
        return [
            (
                "Seeds",
                "one, so that noise is not known and no change of a run's figures is called better or worse; --seeds 5 tells.",
            )
        ]
    fabrics = document["fabrics"]
    lines = [
        (
            "Seeds",
            f"{first} to {first + count - 1}, the same on all fabrics; figures are means over them; pictures, tables of "
            "requests and links and the fullest links are the first's. In brackets: Student's 95 % intervals of means and of "
            "paired differences.",
        )
    ]
    judged = [row for row in ROWS if (row.label, row.unit) in JUDGED]
    for row in judged:
        lines += [(row.label, _interval(row, name, document, names)) for name in fabrics]
    return lines


def _interval(row: Row, name: str, document: Mapping[str, Any], names: Mapping[str, str]) -> str:
    fabric, base = document["fabrics"][name], document["fabrics"][document["baseline"]]
    noise = row.noise(fabric)
    if noise is None:
        return f"{names[name]} {ABSENT}"
    low, high = (significant(row.scale * value) for value in noise["interval"])
    text = f"{names[name]} {row.text(row.value(fabric))} {row.unit} ({low} to {high})"
    if name == document["baseline"]:
        return text
    low, high = (_signed_significant(row.scale * value) for value in noise["difference_interval"])
    change, _ = row.against(fabric, base)
    difference = f"{_signed_significant(row.scale * noise['difference'])} {row.unit} ({low} to {high})"
    return f"{text}; difference {difference}: {marked(change, row, fabric)}"


def _signed_significant(value: float) -> str:
    return f"{'+' if value > 0 else ''}{significant(value, 3)}"
