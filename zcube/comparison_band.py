"""What intervals of a calibration, and of measured tiles, leave open of a comparison: its runs again, with rounds of both.

A round is one of the calibration's bootstrap and one draw of the tiles' parts, both from the fastest to the slowest. It is the
same on all fabrics, so that their differences are taken round by round. The rounds are run under the first seed; what they move
there is laid on the means over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.calibrate.apply import AppliedCalibration
from zcube.calibrate.bootstrap import LEVEL
from zcube.calibrate.draws import ENDS, Bounds, bounds_of
from zcube.calibrate.messages import CalibratedMessages
from zcube.calibrate.tile_run import TILE_DRAWS, AppliedTiles
from zcube.fabric_run import FabricDone, FabricTask, run_fabric
from zcube.llm.compute import RooflineModel
from zcube.network.carrier import Carrier
from zcube.outputs import flat
from zcube.prepared import Prepared, compute_calibrated, timed_by_tiles
from zcube.progress import Progress, TogetherDone
from zcube.scenario import Scenario
from zcube.serving.tilert_decode import node_step_s
from zcube.side_by_side import SideBySide

#: Least and most of a figure.
Ends = tuple[float, float]
#: Changes against the baseline that have a band, by the figure they are of.
RELATIVE = {"throughput": "throughput.output_tokens_per_s", "ttft_p99": "ttft_s.p99"}


@dataclass(frozen=True, eq=False)
class FabricBand:
    """One fabric's part: how the band was made, figures by key, and changes against the baseline."""

    said: dict[str, Any]
    figures: dict[str, Ends]
    relative: dict[str, Ends]

    def document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        ends = {"figures": self.figures, "relative": self.relative}
        return {**self.said, **{name: {key: list(pair) for key, pair in band.items()} for name, band in ends.items()}}


def comparison_bands(
    scenario: Scenario,
    prepared: Prepared,
    done: Mapping[str, FabricDone],
    means: Mapping[str, Mapping[str, Any]],
    progress: Progress,
    beside: SideBySide,
) -> dict[str, FabricBand]:
    """Return the band of every fabric whose links or tiles were measured, by label.

    Parameters
    ----------
    scenario, prepared : Scenario, Prepared
        What is compared.
    done : mapping
        What came of the fabrics under the first seed, runs kept.
    means : mapping
        Metrics over all seeds, which the bands are laid on.
    progress : Progress
        Told of the further runs.
    beside : SideBySide
        Does them.
    """
    networks = {label: scenario.network_of(fabric).calibration for fabric, label in scenario.labels.items()}
    bounds = {path: _bounds(scenario, prepared, done, networks, path) for path in dict.fromkeys(networks.values()) if path}
    of_fabric = {label: bounds[path] for label, path in networks.items() if path}
    tiles = _tiles(scenario, prepared)
    rounds = max([len(tiles), *(len(one.applied) for one in bounds.values())])
    own = {label: _numbers(one.metrics) for label, one in done.items()}
    drawn = [own]
    if rounds:
        told = TogetherDone(progress, "bounding by the calibration", rounds * len(done))
        tasks = _tasks(scenario, prepared, of_fabric, tiles, rounds, told)
        results = iter(beside.in_order(_run, tasks, told, lambda task: task.needed_bytes))
        drawn += [dict(zip(done, (next(results) for _ in done), strict=True)) for _ in range(rounds)]
    base = scenario.baseline_label
    mean = {label: _numbers(metrics) for label, metrics in means.items()}
    said = {label: found.document() for label, found in of_fabric.items() if found.applied or not tiles}
    if prepared.tiles is not None:
        said = {**dict.fromkeys(networks, _of_tiles(len(tiles), asked_rounds(scenario))), **said}
    return {
        label: FabricBand(found, *_ends(label, base, drawn, mean)) if rounds else FabricBand(found, {}, {})
        for label, found in said.items()
    }


def asked_rounds(scenario: Scenario) -> int:
    """Return how many rounds bound a run."""
    asked = scenario.network.calibration_draws
    return ENDS if asked is None else asked


def _of_tiles(draws: int, asked: int) -> dict[str, Any]:
    """Return what is said of a band by draws of tiles alone, as :meth:`zcube.calibrate.draws.Bounds.document` says it."""
    why = None if draws else ("no step takes a time that has an interval" if asked else "calibration_draws is 0")
    return {"draws": draws, "rounds": TILE_DRAWS, "level": LEVEL, "without_intervals": [], "why_none": why}


