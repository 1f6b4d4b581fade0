"""``zcube sweep``: a study as a grid of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zcube.cli import completion
from zcube.cli.jobs_option import JOBS
from zcube.cli.json_option import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zcube.kept_runs import KeptRun
    from zcube.progress import Progress
    from zcube.sweep.executor import Executor
    from zcube.sweep.runs import Run
    from zcube.sweep.settings import SweepSettings

DEFAULT_OUT = Path("zcube-out")


def sweep_command(
    sweep: Annotated[
        str,
        typer.Argument(metavar="SWEEP", help="Bundled sweep, or sweep file (docs/sweep.md).", autocompletion=completion.sweeps),
    ],
    dask: Annotated[
        str | None,
        typer.Option(metavar="local|tcp://HOST:PORT", help="Do runs on a dask cluster: one started here, or a scheduler's."),
    ] = None,
    plot: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="Draw column Y of the table over X; repeat for several.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points, and what is known and would be run.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Output folder, which a stopped sweep goes on from; default zcube-out/sweep-SWEEP.")
    ] = None,
    jobs: Annotated[int | None, JOBS] = None,
    json: JsonOption = False,
) -> None:
    """Run a scenario's keys over grids, lists or draws of values, on all fabrics, seed by seed; exit 1 if a run fails."""
    from zcube.cli.progress import RunProgress, write_line
    from zcube.cli.record import RunRecord
    from zcube.kept_runs import KeptRuns
    from zcube.out_folder import out_folder
    from zcube.outputs import to_json
    from zcube.report.run_lines import sweep_line
    from zcube.report.sweep_plot import check_plots
    from zcube.sweep.points import load_cases
    from zcube.sweep.runs import runs_of
    from zcube.sweep.sweep import STORE_FILE, missing, run_sweep

    record = RunRecord()
    if dask is not None:
        from zcube.sweep.on_dask import check_address

        check_address(dask)
    asked, path, cases = load_cases(sweep)
    asked = _with_plots(asked, plot or ())
    with RunProgress() as progress:
        progress("building", 0, 0, "")
        runs = list(runs_of(cases))
        kept = KeptRuns(
            out or DEFAULT_OUT / f"sweep-{path.stem}",
            STORE_FILE,
            lambda: record.document(asked.model_dump(mode="json"), None, "sweep"),
        )
        check_plots(asked, runs, kept.runs)
        if dry_run:
            _list(runs, missing(runs, kept.runs), jobs, json)
            return
        waiting, ended = len(missing(runs, kept.runs)), 0

        def keep(run: KeptRun) -> None:
            kept.keep(run)
            # The first run tells which figures there are.
            nonlocal ended
            if not ended:
                check_plots(asked, runs, kept.runs)
            ended += 1
            if not json:
                write_line(sweep_line(run, ended, waiting), sys.stdout)

        # What cannot be begun makes no folder.
        with _executor(missing(runs, kept.runs), dask, jobs, progress) as executor, kept:
            try:
                done = run_sweep(asked, runs, kept.runs, keep, progress, executor)
            except BaseException:
                _say_kept(runs, kept)
                raise
            from zcube.report.sweep_folder import write_sweep
            from zcube.report.sweep_plot import plots_of

            plots = plots_of(asked, done.table())
            written = write_sweep(done, plots, kept.fill, kept.record(), out_folder(kept.folder), progress)
    print(f"written: {written}", file=sys.stderr)
    document = done.document()
    if json:
        sys.stdout.write(to_json(document))
    else:
        from zcube.report.sweep_text import sweep_text

        print()
        sys.stdout.write(sweep_text(document))
    for run, error in done.failed:
        point, seed = run.case.point.number, run.seed
        print(f"failed: {run.case.scenario_name}, point {point}, {run.fabric}, seed {seed}: {error}", file=sys.stderr)
    if done.failed:
        raise typer.Exit(1)


def _executor(waiting: Sequence[Run], dask: str | None, jobs: int | None, progress: Progress) -> Executor:
    """Return what does the runs, kernels compiled where they are done."""
    from zcube.side_by_side import jobs_for
    from zcube.sweep.executor import Processes
    from zcube.sweep.runs import groups_of
    from zcube.warm import KernelsAhead

    groups = groups_of(waiting)
    if dask is not None:
        from zcube.sweep.on_dask import OnDask

        return OnDask(dask, jobs, groups, progress)
    with KernelsAhead(groups) as ahead:
        ahead.wait(progress)
    return Processes(jobs_for(jobs, len(waiting), _run_s(waiting)), "zcube.sweep.runs")


def _run_s(waiting: Sequence[Run]) -> float:
    """Return about how long a run takes on the mean."""
    from zcube.run_time import run_s

    times = [run_s(run.task.scenario) for run in waiting if run.task is not None]
    return sum(times) / len(times) if times else 0.0


def _with_plots(asked: SweepSettings, plots: Sequence[str]) -> SweepSettings:
    from zcube.inputs import validate
    from zcube.sweep.settings import SweepSettings

    if not plots:
        return asked
    columns = [dict(zip(("x", "y"), (part.strip() for part in plot.split(",")), strict=False)) for plot in plots]
    return validate(SweepSettings, {**asked.model_dump(), "plots": columns}, lambda key: "--plot")


def _say_kept(runs: Sequence[Run], kept: Any) -> None:
    known = sum(run.key in kept.runs for run in runs)
    print(f"kept: {known:,} of {len(runs):,} runs in {kept.folder}; the same command goes on from there", file=sys.stderr)


def _list(runs: Sequence[Run], waiting: Sequence[Run], jobs: int | None, json: bool) -> None:
    """Print the points and how much is to be done."""
    from zcube.outputs import to_json
    from zcube.report.sweep_text import plan_document, plan_text
    from zcube.side_by_side import jobs_for

    at_once = jobs_for(jobs, max(1, len(waiting)), _run_s(waiting))
    document = plan_document(runs, waiting, _run_s(waiting) * len(waiting) / at_once, at_once)
    sys.stdout.write(to_json(document) if json else plan_text(document))
