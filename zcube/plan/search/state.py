"""How far a search has come: everything that its next generation depends on, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import Declared, json_document, short, validate
from zcube.plan.demand import Demand
from zcube.plan.search.settings import MOST_FABRICS, SearchSettings
from zcube.plan.search.space import Space

STATE_FILE = "search.json"
STATE_VERSION = 2
MOST_STATE_BYTES = 1 << 30


class Found(Declared):
    """A graph that was found first by a genome, which stands for all that have it."""

    graph: str = Field(pattern="^[0-9a-f]{16}$", description="hash of the graph")
    genome: tuple[int, ...] = Field(description="that gave it first")
    lacking: float = Field(ge=0, description="how much of the demand it misses; 0: none")
    values: tuple[float, ...] = Field(default=(), description="of the objectives")


class SearchState(Declared):
    """A search after a generation.

    Attributes
    ----------
    version : int
        Of the format.
    demand : dict
        What is searched for.
    population : int
        Genomes that live at a time.
    pymoo : str
        Version that bred them.
    generation : int
        Last one that is done.
    genomes : tuple of tuple of int
        Those that live, in their order.
    found : tuple of Found
        Every graph that was measured, in the order in which they were found.
    reached : tuple of int
        How many of them there were after each generation.
    """

    version: int = STATE_VERSION
    demand: dict[str, Any]
    population: int
    pymoo: str
    generation: int = Field(ge=0)
    genomes: tuple[tuple[int, ...], ...]
    found: tuple[Found, ...] = Field(default=(), max_length=MOST_FABRICS)
    reached: tuple[int, ...] = Field(max_length=MOST_FABRICS)

    def to_json(self) -> str:
        """Return the state's file."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False) + "\n"


def read_state(path: Path, demand: Demand, settings: SearchSettings, space: Space, pymoo: str) -> SearchState:
    """Read a state that a search goes on from.

    Raises
    ------
    InputError
        If the file is no state, or one of another demand, population or version of pymoo; all faults at once.
    """
    data = json_document(path, read_bounded(path, MOST_STATE_BYTES))
    if not isinstance(data, dict):
        raise InputError(Fault(str(path), type(data).__name__, "the state of a search"))
    state = validate(SearchState, data, str(path))
    elsewhere = "a search with the same demand, population and pymoo; or another folder, to begin a new one"
    faults = [
        Fault(f"{path}: {key}", short(found), f"{short(wanted)}: {elsewhere}")
        for key, found, wanted in _compared(state, demand, settings, pymoo)
        if found != wanted
    ]
    choices, objectives = space.choices.tolist(), len(demand.objectives)
    for genome in (*state.genomes, *(one.genome for one in state.found)):
        if len(genome) != len(choices) or not all(0 <= gene < most for gene, most in zip(genome, choices)):
            faults.append(Fault(f"{path}: genomes", f"{str(genome)[:60]}...", f"{len(choices)} places in their menus"))
            break
    if any(one.values and len(one.values) != objectives for one in state.found):
        faults.append(Fault(f"{path}: found", "values of other objectives", f"{objectives} values of each"))
    grown = [0, *state.reached, len(state.found)]
    if len(state.reached) != state.generation + 1 or grown != sorted(grown):
        faults.append(
            Fault(f"{path}: reached", f"{str(state.reached)[:60]}...", "rising counts of what was found, one a generation")
        )
    if faults:
        raise InputError(faults)
    return state


def _compared(state: SearchState, demand: Demand, settings: SearchSettings, pymoo: str) -> list[tuple[str, Any, Any]]:
    asked = demand.model_dump(mode="json")
    keys = sorted(state.demand.keys() | asked.keys())
    return [
        ("version", state.version, STATE_VERSION),
        ("population", state.population, settings.population),
        ("genomes", len(state.genomes), settings.population),
        ("pymoo", state.pymoo, pymoo),
        *((f"demand.{key}", state.demand.get(key), asked.get(key)) for key in keys),
    ]
