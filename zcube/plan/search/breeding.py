"""One generation of NSGA-II by pymoo, as a function of the genomes that live and a seed; the only module that needs pymoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.plan.search.space import Space

#: Objectives, lower being better [genomes, objectives], and what each lacks [genomes].
Scores = tuple[FloatArray, FloatArray]


def pymoo_version() -> str:
    """Return pymoo's version.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import pymoo
    except ImportError as error:
        raise InputError(Fault("--search", "no pymoo", "the extra: pip install 'zcube[search]'")) from error
    return str(pymoo.__version__)


@dataclass(frozen=True)
class Breeding:
    """Crossover, mutation and survival over a space of genomes.

    Attributes
    ----------
    space : Space
        Whose genomes they are.
    objectives : int
        Number of objectives.
    """

    space: Space
    objectives: int

    def next(self, genomes: IntArray, scores: Scores, judge: Callable[[IntArray], Scores], seed: int) -> IntArray:
        """Breed as many genomes as live, and return those that survive of both [genomes, genes].

        Parameters
        ----------
        genomes : int array [genomes, genes]
            Those that live, all different.
        scores : Scores
            Theirs.
        judge : callable
            Gives the scores of new ones.
        seed : int
            Of all that is drawn.
        """
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.config import Config
        from pymoo.core.population import Population
        from pymoo.core.problem import Problem

        # It says so on stdout, where results go.
        Config.warnings["not_compiled"] = False
        choices = self.space.choices
        problem = Problem(n_var=len(choices), n_obj=self.objectives, n_ieq_constr=1, xl=0, xu=choices - 1, vtype=int)
        crossover, mutation = self._operators()
        algorithm = NSGA2(
            pop_size=len(genomes), sampling=Population.new(X=genomes), crossover=crossover, mutation=mutation, seed=seed
        )
        algorithm.setup(problem, termination=("n_gen", 1_000_000))
        first = algorithm.ask()
        self._tell(algorithm, problem, first, scores)
        offspring = algorithm.ask()
        if offspring is None or not len(offspring):
            return genomes
        self._tell(algorithm, problem, offspring, judge(offspring.get("X").astype(np.int64)))
        return np.asarray(algorithm.pop.get("X").astype(np.int64))

    def _tell(self, algorithm: Any, problem: Any, population: Any, scores: Scores) -> None:
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        values, lacking = scores
        Evaluator().eval(StaticProblem(problem, F=values, G=lacking[:, None]), population)
        algorithm.tell(infills=population)

    def _operators(self) -> tuple[Any, Any]:
        from pymoo.core.crossover import Crossover
        from pymoo.core.mutation import Mutation

        space = self.space
        # What belongs together is inherited together: a layer, a join, a layer's inside.
        parts, part_of = np.unique(space.parts, return_inverse=True)

        class ByPart(Crossover):
            """Children take each part whole from either parent."""

            def __init__(self) -> None:
                super().__init__(2, 2)

            def _do(self, problem: Any, X: Any, random_state: Any = None, **kwargs: Any) -> Any:
                swapped = (random_state.random((X.shape[1], len(parts))) < 0.5)[:, part_of]
                return np.where(swapped[None], X[::-1], X)

        class Heard(Mutation):
            """Genes that come to something change; those that do not go back to their first place."""

            def _do(self, problem: Any, X: Any, random_state: Any = None, **kwargs: Any) -> Any:
                return np.array([space.mutated(genome, random_state) for genome in X])

        return ByPart(), Heard()
