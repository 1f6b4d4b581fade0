"""A sweep run: every run that is not known, wherever it is done, and what came of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zcube.kept_runs import Done, KeptRun
from zcube.progress import Progress, TogetherDone
from zcube.sweep.effects import main_effects, summary
from zcube.sweep.executor import Executor, Lost
from zcube.sweep.runs import Run, run_task
from zcube.sweep.settings import SweepSettings
from zcube.sweep.table import table_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
#: File of a folder of results that holds the runs.
STORE_FILE = "runs.jsonl"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Runs and what came of them.

    Attributes
    ----------
    asked : SweepSettings
        As declared.
    runs : sequence of Run
        In the order of the declaration.
    done : sequence of Done
        What came of each.
    """

    asked: SweepSettings
    runs: Sequence[Run]
    done: Sequence[Done]

    @property
    def failed(self) -> list[tuple[Run, str]]:
        """Runs without figures, and why."""
        return [(run, done.error) for run, done in zip(self.runs, self.done, strict=True) if done.error is not None]

    def table(self) -> pd.DataFrame:
        """Return a row a run: point, overrides, fabric, seed, status, error, figures, hash; docs/sweep.md."""
        return table_of(self.asked, self.runs, self.done)

    def document(self) -> dict[str, Any]:
        """Return the sweep, JSON-ready; equal inputs give equal documents."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sweep": self.asked.model_dump(mode="json"),
            "runs": len(self.runs),
            "failed": [{**run.names, "error": error} for run, error in self.failed],
            "points": summary(self.runs, self.done),
            "effects": main_effects(self.runs, self.done),
        }


def run_sweep(
    asked: SweepSettings,
    runs: Sequence[Run],
    known: Mapping[str, KeptRun],
    keep: Callable[[KeptRun], None],
    progress: Progress,
    executor: Executor,
) -> Sweep:
    """Do the runs that are not known.

    Parameters
    ----------
    asked, runs
        The sweep and its runs, in the order of the declaration.
    known : mapping of KeptRun
        Earlier runs by key.
    keep : callable
        Called with every new one, in the order in which they end.
    progress : Progress
        Told how much of what was not known is done.
    executor : Executor
        Ready.
    """
    waiting = missing(runs, known)
    stored, errors = dict(known), dict[str, str]()
    # So many that they are counted and not named.
    told = TogetherDone(progress, "simulating", len(waiting), "runs")
    tasks = [run.task for run in waiting if run.task is not None]
    progress("simulating", 0, len(waiting), "runs")
    for number, result in executor.as_done(run_task, tasks, told):
        run = waiting[number]
        assert run.key is not None
        if isinstance(result, Lost):
            errors[run.key] = result.why
        elif result.figures is None:
            errors[run.key] = result.error or ""
        else:
            stored[run.key] = kept = KeptRun.of(run.key, run.names, result.figures)
            keep(kept)
    return Sweep(asked, runs, [_done(run, stored, errors) for run in runs])


def missing(runs: Sequence[Run], known: Mapping[str, KeptRun]) -> list[Run]:
    """Return one of all runs with equal inputs, of those that are to be done: of those with the most room the first."""
    chosen: dict[str, Run] = {}
    for run in runs:
        if run.key is not None and run.key not in known and (run.key not in chosen or run.room_gb > chosen[run.key].room_gb):
            chosen[run.key] = run
    return [run for run in runs if run.key is not None and chosen.get(run.key) is run]


def _done(run: Run, stored: Mapping[str, KeptRun], errors: Mapping[str, str]) -> Done:
    if run.key is None:
        return Done(None, run.error)
    return Done(stored[run.key].figures) if run.key in stored else Done(None, errors[run.key])
