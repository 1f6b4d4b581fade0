"""Run the same flows on the same links with SimGrid, as a process of its own; nothing where SimGrid is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from flow_workloads import one_path_routing, path_rows

from zcube.fabric.model import Fabric
from zcube.network.protocol import FlowTable

SOURCE = Path(__file__).with_name("simgrid") / "replay.cpp"
HEADER = "simgrid/s4u.hpp"

#: SimGrid's setting network/optim: re-solve only what has changed, its default, or all.
Update = Literal["Lazy", "Full"]


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes
    ----------
    cpu_s : float
        User and system time.
    peak_bytes : int
        Largest resident memory.
    """

    cpu_s: float
    peak_bytes: int


def measured(command: list[str], environment: dict[str, str] | None = None) -> Usage:
    """Run a command to its end and return what it took; raise if it fails."""
    process = subprocess.Popen(command, env=environment)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def compiled_replay(folder: Path, optimisation: str = "-O2") -> Path | None:
    """Compile the SimGrid program into a folder; None where there is no compiler or no SimGrid."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    program = folder / "replay"
    command = [compiler, "-std=c++17", "-x", "c++"]
    # Reading the header itself takes as long as half of compiling.
    probe = f"#if !__has_include(<{HEADER}>)\n#error\n#endif\n"
    if subprocess.run([*command, "-fsyntax-only", "-"], input=probe, text=True, capture_output=True, check=False).returncode:
        return None
    subprocess.run([*command, optimisation, str(SOURCE), "-o", str(program), "-lsimgrid"], check=True)
    return program


def write_inputs(folder: Path, fabric: Fabric, flows: FlowTable, seed: int) -> None:
    """Write ``paths.csv`` and ``flows.csv``; times and rates keep all their digits."""
    # Here and not above, for the process that solves imports this module and is timed.
    import pandas as pd

    pd.DataFrame(path_rows(fabric, one_path_routing(fabric, seed), flows.source, flows.target)).to_csv(
        folder / "paths.csv", index=False
    )
    pd.DataFrame(
        {"src": flows.source, "dst": flows.target, "bytes": flows.size_bytes.astype(np.int64), "start_s": flows.start_s}
    ).to_csv(folder / "flows.csv", index=False)


def replayed(program: Path, folder: Path, update: Update = "Lazy") -> tuple[np.ndarray, Usage]:
    """Run SimGrid on the inputs in a folder; return completion times [flows], seconds, and what the process took."""
    import pandas as pd

    usage = measured([str(program), *(str(folder / name) for name in ("paths.csv", "flows.csv", "finish.csv")), update])
    return pd.read_csv(folder / "finish.csv")["finish_s"].to_numpy(), usage
