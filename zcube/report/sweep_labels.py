"""What an axis over a column of a sweep's table says: the figure's name, or the key, with the unit of the column's numbers."""

from __future__ import annotations

from zcube.sweep.table import SET
from zcube.verdict.table import ROWS

#: Units by the ending of a key, the longer ones first.
_UNITS = {
    "_gbytes_per_s": "GB/s", "_tokens_per_s": "tokens/s", "_requests_per_s": "requests/s", "_per_s": "1/s", "_gbps": "Gb/s",
    "_bps": "bit/s", "_bytes": "bytes", "_tokens": "tokens", "_usd": "USD", "_gb": "GB", "_kw": "kW", "_ms": "ms", "_us": "us",
    "_ns": "ns", "_s": "s",
}  # fmt: skip
#: Names of figures by column, with the unit that these have before a table scales them.
_FIGURES = {
    ".".join(row.path): (row.label, row.unit if row.scale == 1.0 else "s" if row.unit == "ms" else "")
    for row in reversed(ROWS)
    if not row.per
}


def column_label(column: str) -> str:
    """Return what an axis says of a column."""
    name, unit = _FIGURES.get(column, (column.removeprefix(SET), ""))
    # Statistics stand under the key that has the unit.
    parts = [part.strip('"') for part in reversed(column.split("."))]
    unit = unit or next((unit for part in parts for ending, unit in _UNITS.items() if part.endswith(ending)), "")
    return f"{name} ({unit})" if unit else name
