"""How the ranks are started: the command line and the environment of each driver and path mode; nothing is run here.

``torch``       torchrun (or mpirun where hosts are given) with the worker of this package
``nccl-tests``  its binaries, one process per GPU under mpirun, or one process with ``-g`` where mpirun is not needed
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zcube.calibrate.measure.settings import MeasureSettings

WORKER = "zcube.calibrate.measure.worker"

#: What each path mode sets (NCCL user guide, environment variables). NCCL_HOSTID is set rank by rank.
PATH_ENVIRONMENT: Mapping[str, Mapping[str, str]] = {
    "nvlink": {},
    "shared-memory": {"NCCL_P2P_DISABLE": "1"},
    "socket": {"NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1", "NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1"},
    "network": {"NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1"},
}

#: Program of nccl-tests for each operation.
PROGRAMS: Mapping[str, str] = {
    "all-to-all": "alltoall_perf",
    "all-gather": "all_gather_perf",
    "reduce-scatter": "reduce_scatter_perf",
    "all-reduce": "all_reduce_perf",
    "broadcast": "broadcast_perf",
    "send-receive": "sendrecv_perf",
}
#: nccl-tests' names of the element types.
NCCL_TESTS_DTYPES: Mapping[str, str] = {"uint8": "uint8", "bfloat16": "bfloat16", "float32": "float"}


@dataclass(frozen=True)
class Call:
    """A command to run.

    Attributes
    ----------
    command : tuple of str
    environment : mapping of str to str
        The whole environment of the child.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]


def path_environment(settings: MeasureSettings, base: Mapping[str, str], logs: Path | None = None) -> dict[str, str]:
    """Return the environment of the ranks.

    Only what the path mode needs is set; everything else of ``base``, NCCL_NVLS_ENABLE above all, passes through.

    Parameters
    ----------
    settings : MeasureSettings
    base : mapping of str to str
        The environment to start from.
    logs : Path, optional
        Folder for NCCL's own log, from which the path taken is read; left alone where the user asked for a log.
    """
    environment = dict(base)
    if settings.backend == "nccl":
        settings_of_mode = dict(PATH_ENVIRONMENT[settings.path])
        if settings.path == "network" and not settings.splits_hosts:
            # Several hosts: inside a host NCCL may take what it likes, as it would in use.
            settings_of_mode = {}
        environment |= settings_of_mode
        if logs is not None and "NCCL_DEBUG" not in base:
            environment |= {
                "NCCL_DEBUG": "INFO",
                "NCCL_DEBUG_SUBSYS": "INIT,P2P,SHM,NET",
                "NCCL_DEBUG_FILE": str(logs / "nccl.%h.%p"),
            }
    return environment


def torch_call(settings: MeasureSettings, ranks: int, plan: Path, environment: Mapping[str, str], port: int) -> Call:
    """Return the call that runs the worker on every rank.

    Parameters
    ----------
    settings : MeasureSettings
    ranks : int
        Over all nodes.
    plan : Path
        The worker's plan; with mpirun it must be readable on every host.
    environment : mapping of str to str
        From :func:`path_environment`.
    port : int
        For the rendezvous of ranks on one host.
    """
    root = str(Path(__file__).resolve().parents[3])
    paths = [root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    python = str(settings.python or sys.executable)
    address, _, given_port = settings.master.rpartition(":")
    if settings.hosts:
        first = settings.hosts.split(",")[0].split(":")[0]
        environment |= {"MASTER_ADDR": address or first, "MASTER_PORT": given_port or str(port)}
        return Call((*_mpirun(settings, ranks, environment), python, "-m", WORKER, str(plan)), environment)
    command = (
        python, "-m", "torch.distributed.run",
        "--nnodes", str(settings.nodes),
        "--node-rank", str(settings.node_rank),
        "--nproc-per-node", str(ranks // settings.nodes),
        "--master-addr", address or "127.0.0.1",
        "--master-port", given_port or str(port),
        "-m", WORKER, str(plan),
    )  # fmt: skip
    return Call(command, environment)


def nccl_tests_calls(
    settings: MeasureSettings, ranks: int, folder: Path, environment: Mapping[str, str]
) -> list[tuple[str, Path, Call]]:
    """Return the calls of nccl-tests' programs, each with its operation and the JSON file that it writes.

    Sizes that double make one call; any others one call each. Repetitions are nccl-tests' own (``-n``), whose time is
    the mean over them.
    """
    found = []
    for operation in settings.operations:
        for dtype in settings.dtypes:
            for number, (first, last) in enumerate(size_runs(settings.sizes_bytes)):
                output = folder / f"{operation}-{dtype}-{number}.json"
                arguments = (
                    "-b", str(first), "-e", str(last), "-f", "2", "-w", str(settings.warmup),
                    "-n", str(max(20, settings.least_repetitions)), "-c", "1",
                    "-d", NCCL_TESTS_DTYPES[dtype], "-J", str(output),
                )  # fmt: skip
                program = find_program(settings, PROGRAMS[operation]) or PROGRAMS[operation]
                command = _nccl_tests_command(settings, ranks, str(program), arguments, environment)
                found.append((operation, output, Call(command, dict(environment))))
    return found


def _nccl_tests_command(
    settings: MeasureSettings, ranks: int, program: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    if settings.hosts:
        return (*_mpirun(settings, ranks, environment), program, *arguments, "-g", "1")
    if not settings.splits_hosts:
        return (program, *arguments, "-g", str(ranks))
    # One application context per rank: each has its own host identifier.
    command = ["mpirun", *_as_root()]
    for rank in range(ranks):
        host = f"NCCL_HOSTID=zcube-{rank // settings.ranks_per_host_id}"
        command += [":"] if rank else []
        command += ["-np", "1", "-x", host, program, *arguments, "-g", "1"]
    return tuple(command)


def _mpirun(settings: MeasureSettings, ranks: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    exported = sorted(
        name
        for name in environment
        if name.startswith(("NCCL_", "TORCH_NCCL_", "MASTER_", "CUDA_VISIBLE_")) or name in ("PYTHONPATH", "LD_LIBRARY_PATH")
    )
    passed = [part for name in exported for part in ("-x", name)]
    return ("mpirun", *_as_root(), "-np", str(ranks), "--host", settings.hosts, *passed)


def _as_root() -> tuple[str, ...]:
    # Open MPI refuses root unless told; containers run as root as a rule.
    return ("--allow-run-as-root",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()


def size_runs(sizes_bytes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the longest runs of sizes that double, as (first, last)."""
    runs: list[tuple[int, int]] = []
    for size in sizes_bytes:
        if runs and size == 2 * runs[-1][1]:
            runs[-1] = (runs[-1][0], size)
        else:
            runs.append((size, size))
    return runs


def find_program(settings: MeasureSettings, name: str) -> Path | None:
    """Return the file of a program of nccl-tests, in the folder given or on the PATH; None where there is none."""
    if settings.nccl_tests is not None:
        candidates = (settings.nccl_tests / name, settings.nccl_tests / "build" / name)
        return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)
    found = shutil.which(name)
    return Path(found) if found else None
