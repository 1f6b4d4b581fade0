"""Time the flow model on three workloads, beside SimGrid where it is installed, and print one table.

    python benchmarks/bench_flows.py [--only W1]... [--no-simgrid] [--small] [--seed 0] [--ecmp] [--quantum-s 0]
                                     [--simgrid-limit 200000] [--simgrid-update Lazy|Full]

``ours`` and ``SimGrid`` are user and system time of a process of its own per measurement, from its start to its end: ours
starts Python, builds the fabric and the flows, routes and solves (the median of three runs before SimGrid and three after);
SimGrid reads the flows and their links from CSV and solves.
Compiling is excluded on both sides: the kernels' cache is warmed by one small run, the C++ program is built beforehand.
``solve`` is the same of our routing and solving alone. ``events`` counts distinct moments (1 ns apart) at which a
flow starts or finishes. ``difference`` is the largest of ``|ours - SimGrid| / SimGrid`` over the completion times of all flows.
``peak`` is our process's largest resident memory. A run whose completion times differ by more than 1e-6 ends with status 1.

SimGrid is left out above ``--simgrid-limit`` flows, so for W2 unless that is raised. With ``--ecmp`` every flow has two queue
pairs, each with a path of its own, and with ``--quantum-s`` events within that time are solved as one; SimGrid has nothing like
either, and is left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from flow_workloads import FULL, SMALL, event_count, one_path_routing, undelayed_fabric
from peak_memory import own_peak_bytes
from simgrid_side import Update, compiled_replay, measured, replayed, write_inputs

from zcube.network.flow_model import flow_model, run_flows
from zcube.routing.catalog import routing_for

#: Largest relative difference of completion times at which both programs agree.
TOLERANCE = 1e-6

#: Runs of ours before one of SimGrid, and as many after it.
OURS_EACH_SIDE = 3

COLUMNS = (
    f"{'':4}{'fabric':12}{'flows':>10}{'events':>9}{'ours, s':>10}{'solve, s':>10}{'SimGrid, s':>12}{'ratio':>8}"
    f"{'difference':>12}{'peak, GB':>10}"
)


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes
    ----------
    workload, fabric : str
        What ran.
    flows, events : int
        Its size.
    ours_s, solve_s, simgrid_s : float
        See the module; nan where SimGrid did not run.
    difference : float
        Largest relative difference of completion times; nan where SimGrid did not run.
    peak_bytes : float
        Our process's largest resident memory.
    """

    workload: str
    fabric: str
    flows: int
    events: int
    ours_s: float
    solve_s: float
    simgrid_s: float
    difference: float
    peak_bytes: float

    def line(self) -> str:
        """Return the row of the table."""
        other = f"{'-':>12}{'-':>8}{'-':>12}"
        if np.isfinite(self.simgrid_s):
            other = f"{self.simgrid_s:12.2f}{self.simgrid_s / self.ours_s:8.1f}{self.difference:12.1e}"
        return (
            f"{self.workload:4}{self.fabric:12}{self.flows:10,}{self.events:9,}{self.ours_s:10.2f}{self.solve_s:10.2f}{other}"
            f"{self.peak_bytes / 1e9:10.2f}"
        )


def largest_difference(ours_s: np.ndarray, theirs_s: np.ndarray) -> float:
    """Return the largest relative difference of completion times."""
    return float(np.max(np.abs(ours_s - theirs_s) / theirs_s))


def solve(workload: str, fabric_name: str, small: bool, seed: int, ecmp: bool, quantum_s: float, out: Path) -> None:
    """Run one workload in this process and write completion times and what solving took."""
    fabric = undelayed_fabric(fabric_name)
    flows = (SMALL if small else FULL)[workload].flows(fabric, seed)
    routing = routing_for(fabric, "ecmp", queue_pairs=2, seed=seed) if ecmp else one_path_routing(fabric, seed)
    model = flow_model(fabric, routing, quantum_s=quantum_s)
    started = time.process_time()
    finish_s = run_flows(model, flows).finish_s
    solve_s = time.process_time() - started
    np.savez(out, finish_s=finish_s, solve_s=solve_s, peak_bytes=own_peak_bytes())


