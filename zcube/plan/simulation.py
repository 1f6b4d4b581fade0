"""The fabrics of the front under a serving scenario: what simulation adds to the cheap objectives."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zcube.comparison import compare
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Demand
from zcube.plan.topology_files import write_topologies
from zcube.progress import Progress, silent
from zcube.run_time import runs_side_by_side
from zcube.scenario import Scenario, changed


def simulated(
    candidates: Sequence[Candidate], scenario: Scenario, demand: Demand, progress: Progress = silent, jobs: int | None = 1
) -> dict[str, dict[str, Any]]:
    """Serve the scenario's requests on every candidate.

    Parameters
    ----------
    candidates : sequence of Candidate
        Those on the front.
    scenario : Scenario
        The experiment; its own fabrics are left out.
    demand : Demand
        Whose price book and optics rule take the place of the scenario's.
    progress : Progress
        Told what is under way.
    jobs : int, optional
        Candidates simulated at a time.

    Returns
    -------
    dict
        By candidate: P99 and median of the time to first token and of the KV transfers in seconds, tokens put out a second,
        what a million of them cost by the fabric and its power over the scenario's ``cost.years``; why the run stopped, where
        it did.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = write_topologies(candidates, Path(folder))
        changes = {"fabrics": [str(path) for path in files.values()], "baseline": None}
        declared = changed(scenario, changes | {"cost.price_book": demand.price_book, "cost.optics": demand.optics})
        with runs_side_by_side(declared, jobs) as beside:
            results = compare(declared, progress, beside=beside).document()["fabrics"]
    return {
        name: {
            "ttft_p99_s": results[name]["ttft_s"]["p99"],
            "ttft_p50_s": results[name]["ttft_s"]["p50"],
            "kv_transfer_p99_s": results[name]["kv_transfer_s"]["p99"],
            "output_tokens_per_s": results[name]["throughput"]["output_tokens_per_s"],
            "usd_per_million_output_tokens": results[name]["cost"]["fabric"]["usd_per_million_output_tokens"],
            "failure": results[name]["failure"],
        }
        for name in files
    }
