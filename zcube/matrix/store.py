"""Cells that have been run, kept under a hash of all that they come from, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from zcube import __version__
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.inputs import Declared, read_bounded, validate
from zcube.network.link_set import LinkSet
from zcube.network.settings import Network
from zcube.trace.comm_trace import CommTrace
from zcube.workload.flow_lists import FlowList

STORE_FILE = "cells.jsonl"
MOST_STORE_BYTES, MOST_CELLS = 1 << 28, 100_000
#: Files named by a scenario count as what they hold; of a folder, as of measured tables, its CSV files up to so many.
MOST_FILES = 1000
#: What of the program changes no figure.
_SHOWS_ONLY = ("cli", "report")


class StoredCell(Declared):
    """A cell's figures under the hash of what they come from; names are for readers alone."""

    key: str = Field(pattern="^[0-9a-f]{64}$")
    fabric: str = Field(max_length=500)
    transport: str = Field(max_length=500)
    seed: int
    figures: dict[str, Any]

    def line(self) -> str:
        """Return the cell as a line of the store."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False) + "\n"


def read_cells(folder: Path) -> dict[str, StoredCell]:
    """Return the cells that a folder holds by their keys; none where there is no store.

    Raises
    ------
    InputError
        With the lines that are no cells, the first 20.
    """
    path = folder / STORE_FILE
    if not path.is_file():
        return {}
    lines = read_bounded(path, MOST_STORE_BYTES).splitlines()
    if len(lines) > MOST_CELLS:
        raise InputError(Fault(str(path), f"{len(lines)} lines", f"at most {MOST_CELLS} cells"))
    cells: dict[str, StoredCell] = {}
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        try:
            data = json.loads(line)
            if not isinstance(data, dict) or not _finite(data.get("figures")):
                raise ValueError("no figures")
            cell = validate(StoredCell, data, where)
        except InputError as error:
            faults += error.faults
        except (ValueError, RecursionError) as error:
            faults.append(Fault(where, str(error)[:100], "a cell as zcube matrix writes it"))
        else:
            cells[cell.key] = cell
    if faults:
        raise InputError(faults[:20])
    return cells


def store_text(cells: Iterable[StoredCell]) -> str:
    """Return the store of some cells, by key."""
    return "".join(cell.line() for cell in sorted(cells, key=lambda cell: cell.key))


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


@dataclass(frozen=True)
class Inputs:
    """What a cell comes from, JSON-ready; its key is their hash with that of the program."""

    parts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 of program and inputs."""
        text = json.dumps({"program": program_digest(), **self.parts}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def program_digest() -> str:
    """Return the hash of the sources that figures come from, and the version."""
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _SHOWS_ONLY:
            digest.update(str(name).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def network_inputs(network: Network) -> dict[str, Any]:
    """Return of how bytes move what the run's fidelity looks at."""
    data: dict[str, Any] = network.model_dump(mode="json")
    unused = {"memory_gb"}
    if network.fidelity != "packet":
        unused |= {"packet"}
    if network.fidelity != "lossless":
        unused |= {"isolation"}
    if network.fidelity == "ideal":
        unused |= {"routing", "queue_pairs", "path_split", "fall_back"}
    calibration = {} if network.calibration is None else {"calibration": file_digest(Path(network.calibration))}
    return {key: value for key, value in data.items() if key not in unused} | calibration


def fabric_digest(fabric: Fabric, ideal: bool = False) -> str:
    """Return the hash of a fabric's links; of an ideal core only those of NICs count."""
    if ideal:
        links = LinkSet.of_ideal_core(fabric)
        return _hashed(links.capacity_bps, links.latency_s, fabric.gpus_per_server)
    cables = fabric.cables
    columns = [getattr(cables, name) for name in ("a", "b", "a_port", "b_port", "gbps", "latency_s", "kind")]
    parameters = repr(sorted((key, repr(value)) for key, value in fabric.parameters.items()))
    return _hashed(*columns, fabric.cable_up, fabric.nic_cable, fabric.gpus_per_server, fabric.family, parameters)


def carried_digest(carried: FlowList | CommTrace) -> str:
    """Return the hash of transfers, or of a trace."""
    names: tuple[str, ...]
    if isinstance(carried, FlowList):
        names = ("source", "target", "size_bytes", "start_s", "cap_bps", "weight")
    else:
        names = ("kind", "name", "source", "target", "group", "size_bytes", "start_s", "duration_s", "first_dependency",
                 "dependency", "names", "groups", "ranks_per_node")  # fmt: skip
    return _hashed(*(getattr(carried, name) for name in names))


def files_named(value: Any) -> dict[str, str]:
    """Return the hash of every file and folder that JSON-ready data names."""
    if isinstance(value, Mapping):
        found = [files_named(part) for part in value.values()]
    elif isinstance(value, list | tuple):
        found = [files_named(part) for part in value]
    else:
        text = value if isinstance(value, str) and 0 < len(value) <= 4096 and "\0" not in value else None
        path = None if text is None else Path(text)
        try:
            return {text: file_digest(path)} if text and path and path.exists() else {}
        except OSError:
            return {}  # Too long for a name, or not to be read: it is told of where it is read.
    return {name: digest for part in found for name, digest in part.items()}


def file_digest(path: Path) -> str:
    """Return the hash of a file's bytes, or of the files of a folder."""
    if not path.is_dir():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    inside = sorted(islice((file for file in path.rglob("*.csv") if file.is_file()), MOST_FILES))
    return _hashed(*(f"{file.relative_to(path)} {file_digest(file)}" for file in inside))


def _hashed(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()
