"""What a run comes from, hashed: the program, its data, what is installed beside it, and everything that was declared."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from zcube import __version__
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.fabric.model import Fabric
from zcube.input_files import is_file
from zcube.inputs import bundled_stems
from zcube.llm.cards import card_names
from zcube.llm.decode_node.figures import node_names
from zcube.llm.devices import device_names
from zcube.llm.tables.source import MAX_TABLE_BYTES
from zcube.network.link_set import LinkSet
from zcube.network.settings import Network
from zcube.pricing.price_book import PowerBook, PriceBook
from zcube.scenario import Scenario, parted
from zcube.trace.comm_trace import CommTrace
from zcube.workload.flow_lists import FlowList
from zcube.workload.readers.lines import MAX_FILE_BYTES
from zcube.workload.source import GENERATOR

Found = TypeVar("Found")


def _none() -> Collection[str]:
    return ()


#: Keys of a scenario that name a file or a folder, at whatever depth, with the names that are no files there, since their
#: readers look among these first. Every other text is what it says, whatever lies in the present folder.
FILE_KEYS: Mapping[str, Callable[[], Collection[str]]] = {
    "fabrics": lambda: bundled_stems("topologies"),
    "baseline": lambda: bundled_stems("topologies"),
    "model": card_names,
    "device": device_names,
    "node": node_names,
    "price_book": PriceBook.bundled,
    "power_book": PowerBook.bundled,
    "source": lambda: (GENERATOR,),
    "calibration": _none,
    "parts": _none,
    "racks": _none,
    "tables": _none,
}
#: Files of a folder of measured tables that are read; :class:`~zcube.llm.tables.source.CsvSource` looks for them by name.
TABLE_FILES = "*_sxm_*.csv"
#: What of the program changes no figure, or is hashed by itself as declared; a checkout has the bundled folders elsewhere.
_NOT_COUNTED = ("cli", "report", "scenarios", "sweeps", "topologies", "transports")
#: Endings of what does: sources, cards, devices, books.
_COUNTED = (".py", ".toml", ".cu", ".cuh")
#: Packages whose releases may change a figure.
_PACKAGES = ("aiconfigurator-core", "aisimulate", "llvmlite", "networkx", "numba", "numpy", "pandas", "scipy", "simpy")


@dataclass(frozen=True)
class Inputs:
    """What a cell comes from, JSON-ready; its key is their hash with that of the program."""

    parts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 of program and inputs."""
        text = json.dumps({"program": program_digest(), **self.parts}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Served(Inputs):
    """What a run of a scenario comes from, with the hash of every file that the scenario names; of files the content counts."""

    files: Mapping[str, str]


@cache
def program_digest() -> str:
    """Return the hash of the sources and data that figures come from, and of the versions of what they are made with."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256(repr([__version__, platform.python_version(), *sorted(set(_installed()))]).encode())
    for path in sorted(path for path in package.rglob("*") if path.suffix in _COUNTED):
        name = path.relative_to(package)
        if name.parts[0] not in _NOT_COUNTED:
            digest.update(str(name).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _installed() -> Iterator[tuple[str, str]]:
    """Yield name and version of every package that figures are made with, those that add to the registries among them."""
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
    for one in distributions():
        if any(point.group.startswith("zcube.") for point in one.entry_points):
            yield one.name, one.version


class KnownTables:
    """Tables of scenarios as keys of runs have them: what many scenarios share, as those of a sweep, is worked out once."""

    def __init__(self) -> None:
        #: By what it is of, which is kept, so that no other object takes its place.
        self._known: dict[tuple[int, str], tuple[Any, Any]] = {}

    def table(self, scenario: Scenario, key: str) -> tuple[Any, dict[str, str]]:
        """Return a table JSON-ready with files by their content, and the hash of every file that it names."""

        def made() -> tuple[Any, dict[str, str]]:
            data = scenario.model_dump(mode="json", include={key})[key]
            return _by_content(data, key), files_named(data, key)

        return self._once(getattr(scenario, key), key, made)

    def network(self, scenario: Scenario, reference: str) -> dict[str, Any]:
        """Return how bytes move on a fabric, see :func:`network_inputs`."""
        return self._once(scenario.network, f"on {reference}", lambda: network_inputs(scenario.network_of(reference)))

    def _once(self, of: Any, what: str, made: Callable[[], Found]) -> Found:
        if not isinstance(of, BaseModel):
            return made()
        if (id(of), what) not in self._known:
            self._known[id(of), what] = of, made()
        found: Found = self._known[id(of), what][1]
        return found


def served_inputs(scenario: Scenario, label: str, fabric: str, seed: int, known: KnownTables | None = None) -> Served:
    """Return what a run of a scenario on one of its fabrics comes from.

    Parameters
    ----------
    scenario : Scenario
        That compares the fabric, maybe with others.
    label : str
        The fabric's.
    fabric : str
        Hash of the fabric as declared, :func:`fabric_digest`.
    seed : int
        Of the run.
    known : KnownTables, optional
        Takes what is worked out, for other scenarios with the same tables.
    """
    names_only = {"fabrics", "baseline", "gpus", "description", "seeds", "seed", "network", "sensitivity"}
    known, alone = known or KnownTables(), scenario.on(label)
    declared = {key: known.table(alone, key) for key in type(alone).model_fields}
    (reference,) = [one for one, known in scenario.labels.items() if known == label]
    parts = {
        "kind": "served",
        "scenario": {key: content for key, (content, _) in declared.items() if key not in names_only},
        "network": known.network(scenario, reference),
        "fabric": fabric,
        "seed": seed,
    }
    return Served(parts, {path: digest for _, files in declared.values() for path, digest in files.items()})


def _by_content(value: Any, key: str = "") -> Any:
    """Return JSON-ready data with the hash of every file in the place of its name."""
    if isinstance(value, dict):
        return {inner: _by_content(part, inner) for inner, part in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(part, key) for part in value]
    if key not in FILE_KEYS:
        return value
    return next(({"sha256": digest} for digest in files_named(value, key).values()), value)


def network_inputs(network: Network) -> dict[str, Any]:
    """Return of how bytes move what the run's fidelity looks at."""
    data: dict[str, Any] = network.model_dump(mode="json")
    unused = {"memory_gb", "load_bins"}
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


def files_named(value: Any, key: str = "") -> dict[str, str]:
    """Return the hash of every file and folder that JSON-ready data names under :data:`FILE_KEYS`, or that a key's value is."""
    found: dict[str, str] = {}
    waiting = [(value, key)]
    while waiting:
        value, key = waiting.pop()
        if isinstance(value, dict):
            waiting += [(part, inner) for inner, part in reversed(value.items())]
        elif isinstance(value, list | tuple):
            waiting += [(part, key) for part in reversed(value)]
        elif key in FILE_KEYS and (path := _path_of(value, key)) is not None:
            try:
                if path.is_file() or path.is_dir():
                    found[str(path)] = file_digest(path)
            except (OSError, ValueError):
                continue  # Too long for a name, or not to be read: it is told of where it is read.
    return found


def _path_of(value: Any, key: str) -> Path | None:
    """Return the path that a key's value is, None where it is none."""
    if not isinstance(value, str) or not 0 < len(value) <= 4096 or value in _no_files(key):
        return None
    if key in ("fabrics", "baseline") and not is_file(value):
        value = parted(value)[0]
        value = value if is_file(value) else value.partition(FAILURES_AFTER)[0]
    return None if value in _no_files(key) else Path(value)


@cache
def _no_files(key: str) -> frozenset[str]:
    """Return the names that are no files under a key; the program's own folders stay as they are while it runs."""
    return frozenset(FILE_KEYS[key]())


def file_digest(path: Path) -> str:
    """Return the hash of a file's bytes, or of the tables in a folder; what is too large for any reader counts by its size."""
    if path.is_dir():
        inside = sorted(file for file in path.glob(TABLE_FILES) if file.is_file())
        return _hashed(*(f"{file.name} {_bounded_digest(file, MAX_TABLE_BYTES)}" for file in inside))
    return _bounded_digest(path, MAX_FILE_BYTES)


def _bounded_digest(path: Path, most_bytes: int) -> str:
    status = path.stat()
    if status.st_size > most_bytes:
        return _hashed("too large", status.st_size)
    return _digest_of(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, size_bytes: int, changed_ns: int) -> str:
    """Return the hash of a file, once for as long as its size and time stay."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _hashed(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()