def _tiles(scenario: Scenario, prepared: Prepared) -> list[AppliedTiles]:
    """Return the draws of measured tiles that bound the runs, by what a step takes at the requests' mean context."""
    if prepared.tiles is None:
        return []
    context = int(prepared.offered.trace.input_tokens.mean())
    engines = set(scenario.engines.values())

    def seconds(tiles: AppliedTiles) -> float:
        timed, compute = timed_by_tiles(tiles, scenario, prepared.compute)
        step_s = 0.0
        if "tilert" in engines:
            step_s += node_step_s(timed, prepared.card, context)
        if "batched" in engines:
            step_s += float(compute.decode_steps_s(np.array([context]), 1)[0])
        return step_s

    return prepared.tiles.drawn(asked_rounds(scenario), seconds)


def _bounds(
    scenario: Scenario,
    prepared: Prepared,
    done: Mapping[str, FabricDone],
    networks: Mapping[str, str | None],
    path: str,
) -> Bounds:
    """Return the rounds of one calibration, by what the messages of its fabrics and of prefill take alone."""
    labels = [label for label, its in networks.items() if its == path]
    messages = []
    for label in labels:
        run = done[label].run
        assert run is not None
        flows = run.flows
        declared = prepared.carriers[label].declared
        messages.append(CalibratedMessages.of(declared, flows.source, flows.target, flows.size_bytes))
    chunk_tokens = scenario.prefill.chunk_tokens
    chunks = float(prepared.offered.trace.input_tokens.sum()) / chunk_tokens if path == scenario.network.calibration else 0.0

    def seconds(applied: AppliedCalibration) -> float:
        model = compute_calibrated(prepared.compute, applied, scenario, prepared.card)
        prefill_s = model.prefill_links_s(chunk_tokens) if chunks and isinstance(model, RooflineModel) else 0.0
        return sum(one.seconds(applied) for one in messages) + chunks * prefill_s

    measured = prepared.carriers[labels[0]].measured
    assert isinstance(measured, AppliedCalibration)
    return bounds_of(measured, asked_rounds(scenario), seconds)


def _tasks(
    scenario: Scenario,
    prepared: Prepared,
    bounds: Mapping[str, Bounds],
    tiles: Sequence[AppliedTiles],
    rounds: int,
    told: TogetherDone,
) -> Iterator[FabricTask]:
    """Yield the runs round by round, in each those of all fabrics."""
    own = next((label for fabric, label in scenario.labels.items() if scenario.network_of(fabric).calibration
                == scenario.network.calibration and label in bounds), None)  # fmt: skip
    for number in range(rounds):
        compute = prepared.compute
        if own is not None and number < len(bounds[own].applied):
            compute = compute_calibrated(compute, bounds[own].applied[number], scenario, prepared.card)
        drawn = tiles[number] if number < len(tiles) else prepared.tiles
        timed, compute = timed_by_tiles(drawn, scenario, compute)
        for place, (label, carrier) in enumerate(prepared.carriers.items()):
            name = f"{label}, round {number + 1} of {rounds}"
            told.name(number * len(prepared.carriers) + place, name)
            found = bounds.get(label)
            if found is not None and number < len(found.applied):
                carrier = Carrier.of(carrier.network, carrier.declared, carrier.seed, found.applied[number])
            of_fabric = prepared.costs[label], prepared.reaches[label], prepared.needed_bytes[label]
            yield FabricTask(name, timed.on(label), carrier, prepared.offered.trace, prepared.card, compute, *of_fabric)


def _run(task: FabricTask, told: Callable[[float], None]) -> dict[str, float]:
    return _numbers(run_fabric(task, told).metrics)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in flat(metrics).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _ends(
    label: str, base: str, drawn: Sequence[Mapping[str, Mapping[str, float]]], mean: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, Ends], dict[str, Ends]]:
    """Return the bands of a fabric's figures and of its changes, the first of ``drawn`` being the fit's."""

    def change(figures: Mapping[str, Mapping[str, float]], key: str) -> float | None:
        mine, theirs = figures[label].get(key), figures[base].get(key)
        return None if mine is None or not theirs else mine / theirs - 1.0

    figures, relative = {}, {}
    for key, value in mean[label].items():
        values = [one[label].get(key) for one in drawn]
        if (ends := _around(value, values)) is not None:
            figures[key] = ends
    for name, key in RELATIVE.items():
        if (ends := _around(change(mean, key), [change(one, key) for one in drawn])) is not None:
            relative[name] = ends
    return figures, relative


def _around(mean: float | None, values: Sequence[float | None]) -> Ends | None:
    """Return a mean with what the rounds are below and above the first of them; None where one has no value."""
    known = [value for value in values if value is not None]
    if mean is None or len(known) < len(values):
        return None
    return mean + min(known) - known[0], mean + max(known) - known[0]
