"""What the machine is: GPUs, NVLink, NICs, driver, NCCL and its environment; and what is missing to measure on it.

Nothing that names the machine or its user is kept: no host name, address, serial number, UUID or path.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcube.calibrate.measure.drivers import PROGRAMS, find_program
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.errors import Fault, InputError

#: Command to its output; None where it cannot be run or fails.
Runner = Callable[[Sequence[str]], str | None]

QUERY_S = 120.0
MAX_OUTPUT_CHARACTERS = 1 << 20
MAX_VALUE_CHARACTERS = 200
#: NVLink 4 and 5 report the rate of their lanes with forward error correction, 17 bits for 16 of data (212.5 for 200 Gb/s).
_LANE_RATES_GBYTES = (26.5625, 53.125)
_DATA_SHARE = 16 / 17
#: Variables whose values name hosts, users or folders.
_PRIVATE = re.compile(r"HOST|COMM_ID|FILE|DIR|PATH|PLUGIN|_CONF")

GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version,pcie.link.gen.max,pcie.link.width.max,clocks.max.sm",
             "--format=csv,noheader")  # fmt: skip

_TORCH_PROBE = (
    "import json, torch; import torch.distributed as d; c = torch.cuda.is_available(); "
    "print(json.dumps({'torch': str(torch.__version__), 'cuda': torch.version.cuda, "
    "'gpus': torch.cuda.device_count() if c else 0, 'distributed': d.is_available(), "
    "'nccl': list(torch.cuda.nccl.version()) if c and d.is_nccl_available() else None}))"
)


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes
    ----------
    gpus : tuple of dict
        Name, memory, driver, PCIe and clock of each GPU.
    nvlink_gbps : float, optional
        Rate of a GPU's active NVLinks together, each direction, data only; None if unknown, 0 if none is active.
    nvlink_links : tuple of int
        Active links, by GPU.
    joins : dict
        ``nvidia-smi topo -m``: how two GPUs or a GPU and a NIC are joined, e.g. ``{"GPU0-GPU1": "NV18"}``.
    nics : tuple of dict
        InfiniBand and RoCE ports and Ethernet interfaces: kind, name, state, rate.
    torch : dict, optional
        Versions and GPUs that PyTorch sees; None where there is no PyTorch.
    nccl_tests : tuple of str
        Operations whose nccl-tests program is there.
    mpirun : bool
        Whether there is one.
    """

    gpus: tuple[Mapping[str, str], ...]
    nvlink_gbps: float | None
    nvlink_links: tuple[int, ...]
    joins: Mapping[str, str]
    nics: tuple[Mapping[str, Any], ...]
    torch: Mapping[str, Any] | None
    nccl_tests: tuple[str, ...]
    mpirun: bool

    @property
    def nvlink(self) -> bool | None:
        """Whether every two GPUs are joined by NVLink; None if unknown."""
        kinds = [kind for pair, kind in self.joins.items() if re.fullmatch(r"GPU\d+-GPU\d+", pair)]
        if kinds:
            return all(kind.startswith("NV") for kind in kinds)
        return None if self.nvlink_gbps is None else self.nvlink_gbps > 0

    def details(self) -> dict[str, Any]:
        """Return what a file of measurements keeps of it."""
        return {
            "gpus": [dict(gpu) for gpu in self.gpus],
            "nvlink_links": list(self.nvlink_links),
            "joins": dict(self.joins),
            "nics": [dict(nic) for nic in self.nics],
            "kernel": platform.release(),
            "machine": platform.machine(),
        }


def look(settings: MeasureSettings, run: Runner | None = None, root: Path = Path("/")) -> Machine:
    """Find out what the machine is.

    Parameters
    ----------
    settings : MeasureSettings
        Says which Python and which nccl-tests.
    run : callable, optional
        Runs a command; default: for real.
    root : Path
        Root of the file system that holds ``sys/class``.
    """
    run = run or output_of
    links, rate = parse_nvlink(run(("nvidia-smi", "nvlink", "-s")))
    torch = run((str(settings.python or sys.executable), "-c", _TORCH_PROBE)) if settings.driver != "nccl-tests" else None
    return Machine(
        gpus=parse_gpus(run(GPU_QUERY)),
        nvlink_gbps=rate,
        nvlink_links=links,
        joins=parse_topology(run(("nvidia-smi", "topo", "-m"))),
        nics=find_nics(root),
        torch=_last_json(torch),
        nccl_tests=tuple(name for name, program in PROGRAMS.items() if find_program(settings, program)),
        mpirun=shutil.which("mpirun") is not None,
    )


