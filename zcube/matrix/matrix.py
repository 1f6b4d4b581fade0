"""A matrix run: every cell under every seed, those known left out, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zcube.kept_runs import Done, KeptRun
from zcube.matrix.cells import Task, run_cell
from zcube.matrix.findings import RULE, differences, leading_figure, words
from zcube.matrix.loads import IDEAL, Load
from zcube.matrix.settings import MatrixSettings
from zcube.progress import Progress, TogetherDone, silent
from zcube.serving.repeats import mean_metrics, seed_noise
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
#: Statistics of transfers that are stated over the ideal core's.
STATISTICS = ("mean", "p50", "p99", "max")

#: Takes each cell that is new.
Keep = Callable[[KeptRun], None]
#: File of a folder of results that holds the cells.
STORE_FILE = "cells.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Fabric, transport and seed of a cell."""

    fabric: str
    transport: str
    seed: int


@dataclass(frozen=True, eq=False)
class Matrix:
    """Cells and what came of them.

    Attributes
    ----------
    asked : MatrixSettings
        Rows, columns and what holds for all.
    load : Load
        What is carried.
    cells : dict of Done
        By place, those of the ideal core among them.
    """

    asked: MatrixSettings
    load: Load
    cells: Mapping[Place, Done]

    @property
    def failed(self) -> dict[Place, str]:
        """Why cells have no figures, of those that have none."""
        return {place: cell.error for place, cell in self.cells.items() if cell.error is not None}

    def document(self) -> dict[str, Any]:
        """Return the matrix, JSON-ready; docs/matrix.md defines every key."""
        load, asked = self.load, self.asked
        repeats = {(row, column): self._repeats(row, column) for row in load.fabrics for column in load.transports}
        cells = {row: {column: self._cell(row, column, repeats) for column in load.transports} for row in load.fabrics}
        document = {
            "schema_version": SCHEMA_VERSION,
            "load": load.document(),
            "fidelity": asked.fidelity,
            "seed": asked.seed,
            "seeds": asked.seeds,
            "conditions": {
                "failed_links": asked.failed_links,
                "slow_nics": asked.slow_nics,
                "slow_nic_share": asked.slow_nic_share if asked.slow_nics else None,
            },
            "baseline": {"fabric": next(iter(load.fabrics)), "transport": next(iter(load.transports))},
            "figure": leading_figure(load.with_ideal),
            "rule": RULE,
            "fabrics": {
                label: {
                    "family": fabric.family,
                    "gpus": fabric.gpus,
                    "nic_gbps": fabric.nic_gbps,
                    "bill": load.bills[label].document(),
                }
                for label, fabric in load.fabrics.items()
            },
            "transports": {name: self._transport(name) for name in load.transports},
            "ideal_core": {label: self._ideal(label) for label in load.fabrics} if load.with_ideal else None,
            "cells": cells,
        }
        return {"words": [*words(document), *load.cautions], **document}

    def table(self) -> pd.DataFrame:
        """Return every figure of the cells but lists, a row each; a column has the document's keys, joined by points."""
        import pandas as pd

        from zcube.outputs import flat

        cells = self.document()["cells"]
        places = [(row, column) for row in cells for column in cells[row]]
        rows = [
            {key: value for key, value in flat(cells[row][column]).items() if not isinstance(value, list)}
            for row, column in places
        ]
        return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(places, names=["fabric", "transport"]))

    def _transport(self, name: str) -> dict[str, Any]:
        return {
            "parts": self.load.transports[name].document(),
            "left_open": self.load.transports[name].left_open(self.load.network(next(iter(self.load.fabrics)), name)),
            "queue_pairs": {row: self.load.network(row, name).queue_pairs for row in self.load.fabrics},
            "sets": {fabric.family: self.load.transports[name].changes(fabric.family) for fabric in self.load.fabrics.values()},
        }

    def _seeds(self) -> range:
        return range(self.asked.seed, self.asked.seed + self.asked.seeds)

    def _repeats(self, fabric: str, transport: str) -> list[dict[str, Any]] | None:
        """Return the figures of a cell seed by seed; None if one of them has none."""
        found = []
        for seed in self._seeds():
            figures = self.cells[Place(fabric, transport, seed)].figures
            if figures is None:
                return None
            ideal = self.cells[Place(fabric, IDEAL, seed)].figures if self.load.with_ideal else None
            found.append(figures if ideal is None else {**figures, "over_ideal": _over(figures, ideal)})
        return found

    def _ideal(self, fabric: str) -> Any:
        figures = [self.cells[Place(fabric, IDEAL, seed)].figures for seed in self._seeds()]
        known = [one["duration_s"] for one in figures if one is not None]
        return {"duration_s": mean_metrics(known)} if len(known) == len(figures) else None

    def _cell(self, row: str, column: str, repeats: Mapping[tuple[str, str], list[dict[str, Any]] | None]) -> dict[str, Any]:
        mine = repeats[row, column]
        if mine is None:
            errors = {str(at.seed): why for at, why in self.failed.items() if (at.fabric, at.transport) == (row, column)}
            return {"figures": None, "intervals": {}, "errors": errors, "against": None}
        first_row, first_column = next(iter(self.load.fabrics)), next(iter(self.load.transports))
        others = {
            "baseline": (first_row, first_column),
            "fabric": (first_row, column),
            "transport": (row, first_column),
        }
        return {
            "figures": mean_metrics(mine),
            "intervals": {key: noise["interval"] for key, noise in seed_noise(mine, mine).items()} if len(mine) > 1 else {},
            "errors": {},
            "against": {
                name: None if place == (row, column) else differences(mine, repeats[place]) for name, place in others.items()
            },
            "by_seed": [_leading(one, self.load.with_ideal) for one in mine],
        }


