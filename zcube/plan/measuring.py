"""Measuring all candidates, those of one graph once, in as many processes as there are cores to be had."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from zcube.errors import InputError
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.measures import Measured, Measuring, graph_key
from zcube.progress import Progress, silent

#: Processes at most; each holds a fabric and its flows. GPUs times graphs below which starting them does not pay.
MOST_WORKERS = 4
WORTH_WORKERS = 60_000

Figures = dict[str, Any]


def measure_all(
    site: Site, candidates: Sequence[Candidate], progress: Progress = silent, workers: int | None = None
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
    workers : int, optional
        Processes; default: as many as there are cores, up to :data:`MOST_WORKERS`, where there is enough to do. What is found
        does not depend on it.

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
    found: dict[str, Figures] = {}
    for key, figures in _behaviours(measuring, graphs, workers):
        found[key] = figures
        progress("routing and failing fabrics", len(found), len(graphs), "graphs")
    measured = [Measured(one, {**bills[one.name.removesuffix(f"-{one.traffic}")], **found[graph_key(one)]}) for one in cabled]
    return measured, refused


def _behaviours(measuring: Measuring, graphs: dict[str, Candidate], workers: int | None) -> Iterator[tuple[str, Figures]]:
    """Yield what each graph does, as soon as it is known."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(MOST_WORKERS, cores, len(graphs)) if workers is None else workers
    if workers is None and measuring.site.demand.gpus * len(graphs) < WORTH_WORKERS:
        count = 1
    if count <= 1:
        for key, one in graphs.items():
            yield key, measuring.behaviour(one)
        return
    # Kernels are compiled once, on the least graph; the others find them. Those of most NIC ports take longest and come first.
    *rest, (first, candidate) = sorted(graphs.items(), key=lambda item: -item[1].nic_links)
    yield first, measuring.behaviour(candidate)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        waiting = {pool.submit(measuring.behaviour, one): key for key, one in rest}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