def choose_driver(settings: MeasureSettings, machine: Machine) -> str:
    """Return ``"torch"`` or ``"nccl-tests"``.

    Raises
    ------
    InputError
        With everything that is missing to measure what the settings ask for.
    """
    faults: list[Fault] = []
    if settings.backend == "nccl":
        faults += _gpu_faults(settings, machine)
    torch_faults = _torch_faults(settings, machine)
    tests_faults = _nccl_tests_faults(settings, machine)
    if settings.driver == "torch":
        faults += torch_faults
    elif settings.driver == "nccl-tests":
        faults += tests_faults
    elif torch_faults and tests_faults:
        faults += torch_faults + tests_faults
    if settings.hosts and not machine.mpirun:
        faults.append(Fault("mpirun", "none on the PATH", "an MPI, as hosts are given"))
    if faults:
        raise InputError(faults)
    return "torch" if settings.driver != "nccl-tests" and not torch_faults else "nccl-tests"


def _gpu_faults(settings: MeasureSettings, machine: Machine) -> list[Fault]:
    if not machine.gpus:
        return [Fault("GPU", "none (nvidia-smi is missing or lists none)", "two or more NVIDIA GPUs and their driver")]
    per_node = max(settings.ranks or (len(machine.gpus) * settings.nodes,)) // settings.nodes
    if settings.hosts or max(per_node, 2 if settings.nodes == 1 else 1) <= len(machine.gpus):
        return []
    return [Fault("GPU", f"{len(machine.gpus)} on this host", f"{max(per_node, 2)}, or fewer ranks (at least 2)")]


def _torch_faults(settings: MeasureSettings, machine: Machine) -> list[Fault]:
    if machine.torch is None:
        which = f"none in {settings.python}" if settings.python else "none in this Python"
        return [Fault("PyTorch", which, "PyTorch with CUDA, there or in the Python named by --python")]
    if not machine.torch.get("distributed"):
        return [Fault("PyTorch", "one without torch.distributed", "one with it")]
    if settings.backend == "nccl" and not (machine.torch.get("gpus") and machine.torch.get("nccl")):
        return [
            Fault("PyTorch", f"{machine.torch.get('torch')}, which sees no GPU or has no NCCL", "PyTorch with CUDA and NCCL")
        ]
    return []


def _nccl_tests_faults(settings: MeasureSettings, machine: Machine) -> list[Fault]:
    if settings.backend != "nccl":
        return [Fault("nccl-tests", f"backend {settings.backend}", "backend nccl, or the torch driver")]
    faults = [
        Fault(f"nccl-tests {PROGRAMS[name]}", "none", "the program on the PATH or in the folder named by --nccl-tests")
        for name in settings.operations
        if name not in machine.nccl_tests
    ]
    if settings.splits_hosts and not machine.mpirun:
        faults.append(Fault("mpirun", "none on the PATH", "an MPI: nccl-tests needs one process per rank on this path"))
    if settings.nodes > 1 and not settings.hosts:
        faults.append(Fault("nccl-tests", "several nodes without hosts", "hosts, for mpirun"))
    return faults


def parse_gpus(text: str | None) -> tuple[Mapping[str, str], ...]:
    """Return the GPUs of ``nvidia-smi --query-gpu`` (:data:`GPU_QUERY`), one per line."""
    keys = ("name", "memory", "driver", "pcie_generation", "pcie_width", "max_sm_clock")
    lines = [[cell.strip()[:MAX_VALUE_CHARACTERS] for cell in line.split(",")] for line in (text or "").splitlines()]
    return tuple(dict(zip(keys, cells, strict=True)) for cells in lines if len(cells) == len(keys))


