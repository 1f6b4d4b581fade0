"""The declared experiment: one cluster's engine, requests and load, and the fabrics to compare under it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from zcube.errors import Fault, InputError
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.inputs import (
    Declared,
    assign,
    assigned,
    bundled_folder,
    read_bounded,
    read_toml,
    resolve_declared,
    set_key,
    validate,
)
from zcube.llm.compute_choice import ComputeKind
from zcube.network.packet.settings import PacketSettings
from zcube.out_folder import new_folder
from zcube.serving.settings import ServingSettings
from zcube.workload.source import GENERATOR, Requests


class Compute(Declared):
    """What computes: model card, GPU, where compute times come from, and the balance of the experts' load."""

    model: str = Field(default="glm-5.1", min_length=1, max_length=200, description="model card")
    device: str = Field(default="h200", min_length=1, max_length=200)
    times: ComputeKind = Field(
        default="auto", description="roofline; measured: NVIDIA's tables; auto: the roofline unless tables are named"
    )
    tables: str | None = Field(default=None, max_length=4096, description="folder of measured tables, CSV")
    moe_balance: Literal["balanced", "power_law_1.01", "power_law_1.2"] = "power_law_1.2"


class Network(Declared):
    """How bytes move.

    ``nic_gbps`` limits every GPU's NIC ports together, the rest of the fabric unchanged, as in a NIC-cap experiment.
    """

    fidelity: Literal["ideal", "flow", "packet"] = "flow"
    routing: str = Field(default="default", max_length=60, description="a routing policy; default: the one of each family")
    queue_pairs: int = Field(default=2, ge=1, le=64, description="per transfer under ecmp; Mooncake opens 2")
    path_split: Literal["pooled", "fixed"] = "pooled"
    nic_gbps: float | None = Field(default=None, gt=0, le=1e6)
    calibration: str | None = Field(
        default=None, max_length=4096, description="file of zcube calibrate fit; its rates and latencies replace line rates"
    )
    packet: PacketSettings = Field(default=PacketSettings(), description="of fidelity packet; its seed is the scenario's")


class Cost(Declared):
    """How the bill is priced."""

    price_book: str = Field(default="mixnet-2025", min_length=1, max_length=4096)


class Scenario(ServingSettings):
    """A declared experiment. Its tables are those of a serving run plus what is compared and under which requests."""

    description: str = Field(default="", max_length=1000)
    fabrics: tuple[str, ...] = Field(min_length=1, max_length=32, description="bundled topologies or files")
    baseline: str | None = Field(default=None, description="what the others are compared with; default: the first")
    gpus: int | None = Field(default=None, ge=8, description="size every fabric must have")
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    compute: Compute = Compute()
    requests: Requests
    network: Network = Network()
    cost: Cost = Cost()

    @field_validator("fabrics")
    @classmethod
    def _each_once(cls, fabrics: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(fabrics)) != len(fabrics):
            raise ValueError("names without repetition")
        return fabrics

    @field_validator("baseline")
    @classmethod
    def _among_fabrics(cls, baseline: str | None, info: ValidationInfo) -> str | None:
        fabrics = info.data.get("fabrics")
        if baseline is not None and fabrics is not None and baseline not in fabrics:
            raise ValueError("one of fabrics: " + ", ".join(fabrics))
        return baseline

    @property
    def labels(self) -> dict[str, str]:
        """How results name each fabric: by the stem of its file, or in full where stems repeat."""
        stems = [fabric if FAILURES_AFTER in fabric else Path(fabric).stem for fabric in self.fabrics]
        return {fabric: stem if stems.count(stem) == 1 else fabric for fabric, stem in zip(self.fabrics, stems, strict=True)}

    @property
    def baseline_label(self) -> str:
        """Label of the fabric the others are compared with."""
        return self.labels[self.baseline or self.fabrics[0]]


def load_scenario(reference: str, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> Scenario:
    """Read a scenario, with changes from the command line.

    A trace file named in the changes keeps its own times: the scenario's rate goes, unless the changes set one too. Files
    named in a scenario file lie relative to it, files named in changes to the caller.

    Parameters
    ----------
    reference : str
        Stem of a bundled scenario, path to a TOML file, or path to the ``run.json`` of an earlier run.
    changes : mapping, optional
        Dotted key to value, e.g. ``{"network.fidelity": "ideal"}``; None removes the key.
    assignments : sequence of str
        ``KEY=VALUE`` with a TOML value, e.g. ``load.rate_per_s=40``; a bare word is taken as a string.

    Raises
    ------
    InputError
        With every fault of the file and of the changes, a rate set for a closed loop among them.
    """
    path = resolve_declared(reference, "scenarios")
    data = _read_run(path) if path.suffix == ".json" else _beside(read_toml(path), path.parent)
    assign(data, assignments)
    for key, value in (changes or {}).items():
        set_key(data, key, value)
    given = {**assigned(assignments), **(changes or {})}
    if given.get("requests.source", GENERATOR) != GENERATOR and "load.rate_per_s" not in given:
        set_key(data, "load.rate_per_s", None)
    scenario = validate(Scenario, data, reference)
    if changes is not None and "load.rate_per_s" in changes and scenario.load.mode == "closed":
        rate = "the trace's own" if changes["load.rate_per_s"] is None else str(changes["load.rate_per_s"])
        raise InputError(Fault("load.rate_per_s", rate, "no rate in a closed loop, which sends a request when another ends"))
    return scenario


def copy_scenario(stem: str, folder: Path) -> None:
    """Write a bundled scenario and its topologies into a new folder as ``scenario.toml`` and ``*.toml``."""
    scenario = (bundled_folder("scenarios") / f"{stem}.toml").read_text()

    def fill(temporary: Path) -> None:
        text = scenario
        for fabric in load_scenario(stem).fabrics:
            shutil.copy(bundled_folder("topologies") / f"{fabric}.toml", temporary)
            text = text.replace(f'"{fabric}"', f'"{fabric}.toml"')
        (temporary / "scenario.toml").write_text(text)

    new_folder(folder, fill)


def _read_run(path: Path) -> dict[str, Any]:
    """Return the scenario recorded in a ``run.json``."""
    try:
        record = json.loads(read_bounded(path))
    except ValueError as error:
        raise InputError(Fault(str(path), str(error), "JSON")) from error
    if not isinstance(record, dict) or not isinstance(record.get("scenario"), dict):
        raise InputError(Fault(f"{path}: scenario", "nothing", "the scenario of a recorded run"))
    return dict(record["scenario"])


def _beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return scenario data in which names of files that lie beside the scenario file are paths to them."""

    def path_to(name: Any) -> Any:
        beside = isinstance(name, str) and name.endswith(".toml") and (folder / name).is_file()
        return str(folder / name) if beside else name

    if isinstance(data.get("fabrics"), list):
        data["fabrics"] = [path_to(name) for name in data["fabrics"]]
        data["baseline"] = path_to(data.get("baseline"))
    requests = data.get("requests")
    if isinstance(requests, dict) and isinstance(requests.get("source"), str) and requests["source"] != GENERATOR:
        requests["source"] = str(folder / requests["source"])
    for table, key in (("compute", "tables"), ("network", "calibration")):
        if isinstance(data.get(table), dict) and isinstance(data[table].get(key), str):
            data[table][key] = str(folder / data[table][key])
    return data
