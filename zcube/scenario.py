"""The declared experiment: one cluster's engine, requests and load, and the fabrics to compare under it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import PydanticCustomError

from zcube.calibrate.tile_choices import TileChoices
from zcube.errors import Fault, InputError
from zcube.fabric.catalog import FAILURES_AFTER
from zcube.fabric.optics import OpticsRule
from zcube.input_files import is_file, read_bounded
from zcube.inputs import (
    MAX_DECLARED_BYTES,
    Declared,
    assign,
    assigned,
    bundled_folder,
    json_document,
    read_toml,
    resolve_declared,
    set_key,
    validate,
)
from zcube.llm.compute_choice import ComputeKind
from zcube.llm.engine_layout import ExchangeLimit
from zcube.network.settings import Network, told_with_routings
from zcube.out_folder import new_folder
from zcube.pricing.amortised import CostTerms
from zcube.routing.relay import FallBack
from zcube.serving.pools import ENGINES, Engine
from zcube.serving.settings import ServingSettings
from zcube.workload.source import GENERATOR, Requests

#: Parts a fabric from the engine that its decode nodes run: ``roft-256+tilert``.
ENGINE_AFTER = "+"
#: Model card that the figures of ``publication`` are of (Z.ai, 2026-05-21).
PUBLISHED_MODEL = "glm-5.1"


class Compute(Declared):
    """What computes: model card, GPU, where compute times come from, and the balance of the experts' load.

    ``exchanges``, of experts over nodes: ``deepep``, what the network gives but never faster than DeepEP was measured on an
    idle one, latencies and NVLink included; ``links``, what the network gives.
    """

    model: str = Field(default="glm-5.1", min_length=1, max_length=200, description="model card")
    device: str = Field(default="h200", min_length=1, max_length=200, description="bundled device, or a device file")
    times: ComputeKind = Field(
        default="auto", description="roofline; measured: NVIDIA's tables; auto: the roofline unless tables are named"
    )
    tables: str | None = Field(default=None, max_length=4096, description="folder of measured tables, CSV")
    moe_balance: Literal["balanced", "power_law_1.01", "power_law_1.2"] = Field(
        default="power_law_1.2", description="how unevenly the router loads experts: a table of the device's `balance`"
    )
    exchanges: ExchangeLimit = "deepep"
    weight_bits: float = Field(
        default=8.0, ge=1, le=32, description="of a weight in memory, 4 or 4.25 of MXFP4 say; compute times are of eight"
    )


def _refused(value: Any) -> Any:
    """Refuse a key that is neither one of the table nor a table of a fabric; the error for the latter comes in its place."""
    if isinstance(value, PydanticCustomError):
        raise value
    if not isinstance(value, Mapping | Network):
        raise PydanticCustomError("table_type", "a table of keys of [network]")
    return value


class NetworkTable(Network):
    """How bytes move.

    ``nic_gbps`` limits every GPU's NIC ports together, the rest of the fabric unchanged, as in a NIC-cap experiment. What
    differs by fabric, as routing and congestion control do, stands in a table named by the fabric as ``fabrics`` has it, or by
    its label in results: keys of ``[network."zcube-1024"]`` take the place of those of ``[network]`` for that fabric, those of
    ``[network."zcube-1024".packet]`` likewise.
    """

    model_config = ConfigDict(extra="allow")

    fall_back: FallBack = Field(
        default="nvlink-relay", description="what transfers do whose paths failures have cut, see docs/models.md"
    )
    __pydantic_extra__: dict[str, Annotated[Network, BeforeValidator(_refused)]] = Field(init=False)

    #: What the tables of fabrics say themselves.
    _differences: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _tables_over_the_rest(cls, data: Any, handler: ModelWrapValidatorHandler[NetworkTable]) -> NetworkTable:
        """Complete the table of each fabric with what holds for all, so that it is checked as a whole."""
        if not isinstance(data, Mapping):
            return handler(data)
        # What an engine does after failures has a default of its own here, for the fabrics' tables too.
        own = {"fall_back": cls.model_fields["fall_back"].default}
        common = {**own, **{key: value for key, value in data.items() if key in Network.model_fields}}
        tables = {key: value for key, value in data.items() if key not in common and isinstance(value, Mapping)}
        try:
            Network.model_validate(common)
        except ValidationError:
            # Told once, and not of every fabric.
            common = own
        made = handler({**data, **{name: _over(common, table) for name, table in tables.items()}})
        made._differences = tables
        return made

    @model_serializer(mode="wrap")
    def _as_declared(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return what holds for all, and of each fabric only what differs, so that a later change of the former reaches it."""
        return {**{key: value for key, value in handler(self).items() if key in Network.model_fields}, **self._differences}

    @property
    def tables(self) -> dict[str, Network]:
        """The whole network of each fabric that has a table, by the table's name."""
        return dict(self.__pydantic_extra__ or {})

    def of(self, *names: str) -> Network:
        """Return the network of a fabric by its names, with what differs for it."""
        found = [self.tables[name] for name in names if name in self.tables]
        return found[0] if found else Network.model_validate({key: getattr(self, key) for key in Network.model_fields})