def parse_nvlink(text: str | None) -> tuple[tuple[int, ...], float | None]:
    """Return the active links of each GPU and the rate of one GPU in Gb/s, from ``nvidia-smi nvlink -s``.

    The rate is that of data in each direction, of the GPU with the fewest links; None where nothing was printed.
    """
    if not text or not re.search(r"^GPU \d+:", text, re.MULTILINE):
        return (), None
    links, rates = [], []
    for block in re.split(r"^GPU \d+:", text, flags=re.MULTILINE)[1:]:
        found = [float(rate) for rate in re.findall(r"Link \d+: (\d+(?:\.\d+)?) GB/s", block)]
        links.append(len(found))
        rates.append(sum(_data_rate_gbytes(rate) for rate in found) * 8.0)
    return tuple(links), min(rates)


def _data_rate_gbytes(rate_gbytes: float) -> float:
    coded = any(abs(rate_gbytes - lane) < 0.002 * lane for lane in _LANE_RATES_GBYTES)
    return rate_gbytes * _DATA_SHARE if coded else rate_gbytes


def parse_topology(text: str | None) -> dict[str, str]:
    """Return how devices are joined, from the matrix of ``nvidia-smi topo -m``; each pair of GPUs once."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text or "")
    columns: list[str] = []
    joins: dict[str, str] = {}
    for line in plain.splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        if not columns:
            columns = [cell for cell in cells if re.fullmatch(r"(GPU|NIC)\d+|mlx\w+", cell)]
            continue
        if not re.fullmatch(r"(GPU|NIC)\d+|mlx\w+", cells[0]):
            continue
        for column, kind in zip(columns, cells[1 : len(columns) + 1], strict=False):
            if kind not in ("", "X") and f"{column}-{cells[0]}" not in joins:
                joins[f"{cells[0]}-{column}"] = kind[:20]
    return joins


def find_nics(root: Path = Path("/")) -> tuple[Mapping[str, Any], ...]:
    """Return the InfiniBand and RoCE ports and the Ethernet interfaces with a device behind them."""
    found: list[Mapping[str, Any]] = []
    for port in sorted((root / "sys/class/infiniband").glob("*/ports/*")):
        rate = re.match(r"(\d+(?:\.\d+)?) Gb/sec", _text(port / "rate"))
        found.append(
            {
                "kind": _text(port / "link_layer") or "InfiniBand",
                "name": f"{port.parent.parent.name}/{port.name}",
                "state": _text(port / "state").rpartition(":")[2].strip(),
                "rate_gbps": float(rate[1]) if rate else None,
            }
        )
    for interface in sorted((root / "sys/class/net").glob("*")):
        if not (interface / "device").exists():
            continue
        speed = _text(interface / "speed")
        found.append(
            {
                "kind": "interface",
                "name": interface.name,
                "state": _text(interface / "operstate"),
                # -1 is the kernel's "unknown".
                "rate_gbps": int(speed) / 1000 if speed.isdecimal() else None,
            }
        )
    return tuple(found)


def nic_line_rate_gbps(nics: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the rate of the active InfiniBand and RoCE ports where all have the same, else None."""
    rates = {nic["rate_gbps"] for nic in nics if nic["kind"] != "interface" and nic["state"] == "ACTIVE"}
    return rates.pop() if len(rates) == 1 else None


def nccl_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the NCCL_* variables, those that name hosts or folders without their value."""
    return {
        name: "(set)" if _PRIVATE.search(name) else value[:MAX_VALUE_CHARACTERS]
        for name, value in sorted(environment.items())
        if name.startswith("NCCL_")
    }


def output_of(command: Sequence[str]) -> str | None:
    """Return what a command prints; None where it cannot be run, fails or takes too long."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=QUERY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout[:MAX_OUTPUT_CHARACTERS] if done.returncode == 0 else None


def _last_json(text: str | None) -> Mapping[str, Any] | None:
    try:
        value = json.loads((text or "").strip().splitlines()[-1])
    except (ValueError, IndexError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:MAX_VALUE_CHARACTERS]
    except OSError:
        return ""
