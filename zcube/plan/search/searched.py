"""What a search found, as the planner's other parts know fabrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zcube.fabric.families.layered import LayeredSpec
from zcube.plan.candidate import Candidate
from zcube.plan.demand import Site
from zcube.plan.front import beats
from zcube.plan.objectives import OBJECTIVES
from zcube.plan.search.evaluating import candidate_of
from zcube.plan.search.isomorphism import FabricGraph
from zcube.plan.search.settling import settling
from zcube.plan.search.space import Space
from zcube.plan.search.state import Found, SearchState

#: Fabrics of a search's front that are measured in full beside the families'.
MOST_SHOWN = 24


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    state : SearchState
        How far the search came.
    """

    site: Site
    state: SearchState

    @cached_property
    def front(self) -> list[Found]:
        """The fabrics found that meet the demand and that no other one found beats, best in the first objective first."""
        criteria = [OBJECTIVES[name] for name in self.site.demand.objectives]
        front: list[Found] = []
        for one in self.state.found:
            row = list(one.values)
            if one.lacking == 0 and not any(beats(criteria, list(other.values), row) for other in front):
                front = [*(other for other in front if not beats(criteria, row, list(other.values))), one]
        return sorted(front, key=lambda one: [rule.cost(value) for rule, value in zip(criteria, one.values)])

    def candidates(self) -> list[Candidate]:
        """Return the front as candidates, named by their graphs; of a long one :data:`MOST_SHOWN`, evenly spread."""
        front, space = self.front, Space(self.site)
        if len(front) > MOST_SHOWN:
            front = [front[round(place)] for place in np.linspace(0, len(front) - 1, MOST_SHOWN)]
        specs = [(one, space.spec(one.genome)) for one in front]
        return [candidate_of(spec, f"found-{one.graph[:8]}") for one, spec in specs if spec is not None]

    def document(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """Return what the search did, JSON-ready.

        ``same_graph`` names, for each fabric found, that of the given candidates which differs from it by names alone.
        """
        state, graphs = self.state, [(one, FabricGraph.of(one.spec.build(one.name))) for one in candidates]
        known: dict[str, list[tuple[str, FabricGraph]]] = {}
        for one, graph in graphs:
            if not isinstance(one.spec, LayeredSpec):
                known.setdefault(graph.hash(), []).append((one.name, graph))
        same = {
            one.name: next((name for name, other in known.get(graph.hash(), ()) if graph.is_same(other)), None)
            for one, graph in graphs
            if isinstance(one.spec, LayeredSpec)
        }
        return {
            "population": state.population,
            "generations": state.generation,
            "fabrics_drawn": state.population * (state.generation + 1),
            "graphs_measured": len(state.found),
            "graphs_that_meet_the_demand": sum(one.lacking == 0 for one in state.found),
            "on_the_search_front": len(self.front),
            "settling": settling(state.found, state.reached, [OBJECTIVES[name] for name in self.site.demand.objectives]),
            "same_graph": same,
            "pymoo": state.pymoo,
        }