def _over(below: Any, above: Any) -> Any:
    """Return one value over another: tables are merged key by key, anything else takes the other's place."""
    below = below.model_dump(exclude_unset=True) if isinstance(below, Declared) else below
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


class Cost(CostTerms):
    """How the bill is priced, and how it becomes a price per token; docs/metrics.md has the formula."""

    price_book: str = Field(default="mixnet-2025", min_length=1, max_length=4096, description="USD by rate")
    optics: OpticsRule = Field(default="all-optical", description="rule by which links are copper or fibre")
    racks: str | None = Field(
        default=None, max_length=4096, description="TOML file of the machine room, for by-length; default: the default room"
    )


class Tiles(TileChoices):
    """Measured parts of tiles, which ``zcube calibrate fit`` makes of tile times; docs/tilert.md.

    They take the place of figures of TileRT's nodes, and of the starts of kernels and of the all-reduce in the batched engine's
    decode. Figures of ``decode.tilert.figures`` go before. An all-reduce among eight GPUs, of which two smaller numbers were
    measured, grows beyond its bytes with the number of peers, as the stores and polls of a one-shot all-reduce do, or with each
    doubling of the GPUs.
    """

    parts: str | None = Field(default=None, max_length=4096, description="measured parts of tiles; default: none")

    @model_validator(mode="after")
    def _of_parts(self) -> Tiles:
        if self.parts is None and self.model_fields_set - {"parts"} and self != Tiles():
            raise ValueError("parts, of which the other keys say how they are taken")
        return self


#: Parameters of ``[sensitivity]``, and settings of each.
MOST_PARAMETERS, MOST_SETTINGS = 100, 100
Alternatives = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=80)], dict[str, Any]], Field(max_length=MOST_SETTINGS)
]


