"""The main job: the same cluster and the same requests on several fabrics, side by side."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.inputs import toml_value
from zcube.llm.compute import ComputeModel
from zcube.llm.compute_choice import described
from zcube.network.carrier import Carrier
from zcube.network.packet.model import PacketModel
from zcube.network.packet.outcome import PacketOutcome
from zcube.network.packet.settings import PacketSettings
from zcube.outputs import flat
from zcube.prepared import Prepared, carriers_of, check_room, prepare
from zcube.pricing.amortised import HourlyCost, cost_rule
from zcube.pricing.bill import BillOfMaterials, counting_rule
from zcube.progress import Progress, silent
from zcube.scenario import Scenario
from zcube.serving.attribution import request_table
from zcube.serving.cluster import ShareDone
from zcube.serving.counted import Counted, on_one_side
from zcube.serving.metrics import run_metrics
from zcube.serving.reach import Reach, reach_of
from zcube.serving.repeats import mean_metrics, seed_noise
from zcube.serving.run import ServingRun, serve
from zcube.serving.trace_recorder import TraceRecorder
from zcube.trace.comm_trace import CommTrace
from zcube.trace.recorded import recorded_metadata
from zcube.verdict.verdict import verdict
from zcube.workload.offered import OfferedRequests, offered_requests
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    import pandas as pd

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
    """

    carrier: Carrier
    run: ServingRun
    repeats: tuple[dict[str, Any], ...]
    counted: tuple[Counted, ...]
    bill: BillOfMaterials
    reach: Reach
    packets: PacketOutcome | None = None

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
            "reachability": self.reach.document(self.fabric),
            "failure": self.failure,
            **self.metrics,
            **self._packet_document(),
            "bill": self.bill.document(),
            "relative": _relative(self, base),
            "relative_requests": _relative_requests(self, base),
            "noise": seed_noise(self.repeats, base.repeats) if len(self.repeats) > 1 else None,
        }

    def _packet_document(self) -> dict[str, Any]:
        """Return the ``packet`` section; its settings stand with the network's."""
        if self.packets is None:
            return {}
        document = self.packets.document(self.run.completions.finish_s - self.run.flows.start_s)
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
        return measured.document(self.carrier.fabric, flows.source, flows.target, flows.size_bytes)


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
    """

    scenario: Scenario
    offered: OfferedRequests
    compute: ComputeModel
    results: dict[str, FabricResult]
    recorded: CommTrace | None = None
    knee: dict[str, Any] | None = None
    capacity: dict[str, Any] | None = None

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
                "stated_error": {name: asdict(error) for name, error in self.compute.stated_error.items()},
            },
            "calibration": base.calibration(),
            "counting_rule": counting_rule(scenario.cost.optics),
            "cost_rule": cost_rule(scenario.cost, base.bill.price_book),
            "fabrics": {name: result.document(base) for name, result in self.results.items()},
            "knee": self.knee,
            "capacity": self.capacity,
        }
        return {"verdict": verdict(document, (scenario.prefill.nodes, scenario.decode.nodes)), **document}

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


def compare(scenario: Scenario, progress: Progress = silent, record: str | None = None, searched: bool = False) -> Comparison:
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

    Raises
    ------
    InputError
        With every file that cannot be read and every fabric that does not fit, before anything runs.
    RunError
        If the run to be kept has more operations than :mod:`zcube.serving.trace_recorder` keeps.
    """
    prepared = prepare(scenario, progress, searched)
    carriers, reaches = prepared.carriers, prepared.reaches
    if record is not None and record not in carriers:
        raise InputError(Fault("fabric to record", repr(record), "one of " + ", ".join(carriers)))
    if record is not None and scenario.couplings:
        # A trace says neither when a step waits for pushes nor how much memory is left.
        raise InputError(
            Fault(key, str(value), "its default in a run that is to be recorded") for key, value in scenario.couplings.items()
        )
    repeats = _repeats(scenario, prepared, progress)
    results, recorded = {}, None
    for number, (name, carrier) in enumerate(carriers.items()):
        told = _told(progress, scenario, number, scenario.seeds - 1)
        recorder = TraceRecorder(carrier.fabric.gpus) if name == record else None
        model = carrier.model()
        requests = prepared.offered.trace
        settings = settings_on(carrier, scenario)
        run = serve(carrier.fabric, model, requests, settings, prepared.card, prepared.compute, told, recorder, reaches[name])
        packets = PacketOutcome.of(model, None) if isinstance(model, PacketModel) else None
        metrics, counted = zip((_priced(run, prepared.costs[name]), Counted.of(run)), *repeats[name], strict=True)
        results[name] = FabricResult(carrier, run, metrics, counted, prepared.bills[name], reaches[name], packets)
        if recorder is not None:
            recorded = recorder.trace(_recorded_metadata(scenario, name, carrier))
    return Comparison(scenario, prepared.offered, prepared.compute, results, recorded)


