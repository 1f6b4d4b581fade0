"""Capacity of fabrics: the largest load at which a stated share of requests meets every service level, and what it costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from zcube.comparison import Comparison
from zcube.errors import Fault, InputError
from zcube.inputs import Declared
from zcube.load_search import MAX_RUNS, TOLERANCE, LoadSearch
from zcube.other_loads import OtherLoads
from zcube.progress import Progress, silent
from zcube.scenario import Scenario

#: ``found``: met at ``load``, missed at ``missed_at``; ``at the highest``: met at the highest load, capacity is no less;
#: ``never``: missed at the lowest; ``not known``: met at ``load``, and at ``missed_at`` it cannot be told; ``out of runs``: the
#: loads to be tried were used up.
Status = Literal["found", "at the highest", "never", "not known", "out of runs"]


class CapacitySearch(Declared):
    """What is searched for, and how far. Loads are multiples of the scenario's; the defaults are this project's choice."""

    share: float = Field(default=0.99, gt=0, le=1, description="part of the window's requests that meets every bound of [slo]")
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
    share : float or None
        Part of the requests that arrived in the window and met every bound; rejected, failed and unfinished ones did not.
    rejected, failed, unfinished : float
        Requests of the whole run that were not served, means over the seeds.
    steady : bool or None
        Whether Little's law holds in the window.
    why_not : str or None
        Why the share is not one of a steady window, or there is none at all.
    cost : dict
        ``usd_per_million_output_tokens``, ``usd_per_million_good_tokens`` and ``hardware_usd_per_million_output_tokens`` of the
        fabric without NICs.
    """

    load: float
    share: float | None
    rejected: float = 0
    failed: float = 0
    unfinished: float = 0
    steady: bool | None = None
    why_not: str | None = None
    cost: dict[str, float | str | None] | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search came to on a fabric: how it ended, the loads on either side, and every probe in order."""

    status: Status
    load: float | None
    missed_at: float | None
    runs: tuple[Probe, ...]


def check_capacity(scenario: Scenario) -> None:
    """Refuse a scenario without a service level.

    Raises
    ------
    InputError
        If ``[slo]`` has no bound.
    """
    if scenario.slo.ttft_s is None and scenario.slo.tpot_s is None:
        raise InputError(Fault("slo", "no bound", "slo.ttft_s, slo.tpot_s or both, that capacity is searched under"))


def find_capacity(comparison: Comparison, asked: CapacitySearch | None = None, progress: Progress = silent) -> dict[str, Any]:
    """Search the capacity of every fabric, from the load of a comparison on, and return it JSON-ready.

    Raises
    ------
    InputError
        If ``[slo]`` has no bound, or the requests have no rate that could be varied.
    """
    scenario, asked = comparison.scenario, asked or CapacitySearch()
    check_capacity(scenario)
    loads = OtherLoads(comparison, "capacity", progress)
    found = {label: _capacity(fabric, loads, asked) for fabric, label in scenario.labels.items()}
    return {
        **asked.model_dump(),
        "bounds": scenario.slo.model_dump(),
        "seeds": scenario.seeds,
        "base_load": loads.base_load,
        "unit": loads.unit,
        "fabrics": {label: _document(capacity, loads.base_load) for label, capacity in found.items()},
    }


def _capacity(fabric: str, loads: OtherLoads, asked: CapacitySearch) -> Capacity:
    probes: dict[float, Probe] = {}

    def holds(load: float) -> bool:
        probes[load] = probe = _probe(fabric, loads, load)
        return probe.why_not is None and probe.share is not None and probe.share >= asked.share

    found = loads.search(holds, asked.lowest, asked.highest, asked.tolerance, asked.max_loads)
    return Capacity(_status(found, probes, asked), found.holds, found.fails, tuple(probes[load] for load, _ in found.runs))


def _status(found: LoadSearch, probes: dict[float, Probe], asked: CapacitySearch) -> Status:
    if found.fails is None:
        return "at the highest" if found.status == "all hold" else "out of runs"
    beyond = probes[found.fails]
    # A run without a window that misses all the same settles the question.
    if beyond.share is None or beyond.share >= asked.share:
        return "not known"
    if found.status == "none holds":
        return "never"
    return "found" if found.status == "found" else "out of runs"


def _probe(fabric: str, loads: OtherLoads, load: float) -> Probe:
    try:
        metrics = loads.metrics(fabric, load)
    except InputError as error:
        return Probe(load, None, why_not=str(error))
    counts, cost = metrics["requests"], metrics["cost"]["fabric"]
    share = metrics["slo"]["share"]
    prices = ("usd_per_million_output_tokens", "usd_per_million_good_tokens", "hardware_usd_per_million_output_tokens")
    return Probe(
        load,
        share,
        counts["rejected"],
        counts["failed"],
        counts["unfinished"],
        metrics["littles_law"]["steady"],
        metrics["window"]["no_rate"] or (None if share is not None else "no request arrived in the window"),
        {price: cost[price] for price in prices},
    )


def _document(capacity: Capacity, base_load: float) -> dict[str, Any]:
    runs = [{**asdict(probe), "multiple": probe.load / base_load} for probe in capacity.runs]
    at = next((run for run in runs if run["load"] == capacity.load), None)
    return {
        "status": capacity.status,
        "load": capacity.load,
        "missed_at": capacity.missed_at,
        "cost": at and at["cost"],
        "runs": runs,
    }
