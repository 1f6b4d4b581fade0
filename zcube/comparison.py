"""The main job: the same cluster and the same requests on several fabrics, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
from zcube.llm.expert_traffic import prefill_expert_bytes
from zcube.network.flow_model import flow_model, ideal_model
from zcube.network.packet.model import packet_model
from zcube.network.protocol import NetworkModel
from zcube.routing.catalog import routing_for
from zcube.scenario import Scenario
from zcube.serving.metrics import run_metrics
from zcube.serving.placement import place
from zcube.serving.run import ServingRun, serve
from zcube.workload.offered import OfferedRequests, offered_requests
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
    offered : OfferedRequests
        The requests every fabric saw.
    compute : ComputeModel
        Compute times used.
    results : dict of FabricResult
        By the fabric's label, in the scenario's order.
    calibration : AppliedCalibration or None
        Measured rates and latencies of links, if the scenario names any.
    """

    scenario: Scenario
    offered: OfferedRequests
    compute: ComputeModel
    results: dict[str, FabricResult]
    calibration: AppliedCalibration | None = None

    @property
    def trace(self) -> RequestTrace:
        """The requests, at the rate they came."""
        return self.offered.trace

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
            "requests": self.offered.document(),
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


def compare(scenario: Scenario, progress: CompareProgress = lambda what, done, total: None) -> Comparison:
    """Run a scenario on each of its fabrics.

    Parameters
    ----------
    scenario : Scenario
        The experiment.
    progress : callable
        Told what runs and how many of its requests have ended.

    Raises
    ------
    InputError
        With every fabric that does not fit, before anything runs.
    """
    book = load_price_book(scenario.cost.price_book)
    card = load_card(scenario.compute.model)
    _check_expert_span(scenario, card)
    compute = _compute_model(scenario, card)
    measured = scenario.network.calibration
    calibration = None if measured is None else load_calibration(Path(measured))
    fabrics = _fitting_fabrics(scenario)
    offered = offered_requests(scenario.requests, scenario.load.rate_per_s, scenario.load.mode == "closed", scenario.seed)
    trace = offered.trace
    results = {}
    for name, fabric in fabrics.items():
        wired = fabric if scenario.network.nic_gbps is None else fabric.with_nic_rate(scenario.network.nic_gbps)
        wired = wired if calibration is None else calibrated(wired, calibration)
        model, routing = _network(wired, scenario)
        progress(name, 0, len(trace))
        run = serve(wired, model, trace, scenario, card, compute, lambda done, total, name=name: progress(name, done, total))  # type: ignore[misc]
        results[name] = FabricResult(fabric, routing, run, run_metrics(run), bill_of_materials(fabric, book))
    return Comparison(scenario, offered, compute, results, calibration)


def _check_expert_span(scenario: Scenario, card: ModelCard) -> None:
    """Refuse a span of nodes that the model's expert groups cannot be spread over."""
    span = scenario.prefill.nodes_per_instance
    try:
        prefill_expert_bytes(card, 1.0, span)
    except InputError as error:
        raise InputError(Fault("prefill.nodes_per_instance", str(span), fault.expected) for fault in error.faults) from error


def _compute_model(scenario: Scenario, card: ModelCard) -> ComputeModel:
    tables = scenario.compute.tables
    return compute_model(
        scenario.compute.times,
        card,
        load_device(scenario.compute.device),
        prefill_layout=scenario.prefill.layout,
        decode_layout=scenario.decode.layout,
        prefill_ep_nodes=scenario.prefill.nodes_per_instance,
        kv_dtype=scenario.kv.dtype,
        moe_balance=scenario.compute.moe_balance,
        tables=None if tables is None else Path(tables),
    )


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