def compare(
    workload: str, fabric_name: str, small: bool, seed: int, program: Path | None, folder: Path, update: Update = "Lazy",
    more: Sequence[str] = (),
) -> Row:  # fmt: skip
    """Measure one workload on one fabric, each program in a process of its own, one after the other."""
    out = folder / "ours.npz"
    arguments = ["--solve", workload, fabric_name, str(out), "--seed", str(seed), *(["--small"] if small else []), *more]
    # With its bytecode kept, as that of an installed package is, and as the command line sets libraries.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}

    def ours_s(times: int) -> list[float]:
        return [measured([sys.executable, __file__, *arguments], environment).cpu_s for _ in range(times)]

    # What a machine gives moves within minutes, and SimGrid takes minutes: ours is the median of runs before and after.
    taken_s = ours_s(OURS_EACH_SIDE if program else 1)
    with np.load(out) as found:
        finish_s, solve_s, peak_bytes = found["finish_s"], float(found["solve_s"]), float(found["peak_bytes"])
    fabric = undelayed_fabric(fabric_name)
    flows = (SMALL if small else FULL)[workload].flows(fabric, seed)
    simgrid_s = difference = float("nan")
    if program:
        write_inputs(folder, fabric, flows, seed)
        theirs_s, theirs = replayed(program, folder, update)
        simgrid_s, difference = theirs.cpu_s, largest_difference(finish_s, theirs_s)
        taken_s += ours_s(OURS_EACH_SIDE)
    events = event_count(flows.start_s, finish_s)
    return Row(workload, fabric_name, len(flows), events, median(taken_s), solve_s, simgrid_s, difference, peak_bytes)


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(FULL), help="run this workload; may be repeated")
    parser.add_argument("--no-simgrid", action="store_true")
    parser.add_argument("--simgrid-limit", type=int, default=200_000, help="most flows that SimGrid is given")
    parser.add_argument("--simgrid-update", choices=["Lazy", "Full"], default="Lazy", help="SimGrid's network/optim")
    parser.add_argument("--small", action="store_true", help="scaled down, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ecmp", action="store_true", help="two queue pairs a flow, each with a path of its own; no SimGrid")
    parser.add_argument("--quantum-s", type=float, default=0.0, help="events within this time are solved as one; 0 is exact")
    parser.add_argument("--solve", nargs=3, metavar=("WORKLOAD", "FABRIC", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.solve:
        workload, fabric, out = arguments.solve
        solve(workload, fabric, arguments.small, arguments.seed, arguments.ecmp, arguments.quantum_s, Path(out))
        return 0
    agree, alone = True, arguments.no_simgrid or arguments.ecmp or arguments.quantum_s > 0.0
    more = ["--quantum-s", str(arguments.quantum_s), *(["--ecmp"] if arguments.ecmp else [])]
    with tempfile.TemporaryDirectory(prefix="zcube-bench-") as name:
        folder = Path(name)
        program = None if alone else compiled_replay(folder)
        if program is None and not alone:
            print("SimGrid or a C++ compiler is not installed: its columns stay empty", file=sys.stderr)
        for workload in ("W1", "W3"):
            measured(
                [sys.executable, __file__, "--solve", workload, FULL[workload].fabrics[0], f"{folder}/warm.npz", "--small"]
            )
        print(COLUMNS)
        for workload in arguments.only or list(FULL):
            declared = (SMALL if arguments.small else FULL)[workload]
            for fabric in declared.fabrics:
                given = program if len(declared.flows(undelayed_fabric(fabric), 0)) <= arguments.simgrid_limit else None
                row = compare(workload, fabric, arguments.small, arguments.seed, given, folder, arguments.simgrid_update, more)
                print(row.line(), flush=True)
                agree &= not row.difference > TOLERANCE
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
