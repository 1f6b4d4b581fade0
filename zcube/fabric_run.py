"""A run of a comparison: one fabric serving requests under one seed, a function of a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.network.carrier import Carrier
from zcube.network.flow_model import FlowModel
from zcube.node_fit import within_memory
from zcube.pricing.amortised import HourlyCost
from zcube.progress import ShareDone
from zcube.scenario import Scenario
from zcube.serving.counted import Counted
from zcube.serving.metrics import run_metrics
from zcube.serving.reach import Reach, reach_of
from zcube.serving.run import ServingRun, serve
from zcube.serving.trace_recorder import TraceRecorder
from zcube.trace.comm_trace import CommTrace
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    from zcube.network.packet.outcome import PacketOutcome

#: A run is expected to last at least so long.
LEAST_RUN_S = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class FabricTask:
    """What is to be run.

    Attributes
    ----------
    name : str
        What is said of it while it runs.
    scenario : Scenario
        With the run's own seed.
    carrier, trace, card, compute, cost
        The fabric, the requests, the model, its compute times, what the fabric costs by the hour.
    reach : Reach or None
        Which pairs failures leave without a path, where that is known.
    needed_bytes : float
        Estimate of its memory.
    keep : bool
        Whether the run is wanted in full.
    recorded : dict or None
        Metadata of the trace that the run is recorded as, if it is.
    load_over_time : bool
        Whether a run that is wanted in full keeps the load of links over time, which no metric is of.
    """

    name: str
    scenario: Scenario
    carrier: Carrier
    trace: RequestTrace
    card: ModelCard
    compute: ComputeModel
    cost: HourlyCost
    reach: Reach | None
    needed_bytes: float
    keep: bool = False
    recorded: dict[str, Any] | None = None
    load_over_time: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class FabricDone:
    """What came of it: metrics with the prices of tokens, JSON-ready, the requests that these are over, and the run if kept."""

    metrics: dict[str, Any]
    counted: Counted
    run: ServingRun | None
    packets: PacketOutcome | None
    recorded: CommTrace | None


def run_fabric(task: FabricTask, told: ShareDone) -> FabricDone:
    """Run it.

    Raises
    ------
    RunError
        If the run to be recorded has more operations than :mod:`zcube.serving.trace_recorder` keeps.
    """
    carrier, scenario = task.carrier, task.scenario
    told(0.0)
    reach = reach_of(carrier.fabric, carrier.routing, scenario, task.card) if task.reach is None else task.reach
    recorder = None if task.recorded is None else TraceRecorder.of(carrier.fabric, scenario)
    model = carrier.model()
    if task.keep and task.load_over_time:
        carrier.watch_load(model, scenario.load.horizon_s or max(float(task.trace.arrival_s[-1]), LEAST_RUN_S))
    settings = within_memory(settings_on(carrier, scenario), task.card, task.compute.device)
    run = serve(carrier.fabric, model, task.trace, settings, task.card, task.compute, told, recorder, reach)
    packets = None
    if task.keep and not isinstance(model, FlowModel):
        from zcube.network.packet.outcome import PacketOutcome

        packets = PacketOutcome.of(model, None)
    trace = None if recorder is None or task.recorded is None else recorder.trace(task.recorded)
    return FabricDone(_priced(run, task.cost), Counted.of(run), run if task.keep else None, packets, trace)


def settings_on(carrier: Carrier, scenario: Scenario) -> Scenario:
    """Return a scenario for a fabric's run: a measured rate of NICs takes the place of the connector's efficiency."""
    measured = carrier.measured
    if scenario.kv.efficiency == 1.0 or measured is None or measured.nic_efficiency is None:
        return scenario
    return scenario.model_copy(update={"kv": scenario.kv.model_copy(update={"efficiency": 1.0})})


def _priced(run: ServingRun, cost: HourlyCost) -> dict[str, Any]:
    """Return the metrics of a run and what its tokens cost."""
    metrics = run_metrics(run)
    good = None if metrics["slo"] is None else metrics["slo"]["output_tokens_per_s"]
    return {**metrics, "cost": cost.document(metrics["throughput"]["output_tokens_per_s"], good)}
