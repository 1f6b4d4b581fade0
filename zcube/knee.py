"""The load from which on a fabric delays first tokens: searched over loads, each against the same requests on an ideal core."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field

from zcube.calibrate.links import carrier_on
from zcube.comparison import Comparison, compare
from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.catalog import load_fabric
from zcube.inputs import Declared
from zcube.load_search import MAX_RUNS, TOLERANCE, LoadSearch, search_load
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, changed
from zcube.verdict.limits import limits
from zcube.workload.source import GENERATOR

#: ``found``: added at ``fails`` what is asked for, and less at ``holds``; ``at the lowest``: at the lowest load already;
#: ``saturated``: at ``fails`` the run on the ideal core is at its limit; ``no window``: there the runs cannot be compared;
#: ``not reached``: not at the highest load; ``out of runs``: the search ended before.
Status = Literal["found", "at the lowest", "saturated", "no window", "not reached", "out of runs"]


class KneeSearch(Declared):
    """What is searched for, and how far. Loads are multiples of the scenario's; the defaults are this project's choice."""

    share: float = Field(default=0.05, gt=0, le=100, description="part that a fabric adds to TTFT P99")
    tolerance: float = Field(default=TOLERANCE, gt=0, le=10, description="largest ratio of the ends of the result, less 1")
    max_loads: int = Field(default=MAX_RUNS, ge=1, le=1000, description="loads tried on a fabric at most")
    lowest: float = Field(default=0.125, gt=0, le=1, description="least multiple of the scenario's load")
    highest: float = Field(default=8.0, ge=1, le=1000, description="largest multiple of the scenario's load")


@dataclass(frozen=True, slots=True)
class Probe:
    """A fabric at a load.

    Attributes
    ----------
    load : float
        Requests per second, or requests under way of a closed loop.
    ttft_p99_s, ideal_ttft_p99_s : float or None
        On the fabric and on the ideal core; the former is None where the latter's run settled the question.
    added : float or None
        Their ratio, less 1.
    ideal_full : tuple of str
        What limits the run on the ideal core, see :data:`zcube.verdict.limits.WORDS`.
    why_not : str or None
        Why the two cannot be compared.
    """

    load: float
    ttft_p99_s: float | None
    ideal_ttft_p99_s: float | None
    added: float | None
    ideal_full: tuple[str, ...] = ()
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Knee:
    """What a search came to on a fabric: how it ended, the loads next to the knee on either side, and every probe."""

    status: Status
    holds: float | None
    fails: float | None
    runs: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Knees:
    """The knees of a comparison's fabrics, by label, and what they were searched by."""

    asked: KneeSearch
    base_load: float
    unit: str
    seeds: int
    fabrics: dict[str, Knee]

    def document(self) -> dict[str, Any]:
        """Return them JSON-ready."""
        return {
            **self.asked.model_dump(),
            "seeds": self.seeds,
            "base_load": self.base_load,
            "unit": self.unit,
            "fabrics": {name: _document(knee, self.base_load) for name, knee in self.fabrics.items()},
        }


def _document(knee: Knee, base_load: float) -> dict[str, Any]:
    rows = [{**asdict(probe), "multiple": probe.load / base_load, "ideal_full": list(probe.ideal_full)} for probe in knee.runs]
    return {"status": knee.status, "holds": knee.holds, "fails": knee.fails, "runs": rows}


def find_knees(comparison: Comparison, asked: KneeSearch | None = None, progress: Progress = silent) -> Knees:
    """Search every fabric's knee from the load of a comparison on.

    Loads are rates of an open loop, numbers of requests under way of a closed one. Above the comparison's load, generated
    requests are as many more, so that the runs last as long. Fabrics with the same NICs share their runs on the ideal core; a
    load at which that is at its limit is not run on a fabric.

    Parameters
    ----------
    comparison : Comparison
        Its scenario is varied, its runs are used.
    asked : KneeSearch, optional
        What is searched for.
    progress : Progress
        Told of every run.

    Raises
    ------
    InputError
        If the network is ideal, or the requests have no rate that could be varied.
    """
    check_knee(comparison.scenario)
    asked = asked or KneeSearch()
    probing = _Probing(comparison, asked, progress)
    return Knees(
        asked,
        probing.base_load,
        "requests/s" if comparison.scenario.load.mode == "open" else "requests under way",
        comparison.scenario.seeds,
        {label: probing.knee(fabric) for fabric, label in comparison.scenario.labels.items()},
    )


def check_knee(scenario: Scenario) -> None:
    """Refuse a scenario without fabrics to compare with an ideal core.

    Raises
    ------
    InputError
        With every fabric whose network is ideal.
    """
    faults = FaultList()
    for fabric in scenario.fabrics:
        if scenario.network_of(fabric).fidelity == "ideal":
            expected = "flow or packet, to search what the fabric adds to an ideal network"
            faults.faults.append(Fault(f"fabric {fabric}: network.fidelity", "ideal", expected))
    faults.check()


