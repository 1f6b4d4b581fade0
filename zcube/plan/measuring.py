"""Measuring all candidates, those of one graph once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zcube.errors import InputError
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.measures import Measured, Measuring, graph_key
from zcube.progress import Progress, ShareDone, silent
from zcube.side_by_side import SideBySide, jobs_for

#: Graphs measured at a time at most, for each holds a fabric and its flows; about what one takes, by its GPUs.
MOST_AT_ONCE = 4
GPU_S = 2.5e-4

Figures = dict[str, Any]


def measure_all(
    site: Site, candidates: Sequence[Candidate], progress: Progress = silent, jobs: int | None = 1
) -> tuple[list[Measured], dict[str, str]]:
    """Measure candidates.

    Parameters
    ----------
    site : Site
        The demand with its files read.
    candidates : sequence of Candidate
        What is built.
    progress : Progress
        Told how many graphs are done.
    jobs : int, optional
        Graphs at a time; default: as of :func:`~zcube.side_by_side.jobs_for`. What is found does not depend on it.

    Returns
    -------
    list of Measured
        In the candidates' order.
    dict of str
        Why the others cannot be cabled, by name.
    """
    measuring = Measuring(site)
    bills: dict[str, Figures] = {}
    refused: dict[str, str] = {}
    for one in candidates:
        base = one.name.removesuffix(f"-{one.traffic}")
        if base in bills:
            continue
        progress("pricing", 0, 0, "")
        try:
            bills[base] = measuring.bill(one)
        except InputError as error:
            refused[one.name] = "; ".join(map(str, error.faults))[:400]
    cabled = [one for one in candidates if one.name.removesuffix(f"-{one.traffic}") in bills]
    graphs = {graph_key(one): one for one in cabled}
    found = _behaviours(measuring, graphs, progress, jobs)
    measured = [Measured(one, {**bills[one.name.removesuffix(f"-{one.traffic}")], **found[graph_key(one)]}) for one in cabled]
    return measured, refused


def _behaviours(measuring: Measuring, graphs: dict[str, Candidate], progress: Progress, jobs: int | None) -> dict[str, Figures]:
    """Return what each graph does."""
    done: set[int] = set()

    def told(number: int, share: float) -> None:
        done.add(number)
        progress("routing and failing fabrics", len(done), len(graphs), "graphs")

    at_once = min(MOST_AT_ONCE, jobs_for(jobs, len(graphs), GPU_S * measuring.site.demand.gpus))
    # Those of most NIC ports take longest and come first.
    order = sorted(graphs, key=lambda key: -graphs[key].nic_links)
    with SideBySide(at_once, "zcube.plan.measures") as beside:
        return dict(zip(order, beside.in_order(_behaviour, [(measuring, graphs[key]) for key in order], told), strict=True))


def _behaviour(task: tuple[Measuring, Candidate], told: ShareDone) -> Figures:
    measuring, candidate = task
    return measuring.behaviour(candidate)
