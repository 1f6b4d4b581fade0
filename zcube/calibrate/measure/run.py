"""The job of ``zcube calibrate run``: find out what is there, run the benchmarks, write one file of measurements."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import zcube
from zcube.calibrate.measure.children import run_call
from zcube.calibrate.measure.drivers import nccl_tests_calls, path_environment, torch_call
from zcube.calibrate.measure.handed import read_handed
from zcube.calibrate.measure.hardware import Machine, choose_driver, look, nccl_environment, nic_line_rate_gbps
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.calibrate.measure.transports import path_class, read_transports
from zcube.calibrate.measure.worker import MARK
from zcube.calibrate.measurements import Matrix, Measurements, Metadata, Row, write_measurements
from zcube.calibrate.operations import NIC_PATHS
from zcube.errors import Fault, InputError, RunError


@dataclass
class _Taken:
    """What the runs of one call have given so far."""

    rows: list[Row] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def measure(
    settings: MeasureSettings, out: Path, progress: Callable[[str], None], machine: Machine | None = None
) -> Measurements:
    """Measure and write the file.

    Parameters
    ----------
    settings : MeasureSettings
    out : Path
        The file to write; its folder must be there. On a node other than number 0 nothing is written.
    progress : callable
        Takes lines for the user.
    machine : Machine, optional
        What is there; default: found out.

    Returns
    -------
    Measurements
        What stands in the file. On a node other than number 0 it has no rows.

    Raises
    ------
    InputError
        With everything that is missing to measure here.
    RunError
        If a benchmark fails, is killed or takes too long, in which case nothing is written; or if data arrived wrong, in
        which case the file is written and marks what was wrong.
    KeyboardInterrupt
        Passed on after the ranks have been ended; nothing is written.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise InputError(Fault(str(out), "no place for a file", "a file name in a folder that is there"))
    machine = machine or look(settings)
    driver = choose_driver(settings, machine)
    taken = _Taken()
    for ranks in settings.ranks or (_all_ranks(settings, machine),):
        progress(f"{driver}, {settings.backend}, path mode {settings.path}: {ranks} ranks")
        with tempfile.TemporaryDirectory(prefix="zcube-calibrate-", ignore_cleanup_errors=True) as scratch:
            if driver == "torch":
                _run_torch(settings, ranks, Path(scratch), machine, taken, progress)
            else:
                _run_nccl_tests(settings, ranks, Path(scratch), machine, taken, progress)
    measurements = Measurements.of(taken.rows, _metadata(settings, machine, driver, taken), taken.matrices, taken.notes)
    if settings.node_rank:
        return measurements
    write_measurements(measurements, out)
    if taken.wrong:
        raise RunError("\n  ".join([f"wrong data was received ({out} is written and marks it):", *taken.wrong[:20]]))
    return measurements


def _all_ranks(settings: MeasureSettings, machine: Machine) -> int:
    return 2 if settings.backend == "gloo" else len(machine.gpus)


def _run_torch(
    settings: MeasureSettings, ranks: int, scratch: Path, machine: Machine, taken: _Taken, progress: Callable[[str], None]
) -> None:
    plan, result, logs = scratch / "plan.json", scratch / "result.json", scratch / "logs"
    logs.mkdir()
    plan.write_text(json.dumps(settings.plan(result)), encoding="utf-8")
    environment = path_environment(settings, os.environ, logs)
    run_call(torch_call(settings, ranks, plan, environment, _free_port()), settings.timeout_s, _marked(progress))
    seen = read_transports(logs)
    path = _path(settings, seen, machine, progress)
    _add_details(taken, ranks, {"transports": dict(seen)})
    if settings.node_rank:
        return
    try:
        handed = read_handed(result, path)
    except InputError as error:
        raise RunError(f"the ranks ended without a result that can be used\n  {error}") from error
    if others := sorted({row.ranks for row in handed.rows} - {ranks}):
        raise RunError(f"the benchmark ran among {', '.join(map(str, others))} ranks, and {ranks} were asked for")
    taken.rows += handed.rows
    taken.matrices += handed.matrices
    taken.wrong += handed.wrong
    taken.notes += handed.notes
    _add_details(taken, ranks, handed.facts)


