"""The points of a sweep, and the scenario that each makes; checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import is_file
from zcube.inputs import read_toml, set_key
from zcube.node_fit import NodeCheck
from zcube.scenario import Scenario, load_scenario, with_tables
from zcube.sweep.settings import MOST_RUNS, LatinHypercube, Range, SweepSettings, load_sweep, sound_parts, sweep_path

#: Faults told of what is wrong at every point.
MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Point:
    """One set of overrides.

    Attributes
    ----------
    number : int
        Its place in the order of the declaration, from 0.
    overrides : mapping
        Value by key, what holds for every point first.
    settings : tuple of str
        What of the declaration it is made of, as faults name it.
    """

    number: int
    overrides: Mapping[str, Any]
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A point under a scenario.

    Attributes
    ----------
    scenario_name : str
        The scenario's, as results name it.
    point : Point
        The overrides.
    scenario : Scenario or None
        With them; None where it cannot have them.
    error : str or None
        Why it cannot.
    """

    scenario_name: str
    point: Point
    scenario: Scenario | None
    error: str | None = None


def points_of(sweep: SweepSettings) -> list[Point]:
    """Return the points in the order of the declaration; of a grid the last key turns fastest."""
    return [
        Point(number, MappingProxyType({**sweep.set, **overrides}), settings)
        for number, (overrides, settings) in enumerate(_declared(sweep))
    ]


def _declared(sweep: SweepSettings) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    if sweep.grid is not None:
        for pairs in product(*([(key, value) for value in values] for key, values in sweep.grid.items())):
            yield dict(pairs), tuple(f"grid: {key} = {value!r}" for key, value in pairs)
    elif sweep.points is not None:
        for number, point in enumerate(sweep.points):
            yield point, (f"points: number {number}",)
    elif sweep.latin_hypercube is not None:
        listed = [key for key, one in sweep.latin_hypercube.ranges.items() if one.values is not None]
        for drawn in _drawn(sweep.latin_hypercube):
            yield drawn, ("latin_hypercube", *(f"latin_hypercube: {key} = {drawn[key]!r}" for key in listed))
    else:
        yield {}, ("set",)


def _drawn(asked: LatinHypercube) -> Iterator[dict[str, Any]]:
    from scipy.stats import qmc

    unit = qmc.LatinHypercube(d=len(asked.ranges), rng=np.random.default_rng(asked.seed)).random(asked.points)
    for row in unit:
        yield {key: _at(one, float(part)) for (key, one), part in zip(asked.ranges.items(), row, strict=True)}


def _at(asked: Range, part: float) -> Any:
    """Return what stands at a part, from 0 to 1, of a range."""
    if asked.values is not None:
        return asked.values[min(int(part * len(asked.values)), len(asked.values) - 1)]
    assert asked.low is not None and asked.high is not None
    # Every whole number has a part of its own, as wide as the others'.
    low, high = (asked.low - 0.5, asked.high + 0.5) if asked.whole else (asked.low, asked.high)
    value = float(low * (high / low) ** part) if asked.scale == "log" else low + (high - low) * part
    return int(min(max(round(value), asked.low), asked.high)) if asked.whole else value


def load_cases(reference: str) -> tuple[SweepSettings, Path, list[Case]]:
    """Read a sweep by bundled stem or path; return it, its path and its cases.

    Raises
    ------
    InputError
        With every fault of the file, those of what its sound parts make of the scenarios among them.
    """
    faults = FaultList()
    with faults:
        asked, path = load_sweep(reference)
        return asked, path, cases_of(asked, path)
    with faults:
        path = sweep_path(reference)
        for part in sound_parts(read_toml(path)):
            with faults:
                cases_of(part, path)
    raise InputError(faults.faults[:MOST_TOLD])


def cases_of(sweep: SweepSettings, path: Path) -> list[Case]:
    """Return every point under every scenario, scenario by scenario.

    What a scenario cannot have together is a case with an error. What it can have at none of its points is a fault of the file.

    Raises
    ------
    InputError
        With every such fault, every scenario that cannot be read, and too many runs.
    """
    # Other machines may stand in another folder.
    faults, scenarios, folder = FaultList(), dict[str, Scenario](), path.parent.absolute()
    for reference, name in _names(sweep.scenarios).items():
        with faults:
            beside = folder / reference
            scenarios[name] = load_scenario(str(beside) if is_file(str(beside)) else reference)
    runs = sum(sweep.count * len(sweep.fabrics or one.fabrics) * (sweep.seeds or one.seeds) for one in scenarios.values())
    if runs > MOST_RUNS:
        found = f"{runs:,} runs ({sweep.count:,} points on every fabric under every seed)"
        raise InputError(Fault(str(path), found, f"at most {MOST_RUNS:,}"))
    head = {key: getattr(sweep, key) for key in ("seed", "seeds") if getattr(sweep, key) is not None}
    if sweep.fabrics is not None:
        head |= {"fabrics": list(sweep.fabrics), "baseline": sweep.baseline}
    elif sweep.baseline is not None:
        head["baseline"] = sweep.baseline
    points, cases, nodes = points_of(sweep), [], NodeCheck()
    refused: dict[str, list[InputError | None]] = {}
    for name, scenario in scenarios.items():
        # What is the same at every point is checked once; where it fails alone, points may mend it.
        shared, _ = _laid_over(scenario, {**head, **sweep.set}, path, nodes)
        for point in points:
            if shared is None:
                made, error = _laid_over(scenario, {**head, **point.overrides}, path, nodes)
            else:
                own = {key: value for key, value in point.overrides.items() if key not in sweep.set}
                made, error = _laid_over(shared, own, path, nodes)
            case = Case(name, point, made, None if error is None else str(error))
            cases.append(case)
            for setting in (*point.settings, f"scenario {name}"):
                refused.setdefault(setting, []).append(error)
    for name in scenarios:
        limits = {case.scenario.network.memory_gb for case in cases if case.scenario_name == name and case.scenario is not None}
        if len(limits) > 1:
            found = f"{len(limits)} values among the points of {name}"
            fault = Fault(f"{path}: network.memory_gb", found, "one for all points, in [set]: it moves no figure")
            faults.faults.append(fault)
    for errors in refused.values():
        if all(error is not None for error in errors):
            assert errors[0] is not None
            faults.faults.extend(fault for fault in errors[0].faults if fault not in faults.faults)
    if faults.faults:
        raise InputError(faults.faults[:MOST_TOLD])
    return cases


def _laid_over(
    scenario: Scenario, values: Mapping[str, Any], path: Path, nodes: NodeCheck
) -> tuple[Scenario | None, InputError | None]:
    """Return a scenario with values by key, or why it cannot have them."""
    tables: dict[str, Any] = {}
    try:
        for key, value in values.items():
            set_key(tables, key, value, str(path))
        made = with_tables(scenario, tables, str(path), path.parent.absolute())
        nodes.check(made)
        return made, None
    except InputError as error:
        return None, error


def _names(references: tuple[str, ...]) -> dict[str, str]:
    """Return how results name each scenario: by the stem of its file, or in full where stems repeat."""
    stems = [Path(reference).stem for reference in references]
    return {one: stem if stems.count(stem) == 1 else one for one, stem in zip(references, stems, strict=True)}
