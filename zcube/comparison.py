"""The main job: the same cluster and the same requests on several fabrics, side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zcube.calibrate.apply import AppliedCalibration
from zcube.calibrate.links import calibrated, load_calibration, transfers_document
from zcube.cost.bill import COUNTING_RULE, BillOfMaterials, bill_of_materials
from zcube.cost.price_book import load_price_book
from zcube.errors import Fault, InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.llm.cards import ModelCard, load_card
from zcube.llm.compute import ComputeModel
from zcube.llm.compute_choice import compute_model, described
from zcube.llm.devices import load_device
from zcube.llm.expert_traffic import hit_probability
from zcube.network.flow_model import flow_model, ideal_model
from zcube.network.packet.model import packet_model
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import NetworkModel
from zcube.routing.catalog import routing_for
from zcube.scenario import GENERATOR, Scenario
from zcube.serving.metrics import run_metrics
from zcube.serving.placement import place
from zcube.serving.run import ServingRun, serve
from zcube.serving.trace_recorder import TraceRecorder
from zcube.trace.comm_trace import CommTrace
from zcube.trace.recorded import recorded_metadata
from zcube.workload.coding_agent import generate_requests
from zcube.workload.readers import read_requests
from zcube.workload.requests import RequestTrace

SCHEMA_VERSION = 1

#: ``progress(what, done, total)``.
CompareProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class FabricResult:
    """One fabric's part of a comparison.

    Attributes
    ----------
    fabric : Fabric
        As declared, NIC cap left out.
    routing : str
        The policy its flows took.
    run : ServingRun
        The serving run in full.
    metrics : dict
        JSON-ready metrics of the run.
    bill : BillOfMaterials
        What the fabric costs.
    """

    fabric: Fabric
    routing: str
    run: ServingRun
    metrics: dict[str, Any]
    bill: BillOfMaterials


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several fabrics under one scenario.

    Attributes
    ----------
    scenario : Scenario
        What was asked for.
    trace : RequestTrace
        The requests every fabric saw, at the rate they came.
    compute : ComputeModel
        Compute times used.
    results : dict of FabricResult
        By the fabric's label, in the scenario's order.
    calibration : AppliedCalibration or None
        Measured rates and latencies of links, if the scenario names any.
    recorded : CommTrace or None
        What one fabric's run computed and sent, if that was asked for.
    """

    scenario: Scenario
    trace: RequestTrace
    compute: ComputeModel
    results: dict[str, FabricResult]
    calibration: AppliedCalibration | None = None
    recorded: CommTrace | None = None

    def document(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready data; equal inputs give equal documents."""
        scenario = self.scenario
        base = self.results[scenario.baseline_label]
        flows = base.run.flows
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": scenario.seed,
            "fidelity": scenario.network.fidelity,
            "baseline": scenario.baseline_label,
            "requests": {"source": self.trace.source, **asdict(self.trace.summary())},
            "compute": {
                **described(self.compute),
                "stated_error": {name: asdict(error) for name, error in self.compute.stated_error.items()},
            },
            "calibration": None
            if self.calibration is None
            else transfers_document(self.calibration, base.fabric, flows.source, flows.target, flows.size_bytes),
            "counting_rule": COUNTING_RULE,
            "fabrics": {
                name: {
                    "family": result.fabric.family,
                    "gpus": result.fabric.gpus,
                    "routing": result.routing,
                    **result.metrics,
                    "bill": result.bill.document(),
                    "relative": _relative(result, base),
                }
                for name, result in self.results.items()
            },
        }


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


def compare(
    scenario: Scenario, progress: CompareProgress = lambda what, done, total: None, record: str | None = None
) -> Comparison:
    """Run a scenario on each of its fabrics.

    Parameters
    ----------
    scenario : Scenario
        The experiment.
    progress : callable
        Told what runs and how many of its requests have ended.
    record : str, optional
        Label of a fabric whose run is kept as a trace.

    Raises
    ------
    InputError
        With every fabric that does not fit, before anything runs.
    RunError
        If the run to be kept has more operations than :mod:`zcube.serving.trace_recorder` keeps.
    """
    book = load_price_book(scenario.cost.price_book)
    card = load_card(scenario.compute.model)
    _check_expert_span(scenario, card)
    compute = _compute_model(scenario, card)
    measured = scenario.network.calibration
    calibration = None if measured is None else load_calibration(Path(measured))
    fabrics = _fitting_fabrics(scenario)
    if record is not None and record not in fabrics:
        raise InputError(Fault("fabric to record", repr(record), "one of " + ", ".join(fabrics)))
    trace = load_requests(scenario)
    results, recorded = {}, None
    for name, fabric in fabrics.items():
        wired = fabric if scenario.network.nic_gbps is None else fabric.with_nic_rate(scenario.network.nic_gbps)
        wired = wired if calibration is None else calibrated(wired, calibration)
        model, routing = _network(wired, scenario)
        progress(name, 0, len(trace))
        told = partial(progress, name)
        recorder = TraceRecorder(fabric.gpus) if name == record else None
        run = serve(wired, model, trace, scenario, card, compute, told, recorder)
        results[name] = FabricResult(fabric, routing, run, run_metrics(run), bill_of_materials(fabric, book))
        if recorder is not None:
            network = _network_document(scenario, routing, calibration)
            recorded = recorder.trace(
                recorded_metadata(fabric.name, network, _replay_command(scenario, name), scenario.model_dump(mode="json"))
            )
    return Comparison(scenario, trace, compute, results, calibration, recorded)


def load_requests(scenario: Scenario) -> RequestTrace:
    """Return the scenario's requests, cut to its count and brought to its rate."""
    requests = scenario.requests
    rate = scenario.load.rate_per_s if scenario.load.mode == "open" else None
    if requests.source == GENERATOR:
        trace = _generated(scenario, rate)
    else:
        trace = read_requests(Path(requests.source), max_requests=requests.count)
    return trace if rate is None or not trace.duration_s else trace.at_rate(rate)


def _generated(scenario: Scenario, rate_per_s: float | None) -> RequestTrace:
    """Return generated requests; a rate is met by more sessions, not by users who think faster."""
    agent, count = scenario.requests.coding_agent, scenario.requests.count
    assert count is not None
    trace = generate_requests(agent, count, scenario.seed)
    if rate_per_s is None or not trace.duration_s:
        return trace
    starts = agent.session_starts_per_s * rate_per_s * trace.duration_s / count
    return generate_requests(agent.model_copy(update={"session_starts_per_s": starts}), count, scenario.seed)


def _check_expert_span(scenario: Scenario, card: ModelCard) -> None:
    """Refuse a span of nodes that the model's expert groups cannot be spread over."""
    span = scenario.prefill.nodes_per_instance
    try:
        hit_probability(card, span)
    except InputError as error:
        raise InputError(Fault("prefill.nodes_per_instance", str(span), fault.expected) for fault in error.faults) from error


def _compute_model(scenario: Scenario, card: ModelCard) -> ComputeModel:
    asked = scenario.compute
    tables = None if asked.tables is None else Path(asked.tables)
    return compute_model(asked.times, card, load_device(asked.device), scenario.engine(asked.moe_balance), tables)


def _fitting_fabrics(scenario: Scenario) -> dict[str, Fabric]:
    """Build every fabric and collect what does not fit."""
    faults: list[Fault] = []
    fabrics: dict[str, Fabric] = {}
    for name in scenario.fabrics:
        try:
            fabric = load_fabric(name)
            place(fabric, scenario)
            routing_for(fabric, scenario.network.routing)
        except InputError as error:
            faults += error.faults
            continue
        fabrics[scenario.labels[name]] = fabric
        if scenario.gpus is not None and fabric.gpus != scenario.gpus:
            faults.append(Fault(f"fabric {name}: gpus", str(fabric.gpus), f"{scenario.gpus}, as the scenario's gpus"))
    if faults:
        raise InputError(faults)
    return fabrics


def _network(fabric: Fabric, scenario: Scenario) -> tuple[NetworkModel, str]:
    """Return an idle network model of a fabric and the name of its routing."""
    network = scenario.network
    if network.fidelity == "ideal":
        return ideal_model(fabric), "ideal"
    routing = routing_for(fabric, network.routing, queue_pairs=network.queue_pairs, seed=scenario.seed)
    if network.fidelity == "packet":
        settings = network.packet.model_copy(update={"seed": scenario.seed})
        return packet_model(fabric, routing, settings, network.path_split), routing.name
    return flow_model(fabric, routing, network.path_split), routing.name


def _network_document(scenario: Scenario, routing: str, calibration: AppliedCalibration | None) -> dict[str, Any]:
    """Return how bytes moved, keys as a replay names them."""
    network = scenario.network
    packet = network.packet.model_copy(update={"seed": scenario.seed})
    return {
        "fidelity": network.fidelity,
        "routing": routing,
        "path_split": network.path_split,
        "queue_pairs": None if network.fidelity == "ideal" else network.queue_pairs,
        "seed": scenario.seed,
        "quantum_s": 0.0,
        "nic_gbps": network.nic_gbps,
        "calibration": None if calibration is None else calibration.data_sha256,
        "packet": packet.model_dump(mode="json") if network.fidelity == "packet" else None,
    }


def _replay_command(scenario: Scenario, label: str) -> str:
    """Return the command that carries a recorded run's transfers as the run did."""
    network, defaults = scenario.network, PacketSettings()
    (fabric,) = [reference for reference, known in scenario.labels.items() if known == label]
    options: dict[str, Any] = {
        "--fabric": fabric,
        "--fidelity": network.fidelity,
        "--routing": network.routing,
        "--queue-pairs": network.queue_pairs,
        "--path-split": network.path_split,
        "--seed": scenario.seed,
        "--nic-gbps": network.nic_gbps,
        "--calibration": network.calibration,
    }
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    if network.fidelity == "packet":
        for key, value in network.packet.model_dump(mode="json", exclude={"seed"}).items():
            if value != getattr(defaults, key):
                words += ["--packet-set", f"{key}={json.dumps(value)}"]
    return shlex.join(["zcube", "replay", "FILE", *words])
