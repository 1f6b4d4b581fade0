"""The fabrics of the front under a serving scenario: what simulation adds to the cheap objectives."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zcube.comparison import compare
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.plan.demand import Demand
from zcube.plan.failed_serving import changes, run_figures
from zcube.plan.measures import Measured
from zcube.plan.topology_files import write_topologies
from zcube.pricing.amortised import HourlyCost, Scope
from zcube.progress import Progress, silent
from zcube.run_time import runs_side_by_side
from zcube.scenario import Scenario, changed

#: Fabrics that are simulated with a failed switch too.
MOST_FAILED = 4


def simulated(
    measured: Sequence[Measured],
    failures: Mapping[str, str],
    scenario: Scenario,
    demand: Demand,
    progress: Progress = silent,
    jobs: int | None = 1,
) -> dict[str, dict[str, Any]]:
    """Serve the scenario's requests on every candidate.

    Parameters
    ----------
    measured : sequence of Measured
        Those on the front, with their bills and power.
    failures : mapping of str
        What fails of a candidate, as ``--fail`` takes it; of the first :data:`MOST_FAILED` that are here a second run with it.
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
        it did. With a failure ``after_failure`` has these figures, and their changes as fractions.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        files = write_topologies((one.candidate for one in measured), Path(folder))
        broken = {name: failures[name] for name in files if name in failures}
        broken = dict([*broken.items()][:MOST_FAILED])
        references = {name: f"{files[name]}{FAILURES_AFTER}{failure}" for name, failure in broken.items()}
        fabrics = {"fabrics": [*map(str, files.values()), *references.values()], "baseline": None}
        declared = changed(scenario, fabrics | {"cost.price_book": demand.price_book, "cost.optics": demand.optics})
        with runs_side_by_side(declared, jobs) as beside:
            results = compare(declared, progress, beside=beside, load_over_time=False).document()["fabrics"]
    found: dict[str, dict[str, Any]] = {
        name: {
            **run_figures(results[name]),
            "usd_per_million_output_tokens": _per_million(one, scenario, results[name]["throughput"]["output_tokens_per_s"]),
        }
        for name, one in zip(files, measured, strict=True)
    }
    for name, reference in references.items():
        after = run_figures(results[declared.labels[reference]])
        found[name]["after_failure"] = {"failure_of": broken[name], **after, "change": changes(after, found[name])}
    return found


def _per_million(one: Measured, scenario: Scenario, tokens_per_s: float | None) -> float | str | None:
    """Return what a million tokens cost by the plan's own bill, both sides' modules in it, and by its power."""
    hardware_usd = one.figures["cost"]["bill"]["with_nic_side"]["total_usd"]
    scope = Scope(hardware_usd, one.figures["power"]["power_w_most"], ())
    found = HourlyCost(scenario.cost, {"fabric": scope}, None).document(tokens_per_s, None)
    price: float | str | None = found["fabric"]["usd_per_million_output_tokens"]
    return price
