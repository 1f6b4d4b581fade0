"""A comparison's scenario at other loads, one fabric at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zcube.comparison import Comparison, compare
from zcube.errors import Fault, InputError
from zcube.load_search import LoadSearch, search_load
from zcube.progress import Progress, silent
from zcube.scenario import Scenario, changed
from zcube.workload.source import GENERATOR

#: What ``[load]`` takes at most: requests per second, and requests under way.
MOST_LOAD = 1_000_000.0


@dataclass(frozen=True, eq=False)
class OtherLoads:
    """A comparison at other loads: rates of an open loop, numbers of requests under way of a closed one.

    Above the comparison's load generated requests are as many more, so that runs last as long.

    Attributes
    ----------
    comparison : Comparison
        Its scenario is varied, its runs are used.
    purpose : str
        What the runs are for, told as progress.
    progress : Progress
        Told of every run.
    """

    comparison: Comparison
    purpose: str
    progress: Progress = silent

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
        load = self.comparison.scenario.load
        rate = load.concurrency if self.closed else load.rate_per_s
        rate = rate or self.comparison.offered.document()["clock"]["rate_per_s"]
        if rate is None:
            raise InputError(Fault("load.rate_per_s", "requests that come all at once", "a rate that can be varied"))
        return float(rate)

    def metrics(self, fabric: str, load: float) -> dict[str, Any]:
        """Return the metrics of a fabric, by its name in the scenario, at a load.

        Raises
        ------
        InputError
            If the run at that load is refused, as one that does not fit in memory.
        """
        label = self.comparison.scenario.labels[fabric]
        if load == self.base_load:
            return self.comparison.results[label].metrics
        self.progress(f"{self.purpose} of {label}: {load / self.base_load:.3g} times the load", 0, 0, "")
        (result,) = compare(self.scenario(fabric, load)).results.values()
        return result.metrics

    def scenario(self, fabric: str, load: float) -> Scenario:
        """Return the scenario of one fabric at a load."""
        scenario = self.comparison.scenario
        changes: dict[str, Any] = {
            "fabrics": [fabric],
            "baseline": None,
            "network": scenario.network_of(fabric).model_dump(exclude_unset=True),
            "load.concurrency" if self.closed else "load.rate_per_s": int(load) if self.closed else load,
        }
        count = scenario.requests.count
        if scenario.requests.source == GENERATOR and count is not None and load > self.base_load:
            changes["requests.count"] = round(count * load / self.base_load)
        return changed(scenario, changes)

    def search(self, holds: Any, lowest: float, highest: float, tolerance: float, max_loads: int) -> LoadSearch:
        """Search the load up to which something holds, between two multiples of the comparison's; see :func:`search_load`."""
        least, most = self.base_load * lowest, min(self.base_load * highest, MOST_LOAD)
        if self.closed:
            least, most = max(1.0, round(least)), float(round(most))
        return search_load(holds, self.base_load, least, most, tolerance=tolerance, max_runs=max_loads, whole=self.closed)
