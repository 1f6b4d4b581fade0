"""Measuring all candidates, several at a time, those of one graph once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from zcube.errors import InputError
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.measures import Measured, Measuring, graph_key
from zcube.progress import Progress, ShareDone, silent
from zcube.side_by_side import IN_THIS_PROCESS, SideBySide, jobs_for

#: Fabrics measured or grown at a time at most, for each holds a fabric and its flows; about what one takes, by its GPUs.
MOST_AT_ONCE = 4
GPU_S = 2.5e-4

Figures = dict[str, Any]
Task = TypeVar("Task")
Result = TypeVar("Result")


def fabrics_at_once(site: Site, candidates: Sequence[Candidate], jobs: int | None) -> int:
    """Return how many fabrics are measured at a time; ``jobs`` as of :func:`~zcube.side_by_side.jobs_for`."""
    return min(MOST_AT_ONCE, jobs_for(jobs, len(candidates), GPU_S * site.demand.gpus))


def counted(
    beside: SideBySide,
    work: Callable[[Task, ShareDone], Result],
    tasks: Mapping[str, Task],
    progress: Progress,
    phase: str,
    unit: str,
) -> dict[str, Result]:
    """Return what comes of every task, and tell how many are done; those that take longest come first."""
    done: set[int] = set()

    def told(number: int, share: float) -> None:
        if share >= 1.0:
            done.add(number)
            progress(phase, len(done), len(tasks), unit)

    return dict(zip(tasks, beside.in_order(work, tasks.values(), told), strict=True))


def measure_all(
    site: Site, candidates: Sequence[Candidate], progress: Progress = silent, beside: SideBySide = IN_THIS_PROCESS
) -> tuple[list[Measured], dict[str, str]]:
    """Measure candidates.

    Parameters
    ----------
    site : Site
        The demand with its files read.
    candidates : sequence of Candidate
        What is built.
    progress : Progress
        Told how many are done.
    beside : SideBySide
        Where they are measured. What is found does not depend on it.

    Returns
    -------
    list of Measured
        In the candidates' order.
    dict of str
        Why the others cannot be cabled, by name.
    """
    measuring = Measuring(site)
    large_first = sorted(candidates, key=lambda one: -one.nic_links)
    # Wirings of one fabric cost the same.
    alike = {base: (measuring, [one for one in candidates if _base(one) == base]) for base in map(_base, large_first)}
    priced = counted(beside, _bill, alike, progress, "pricing", "fabrics")
    refused = {name: reason for _, reasons in priced.values() for name, reason in reasons.items()}
    bills = {base: bill for base, (bill, _) in priced.items() if bill is not None}
    graphs = {graph_key(one): (measuring, one) for one in large_first if _base(one) in bills}
    found = counted(beside, _behaviour, graphs, progress, "routing and failing fabrics", "graphs")
    measured = [Measured(one, {**bills[_base(one)], **found[graph_key(one)]}) for one in candidates if _base(one) in bills]
    return measured, refused


def _base(one: Candidate) -> str:
    """Return what is equal for wirings of one fabric."""
    return one.name.removesuffix(f"-{one.traffic}")


def _bill(task: tuple[Measuring, Sequence[Candidate]], told: ShareDone) -> tuple[Figures | None, dict[str, str]]:
    """Return the bill of the first of some wirings that can be cabled, and why others before it cannot."""
    measuring, alike = task
    refused: dict[str, str] = {}
    for one in alike:
        try:
            return measuring.bill(one), refused
        except InputError as error:
            refused[one.name] = "; ".join(map(str, error.faults))[:400]
    return None, refused


def _behaviour(task: tuple[Measuring, Candidate], told: ShareDone) -> Figures:
    measuring, candidate = task
    return measuring.behaviour(candidate)
