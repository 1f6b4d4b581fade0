"""The job of ``zcube calibrate run --kind tiles``: look, compile, run on each number of GPUs, write one file."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

import zcube
from zcube.calibrate.marked_files import write_model
from zcube.calibrate.measure.children import run_call
from zcube.calibrate.measure.drivers import Call
from zcube.calibrate.measure.hardware import Machine, look
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.calibrate.measure.tiles.build import OLDEST_CUDA, build, compiler_version, find_compiler
from zcube.calibrate.tile_times import LONGEST_US, MAX_GPUS, MAX_ROWS, TileTimes
from zcube.errors import Fault, InputError, RunError
from zcube.inputs import Declared, validate

#: In the place of the times of a row that timed out.
_NO_TIMES = dict.fromkeys(("median_us", "p10_us", "p90_us", "min_us"), LONGEST_US)


class TileSettings(Declared):
    """What is measured.

    Attributes
    ----------
    ranks : tuple of int
        GPUs of each run, one run each; empty: all GPUs that are there.
    one_gpu : bool
        Measure one GPU, and of it what needs no peer: launches, barriers, stages, selections, computation alone.
    samples : int
        Samples of each time, each the mean of 20 to 200 events in a row; the first fifth is dropped.
    nccl_library : Path, optional
        NCCL's shared library; default: what the loader finds. Without one its all-reduces are left out.
    timeout_s : float
        After which a run is killed.
    """

    ranks: tuple[int, ...] = Field(default=(), max_length=16)
    one_gpu: bool = False
    samples: int = Field(default=200, ge=10, le=10_000)
    nccl_library: Path | None = None
    timeout_s: float = Field(default=900.0, gt=0, le=86_400)


def measure_tiles(
    settings: TileSettings, out: Path, progress: Callable[[str], None], machine: Machine | None = None
) -> TileTimes:
    """Measure and write the file.

    Parameters
    ----------
    settings : TileSettings
        What is measured.
    out : Path
        The file to write; its folder must be there.
    progress : callable
        Takes lines for the user.
    machine : Machine, optional
        What is there; default: found out.

    Raises
    ------
    InputError
        With everything that is missing to measure here.
    RunError
        If the program does not compile, fails, is killed or takes too long, in which case nothing is written; or if data
        arrived wrong or a wait was given up, in which case the file is written and marks what was wrong.
    KeyboardInterrupt
        Passed on after the program has been ended; nothing is written.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise InputError(Fault(str(out), "no place for a file", "a file name in a folder that is there"))
    machine = machine or look(MeasureSettings())
    ranks = settings.ranks or ((1,) if settings.one_gpu else (min(len(machine.gpus), MAX_GPUS),))
    nvcc = _checked(ranks, 1 if settings.one_gpu else 2, machine)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="zcube-tiles-", ignore_cleanup_errors=True) as scratch:
        progress("compiling")
        program = build(nvcc, Path(scratch))
        for count in ranks:
            progress(f"{count} GPUs")
            rows += _run(program, count, settings, progress)
    release = ".".join(map(str, compiler_version(nvcc) or ()))
    names = Counter(gpu["name"] for gpu in machine.gpus)
    document = {
        "hardware": ", ".join(f"{number}x {name}" for name, number in names.items()),
        "how": f"CUDA C++ compiled by nvcc {release}, plain peer access, no multicast; "
        f"median over {settings.samples} samples, each the mean of many events in a row, on GPUs kept busy before",
        "details": {"zcube": zcube.__version__, **machine.details()},
        "rows": rows,
    }
    times = validate(TileTimes, document, "measured rows")
    write_model(times, out)
    wrong = times.wrong()
    if wrong:
        raise RunError("\n  ".join([f"wrong data or a wait without end ({out} is written and marks it):", *wrong[:20]]))
    return times


def _checked(ranks: tuple[int, ...], least: int, machine: Machine) -> str:
    """Return the compiler, or raise with all that is missing to run on these numbers of GPUs, ``least`` or more each."""
    faults: list[Fault] = []
    there = len(machine.gpus)
    if not there:
        faults.append(Fault("GPU", "none (nvidia-smi is missing or lists none)", "two or more NVIDIA GPUs and their driver"))
    elif max(ranks) > there or there < least:
        cure = f"{max(least, *ranks)}, or fewer ranks (at least {least})"
        alone = ", or one_gpu = true for what a GPU does alone" if there == 1 else ""
        faults.append(Fault("GPU", f"{there} on this host", cure + alone))
    most = MAX_GPUS if least > 1 else 1
    if there >= least and not all(least <= count <= most for count in ranks):
        expected = f"{least} to {most} each" if least < most else "1 with one_gpu = true"
        faults.append(Fault("ranks", ", ".join(map(str, ranks)), expected))
    nvcc = find_compiler()
    if nvcc is None:
        faults.append(Fault("nvcc", "none on the PATH or in CUDA_HOME", "the compiler of CUDA 12 or later"))
    elif (version := compiler_version(nvcc)) is None or version < OLDEST_CUDA:
        found = "one that names no release" if version is None else f"release {version[0]}.{version[1]}"
        faults.append(Fault("nvcc", found, f"release {OLDEST_CUDA[0]}.{OLDEST_CUDA[1]} or later"))
    if faults or nvcc is None:
        raise InputError(faults)
    return nvcc


def _run(program: Path, gpus: int, settings: TileSettings, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    unread: list[str] = []

    def take(line: str) -> None:
        if line.startswith("{"):
            try:
                made = json.loads(line)
            except ValueError:
                unread.append(line)
                return
            # What a kernel that gave up leaves as times is what was there before: the row keeps its mark, and no times.
            rows.append(made | _NO_TIMES if made.get("timed_out") is True else made)
        elif line.strip():
            unread.append(line)
            progress(line)

    library = str(settings.nccl_library) if settings.nccl_library else "libnccl.so.2"
    try:
        run_call(Call((str(program), str(gpus), str(settings.samples), library), dict(os.environ)), settings.timeout_s, take)
    except RunError as error:
        for line in unread:
            if line.startswith("no-peer-access"):
                fault = Fault("GPU", f"no peer access between all of {gpus}", "GPUs that reach each other's memory")
                raise InputError(fault) from error
            if line.startswith("usable-gpus"):
                found = f"{line.partition(' ')[2]} that CUDA may use (CUDA_VISIBLE_DEVICES?)"
                raise InputError(Fault("GPU", found, f"{gpus}")) from error
        if not rows or not any(row.get("timed_out") for row in rows):
            raise
    if len(rows) > MAX_ROWS:
        raise RunError("the program printed more rows than any run has")
    return rows