class Scenario(ServingSettings):
    """A declared experiment. Its tables are those of a serving run plus what is compared and under which requests.

    ``[sensitivity.PARAMETER]`` names other settings of a parameter, each with what of the scenario it changes, which only
    ``--sensitivity`` looks at: ``bf16 = { kv.dtype = "bf16" }``.
    """

    description: str = Field(default="", max_length=1000, description="one line, shown with results")
    fabrics: tuple[str, ...] = Field(
        min_length=1,
        max_length=32,
        description="bundled topologies or files; with +tilert or +batched behind it, one whose decode nodes run that engine",
    )
    baseline: str | None = Field(default=None, description="what the others are compared with; default: the first")
    gpus: int | None = Field(default=None, ge=8, description="size every fabric must have")
    seed: int = Field(default=0, ge=0, lt=1 << 63, description="of all that is drawn; the first of `seeds`")
    seeds: int = Field(default=1, ge=1, le=1000, description="runs on each fabric, under seed, seed + 1 and so on")
    compute: Compute = Compute()
    requests: Requests
    network: NetworkTable = NetworkTable()
    tiles: Tiles = Tiles()
    cost: Cost = Cost()
    publication: Literal["zai-2026"] | None = Field(
        default=None, description="whose published figures stand beside the results while its model is served; docs/zai.md"
    )
    sensitivity: dict[Annotated[str, Field(min_length=1, max_length=80)], Alternatives] = Field(
        default={}, max_length=MOST_PARAMETERS, description="other settings by parameter, each a table of keys"
    )

    @field_validator("fabrics")
    @classmethod
    def _each_once(cls, fabrics: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [fabric for fabric in fabrics if parted(parted(fabric)[0])[1] is not None]:
            raise ValueError(f"one engine behind a fabric, not {', '.join(twice)}")
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

    @field_validator("network", mode="before")
    @classmethod
    def _tables_of_fabrics(cls, network: Any, info: ValidationInfo) -> Any:
        """Refuse tables of fabrics that are not compared, and a second one of a fabric."""
        labels = _labels(info.data.get("fabrics", ()))
        if not isinstance(network, Mapping) or not labels:
            return network
        wired = _labels([parted(fabric)[0] for fabric in labels])
        known = {*Network.model_fields, *labels, *labels.values(), *wired, *wired.values()}
        expected = "a key of the documented table, or a table named by one of fabrics: " + ", ".join(labels)
        wrong = {name: expected for name in network if name not in known}
        for fabric, label in labels.items():
            if fabric != label and fabric in network and label in network:
                wrong[fabric] = f"one table of this fabric, which is {label} too"
        refused = {name: PydanticCustomError("extra_forbidden", "refused", {"expected": text}) for name, text in wrong.items()}
        return {**network, **refused}

    @field_validator("sensitivity")
    @classmethod
    def _known_tables(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        known = cls.model_fields.keys() - {"sensitivity", "description"}
        wrong = [
            f"{parameter}.{setting}: {table}"
            for parameter, settings in parameters.items()
            for setting, changes in settings.items()
            for table in changes
            if table not in known
        ]
        if wrong:
            raise ValueError(f"keys of a scenario, not {', '.join(wrong)}")
        return parameters

    @property
    def labels(self) -> dict[str, str]:
        """How results name each fabric: by the stem of its file, or in full where stems repeat."""
        return _labels(self.fabrics)

    @model_validator(mode="after")
    def _engines_fit(self) -> Scenario:
        wrong = {fault: None for engine in self.engines.values() for fault in self.wrong_with(engine)}
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _draws_of_a_calibration(self) -> Scenario:
        networks = [self.network_of(fabric) for fabric in self.fabrics]
        drawn = any(network.calibration_draws is not None for network in networks)
        if drawn and self.tiles.parts is None and all(network.calibration is None for network in networks):
            raise ValueError(
                "tiles.parts or network.calibration with network.calibration_draws: without one there is nothing to draw"
            )
        return self

    @property
    def is_published(self) -> bool:
        """Whether it is the experiment of a publication, and serves the model that figures were published of."""
        return self.publication is not None and self.compute.model == PUBLISHED_MODEL

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs on the decode nodes of each fabric, by label."""
        return {label: parted(fabric)[1] or self.decode.engine for fabric, label in self.labels.items()}

    def on(self, label: str) -> Scenario:
        """Return the scenario of one fabric, with the engine that its decode nodes run."""
        decode = self.decode.model_copy(update={"engine": self.engines[label]})
        return self if decode == self.decode else self.model_copy(update={"decode": decode})

    def network_of(self, fabric: str) -> Network:
        """Return how bytes move on one of the fabrics."""
        wired = parted(fabric)[0]
        return self.network.of(fabric, self.labels[fabric], wired, *_labels([wired]).values())

    @property
    def baseline_label(self) -> str:
        """Label of the fabric the others are compared with."""
        return self.labels[self.baseline or self.fabrics[0]]


def parted(reference: str) -> tuple[str, Engine | None]:
    """Return a fabric as :func:`zcube.fabric.catalog.load_fabric` takes it, and the engine named behind it, if one is."""
    for engine in ENGINES:
        if reference.endswith(ENGINE_AFTER + engine) and not is_file(reference):
            return reference.removesuffix(ENGINE_AFTER + engine), engine
    return reference, None


@lru_cache(maxsize=4096)
def _stem(reference: str) -> str:
    return Path(reference).stem


def _labels(fabrics: Sequence[str]) -> dict[str, str]:
    stems = []
    for fabric in fabrics:
        wired, engine = parted(fabric)
        stem = wired if FAILURES_AFTER in wired else _stem(wired)
        stems.append(stem if engine is None else f"{stem}{ENGINE_AFTER}{engine}")
    return {fabric: stem if stems.count(stem) == 1 else fabric for fabric, stem in zip(fabrics, stems, strict=True)}


def load_scenario(reference: str, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> Scenario:
    """Read a scenario, with changes from the command line.

    A trace file named in the changes keeps its own times: the scenario's rate goes, unless the changes set one too. Files
    named in a scenario file lie relative to it, files named in changes to the caller. Where changes name other fabrics, tables
    of ``[network]`` for those of the file that are left out go with them.

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
        With every fault of the file and of the changes, those that nothing of the scenario looks at among them.
    """
    path = resolve_declared(reference, "scenarios")
    data = dict(read_run(path)["scenario"]) if path.suffix == ".json" else _beside(read_toml(path), path.parent)
    declared = data.get("fabrics")
    assign(data, assignments)
    for key, value in (changes or {}).items():
        set_key(data, key, value)
    _drop_tables(data, declared)
    given = {**assigned(assignments), **(changes or {})}
    if given.get("requests.source", GENERATOR) != GENERATOR and "load.rate_per_s" not in given:
        set_key(data, "load.rate_per_s", None)
    scenario = _validated(data, reference)
    _refuse_idle(scenario, given)
    return scenario


def changed(scenario: Scenario, changes: Mapping[str, Any], source: str = "scenario") -> Scenario:
    """Return a scenario with other values; parameters and faults as :func:`load_scenario`, named by the source."""
    data = scenario.model_dump()
    for key, value in changes.items():
        set_key(data, key, value)
    _drop_tables(data, list(scenario.fabrics))
    return _validated(data, source)


def with_tables(scenario: Scenario, tables: Mapping[str, Any], source: str, folder: Path | None = None) -> Scenario:
    """Return a scenario with tables laid over its own, key by key, and without ``[sensitivity]``.

    Parameters
    ----------
    scenario : Scenario
        What is changed.
    tables : mapping
        Nested as in a scenario file.
    source : str
        Names faults.
    folder : Path, optional
        Where files that the tables name lie; default: where the caller is.

    Raises
    ------
    InputError
        With every fault, named by the source.
    """
    above = tables if folder is None else _beside(dict(tables), folder)
    # What stays as it is has been checked; tables of [network] hang on the names of fabrics.
    touched = {*above, "network"} if "fabrics" in above else set(above)
    below = scenario.model_dump(include=touched & Scenario.model_fields.keys())
    data = {**{key: getattr(scenario, key) for key in Scenario.model_fields}, **_over(below, above), "sensitivity": {}}
    _drop_tables(data, list(scenario.fabrics))
    return _validated(data, source)


def _refuse_idle(scenario: Scenario, given: Mapping[str, Any]) -> None:
    """Refuse what a call names and nothing of the scenario looks at: the results would say that it moves nothing."""
    closed = scenario.load.mode == "closed"
    lossless = any(scenario.network_of(fabric).fidelity == "lossless" for fabric in scenario.fabrics)
    idle = {
        "load.rate_per_s": "no rate in a closed loop, which sends a request when another ends (load.mode = open takes one)"
        if closed
        else None,
        "load.concurrency": None if closed else "none in an open loop, which sends by the clock (load.mode = closed takes one)",
        "network.isolation": None if lossless else "network.fidelity = lossless with it",
        "router.max_local_prefill_tokens": "router.policy = conditional with it"
        if scenario.router.policy == "disaggregated"
        else None,
    }
    # Without a value a key goes, but for a rate, in whose place the trace's own times come.
    found = {key: str(given[key]) for key in idle if given.get(key) is not None}
    if "load.rate_per_s" in given:
        found.setdefault("load.rate_per_s", "the trace's own")
    faults = [Fault(key, value, expected) for key, value in found.items() if (expected := idle[key]) is not None]
    if faults:
        raise InputError(faults)


def _validated(data: dict[str, Any], source: str) -> Scenario:
    with told_with_routings(data.get("network"), f"{source}: network.{{}}".format):
        return validate(Scenario, data, source)


NO_FILES: Mapping[str, Path] = MappingProxyType({})


def copy_scenario(stem: str, folder: Path, others: Mapping[str, Path] = NO_FILES) -> None:
    """Write a bundled scenario and its topologies into a new folder as ``scenario.toml`` and ``*.toml``.

    Parameters
    ----------
    stem : str
        Of the scenario.
    folder : Path
        It must not exist.
    others : mapping
        Further files by the name they get.
    """
    scenario = (bundled_folder("scenarios") / f"{stem}.toml").read_text()

    def fill(temporary: Path) -> None:
        text = scenario
        for fabric in load_scenario(stem).fabrics:
            shutil.copy(bundled_folder("topologies") / f"{fabric}.toml", temporary)
            text = text.replace(f'"{fabric}"', f'"{fabric}.toml"')
        (temporary / "scenario.toml").write_text(text)
        for name, path in others.items():
            shutil.copy(path, temporary / name)

    new_folder(folder, fill)


def _tables(table: Any) -> list[dict[str, Any]]:
    """Return the tables that stand in a table; none where it is no table."""
    return [inner for inner in table.values() if isinstance(inner, dict)] if isinstance(table, dict) else []


def _are_names(names: Any) -> TypeGuard[Sequence[str]]:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _drop_tables(data: dict[str, Any], declared: Any) -> None:
    """Take the network tables of declared fabrics out that are not compared any more; in place."""
    fabrics, network = data.get("fabrics"), data.get("network")
    if not (isinstance(network, dict) and _are_names(declared) and _are_names(fabrics)):
        return
    if list(declared) != list(fabrics):
        before, after = ({*_labels(names), *_labels(names).values()} for names in (declared, fabrics))
        data["network"] = {key: value for key, value in network.items() if key not in before - after}


def read_run(path: Path) -> dict[str, Any]:
    """Return a ``run.json`` that holds a scenario.

    Raises
    ------
    InputError
        If it cannot be read, or holds none.
    """
    record = json_document(path, read_bounded(path, MAX_DECLARED_BYTES))
    if not isinstance(record, dict) or not isinstance(record.get("scenario"), dict):
        raise InputError(Fault(f"{path}: scenario", "nothing", "the scenario of a recorded run"))
    return dict(record)


def _beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return scenario data in which names of files that lie beside the scenario file are paths to them."""

    def path_to(name: Any) -> Any:
        beside = isinstance(name, str) and parted(name)[0].endswith(".toml") and is_file(str(folder / parted(name)[0]))
        return str(folder / name) if beside else name

    if isinstance(data.get("fabrics"), list):
        data["fabrics"] = [path_to(name) for name in data["fabrics"]]
        data["baseline"] = path_to(data.get("baseline"))
    for table, key in (("cost", "price_book"), ("cost", "power_book"), ("compute", "model"), ("compute", "device")):
        if isinstance(data.get(table), dict) and key in data[table]:
            data[table][key] = path_to(data[table][key])
    nodes = data["decode"].get("tilert") if isinstance(data.get("decode"), dict) else None
    if isinstance(nodes, dict) and "node" in nodes:
        nodes["node"] = path_to(nodes["node"])
    requests = data.get("requests")
    if isinstance(requests, dict) and isinstance(requests.get("source"), str) and requests["source"] != GENERATOR:
        requests["source"] = str(folder / requests["source"])
    if isinstance(data.get("network"), dict):
        data["network"] = {path_to(name): value for name, value in data["network"].items()}
    for settings in _tables(data.get("sensitivity")):
        for changes in _tables(settings):
            _beside(changes, folder)
    network = data.get("network")
    networks = [network, *network.values()] if isinstance(network, dict) else []
    for table, key in (
        (data.get("compute"), "tables"),
        (data.get("cost"), "racks"),
        (data.get("tiles"), "parts"),
        *((table, "calibration") for table in networks),
    ):
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(folder / table[key])
    return data
