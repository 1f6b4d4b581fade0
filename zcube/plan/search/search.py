"""The search: generations of genomes, each a function of the one before, so that it can stop and go on anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.plan.demand import Site
from zcube.plan.measuring import GPU_S
from zcube.plan.objectives import OBJECTIVES
from zcube.plan.search.breeding import Breeding, Scores, pymoo_version
from zcube.plan.search.evaluating import Judge, Judges
from zcube.plan.search.settings import MOST_GPUS, SearchSettings
from zcube.plan.search.space import Genome, Space
from zcube.plan.search.state import Found, SearchState
from zcube.progress import Progress, silent
from zcube.seeds import stream
from zcube.side_by_side import SideBySide, jobs_for

#: What a genome lacks, beside all else, whose graph another that lives has.
AGAIN = 1000.0
#: Genomes drawn at first for each that is kept.
DRAWN_FOR_ONE = 32
#: Genomes that are looked at once though they come again.
MOST_REMEMBERED = 20_000

Keep = Callable[[SearchState], None]


@dataclass
class Archive:
    """Every graph that was measured, each once.

    Attributes
    ----------
    judges : Judges
        Who measures.
    judge : Judge
        Who compares.
    found : list of Found
        In the order in which they were found.
    """

    judges: Judges
    judge: Judge
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_hash: dict[str, list[int]] = {}
        self._looked_up: dict[Genome, tuple[float, int | None]] = {}
        for number, one in enumerate(self.found):
            self._by_hash.setdefault(one.graph, []).append(number)

    def look_up(self, genomes: Sequence[Genome]) -> list[tuple[float, int | None]]:
        """Return what each genome lacks, and the number of its graph where it has been measured; new ones are."""
        rows: list[tuple[float, int | None]] = []
        new: list[tuple[str, Genome]] = []
        for genome in genomes:
            if genome not in self._looked_up:
                lacking, key = self.judge.glance(genome)
                self._looked_up[genome] = lacking, None if key is None else self._number(key, genome, new)
            rows.append(self._looked_up[genome])
        measured = self.judges.measure([genome for _, genome in new])
        for (key, genome), judged in zip(new, measured, strict=True):
            self.found.append(Found(graph=key, genome=genome, lacking=judged.lacking, values=judged.values))
        if len(self._looked_up) > MOST_REMEMBERED:
            self._looked_up.clear()
        return [(lacking if number is None else self.found[number].lacking, number) for lacking, number in rows]

    def _number(self, key: str, genome: Genome, new: list[tuple[str, Genome]]) -> int:
        known = len(self.found)
        for number in self._by_hash.get(key, ()):
            other = self.found[number].genome if number < known else new[number - known][1]
            if self.judge.is_same(genome, other):
                return number
        self._by_hash.setdefault(key, []).append(known + len(new))
        new.append((key, genome))
        return known + len(new) - 1


def search(
    site: Site,
    settings: SearchSettings,
    state: SearchState | None = None,
    keep: Keep = lambda state: None,
    jobs: int | None = 1,
    progress: Progress = silent,
) -> SearchState:
    """Breed fabrics for a demand.

    Parameters
    ----------
    site : Site
        The demand with its files read.
    settings : SearchSettings
        How long and how widely.
    state : SearchState, optional
        Where an earlier run stopped, as :func:`~zcube.plan.search.state.read_state` gives it; default: genomes drawn at random.
    keep : callable
        Given the state after every generation.
    jobs : int, optional
        Fabrics measured at a time; None: as of :func:`~zcube.side_by_side.jobs_for`. What is found does not depend on it.
    progress : Progress
        Told how many fabrics have been drawn.

    Raises
    ------
    InputError
        If the demand is too large, or pymoo is not installed.
    """
    version, space = pymoo_version(), Space(site)
    if site.demand.gpus > MOST_GPUS:
        raise InputError(Fault("--gpus", f"{site.demand.gpus} with --search", f"at most {MOST_GPUS} GPUs"))
    total, unit = settings.population * (settings.generations + 1), "fabrics"
    judge = Judge(site)
    at_once = jobs_for(jobs, total, GPU_S * site.demand.gpus)
    with SideBySide(at_once, "zcube.plan.search.evaluating") as beside:
        archive = Archive(Judges(judge, beside), judge, [] if state is None else list(state.found))
        breeding = Breeding(space, len(site.demand.objectives))
        counts = [] if state is None else list(state.reached)

        def scores(genomes: IntArray, living: Sequence[int | None] = ()) -> tuple[Scores, list[int | None]]:
            rows = archive.look_up([tuple(genome) for genome in genomes.tolist()])
            return _scores(site, archive.found, rows, living), [number for _, number in rows]

        def judged(bred: IntArray, living: Sequence[int | None]) -> Scores:
            return scores(bred, living)[0]

        def done(generation: int, genomes: IntArray) -> SearchState:
            counts.append(len(archive.found))
            reached = SearchState(
                demand=site.demand.model_dump(mode="json"),
                population=settings.population,
                pymoo=version,
                generation=generation,
                genomes=tuple(map(tuple, genomes.tolist())),
                found=tuple(archive.found),
                reached=tuple(counts),
            )
            keep(reached)
            progress("searching", settings.population * (generation + 1), total, unit)
            return reached

        if state is None:
            progress("searching", 0, total, unit)
            genomes = _start(judge, space, settings.population, stream(site.demand.seed, "search start"))
            scores(genomes)
            state = done(0, genomes)
        while state.generation < settings.generations:
            genomes, generation = np.array(state.genomes), state.generation + 1
            own, living = scores(genomes)
            seed = int(stream(site.demand.seed, f"search generation {generation}").integers(1 << 31))
            survived = breeding.next(genomes, own, partial(judged, living=living), seed)
            state = done(generation, survived)
    return state


def _start(judge: Judge, space: Space, count: int, draw: np.random.Generator) -> IntArray:
    """Return genomes drawn at random, of many those that lack least: few of all genomes come to a fabric."""
    drawn = np.unique(space.drawn(count * DRAWN_FOR_ONE, draw), axis=0)
    lacking = [judge.glance(tuple(genome))[0] for genome in drawn.tolist()]
    return np.asarray(drawn[np.argsort(lacking, kind="stable")[:count]])


def _scores(
    site: Site, found: Sequence[Found], rows: Sequence[tuple[float, int | None]], living: Sequence[int | None]
) -> Scores:
    """Return objectives, in steps of their tolerances, and what genomes lack; of those of one graph only the first counts."""
    criteria = [OBJECTIVES[name] for name in site.demand.objectives]
    values, lacking = np.zeros((len(rows), len(criteria))), np.zeros(len(rows))
    met = {number for number in living if number is not None}
    for row, (lack, number) in enumerate(rows):
        lacking[row] = lack
        if number is not None:
            lacking[row] += AGAIN * (number in met)
            met.add(number)
            for column, (one, value) in enumerate(zip(criteria, found[number].values)):
                cost = one.cost(value)
                values[row, column] = round(cost / one.tolerance) * one.tolerance if one.tolerance else cost
    return values, lacking
