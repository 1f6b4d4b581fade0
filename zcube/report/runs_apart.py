"""How far runs lie apart: a figure of every run on a fabric against that of the first run on the same fabric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zcube.report.headline_table import plain_cell
from zcube.report.results import Results
from zcube.serving.repeats import seed_noise
from zcube.verdict.rows import ABSENT, Document, Row

NOTHING = {"value": ABSENT, "interval": "", "change": ABSENT, "difference": "", "mark": ""}


def side_by_side(runs: Mapping[str, Results], row: Row) -> dict[str, list[dict[str, str]]]:
    """Return by fabric a cell a run with a figure's value, and its difference against the first run on the same fabric.

    Runs under the same seeds are compared seed by seed, with Student's intervals of the paired differences.
    """
    _, first = next(iter(runs.items()))
    fabrics = dict.fromkeys(name for results in runs.values() for name in results.fabrics)
    return {name: [_cell(row, results, first, name) for results in runs.values()] for name in fabrics}


def _cell(row: Row, results: Results, first: Results, name: str) -> dict[str, str]:
    if name not in results.fabrics:
        return NOTHING
    alone = plain_cell(row, results.fabrics[name], results.fabrics[name])
    if name not in first.fabrics:
        return {**NOTHING, "value": alone["value"], "interval": alone["interval"]}
    return {**plain_cell(row, _against(row, results, first, name), first.fabrics[name]), "interval": alone["interval"]}


def pairing(runs: Mapping[str, Results], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield of every run but the first what stops its differences from having intervals, where something does."""
    (first_run, first), *others = runs.items()
    for run, results in others:
        if not _same_seeds(results, first):
            yield run, f"other seeds than {names[first_run]}, or one: its differences have no intervals"
        if missing := [name for name in results.fabrics if name not in first.fabrics]:
            yield run, f"not in {names[first_run]}: {', '.join(missing)}"


def _same_seeds(results: Results, first: Results) -> bool:
    mine, theirs = ((one.document["seed"], one.document["seeds"]) for one in (results, first))
    return bool(mine == theirs and mine[1] > 1)


def _against(row: Row, results: Results, first: Results, name: str) -> Document:
    """Return a fabric's part of a run, its noise that of the difference to the first run."""
    fabric, key = results.fabrics[name], ".".join(row.per or row.path)
    noise: dict[str, Any] | None = None
    if _same_seeds(results, first):
        mine, theirs = row.noise(fabric), row.noise(first.fabrics[name])
        if mine is not None and theirs is not None:
            noise = seed_noise([{key: value} for value in mine["values"]], [{key: value} for value in theirs["values"]])
    return {**fabric, "noise": noise}
