"""The load from which on a fabric delays first tokens: searched over loads, each against the same requests on an ideal core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from zcube.errors import Fault, FaultList, InputError
from zcube.load_search import LoadSearch
from zcube.other_loads import OtherLoads, Searched, SearchTerms
from zcube.scenario import Scenario
from zcube.verdict.limits import limits

#: ``found``: added at ``fails`` what is asked for, and less at ``holds``; ``at the lowest``: at the lowest load already;
#: ``saturated``: at ``fails`` the run on the ideal core is at its limit; ``no window``: there the runs cannot be compared, or
#: one is refused; ``not reached``: not at the highest load; ``out of runs``: the search ended before.
Status = Literal["found", "at the lowest", "saturated", "no window", "not reached", "out of runs"]


class KneeSearch(SearchTerms):
    """What is searched for, and how far; the defaults are this project's choice."""

    share: float = Field(default=0.05, gt=0, le=100, description="part that a fabric adds to TTFT P99")


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
    on_one_side : int
        Requests that the latencies of only one of the two are over, summed over seeds.
    """

    load: float
    ttft_p99_s: float | None
    ideal_ttft_p99_s: float | None
    added: float | None
    ideal_full: tuple[str, ...] = ()
    why_not: str | None = None
    on_one_side: int = 0


@dataclass(frozen=True, slots=True)
class Knee:
    """What a search came to on a fabric: how it ended, the loads next to the knee on either side, and every probe."""

    status: Status
    holds: float | None
    fails: float | None
    runs: tuple[Probe, ...]


class Knees(Searched[Knee]):
    """The knees of a comparison's fabrics."""

    __slots__ = ()


def find_knees(loads: OtherLoads, asked: KneeSearch | None = None) -> Knees:
    """Search every fabric's knee from the load of a comparison on.

    A load at which the ideal core is at its limit is not run on a fabric.

    Raises
    ------
    InputError
        If the network is ideal, or the requests have no rate that could be varied.
    """
    scenario, asked = loads.comparison.scenario, asked or KneeSearch()
    check_knee(scenario)
    knees = loads.of_fabrics(lambda fabric: _knee(fabric, loads, asked))
    return Knees(asked, loads.base_load, loads.unit, scenario.seeds, knees)


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
            expected = "lossless, flow or packet, to search what the fabric adds to an ideal network"
            faults.faults.append(Fault(f"fabric {fabric}: network.fidelity", "ideal", expected))
    faults.check()


def _knee(fabric: str, loads: OtherLoads, asked: KneeSearch) -> Knee:
    probes: dict[float, Probe] = {}

    def holds(load: float) -> bool:
        try:
            probes[load] = probe = _probe(fabric, loads, load, asked)
        except InputError as error:
            probes[load] = probe = Probe(load, None, None, None, (), str(error))
        return probe.added is not None and probe.added < asked.share

    found = loads.search(holds, asked)
    return Knee(_status(found, probes), found.holds, found.fails, tuple(probes[load] for load, _ in found.runs))


def _probe(fabric: str, loads: OtherLoads, load: float, asked: KneeSearch) -> Probe:
    ideal = loads.ideal_metrics(fabric, load)
    ideal_s, why_not = ideal["ttft_s"]["p99"], ideal["window"]["no_rate"]
    full = _full(ideal, loads.comparison.scenario)
    if full or why_not is not None:
        return Probe(load, None, ideal_s, None, full, why_not)
    metrics = loads.metrics(fabric, load)
    fabric_s = metrics["ttft_s"]["p99"]
    if not ideal_s or fabric_s is None:
        return Probe(load, fabric_s, ideal_s, None, (), "no request of the window had a first token")
    added = fabric_s / ideal_s - 1.0
    if metrics["window"]["no_rate"] is not None and added < asked.share:
        return Probe(load, fabric_s, ideal_s, None, (), metrics["window"]["no_rate"])
    return Probe(load, fabric_s, ideal_s, added, on_one_side=loads.on_one_side(fabric, load))


def _full(metrics: dict[str, Any], scenario: Scenario) -> tuple[str, ...]:
    return tuple(limits(metrics, (scenario.prefill.nodes, scenario.decode.nodes))["full"] or ())


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
