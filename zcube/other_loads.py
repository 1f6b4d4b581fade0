"""A comparison's scenario at other loads, one fabric at a time or its ideal core: run once each, and searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import Field

from zcube.calibrate.links import carrier_on
from zcube.comparison import Comparison, compare
from zcube.fabric.catalog import load_fabric
from zcube.inputs import Declared
from zcube.load_search import MAX_RUNS, TOLERANCE, LoadSearch, search_load
from zcube.prepared import load_of
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, changed, parted
from zcube.serving.counted import Counted, on_one_side
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide
from zcube.workload.source import GENERATOR

#: What ``[load]`` takes at most: requests per second, and requests under way.
MOST_LOAD = 1_000_000.0


class SearchTerms(Declared):
    """How far loads are searched. They are multiples of the scenario's; the defaults are this project's choice."""

    tolerance: float = Field(default=TOLERANCE, gt=0, le=10, description="largest ratio of the ends of the result, less 1")
    max_loads: int = Field(default=MAX_RUNS, ge=1, le=1000, description="loads tried on a fabric at most")
    lowest: float = Field(default=0.125, gt=0, le=1, description="least multiple of the scenario's load")
    highest: float = Field(default=8.0, ge=1, le=1000, description="largest multiple of the scenario's load")


#: What a search came to on a fabric: a dataclass with ``runs``, one dataclass a load with its ``load``.
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Searched(Generic[Found]):
    """What searches came to on a comparison's fabrics, by label, and what they were made by."""

    asked: SearchTerms
    base_load: float
    unit: str
    seeds: int
    fabrics: dict[str, Found]

    def document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        fabrics: dict[str, Any] = {name: asdict(found) for name, found in self.fabrics.items()}  # type: ignore[call-overload]
        for found in fabrics.values():
            found["runs"] = [{**run, "multiple": run["load"] / self.base_load} for run in found["runs"]]
        return {
            **self.asked.model_dump(),
            "seeds": self.seeds,
            "base_load": self.base_load,
            "unit": self.unit,
            "fabrics": fabrics,
        }


@dataclass(frozen=True, slots=True, eq=False)
class AtLoad:
    """A run at a load: its metrics, and the requests that they are over, seed by seed."""

    metrics: dict[str, Any]
    counted: tuple[Counted, ...]


