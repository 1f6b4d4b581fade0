"""Many runs at once: transports on fabrics under loads, and values of keys against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zcube.errors import FaultList
from zcube.front_door.given import checked_jobs, compile_ahead
from zcube.inputs import validate
from zcube.matrix.loads import carried_load
from zcube.matrix.matrix import Matrix, run_matrix
from zcube.matrix.settings import MatrixSettings
from zcube.network.transports import load_transport
from zcube.progress import Progress, silent
from zcube.side_by_side import SideBySide
from zcube.sweep.executor import Executor, Processes
from zcube.sweep.on_dask import OnDask
from zcube.sweep.points import cases_of, load_cases
from zcube.sweep.runs import groups_of, runs_of
from zcube.sweep.settings import SweepSettings
from zcube.sweep.sweep import Sweep, missing, run_sweep
from zcube.warm import KernelsAhead


def matrix(
    source: str | Path,
    *,
    fabrics: Sequence[str] = ("roft-256", "zcube-256"),
    transports: Sequence[str] = ("ecmp+dcqcn", "adaptive+dcqcn-nvidia"),
    changes: Mapping[str, Any] | None = None,
    pattern: Mapping[str, Any] | None = None,
    jobs: int = 1,
    progress: Progress = silent,
    **keys: Any,
) -> Matrix:
    """Carry the same transfers over every fabric with every transport; ``zcube matrix`` also takes scenarios.

    Parameters
    ----------
    source : str or Path
        ``"kv-funnel"``, ``"all-to-all"`` or ``"permutation"``, which are made, or a file as of :func:`replay`.
    fabrics, transports : sequence of str
        Rows and columns: bundled names or files; the first of each is what others are compared with.
    changes : mapping, optional
        Keys of ``[network]`` in every cell.
    pattern : mapping, optional
        Keys of made transfers, e.g. ``{"transfers": 200}``.
    jobs : int
        Cells at a time, as of :func:`compare`.
    progress : Progress, optional
        Told what is under way and how much of it is done.
    **keys
        ``seeds``, ``seed``, ``fidelity``, ``queue_pairs``, ``cell_bytes``, ``failed_links``, ``slow_nics`` and so on, as the
        options of ``zcube matrix``; docs/scenarios.md lists them.

    Raises
    ------
    InputError
        With every fault of what was given, before the first cell runs.
    """
    faults, columns, asked = FaultList(), {}, None
    for name in transports:
        with faults:
            columns[name] = load_transport(name)
    with faults:
        asked = validate(MatrixSettings, {"fabrics": list(fabrics), "transports": list(transports), **keys}, "matrix")
    faults.check()
    assert asked is not None
    load = carried_load(str(source), asked, columns, changes or {}, pattern or {})
    if checked_jobs(jobs) > 1:
        compile_ahead(asked.fidelity, progress)
    with SideBySide(jobs, "zcube.matrix.cells", asked.memory_gb) as beside:
        return run_matrix(asked, load, {}, lambda cell: None, progress, beside)


def sweep(
    study: str | Path | Mapping[str, Any],
    *,
    jobs: int = 1,
    dask: str | None = None,
    progress: Progress = silent,
) -> Sweep:
    """Run a scenario's keys over grids, lists or draws of values; ``zcube sweep`` also keeps every run as it ends.

    Parameters
    ----------
    study : str, Path or mapping
        Bundled sweep, sweep file, or its keys (docs/sweep.md); files that keys name lie in the present folder.
    jobs : int
        Runs at a time, as of :func:`compare`; with ``dask="local"`` workers.
    dask : str, optional
        ``"local"``, or the address of a dask scheduler, whose workers do the runs.
    progress : Progress, optional
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        With every fault of what was given, before the first run. A run that fails is a row of the table with its error.
    """
    if isinstance(study, Mapping):
        asked = validate(SweepSettings, study, "sweep")
        cases = cases_of(asked, Path("sweep"))
    else:
        asked, _, cases = load_cases(str(study))
    runs = list(runs_of(cases))
    groups = groups_of(missing(runs, {}))
    executor: Executor
    if dask is None:
        if checked_jobs(jobs) > 1:
            with KernelsAhead(groups) as ahead:
                ahead.wait(progress)
        executor = Processes(jobs, "zcube.sweep.runs")
    else:
        executor = OnDask(dask, checked_jobs(jobs), groups, progress)
    with executor:
        return run_sweep(asked, runs, {}, lambda run: None, progress, executor)
