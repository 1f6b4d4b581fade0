"""A line for every run as soon as it has ended, before what all of them say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.kept_runs import KeptRun
from zcube.report.names import printable
from zcube.verdict.headline import OUTPUT, TTFT_P99
from zcube.verdict.rows import Row, significant


def served_line(name: str, figures: Mapping[str, Any]) -> str:
    """Return a run that serves requests with its leading figures, whether these are nested or have keys with dots."""
    said = [f"{row.label} {row.text(_value(row, figures))} {row.unit}" for row in (OUTPUT, TTFT_P99)]
    return f"{printable(name)}: {', '.join(said)}"


def sweep_line(run: KeptRun, done: int, waiting: int) -> str:
    """Return a run of a sweep, and how many of those that were to be done have ended."""
    names = run.model_extra or {}
    place = f"{names['scenario']}, point {names['point']}, {names['fabric']}, seed {names['seed']}"
    return served_line(f"{done:,} of {waiting:,}, {place}", run.figures)


def cell_line(cell: KeptRun) -> str:
    """Return a cell of a matrix: the P99 of what was carried, or the leading figures of a scenario's requests."""
    names, taken = cell.model_extra or {}, cell.figures["duration_s"]
    place = f"{names['fabric']}, {names['transport']}, seed {names['seed']}"
    if not isinstance(taken, Mapping):
        return served_line(place, cell.figures)
    return f"{printable(place)}: transfer times P99 {significant(taken['p99'])} s"


def _value(row: Row, figures: Mapping[str, Any]) -> float | None:
    key = ".".join(row.path)
    value = figures[key] if key in figures else row.value(figures)
    return None if value is None else float(value)