@dataclass(frozen=True, eq=False)
class OtherLoads:
    """A comparison at other loads: rates of an open loop, numbers of requests under way of a closed one.

    Above the comparison's load generated requests are as many more, so that runs last as long. No run is made twice, whoever
    asks for it; fabrics with the same NICs share those on the ideal core.

    Attributes
    ----------
    comparison : Comparison
        Its scenario is varied, its runs are used.
    progress : Progress
        Told of every run.
    beside : SideBySide
        Does the runs, and searches on several fabrics at a time where it has processes.
    """

    comparison: Comparison
    progress: Progress = silent
    beside: SideBySide = IN_THIS_PROCESS
    _made: dict[tuple[Any, float], Future[AtLoad]] = field(default_factory=dict, init=False, repr=False)
    _one_at_a_time: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def closed(self) -> bool:
        """Whether loads are numbers of requests under way."""
        return self.comparison.scenario.load.mode == "closed"

    @property
    def unit(self) -> str:
        """What a load is counted in."""
        return "requests under way" if self.closed else "requests/s"

    @cached_property
    def base_load(self) -> float:
        """The comparison's load.

        Raises
        ------
        InputError
            If its requests come all at once, so that they have no rate.
        """
        return load_of(self.comparison.scenario.load, self.comparison.offered)

    def metrics(self, fabric: str, load: float) -> dict[str, Any]:
        """Return the metrics of a fabric, by its name in the scenario, at a load.

        Raises
        ------
        InputError
            If the run at that load is refused, as one that does not fit in memory.
        """
        return self._at(fabric, load).metrics

    def ideal_metrics(self, fabric: str, load: float) -> dict[str, Any]:
        """Return the metrics of the ideal core with a fabric's NICs at a load.

        Raises
        ------
        InputError
            As :meth:`metrics`.
        """
        return self._ideal_at(fabric, load).metrics

    def on_one_side(self, fabric: str, load: float) -> int:
        """Return over how many requests latencies are on a fabric or its ideal core, but not on both, summed over seeds."""
        return on_one_side(self._at(fabric, load).counted, self._ideal_at(fabric, load).counted)["answered"]

    def _at(self, fabric: str, load: float) -> AtLoad:
        label = self.comparison.scenario.labels[fabric]
        if load == self.base_load:
            result = self.comparison.results[label]
            return AtLoad(result.metrics, result.counted)
        return self._run(fabric, label, load, self.scenario(fabric, load))

    def _ideal_at(self, fabric: str, load: float) -> AtLoad:
        return self._run(self._cores[fabric], "an ideal core", load, self.scenario(fabric, load, {"fidelity": "ideal"}))

    def _run(self, where: Any, shown: str, load: float, scenario: Scenario) -> AtLoad:
        with self._one_at_a_time:
            made = self._made.get((where, load))
            if made is None:
                self.progress(f"other loads: {shown} at {load / self.base_load:.3g} times the load", 0, 0, "")
                own = self._made[where, load] = Future()
        if made is not None:
            return made.result()
        try:
            (result,) = compare(scenario, beside=self.beside, load_over_time=False).results.values()
        except BaseException as error:
            own.set_exception(error)
            raise
        own.set_result(AtLoad(result.metrics, result.counted))
        return own.result()

    @cached_property
    def _cores(self) -> dict[str, Any]:
        """What tells the ideal core of each fabric from others'."""
        scenario, cores = self.comparison.scenario, {}
        for fabric in scenario.fabrics:
            network, (wired, engine) = scenario.network_of(fabric), parted(fabric)
            links = carrier_on(load_fabric(wired), network.model_copy(update={"fidelity": "ideal"}), scenario.seed).link_set
            of_links = (links.capacity_bps.tobytes(), links.latency_s.tobytes(), links.nic_start, links.nvlink_start)
            cores[fabric] = (*of_links, network.path_split, network.quantum_s, engine)
        return cores

    def scenario(self, fabric: str, load: float, network: Mapping[str, Any] = MappingProxyType({})) -> Scenario:
        """Return the scenario of one fabric at a load, with some keys of its network changed."""
        scenario = self.comparison.scenario
        changes: dict[str, Any] = {
            "fabrics": [fabric],
            "baseline": None,
            "network": {**scenario.network_of(fabric).model_dump(exclude_unset=True), **network},
            "load.concurrency" if self.closed else "load.rate_per_s": int(load) if self.closed else load,
        }
        count = scenario.requests.count
        if scenario.requests.source == GENERATOR and count is not None and load > self.base_load:
            changes["requests.count"] = round(count * load / self.base_load)
        return changed(scenario, changes)

    def of_fabrics(self, search: Callable[[str], Found]) -> dict[str, Found]:
        """Return what a search comes to on every fabric, by label; it is told their names in the scenario."""
        labels = self.comparison.scenario.labels
        return dict(zip(labels.values(), self.beside.each(search, list(labels)), strict=True))

    def search(self, holds: Callable[[float], bool], asked: SearchTerms) -> LoadSearch:
        """Search the load up to which something holds, between two multiples of the comparison's; see :func:`search_load`."""
        least, most = self.base_load * asked.lowest, max(self.base_load, min(self.base_load * asked.highest, MOST_LOAD))
        if self.closed:
            least, most = max(1.0, round(least)), float(round(most))
        return search_load(
            holds, self.base_load, least, most, tolerance=asked.tolerance, max_runs=asked.max_loads, whole=self.closed
        )
