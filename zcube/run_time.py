"""About how long the runs of a comparison take, known before anything is built or read."""

from __future__ import annotations

from pathlib import Path

from zcube.scenario import Scenario
from zcube.side_by_side import SideBySide, jobs_for
from zcube.workload.source import GENERATOR

#: Of a request on one fabric, by fidelity: what the bundled scenarios take at least on a processor of 2020.
REQUEST_S = {"ideal": 0.0005, "flow": 0.0005, "lossless": 0.001, "packet": 0.05}
#: A line of a request trace is no shorter, so that there are no more requests in a file than this gives.
REQUEST_BYTES = 100


def runs_side_by_side(scenario: Scenario, jobs: int | None, searched: bool = False) -> SideBySide:
    """Return what does the runs of a comparison, its processes, if any, about to be ready for them.

    Parameters
    ----------
    scenario : Scenario
        What is compared.
    jobs : int, optional
        What was asked for; default: as many as there are processors for, where that saves time.
    searched : bool
        Whether other loads are searched after it, which takes more runs.
    """
    runs = len(scenario.fabrics) * scenario.seeds
    # A search has two runs at a load, of a fabric and of its ideal core, and goes on fabric by fabric.
    at_once = jobs_for(jobs, (2 if searched else 1) * runs, run_s(scenario))
    return SideBySide(at_once, "zcube.fabric_run", scenario.network.memory_gb)


def run_s(scenario: Scenario) -> float:
    """Return about how long a run of a scenario takes at least, on the fabric that takes longest."""
    return max(_requests(scenario) * REQUEST_S[scenario.network_of(fabric).fidelity] for fabric in scenario.fabrics)


def _requests(scenario: Scenario) -> float:
    """Return about how many requests a run has; none in a file that cannot be read, which is told of later."""
    requests = scenario.requests
    if requests.source == GENERATOR:
        return float(requests.count or 0)
    try:
        in_file = Path(requests.source).stat().st_size / REQUEST_BYTES
    except OSError:
        return 0.0
    return min(in_file, requests.count or in_file)
