"""What a sweep adds to its runs: a thousand trivial points against the same comparisons one after the other.

``python benchmarks/bench_sweep.py [--points 1000] [--jobs N] [--dask local]``: a JSON document with the CPU time of a point in
``zcube sweep``, of its comparison alone, and the difference, which docs/sweep.md states.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from zcube.comparison import compare
from zcube.kept_runs import KeptRuns
from zcube.out_folder import out_folder
from zcube.progress import silent
from zcube.report.sweep_folder import write_sweep
from zcube.report.sweep_plot import plots_of
from zcube.sweep.executor import Executor, Processes
from zcube.sweep.on_dask import OnDask
from zcube.sweep.points import cases_of
from zcube.sweep.runs import run_task, runs_of
from zcube.sweep.settings import load_sweep
from zcube.sweep.sweep import STORE_FILE, run_sweep

TEXT = """
scenarios = ["nic-cap-32"]
fabrics = ["roft-32"]
plots = [{{ x = "kv.efficiency", y = "ttft_s.mean" }}]
[set]
requests.count = 1
network.fidelity = "ideal"
[latin_hypercube]
points = {points}
ranges.kv.efficiency = {{ low = 0.5, high = 1.0 }}
"""
RECORD = {"record_version": 1, "zcube_version": "0"}


def cpu_s() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--dask")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trivial.toml"
        path.write_text(TEXT.format(points=asked.points))
        print(json.dumps(measured(path, Path(folder) / "out", asked.jobs, asked.dask), indent=2))


def measured(path: Path, out: Path, jobs: int, dask: str | None) -> dict[str, float]:
    """Return seconds a point, and where they go."""
    sweep, _ = load_sweep(str(path))
    tasks = [run.task for run in runs_of(cases_of(sweep, path))]
    run_task(tasks[0], lambda share: None)
    began_s = cpu_s()
    for task in tasks:
        compare(task.scenario)
    alone_s = (cpu_s() - began_s) / len(tasks)
    executor: Executor = Processes(jobs, "zcube.sweep.runs") if dask is None else OnDask(dask, jobs, [], silent)
    began_s, at_s = cpu_s(), time.monotonic()
    sweep, _ = load_sweep(str(path))
    runs = list(runs_of(cases_of(sweep, path)))
    planned_s = cpu_s()
    with KeptRuns(out, STORE_FILE, lambda: RECORD) as kept:
        with executor:
            done = run_sweep(sweep, runs, kept.runs, kept.keep, silent, executor)
        ran_s = cpu_s()
        write_sweep(done, plots_of(sweep, done.table()), kept.fill, RECORD, out_folder(kept.folder), silent)
    ended_s, count = cpu_s(), len(runs)
    assert not done.failed
    return {
        "points": count,
        "alone_ms": 1e3 * alone_s,
        "sweep_ms": 1e3 * (ended_s - began_s) / count,
        "beyond_ms": 1e3 * ((ended_s - began_s) / count - alone_s),
        "of_that_planning_ms": 1e3 * (planned_s - began_s) / count,
        "of_that_writing_ms": 1e3 * (ended_s - ran_s) / count,
        "wall_s": time.monotonic() - at_s,
    }


if __name__ == "__main__":
    main()
