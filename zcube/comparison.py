"""The main job: the same cluster and the same requests on several fabrics, side by side."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.fabric_run import FabricDone, FabricTask, run_fabric
from zcube.inputs import toml_value
from zcube.llm.compute import ComputeModel
from zcube.llm.compute_choice import described
from zcube.network.carrier import Carrier
from zcube.network.packet.settings import PacketSettings
from zcube.outputs import flat
from zcube.prepared import Prepared, carriers_of, check_room, prepare, timed_by_tiles
from zcube.pricing.amortised import cost_rule
from zcube.pricing.bill import BillOfMaterials, counting_rule
from zcube.progress import Progress, TogetherDone, silent
from zcube.routing.equal_paths import EqualPaths
from zcube.scenario import Scenario
from zcube.serving.attribution import request_table
from zcube.serving.counted import Counted, on_one_side
from zcube.serving.reach import Reach
from zcube.serving.repeats import mean_metrics, seed_noise
from zcube.serving.run import ServingRun
from zcube.serving.tilert_decode import step_error
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide
from zcube.trace.comm_trace import CommTrace
from zcube.trace.recorded import recorded_metadata
from zcube.verdict.verdict import verdict
from zcube.workload.offered import OfferedRequests, offered_requests
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    import pandas as pd

    from zcube.comparison_band import FabricBand
    from zcube.network.packet.outcome import PacketOutcome

#: Is told what a run is called, and its metrics.
RunEnded: TypeAlias = Callable[[str, Mapping[str, Any]], None]

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class FabricResult:
    """One fabric's part of a comparison.

    Attributes
    ----------
    carrier : Carrier
        The fabric as declared and as its transfers met it, and how bytes moved.
    run : ServingRun
        The serving run under the first seed in full.
    repeats : tuple of dict
        JSON-ready metrics of the runs and prices of their tokens, seed by seed, this one's first.
    counted : tuple of Counted
        Requests that these are over, seed by seed.
    bill : BillOfMaterials
        What the fabric costs.
    reach : Reach
        Which of the pairs that the run may use failures leave without a path.
    packets : PacketOutcome or None
        What the packet fidelity counted.
    band : FabricBand or None
        What intervals of a calibration, or of measured tiles, leave open, if that was asked for.
    tiles : dict or None
        What its decode nodes take of measured parts of tiles, JSON-ready.
    """

    carrier: Carrier
    run: ServingRun
    repeats: tuple[dict[str, Any], ...]
    counted: tuple[Counted, ...]
    bill: BillOfMaterials
    reach: Reach
    packets: PacketOutcome | None = None
    band: FabricBand | None = None
    tiles: dict[str, Any] | None = None

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Metrics, means over the seeds."""
        return dict(mean_metrics(self.repeats))

    @property
    def fabric(self) -> Fabric:
        """As declared, NIC cap left out."""
        return self.carrier.declared

    @property
    def failure(self) -> str | None:
        """Why the fabric served no request to its end, or not all that came; None if nothing stopped it."""
        counts = self.metrics["requests"]
        if self.run.stopped_by is not None or not counts["failed"]:
            return self.run.stopped_by
        lost = f"no path for {len(self.reach.cut):,} of {self.reach.checked:,} pairs of GPUs that send to each other"
        return f"{'no' if not counts['completed'] else 'not every'} request could be carried: {lost}"

    def document(self, base: FabricResult) -> dict[str, Any]:
        """Return its part of the comparison with a baseline, JSON-ready."""
        return {
            "family": self.fabric.family,
            "gpus": self.fabric.gpus,
            "routing": self.carrier.routing.name,
            "network": self.carrier.settings_document(),
            "calibration": self.calibration(),
            "tiles": self._tiles_document(),
            "reachability": self.reach.document(self.fabric),
            "failure": self.failure,
            **self.metrics,
            **self._packet_document(),
            "bill": self.bill.document(),
            "relative": _relative(self, base),
            "relative_requests": _relative_requests(self, base),
            "noise": seed_noise(self.repeats, base.repeats) if len(self.repeats) > 1 else None,
        }

    def _tiles_document(self) -> dict[str, Any] | None:
        """Return what is said of measured tiles, with the band where there is no calibration to hold it."""
        if self.tiles is None or self.band is None or self.carrier.measured is not None:
            return self.tiles
        return {**self.tiles, "band": self.band.document()}

    def _packet_document(self) -> dict[str, Any]:
        """Return the ``packet`` section; its settings stand with the network's."""
        if self.packets is None:
            return {}
        flows = self.run.flows
        spread_over = self.carrier.narrow_spread(flows.source, flows.target)
        document = self.packets.document(self.run.completions.finish_s - flows.start_s, spread_over)
        return {"packet": {key: value for key, value in document.items() if key != "settings"}}

    def requests(self) -> pd.DataFrame:
        """Return what became of every request, a row each."""
        return request_table(self.run)

    def links(self) -> pd.DataFrame:
        """Return what every directed link carried in the window, a row per link."""
        return self.run.links_in_window.frame(self.run.window.length_s)

    def calibration(self) -> dict[str, Any] | None:
        """Return what is to be said of the measured links that carried its transfers, None without any."""
        flows, measured = self.run.flows, self.carrier.measured
        if measured is None:
            return None
        said = measured.document(self.carrier.fabric, flows.source, flows.target, flows.size_bytes)
        return said if self.band is None else said | {"band": self.band.document()}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several fabrics under one scenario.

    Attributes
    ----------
    scenario : Scenario
        What was asked for.
    offered : OfferedRequests
        The requests every fabric saw.
    compute : ComputeModel
        Compute times used.
    results : dict of FabricResult
        By the fabric's label, in the scenario's order.
    recorded : CommTrace or None
        What one fabric's run computed and sent, if that was asked for.
    knee : dict or None
        The loads from which on fabrics delay first tokens, JSON-ready as :func:`zcube.knee.find_knees` finds them, if they
        were searched.
    capacity : dict or None
        The loads up to which fabrics meet the service levels, likewise of :func:`zcube.capacity.find_capacity`.
    sweep, sensitivity : dict or None
        Figures with one key at several values, or at the settings of ``[sensitivity]``, likewise of
        :class:`zcube.variations.Varied`.
    microscope : dict or None
        The worst windows of each run packet by packet, likewise of :func:`zcube.microscope.look.look`.
    tiles : dict or None
        What is said of measured parts of tiles, likewise.
    rebuilt : dict of DataFrame
        By fabric, the transfers of these windows.
    """

    scenario: Scenario
    offered: OfferedRequests
    compute: ComputeModel
    results: dict[str, FabricResult]
    recorded: CommTrace | None = None
    knee: dict[str, Any] | None = None
    capacity: dict[str, Any] | None = None
    sweep: dict[str, Any] | None = None
    sensitivity: dict[str, Any] | None = None
    microscope: dict[str, Any] | None = None
    tiles: dict[str, Any] | None = None
    rebuilt: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def trace(self) -> RequestTrace:
        """The requests, at the rate they came."""
        return self.offered.trace

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready data; equal inputs give equal documents."""
        scenario = self.scenario
        base = self.results[scenario.baseline_label]
        document = {
            "schema_version": SCHEMA_VERSION,
            "seed": scenario.seed,
            "seeds": scenario.seeds,
            "fidelity": scenario.network.fidelity,
            "baseline": scenario.baseline_label,
            "requests": self.offered.document(),
            "compute": {
                **described(self.compute),
                "stated_error": self.stated_error,
            },
            "calibration": self._calibration(base),
            "tiles": self.tiles,
            "counting_rule": counting_rule(scenario.cost.optics),
            "cost_rule": cost_rule(scenario.cost, base.bill.price_book),
            "fabrics": {name: result.document(base) for name, result in self.results.items()},
            "knee": self.knee,
            "capacity": self.capacity,
            "sweep": self.sweep,
            "sensitivity": self.sensitivity,
            "microscope": self.microscope,
        }
        nodes = (scenario.prefill.nodes, scenario.decode.nodes)
        return {"verdict": verdict(document, nodes, scenario.is_published), **document}

    def _calibration(self, base: FabricResult) -> dict[str, Any] | None:
        """Return what is said of the baseline's calibration, and of prefill's collectives by it."""
        said = base.calibration()
        if said is None:
            return None
        calibrated = described(self.compute).get("calibrated", [])
        notes = [f"prefill's {', '.join(one['lines'])}: {one['source']}" for one in calibrated]
        warnings = [f"prefill: {text}" for one in calibrated for text in one["warnings"]]
        device = Path(self.scenario.compute.device).stem
        if calibrated and device.lower() not in said["name"].lower():
            warnings.append(f"compute times are of {device}, the calibration is of {said['name']}")
        return {**said, "notes": [*said["notes"], *notes], "warnings": [*said["warnings"], *warnings]}

    @property
    def stated_error(self) -> dict[str, Any]:
        """The relative errors of compute times by operation, of TileRT's steps where a fabric has such nodes; JSON-ready."""
        stated = {name: asdict(error) for name, error in self.compute.stated_error.items()}
        has_own = "tilert" in self.scenario.engines.values() and self.scenario.tiles.parts is None
        of_node = step_error(self.scenario) if has_own else None
        return stated if of_node is None else {**stated, "tilert_step": of_node}

    def table(self) -> pd.DataFrame:
        """Return every figure of the document but lists, a row per fabric; a column has its keys: ``ttft_s.p99``."""
        import pandas as pd

        rows = {
            name: {key: value for key, value in flat(fabric).items() if not isinstance(value, list)}
            for name, fabric in self.document()["fabrics"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fabric")

    def requests(self) -> pd.DataFrame:
        """Return what became of every request, a row per fabric and request."""
        return _stacked({name: result.requests() for name, result in self.results.items()})

    def links(self) -> pd.DataFrame:
        """Return what every directed link carried in the window, a row per fabric and link."""
        return _stacked({name: result.links() for name, result in self.results.items()})


def _stacked(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the frames of fabrics below each other, the fabric as the first column."""
    import pandas as pd

    return pd.concat(frames, names=["fabric"]).reset_index(level="fabric").reset_index(drop=True)


def _relative(result: FabricResult, base: FabricResult) -> dict[str, float | None]:
    """Return changes against the baseline as fractions: 0.15 is 15 % more, -0.33 a third less."""

    def change(value: float | None, reference: float | None) -> float | None:
        return None if value is None or not reference else value / reference - 1.0

    mine, theirs = result.bill.document(), base.bill.document()
    return {
        "throughput": change(
            result.metrics["throughput"]["output_tokens_per_s"], base.metrics["throughput"]["output_tokens_per_s"]
        ),
        "ttft_p99": change(result.metrics["ttft_s"]["p99"], base.metrics["ttft_s"]["p99"]),
        "bill_usd": change(mine["total_usd"], theirs["total_usd"]),
    }


def _relative_requests(result: FabricResult, base: FabricResult) -> dict[str, Any]:
    """Return what stands beside every change: requests not served on either side, and whether both are over the same ones."""

    def not_served(counts: Mapping[str, Any]) -> dict[str, Any]:
        return {outcome: counts[outcome] for outcome in ("rejected", "failed", "unfinished")}

    return {
        "not_served": not_served(result.metrics["requests"]),
        "not_served_baseline": not_served(base.metrics["requests"]),
        "on_one_side": on_one_side(result.counted, base.counted),
    }


def compare(
    scenario: Scenario,
    progress: Progress = silent,
    record: str | None = None,
    searched: bool = False,
    beside: SideBySide = IN_THIS_PROCESS,
    band: bool = False,
    ended: RunEnded = lambda name, metrics: None,
    load_over_time: bool = True,
) -> Comparison:
    """Run a scenario on each of its fabrics.

    Parameters
    ----------
    scenario : Scenario
        The experiment.
    progress : Progress
        Told what is under way and how much of all simulation is done.
    record : str, optional
        Label of a fabric whose run is kept as a trace.
    searched : bool
        Whether other loads are to be searched after it, for which requests must have a rate.
    beside : SideBySide
        Does the runs.
    band : bool
        Whether to run again with rounds of the calibration's bootstrap, where there is one.
    ended : callable
        ``ended(name, metrics)`` is called for every run as soon as it and those before it have ended.
    load_over_time : bool
        Whether runs keep the load of links over time, which is in a folder of results and not in the document.

    Raises
    ------
    InputError
        With every file that cannot be read and every fabric that does not fit, before anything runs.
    RunError
        If the run to be kept has more operations than :mod:`zcube.serving.trace_recorder` keeps.
    """
    prepared = prepare(scenario, progress, searched)
    carriers = prepared.carriers
    if record is not None and record not in carriers:
        raise InputError(Fault("fabric to record", repr(record), "one of " + ", ".join(carriers)))
    unrecorded = {} if record is None else scenario.on(record).unrecorded
    if unrecorded:
        raise InputError(
            Fault(key, str(value), "its default in a run that is to be recorded") for key, value in unrecorded.items()
        )
    tiles = None if prepared.tiles is None else prepared.tiles.document(scenario.compute.device)
    tasks = _tasks(scenario, prepared, record, load_over_time)
    told = TogetherDone(progress, "simulating", scenario.seeds * len(carriers))
    names: list[str] = []

    def named() -> Iterator[FabricTask]:
        for number, task in enumerate(tasks):
            told.name(number, task.name)
            names.append(task.name)
            yield task

    def told_as_done() -> Iterator[FabricDone]:
        for number, done in enumerate(beside.in_order(run_fabric, named(), told, lambda task: task.needed_bytes)):
            ended(names[number], done.metrics)
            yield done

    *repeats, last = _by_seed(told_as_done(), carriers)
    results, recorded = {}, None
    for name, done in last.items():
        metrics, counted = zip(*((one.metrics, one.counted) for one in (done, *(runs[name] for runs in repeats))), strict=True)
        assert done.run is not None
        of_fabric = (prepared.bills[name], prepared.reaches[name], done.packets)
        engine = scenario.engines[name]
        results[name] = FabricResult(
            carriers[name], done.run, metrics, counted, *of_fabric, tiles=None if tiles is None else tiles[engine]
        )
        recorded = recorded or done.recorded
    if band and (prepared.tiles is not None or any(scenario.network_of(name).calibration for name in scenario.fabrics)):
        # Of no use where nothing was measured.
        from zcube.comparison_band import comparison_bands

        means = {name: result.metrics for name, result in results.items()}
        for name, found in comparison_bands(scenario, prepared, last, means, progress, beside).items():
            results[name] = replace(results[name], band=found)
    return Comparison(scenario, prepared.offered, prepared.compute, results, recorded, tiles=tiles)


def _tasks(scenario: Scenario, prepared: Prepared, record: str | None, load_over_time: bool) -> Iterator[FabricTask]:
    """Yield the runs of every fabric under the further seeds, and then under the scenario's own, which are kept."""
    built = {name: carrier.declared for name, carrier in prepared.carriers.items()}
    for further in (*range(1, scenario.seeds), 0):
        other, offered, carriers, needed = scenario, prepared.offered, prepared.carriers, prepared.needed_bytes
        if further:
            other = scenario.model_copy(update={"seed": scenario.seed + further, "seeds": 1})
            offered = offered_requests(other.requests, other.load.rate_per_s, other.load.mode == "closed", other.seed)
            carriers = carriers_of(other, built)
            needed = check_room(carriers, offered.trace, other)
        other, compute = timed_by_tiles(prepared.tiles, other, prepared.compute)
        for number, (name, carrier) in enumerate(carriers.items()):
            yield FabricTask(
                f"{name}, fabric {number + 1} of {len(carriers)}"
                + (f", seed {further or scenario.seeds} of {scenario.seeds}" if scenario.seeds > 1 else ""),
                other.on(name),
                carrier,
                offered.trace,
                prepared.card,
                compute,
                prepared.costs[name],
                None if further else prepared.reaches[name],
                needed[name],
                not further,
                None if further or name != record else _recorded_metadata(scenario, name, carrier),
                load_over_time,
            )


def _by_seed(done: Iterator[FabricDone], fabrics: Iterable[str]) -> Iterator[dict[str, FabricDone]]:
    """Yield what came of runs by fabric, seed by seed."""
    labels = list(fabrics)
    while of_seed := dict(zip(labels, islice(done, len(labels)), strict=False)):
        yield of_seed


def _recorded_metadata(scenario: Scenario, label: str, carrier: Carrier) -> dict[str, Any]:
    """Return what a recorded run says of itself, among it the command that carries its transfers as the run did."""
    network = carrier.network
    (fabric,) = [reference for reference, known in scenario.labels.items() if known == label]
    options: dict[str, Any] = {
        "--fabric": fabric,
        "--fidelity": network.fidelity,
        "--routing": network.routing,
        "--fall-back": carrier.document()["fall_back"],
        "--queue-pairs": network.queue_pairs,
        "--most-paths": network.most_paths if carrier.routing.name == EqualPaths.name else None,
        "--path-split": network.path_split,
        "--seed": scenario.seed,
        "--nic-gbps": network.nic_gbps,
        "--calibration": network.calibration,
        "--quantum-s": network.quantum_s or None,
        "--isolation": network.isolation if network.fidelity == "lossless" else None,
    }
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    if network.fidelity == "packet":
        defaults = PacketSettings().model_dump(mode="json")
        for key, value in network.packet.model_dump(mode="json").items():
            if value != defaults.get(key):
                words += ["--packet-set", f"{key}={toml_value(value)}"]
    command = shlex.join(["zcube", "replay", "FILE", *words])
    return recorded_metadata(carrier.declared.name, carrier.recorded(), command, scenario.model_dump(mode="json"))