def _run_nccl_tests(
    settings: MeasureSettings, ranks: int, scratch: Path, machine: Machine, taken: _Taken, progress: Callable[[str], None]
) -> None:
    from zcube.calibrate.readers import read_measured

    logs, results = scratch / "logs", scratch / "results"
    logs.mkdir()
    results.mkdir()
    environment = path_environment(settings, os.environ, logs)
    parts = []
    for operation, output, call in nccl_tests_calls(settings, ranks, results, environment):
        progress(f"nccl-tests {operation}")
        run_call(call, settings.timeout_s, _ignore)
        if not output.is_file():
            raise RunError(f"nccl-tests {operation} wrote no JSON; its version may not know -J (2.17 and later do)")
        parts.append(read_measured(output))
    seen = read_transports(logs)
    path = _path(settings, seen, machine, progress)
    for part in parts:
        for row in part.rows():
            taken.rows.append(_replaced(row, path, ranks, settings))
            if row.correct is False:
                taken.wrong.append(f"{row.operation} {row.size_bytes} B, {ranks} ranks")
    _add_details(taken, ranks, {"transports": dict(seen), "nccl": parts[0].metadata.nccl_version if parts else ""})


def _add_details(taken: _Taken, ranks: int, found: Mapping[str, Any]) -> None:
    taken.details.setdefault(f"{ranks}_ranks", {}).update(found)


def _path(settings: MeasureSettings, seen: Counter[str], machine: Machine, progress: Callable[[str], None]) -> str:
    """Return the rows' path: what NCCL took, or where it did not say what was asked for."""
    if settings.backend == "gloo":
        return "gloo"
    asked = settings.network_path if settings.path == "network" else settings.path
    found = path_class(seen, machine.nvlink, settings.network_path)
    if found is None:
        progress(f"NCCL did not say which way it took; the rows say {asked}, as asked")
        return asked
    if found != asked:
        progress(f"warning: {asked} was asked for, NCCL took {', '.join(seen)}; the rows say {found}")
    return found


def _replaced(row: Row, path: str, ranks: int, settings: MeasureSettings) -> Row:
    from dataclasses import replace

    hosts = len(settings.hosts.split(",")) if settings.hosts else 0
    return replace(row, path=path, ranks=ranks, hosts=hosts if hosts > 1 and ranks % hosts == 0 and path in NIC_PATHS else 0)


def _metadata(settings: MeasureSettings, machine: Machine, driver: str, taken: _Taken) -> Metadata:
    names = Counter(gpu["name"] for gpu in machine.gpus) if settings.backend == "nccl" else Counter[str]()
    versions = {str(run["nccl"]): None for run in taken.details.values() if run.get("nccl")}
    return Metadata(
        hardware=", ".join(f"{count}x {name}" for name, count in names.items())[:500] or "CPU",
        backend=settings.backend,
        nccl_version=", ".join(versions)[:100],
        environment=nccl_environment(path_environment(settings, os.environ)),
        how=describe(settings, driver),
        nic_line_rate_gbps=nic_line_rate_gbps(machine.nics) if settings.path == "network" else None,
        nvlink_line_rate_gbps=machine.nvlink_gbps or None,
        details={"zcube": zcube.__version__, "driver": driver, **machine.details(), **taken.details},
    )


def describe(settings: MeasureSettings, driver: str) -> str:
    """Return in words how the figures were taken."""
    sizes = f"sizes {min(settings.sizes_bytes)} to {max(settings.sizes_bytes)} bytes"
    split = f", every {settings.ranks_per_host_id} rank(s) with an NCCL_HOSTID of their own" if settings.splits_hosts else ""
    if driver == "nccl-tests":
        return f"nccl-tests, path mode {settings.path}{split}, {sizes}; time is the mean over its iterations"
    if settings.backend == "gloo":
        return f"PyTorch gloo on CPUs, which says nothing of any GPU, {sizes}; host clock, median of the slowest rank"
    return (
        f"PyTorch nccl under torchrun or mpirun, path mode {settings.path}{split}, {sizes}, "
        f"{settings.budget_s:g} s of repetitions per operation and size ({settings.least_repetitions} to "
        f"{settings.most_repetitions}); a repetition is a batch of calls back to back between two device events, begun "
        "together behind a small all-reduce, launching hidden; time is the median over repetitions of the slowest rank"
    )


def _marked(progress: Callable[[str], None]) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        _, mark, text = line.partition(MARK)
        if mark:
            progress(text)

    return on_line


def _ignore(line: str) -> None:
    """Take a line that is kept only for the message of a failure."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rates(measurements: Measurements) -> Iterable[str]:
    """Yield a line per matrix: its pattern, size and least, median and greatest rate."""
    for matrix in measurements.matrices:
        known = matrix.gbps[~np.isnan(matrix.gbps)]
        if known.size:
            least, median, most = np.quantile(known, [0, 0.5, 1])
            yield f"{matrix.pattern} {matrix.size_bytes} B: {least:.4g} / {median:.4g} / {most:.4g} Gb/s"
