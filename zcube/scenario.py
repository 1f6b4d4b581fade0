"""The declared experiment: one cluster's engine, requests and load, and the fabrics to compare under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomllib
from pydantic import Field, model_validator

from zcube.errors import Fault, InputError
from zcube.inputs import Declared, read_toml, resolve_declared, validate
from zcube.llm.rankmap import rank_map_names
from zcube.serving.settings import ServingSettings
from zcube.workload.coding_agent import CodingAgent

#: The name that stands for the built-in generator where a trace file could be named.
GENERATOR = "coding-agent"


class Compute(Declared):
    """What computes: model card, GPU, and the balance of the experts' load."""

    model: str = Field(default="glm-5.1", min_length=1, max_length=200, description="model card")
    device: str = Field(default="h200", min_length=1, max_length=200)
    moe_balance: Literal["balanced", "power_law_1.01", "power_law_1.2"] = "power_law_1.2"


class Requests(Declared):
    """Where requests come from: the built-in coding-agent generator, or a trace file."""

    source: str = Field(default=GENERATOR, min_length=1, max_length=4096, description="coding-agent, or a trace file")
    count: int | None = Field(default=None, ge=1, le=10_000_000, description="first requests taken; default: a trace's all")
    coding_agent: CodingAgent = CodingAgent()

    @model_validator(mode="after")
    def _count_for_generator(self) -> Requests:
        if self.source == GENERATOR and self.count is None:
            raise ValueError("count, because the generator has no end")
        return self


class Network(Declared):
    """How bytes move.

    ``nic_gbps`` limits every GPU's NIC ports together, the rest of the fabric unchanged, as in a NIC-cap experiment.
    """

    fidelity: Literal["ideal", "flow"] = "flow"
    routing: Literal["default", "ecmp", "shortest-path", "zcube-paths"] = "default"
    queue_pairs: int = Field(default=2, ge=1, le=64, description="per transfer under ecmp; Mooncake opens 2")
    path_split: Literal["pooled", "fixed"] = "pooled"
    nic_gbps: float | None = Field(default=None, gt=0, le=1e6)


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

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if len(set(self.fabrics)) != len(self.fabrics):
            raise ValueError("fabrics without repetition")
        if self.baseline is not None and self.baseline not in self.fabrics:
            raise ValueError(f"baseline = {self.baseline!r} to be one of fabrics = {list(self.fabrics)}")
        if self.kv.rank_map not in rank_map_names():
            raise ValueError(f"kv.rank_map = {self.kv.rank_map!r} to be one of " + ", ".join(rank_map_names()))
        return self

    @property
    def baseline_fabric(self) -> str:
        """The fabric the others are compared with."""
        return self.baseline or self.fabrics[0]


def load_scenario(reference: str, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> Scenario:
    """Read a scenario, with changes from the command line.

    Parameters
    ----------
    reference : str
        Stem of a bundled scenario or path to a TOML file.
    changes : mapping, optional
        Dotted key to value, e.g. ``{"network.fidelity": "ideal"}``.
    assignments : sequence of str
        ``KEY=VALUE`` with a TOML value, e.g. ``load.rate_per_s=40``; a bare word is taken as a string.

    Raises
    ------
    InputError
        With every fault of the file and of the changes.
    """
    path = resolve_declared(reference, "scenarios")
    data = read_toml(path)
    for key, value in [*(_parse(text) for text in assignments), *(changes or {}).items()]:
        _set(data, key, value)
    scenario = validate(Scenario, data, reference)
    # A trace named in a scenario file lies relative to that file, one named on the command line to the caller.
    source = scenario.requests.source
    named_here = any(text.startswith("requests.source=") for text in assignments) or "requests.source" in (changes or {})
    if source == GENERATOR or named_here or Path(source).is_absolute():
        return scenario
    requests = scenario.requests.model_copy(update={"source": str(path.parent / source)})
    return scenario.model_copy(update={"requests": requests})


def _parse(assignment: str) -> tuple[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise InputError(Fault("--set", repr(assignment), "KEY=VALUE, e.g. load.rate_per_s=40"))
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for table in tables:
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            raise InputError(Fault(f"--set {key}", f"{table}, which is not a table", "a documented key"))
        data = inner
    data[last] = value
