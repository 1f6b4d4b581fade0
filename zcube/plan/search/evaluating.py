"""What becomes of genomes: what each lacks, which have the same graph, what the others measure; in several processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zcube.errors import InputError
from zcube.fabric.families.layered import LayeredSpec
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.measures import BEHAVIOUR, VALUES, Measured, Measuring
from zcube.plan.search.feasibility import lacking, oversubscription
from zcube.plan.search.isomorphism import FabricGraph
from zcube.plan.search.space import Genome, Space
from zcube.progress import ShareDone
from zcube.side_by_side import SideBySide

#: What a fabric lacks that cannot be cabled, or of which an objective is not known.
NOT_COMPARED = 1.0
#: How far the bisection may be below what the demand asks for.
BISECTION_TOLERANCE = 0.01


@dataclass(frozen=True)
class Judged:
    """What was found of a graph.

    Attributes
    ----------
    lacking : float
        What it lacks to meet the demand, 0 for nothing.
    values : tuple of float
        Its objectives, in the demand's order; empty where it lacks something that is known without measuring.
    """

    lacking: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Judge:
    """Judges genomes for a demand.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    """

    site: Site

    def glance(self, genome: Genome) -> tuple[float, str | None]:
        """Return what a genome lacks by counting, and the hash of its graph where that is nothing."""
        spec = Space(self.site).spec(genome)
        lack = lacking(spec, self.site)
        return (lack, FabricGraph.of(spec.build("genome")).hash()) if spec is not None and lack == 0 else (lack, None)

    def is_same(self, genome: Genome, other: Genome) -> bool:
        """Return whether two genomes whose graphs have equal hashes have the same graph."""
        if genome == other:
            return True
        one, two = (Space(self.site).spec(each) for each in (genome, other))
        return one is not None and two is not None and FabricGraph.of(one.build("")).is_same(FabricGraph.of(two.build("")))

    def measure(self, genome: Genome) -> Judged:
        """Measure a genome that lacks nothing by counting, as :func:`~zcube.plan.measuring.measure_all` does."""
        spec = Space(self.site).spec(genome)
        assert spec is not None
        one, measuring, demand = candidate_of(spec, "genome"), Measuring(self.site), self.site.demand
        wanted = {VALUES[name][0] for name in demand.objectives} | {"paths"}
        try:
            figures = measuring.bill(one) | measuring.behaviour(one, [part for part in BEHAVIOUR if part in wanted])
        except InputError:
            return Judged(NOT_COMPARED)
        measured = Measured(one, figures)
        values = [measured.value(name) for name in demand.objectives]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if len(known) < len(values):
            return Judged(NOT_COMPARED)
        lack = max(0.0, 1 / demand.max_oversubscription - BISECTION_TOLERANCE - (measured.value("bisection") or 0.0))
        for bound, name in ((demand.budget_usd, "capital_usd"), (demand.max_power_w, "power_w")):
            if bound is not None:
                value = measured.value(name)
                lack += NOT_COMPARED if value is None else max(0.0, math.log(max(value, 1e-9) / bound))
        return Judged(lack, tuple(known))


def candidate_of(spec: LayeredSpec, name: str) -> Candidate:
    """Return a searched fabric as the planner's other parts know fabrics."""
    links = list(spec.links())
    at_gpus = sum(len(part.a) for part in links if part.lower == 0)
    on_switch = max(_most(part.b.tolist()) for part in links if part.lower == 0)
    layers = " + ".join(map(str, spec.layers))
    joined = ", ".join(
        f"{'GPUs' if join.lower == 0 else join.lower} to {join.upper}: {join.links} x {join.rate_units * spec.unit_gbps:g}G"
        f" ({join.lower_blocks}/{join.upper_blocks} blocks)"
        for join in spec.joins
    )
    inside = "".join(f", {len(grid.targets)} a switch inside {grid.layer}" for grid in spec.inner)
    return Candidate(
        name=name,
        family="layered",
        arrangement=f"found by search: layers of {layers} switches, {joined}{inside}",
        spec=spec,
        switches={spec.switch.model: sum(spec.layers)},
        switch_ports=sum(spec.layers) * spec.switch.ports,
        nic_links=at_gpus,
        switch_links=sum(len(part.a) for part in links) - at_gpus,
        oversubscription=oversubscription(spec),
        gpus_per_switch=on_switch,
    )


def _most(switches: list[int]) -> int:
    counts: dict[int, int] = {}
    for switch in switches:
        counts[switch] = counts.get(switch, 0) + 1
    return max(counts.values())


class Judges:
    """Measures genomes, several at a time where there are processes, which does not show in what is found.

    Parameters
    ----------
    judge : Judge
        What each process does.
    beside : SideBySide
        The processes.
    """

    def __init__(self, judge: Judge, beside: SideBySide) -> None:
        self._judge, self._beside = judge, beside

    def measure(self, genomes: Sequence[Genome]) -> list[Judged]:
        """Return what each genome measures, in order."""
        tasks = [(self._judge, genome) for genome in genomes]
        return list(self._beside.in_order(_measured, tasks, lambda number, share: None))


def _measured(task: tuple[Judge, Genome], told: ShareDone) -> Judged:
    judge, genome = task
    return judge.measure(genome)
