"""Capacity of fabrics: the largest load at which a stated share of requests meets every service level, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.load_search import LoadSearch
from zcube.other_loads import OtherLoads, Searched, SearchTerms
from zcube.scenario import Scenario
from zcube.serving.settings import Slo

#: ``found``: met at ``load``, missed at ``missed_at``; ``at the highest``: met at the highest load, capacity is no less;
#: ``never``: missed at the lowest; ``not known``: met at ``load``, and at ``missed_at`` it cannot be told; ``out of runs``: the
#: loads to be tried were used up.
Status = Literal["found", "at the highest", "never", "not known", "out of runs"]


class CapacitySearch(SearchTerms):
    """What is searched for, and how far; the defaults are this project's choice."""

    share: float = Field(default=0.99, gt=0, le=1, description="part of the window's requests that meets every bound of [slo]")


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
        Whether the window is one of a steady state.
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
    """What a search came to on a fabric: how it ended, the loads on either side, ``Probe.cost`` at ``load``, every probe."""

    status: Status
    load: float | None
    missed_at: float | None
    cost: dict[str, float | str | None] | None
    runs: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Capacities(Searched[Capacity]):
    """The capacities of a comparison's fabrics, and the bounds that they hold under."""

    bounds: Slo

    def document(self) -> dict[str, Any]:
        """Return them JSON-ready."""
        return {**Searched.document(self), "bounds": self.bounds.model_dump()}


def check_capacity(scenario: Scenario) -> None:
    """Refuse a scenario without a service level.

    Raises
    ------
    InputError
        If ``[slo]`` has no bound.
    """
    if scenario.slo.ttft_s is None and scenario.slo.tpot_s is None:
        raise InputError(Fault("slo", "no bound", "slo.ttft_s, slo.tpot_s or both, that capacity is searched under"))


def find_capacity(loads: OtherLoads, asked: CapacitySearch | None = None) -> Capacities:
    """Search the capacity of every fabric, from the load of a comparison on.

    Raises
    ------
    InputError
        If ``[slo]`` has no bound, or the requests have no rate that could be varied.
    """
    scenario, asked = loads.comparison.scenario, asked or CapacitySearch()
    check_capacity(scenario)
    found = loads.of_fabrics(lambda fabric: _capacity(fabric, loads, asked))
    return Capacities(asked, loads.base_load, loads.unit, scenario.seeds, found, scenario.slo)


def _capacity(fabric: str, loads: OtherLoads, asked: CapacitySearch) -> Capacity:
    probes: dict[float, Probe] = {}

    def holds(load: float) -> bool:
        probes[load] = probe = _probe(fabric, loads, load)
        return probe.why_not is None and probe.share is not None and probe.share >= asked.share

    found = loads.search(holds, asked)
    cost = None if found.holds is None else probes[found.holds].cost
    runs = tuple(probes[load] for load, _ in found.runs)
    return Capacity(_status(found, probes, asked), found.holds, found.fails, cost, runs)


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