def run_matrix(
    asked: MatrixSettings,
    load: Load,
    known: Mapping[str, KeptRun],
    keep: Keep = lambda cell: None,
    progress: Progress = silent,
    beside: SideBySide = IN_THIS_PROCESS,
) -> Matrix:
    """Run the cells that are not known.

    Parameters
    ----------
    asked, load
        Rows, columns, and what is carried.
    known : mapping of KeptRun
        Cells of earlier runs, by key.
    keep : callable
        Called with every new cell.
    progress : Progress
        Told what is under way and how much of all cells is done.
    beside : SideBySide
        Does the runs.
    """
    progress("checking what is known", 0, 0, "")
    places = list(_places(asked, load))
    keys = {place: load.inputs(place.fabric, place.transport, place.seed).key for place in places}
    stored, errors = dict(known), {}
    # Cells with equal inputs, as of controls in a fluid that knows none, are run once.
    missing = {key: place for place, key in reversed(keys.items()) if key not in stored}
    waiting = [(key, place) for place, key in keys.items() if missing.get(key) == place]
    told = TogetherDone(progress, "simulating", len(waiting))

    def tasks() -> Iterator[Task]:
        for number, (_, place) in enumerate(waiting):
            told.name(number, f"{place.fabric}, {place.transport}, seed {place.seed}")
            yield load.task(place.fabric, place.transport, place.seed)

    done = beside.in_order(run_cell, tasks(), told, lambda task: task.needed_bytes)
    for (key, place), cell in zip(waiting, done, strict=True):
        if cell.figures is None:
            errors[key] = cell.error
            continue
        stored[key] = kept = KeptRun.of(key, asdict(place), cell.figures)
        keep(kept)
    cells = {place: Done(stored[key].figures) if key in stored else Done(None, errors[key]) for place, key in keys.items()}
    return Matrix(asked, load, cells)


def _places(asked: MatrixSettings, load: Load) -> Iterator[Place]:
    """Yield every cell, seed by seed, so that what a stopped run leaves can be read across."""
    for seed in range(asked.seed, asked.seed + asked.seeds):
        for fabric in load.fabrics:
            if load.with_ideal:
                yield Place(fabric, IDEAL, seed)
            for transport in load.transports:
                yield Place(fabric, transport, seed)


def _over(figures: Mapping[str, Any], ideal: Mapping[str, Any]) -> dict[str, float]:
    mine, theirs = figures["duration_s"], ideal["duration_s"]
    return {name: mine[name] / theirs[name] for name in STATISTICS}


def _leading(figures: Mapping[str, Any], with_ideal: bool) -> Any:
    value: Any = figures
    for key in leading_figure(with_ideal)["key"].split("."):
        value = value[key]
    return value
