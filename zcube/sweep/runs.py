"""A run of a sweep: a case on one fabric under one seed, a function of a value that any machine with this program can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from zcube.comparison import compare
from zcube.errors import Fault, InputError
from zcube.fabric.catalog import load_fabric
from zcube.kept_runs import Done, done_by
from zcube.outputs import flat
from zcube.prepared import check_gpus
from zcube.progress import ShareDone, share_simulated
from zcube.run_inputs import Inputs, KnownTables, fabric_digest, file_digest, served_inputs
from zcube.scenario import Scenario, changed, parted
from zcube.sweep.points import Case
from zcube.verdict.headline import unmeasured
from zcube.warm import OF_SERVING, needed_groups

#: Of a fabric's part of a comparison what is of several fabrics, or declared.
_LEFT_OUT = frozenset({"network", "calibration", "tiles", "relative", "relative_requests", "noise"})


@dataclass(frozen=True, slots=True)
class RunTask:
    """What is to be run.

    Attributes
    ----------
    scenario : Scenario
        Of one fabric and one seed.
    files : mapping
        Hash of every file that it names, as the run's key has it.
    """

    scenario: Scenario
    files: Mapping[str, str]

    @property
    def fidelity(self) -> str:
        """How exactly its transfers are simulated."""
        return self.scenario.network_of(self.scenario.fabrics[0]).fidelity

    def figures(self, told: ShareDone) -> dict[str, Any]:
        """Run it and return its figures by their keys, joined by points.

        Raises
        ------
        InputError
            If a file is not the one that the sweep was begun with, and with all that the scenario names and that does not fit.
        """
        faults = [
            Fault(path, "another content, or nothing", "the file as the sweep was begun with")
            for path, digest in self.files.items()
            if not Path(path).exists() or file_digest(Path(path)) != digest
        ]
        if faults:
            raise InputError(faults)
        comparison = compare(self.scenario, share_simulated(told), load_over_time=False)
        result = comparison.results[self.scenario.baseline_label]
        document = {key: value for key, value in result.document(result).items() if key not in _LEFT_OUT}
        if (what := unmeasured(comparison.stated_error)) is not None:
            document["unmeasured"] = what
        return {key: value for key, value in flat(document).items() if not isinstance(value, list)}


def run_task(task: RunTask, told: ShareDone) -> Done:
    """Run a task; what goes wrong in it is kept, so that others go on."""
    told(0.0)
    return done_by(lambda: task.figures(told))


@dataclass(frozen=True, slots=True)
class Run:
    """A row of a sweep's table before anything is known of it.

    Attributes
    ----------
    case : Case
        Point and scenario.
    fabric : str
        Its label.
    seed : int
        Of the run.
    key : str or None
        Hash of program and inputs; None where there is nothing to run.
    task : RunTask or None
        What is to be run.
    error : str or None
        Why there is nothing.
    baseline : str
        Label of the fabric that it is compared with.
    """

    case: Case
    fabric: str
    seed: int
    key: str | None
    task: RunTask | None
    error: str | None = None

    baseline: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """Scenario and point, under which fabrics are compared."""
        return self.case.scenario_name, self.case.point.number

    @property
    def room_gb(self) -> float:
        """Memory that it may take, which is no part of its key: infinite where that is what there is."""
        limit = None if self.task is None else self.task.scenario.network.memory_gb
        return inf if limit is None else limit

    @property
    def names(self) -> dict[str, str | int]:
        """What readers of the store are told."""
        return {"scenario": self.case.scenario_name, "point": self.case.point.number, "fabric": self.fabric, "seed": self.seed}


def groups_of(runs: Sequence[Run]) -> list[str]:
    """Return the kernels that runs need, see :data:`zcube.warm.GROUPS`."""
    fidelities = dict.fromkeys(run.task.fidelity for run in runs if run.task is not None)
    return list(dict.fromkeys(group for one in fidelities for group in needed_groups(one, *OF_SERVING)))


def runs_of(cases: Sequence[Case]) -> Iterator[Run]:
    """Yield all runs of a sweep in the order of the declaration: scenario, point, fabric, seed."""
    known = KnownTables()
    like = {case.scenario_name: case.scenario for case in cases if case.scenario is not None}
    for case in cases:
        # A case that cannot be has the rows that it would have.
        scenario = case.scenario or like[case.scenario_name]
        for reference, label in scenario.labels.items():
            seeds = range(scenario.seed, scenario.seed + scenario.seeds)
            if case.scenario is None:
                yield from (Run(case, label, seed, None, None, case.error, scenario.baseline_label) for seed in seeds)
                continue
            alone = _alone(scenario, reference)
            yield from _runs(case, label, alone, seeds, scenario.baseline_label, known)


def _alone(scenario: Scenario, reference: str) -> Scenario:
    """Return a scenario of one of its fabrics and one seed; where no fabric has a table of its own nothing is checked again."""
    changes = {"fabrics": (reference,), "baseline": None, "seeds": 1}
    return changed(scenario, changes) if scenario.network.tables else scenario.model_copy(update=changes)


def _runs(case: Case, label: str, alone: Scenario, seeds: Sequence[int], baseline: str, known: KnownTables) -> Iterator[Run]:
    """Yield the runs of a case on a fabric, which differ in nothing but their seed."""
    try:
        fabric = _digest(parted(alone.fabrics[0])[0], alone.gpus)
    except InputError as error:
        yield from (Run(case, label, seed, None, None, str(error), baseline) for seed in seeds)
        return
    inputs = served_inputs(alone, alone.baseline_label, fabric, alone.seed, known)
    for seed in seeds:
        task = RunTask(alone.model_copy(update={"seed": seed}), inputs.files)
        yield Run(case, label, seed, Inputs({**inputs.parts, "seed": seed}).key, task, baseline=baseline)


@cache
def _digest(reference: str, gpus: int | None) -> str:
    """Return the hash of a fabric; that it has the scenario's GPUs is no part of a run's key."""
    fabric = load_fabric(reference)
    check_gpus(fabric, gpus, reference)
    return fabric_digest(fabric)