@dataclass
class _Probing:
    """Runs of a comparison's fabrics and of their ideal cores at other loads, each made once."""

    comparison: Comparison
    asked: KneeSearch
    progress: Progress
    base_load: float = field(init=False)

    def __post_init__(self) -> None:
        scenario, offered = self.comparison.scenario, self.comparison.offered
        closed = scenario.load.mode == "closed"
        rate = scenario.load.rate_per_s or offered.document()["clock"]["rate_per_s"]
        if not closed and rate is None:
            raise InputError(Fault("load.rate_per_s", "requests that come all at once", "a rate that can be varied"))
        self.base_load = float(scenario.load.concurrency if closed else rate)
        self._closed = closed
        self._ideal: dict[tuple[Any, float], dict[str, Any]] = {}
        self._made = 0

    def knee(self, fabric: str) -> Knee:
        """Search the knee of a fabric."""
        core, probes = self._core(fabric), {}

        def holds(load: float) -> bool:
            probes[load] = probe = self._probe(fabric, core, load)
            return probe.added is not None and probe.added < self.asked.share

        lowest, highest = self.base_load * self.asked.lowest, self.base_load * self.asked.highest
        if self._closed:
            lowest, highest = max(1.0, round(lowest)), float(round(highest))
        found = search_load(
            holds,
            self.base_load,
            lowest,
            highest,
            tolerance=self.asked.tolerance,
            max_runs=self.asked.max_loads,
            whole=self._closed,
        )
        return Knee(_status(found, probes), found.holds, found.fails, tuple(probes[load] for load, _ in found.runs))

    def _probe(self, fabric: str, core: Any, load: float) -> Probe:
        if (core, load) not in self._ideal:
            self._ideal[core, load] = self._metrics(fabric, load, "ideal")
        ideal = self._ideal[core, load]
        ideal_s, why_not = ideal["ttft_s"]["p99"], ideal["window"]["no_rate"]
        full = self._full(ideal)
        if full or why_not is not None:
            return Probe(load, None, ideal_s, None, full, why_not)
        metrics = self._metrics(fabric, load, None)
        fabric_s = metrics["ttft_s"]["p99"]
        if not ideal_s or fabric_s is None:
            return Probe(load, fabric_s, ideal_s, None, (), "no request of the window had a first token")
        added = fabric_s / ideal_s - 1.0
        if metrics["window"]["no_rate"] is not None and added < self.asked.share:
            return Probe(load, fabric_s, ideal_s, None, (), metrics["window"]["no_rate"])
        return Probe(load, fabric_s, ideal_s, added)

    def _full(self, metrics: dict[str, Any]) -> tuple[str, ...]:
        scenario = self.comparison.scenario
        return tuple(limits(metrics, (scenario.prefill.nodes, scenario.decode.nodes))["full"] or ())

    def _metrics(self, fabric: str, load: float, fidelity: str | None) -> dict[str, Any]:
        """Return the metrics of a fabric at a load, those of the comparison where it has them."""
        scenario = self.comparison.scenario
        label = scenario.labels[fabric]
        if fidelity is None and load == self.base_load:
            return self.comparison.results[label].metrics
        self._made += 1
        where = "an ideal core" if fidelity else label
        self.progress(f"knee of {label}: run {self._made}, {where} at {load / self.base_load:.3g} times the load", 0, 0, "")
        result = compare(self._scenario(fabric, load, fidelity))
        return next(iter(result.results.values())).metrics

    def _scenario(self, fabric: str, load: float, fidelity: str | None) -> Scenario:
        scenario = self.comparison.scenario
        network = scenario.network_of(fabric).model_dump(exclude_unset=True)
        changes: dict[str, Any] = {
            "fabrics": [fabric],
            "baseline": None,
            "network": {**network, "fidelity": fidelity or network.get("fidelity", "flow")},
            "load.concurrency" if self._closed else "load.rate_per_s": int(load) if self._closed else load,
        }
        if scenario.requests.source == GENERATOR and scenario.requests.count is not None and load > self.base_load:
            changes["requests.count"] = round(scenario.requests.count * load / self.base_load)
        return changed(scenario, changes)

    def _core(self, fabric: str) -> Any:
        """Return what tells the ideal core of a fabric from others'."""
        scenario = self.comparison.scenario
        network = scenario.network_of(fabric)
        carrier = carrier_on(load_fabric(fabric), network.model_copy(update={"fidelity": "ideal"}), scenario.seed)
        links, how = carrier.link_set, (network.path_split, network.quantum_s)
        return links.capacity_bps.tobytes(), links.latency_s.tobytes(), links.nic_start, links.nvlink_start, *how


def _status(found: LoadSearch, probes: dict[float, Probe]) -> Status:
    if found.status == "all hold":
        return "not reached"
    if found.status == "out of runs" or found.fails is None:
        return "out of runs"
    beyond = probes[found.fails]
    if beyond.ideal_full:
        return "saturated"
    if beyond.added is None:
        return "no window"
    return "found" if found.status == "found" else "at the lowest"