def settings_on(carrier: Carrier, scenario: Scenario) -> Scenario:
    """Return a scenario for a fabric's run: a measured rate of NICs takes the place of the connector's efficiency."""
    measured = carrier.measured
    if scenario.kv.efficiency == 1.0 or measured is None or measured.nic_efficiency is None:
        return scenario
    return scenario.model_copy(update={"kv": scenario.kv.model_copy(update={"efficiency": 1.0})})


def _told(progress: Progress, scenario: Scenario, fabric: int, seeds_before: int) -> ShareDone:
    """Return what takes the part of a run that is done and tells it as that of all fabrics' runs under all seeds."""
    labels, seeds = list(scenario.labels.values()), scenario.seeds
    phase = f"simulating {labels[fabric]}, fabric {fabric + 1} of {len(labels)}"
    phase += f", seed {seeds_before + 1} of {seeds}" if seeds > 1 else ""
    runs_before = seeds_before * len(labels) + fabric

    def tell(share: float) -> None:
        progress(phase, runs_before + share, seeds * len(labels), "%")

    tell(0.0)
    return tell


def _priced(run: ServingRun, cost: HourlyCost) -> dict[str, Any]:
    """Return the metrics of a run and what its tokens cost."""
    metrics = run_metrics(run)
    good = None if metrics["slo"] is None else metrics["slo"]["output_tokens_per_s"]
    return {**metrics, "cost": cost.document(metrics["throughput"]["output_tokens_per_s"], good)}


def _repeats(scenario: Scenario, prepared: Prepared, progress: Progress) -> dict[str, list[tuple[dict[str, Any], Counted]]]:
    """Run the scenario under its further seeds; return metrics and what they are over, by fabric's label, seed by seed."""
    repeats: dict[str, list[tuple[dict[str, Any], Counted]]] = {label: [] for label in prepared.carriers}
    card, compute = prepared.card, prepared.compute
    built = {name: carrier.declared for name, carrier in prepared.carriers.items()}
    for number, seed in enumerate(range(scenario.seed + 1, scenario.seed + scenario.seeds)):
        other = scenario.model_copy(update={"seed": seed, "seeds": 1})
        offered = offered_requests(other.requests, other.load.rate_per_s, other.load.mode == "closed", seed)
        carriers = carriers_of(other, built)
        check_room(carriers, offered.trace, other)
        for fabric, (name, carrier) in enumerate(carriers.items()):
            told = _told(progress, scenario, fabric, number)
            reach = reach_of(carrier.fabric, carrier.routing, other, card)
            settings = settings_on(carrier, other)
            run = serve(carrier.fabric, carrier.model(), offered.trace, settings, card, compute, told, None, reach)
            repeats[name].append((_priced(run, prepared.costs[name]), Counted.of(run)))
    return repeats


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
        "--path-split": network.path_split,
        "--seed": scenario.seed,
        "--nic-gbps": network.nic_gbps,
        "--calibration": network.calibration,
        "--quantum-s": network.quantum_s or None,
    }
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    if network.fidelity == "packet":
        defaults = PacketSettings().model_dump(mode="json")
        for key, value in network.packet.model_dump(mode="json").items():
            if value != defaults.get(key):
                words += ["--packet-set", f"{key}={toml_value(value)}"]
    command = shlex.join(["zcube", "replay", "FILE", *words])
    return recorded_metadata(carrier.declared.name, carrier.recorded(), command, scenario.model_dump(mode="json"))
