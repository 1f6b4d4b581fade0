"""What a matrix's fabrics carry: made or listed transfers, a trace, or the requests of a scenario, ready cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

from zcube.calibrate.links import carrier_on
from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.catalog import FAILURES_AFTER, load_fabric
from zcube.fabric.model import Fabric
from zcube.fabric.optics import optics_of
from zcube.fabric_run import FabricTask
from zcube.input_files import is_file
from zcube.inputs import validate
from zcube.matrix.cells import CarriedTask, ServedTask, Task
from zcube.matrix.conditions import Conditions
from zcube.matrix.settings import MatrixSettings
from zcube.network.settings import Network
from zcube.network.transports import Transport, checked_network
from zcube.outputs import flat
from zcube.prepared import Prepared, carriers_of, check_room, prepare
from zcube.pricing.bill import BillOfMaterials, bill_of_materials
from zcube.pricing.price_book import load_price_book
from zcube.progress import Progress
from zcube.replays.gpus import gpu_numbers, known_gpus
from zcube.run_inputs import Inputs, carried_digest, fabric_digest, network_inputs, served_inputs
from zcube.scenario import Scenario, changed
from zcube.trace.comm_trace import CommTrace
from zcube.trace.files import is_trace, read_trace
from zcube.verdict.headline import unmeasured, unmeasured_sentence
from zcube.workload.flow_lists import FlowList, numbered, read_flows
from zcube.workload.generated_flows import PATTERNS, Cluster, Pattern
from zcube.workload.offered import OfferedRequests, offered_requests

#: Transport of the cells that say what NICs alone give.
IDEAL = "ideal core"
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class CarriedLoad:
    """Transfers or a trace.

    Attributes
    ----------
    asked : MatrixSettings
        Rows, columns and what holds for all.
    fabrics : mapping of Fabric
        As declared, by label.
    bills : mapping of BillOfMaterials
        What they cost.
    transports : mapping of Transport
        By name.
    networks : dict of Network
        By label and transport.
    made : Pattern or None
        What makes the transfers of a seed.
    read : FlowList, CommTrace or None
        What was read, the same under every seed.
    name : str
        For readers: the pattern or the file.
    """

    asked: MatrixSettings
    fabrics: Mapping[str, Fabric]
    bills: Mapping[str, BillOfMaterials]
    transports: Mapping[str, Transport]
    networks: Mapping[tuple[str, str], Network]
    made: Pattern | None
    read: FlowList | CommTrace | None
    name: str
    #: Whether cells of the transport :data:`IDEAL` can be run too.
    with_ideal: ClassVar[bool] = True
    #: What a reader must know of every cell.
    cautions: ClassVar[tuple[str, ...]] = ()
    _known: dict[int, tuple[FlowList | CommTrace, str]] = field(default_factory=dict, init=False, repr=False)

    def carried(self, seed: int) -> FlowList | CommTrace:
        """Return what a seed carries."""
        return self._of(seed)[0]

    def _of(self, seed: int) -> tuple[FlowList | CommTrace, str]:
        """Return what a seed carries, and its hash."""
        place = 0 if self.made is None else seed
        if place not in self._known:
            made = self.read if self.made is None else self.made.flows(_cluster(next(iter(self.fabrics.values()))), seed)
            assert made is not None
            self._known[place] = made, carried_digest(made)
        return self._known[place]

    def inputs(self, fabric: str, transport: str, seed: int) -> Inputs:
        """Return what a cell comes from."""
        ideal = transport == IDEAL
        digest = fabric_digest(self.fabrics[fabric], ideal)
        return Inputs(
            {
                "kind": "carried",
                "carried": self._of(seed)[1],
                "network": network_inputs(self.network(fabric, transport)),
                "fabric": digest,
                "conditions": asdict(self._conditions(ideal)),
                "seed": seed,
            }
        )

    def task(self, fabric: str, transport: str, seed: int) -> Task:
        """Return a cell ready to be run."""
        name = f"{fabric} with {transport}, seed {seed}"
        network, conditions = self.network(fabric, transport), self._conditions(transport == IDEAL)
        return CarriedTask(name, self.fabrics[fabric], network, conditions, seed, self.carried(seed))

    def network(self, fabric: str, transport: str) -> Network:
        """Return how bytes move in a cell."""
        if transport == IDEAL:
            other = next(iter(self.networks.values()))
            return Network(fidelity="ideal", nic_gbps=other.nic_gbps, calibration=other.calibration, memory_gb=other.memory_gb)
        return self.networks[fabric, transport]

    def _conditions(self, ideal: bool) -> Conditions:
        # An ideal core has no links between switches, but the same NICs.
        return replace(self.asked.conditions, failed_links=0) if ideal else self.asked.conditions

    def document(self) -> dict[str, Any]:
        """Return what is carried, JSON-ready."""
        first = self.carried(self.asked.seed)
        listed = isinstance(first, FlowList)
        return {
            "kind": "pattern" if self.made is not None else "transfers" if listed else "trace",
            "name": self.name,
            "settings": None if self.made is None else self.made.model_dump(mode="json"),
            "transfers" if listed else "operations": len(first),
            "bytes": float(first.size_bytes.sum()),
            "same_under_every_seed": self.made is None,
        }


@dataclass(frozen=True, eq=False)
class ServedLoad:
    """A scenario's requests.

    Attributes
    ----------
    asked : MatrixSettings
        Rows, columns and what holds for all.
    transports : mapping of Transport
        By name.
    scenarios : dict of Scenario
        By transport, each with how bytes move under it.
    prepared : Prepared
        Requests, prices and compute times, which no transport changes.
    """

    asked: MatrixSettings
    transports: Mapping[str, Transport]
    scenarios: Mapping[str, Scenario]
    prepared: Prepared
    #: Its verdict on NICs alone is in the metrics of a run.
    with_ideal: ClassVar[bool] = False
    _offered: dict[int, OfferedRequests] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def fabrics(self) -> Mapping[str, Fabric]:
        """As declared, by label."""
        return {label: carrier.declared for label, carrier in self.prepared.carriers.items()}

    @property
    def bills(self) -> Mapping[str, BillOfMaterials]:
        """What fabrics cost."""
        return self.prepared.bills

    @property
    def cautions(self) -> list[str]:
        """What a reader must know of every cell."""
        errors = {name: asdict(error) for name, error in self.prepared.compute.stated_error.items()}
        return [] if (what := unmeasured(errors)) is None else [unmeasured_sentence(what)]

    def inputs(self, fabric: str, transport: str, seed: int) -> Inputs:
        """Return what a cell comes from."""
        served = served_inputs(self.scenarios[transport], fabric, fabric_digest(self.fabrics[fabric]), seed)
        return Inputs({**served.parts, "conditions": asdict(self.asked.conditions)})

    def task(self, fabric: str, transport: str, seed: int) -> Task:
        """Return a cell ready to be run."""
        scenario = self.scenarios[transport].model_copy(update={"seed": seed, "seeds": 1})
        (reference,) = [one for one, label in scenario.labels.items() if label == fabric]
        alone = changed(scenario, {"fabrics": [reference], "baseline": None})
        offered, declared = self._offer(seed), self.fabrics[fabric]
        suffers = self.asked.conditions.of(declared, seed)
        ((label, carrier),) = carriers_of(alone, {alone.labels[reference]: suffers}).items()
        needed = check_room({label: carrier}, offered.trace, alone)[label]
        name = f"{fabric} with {transport}, seed {seed}"
        prepared, cost = self.prepared, self.prepared.costs[fabric]
        of_run = alone.on(label)
        task = FabricTask(name, of_run, carrier, offered.trace, prepared.card, prepared.compute, cost, None, needed)
        return ServedTask(name, task, needed)

    def network(self, fabric: str, transport: str) -> Network:
        """Return how bytes move in a cell."""
        scenario = self.scenarios[transport]
        (reference,) = [one for one, label in scenario.labels.items() if label == fabric]
        return scenario.network_of(reference)

    def document(self) -> dict[str, Any]:
        """Return what is carried, JSON-ready."""
        return {"kind": "scenario", "name": self.prepared.compute.name, "requests": self.prepared.offered.document()}

    def _offer(self, seed: int) -> OfferedRequests:
        if seed not in self._offered:
            scenario = next(iter(self.scenarios.values()))
            in_loop = scenario.load.mode == "closed"
            # One at a time: cells come seed by seed.
            self._offered.clear()
            self._offered[seed] = offered_requests(scenario.requests, scenario.load.rate_per_s, in_loop, seed)
        return self._offered[seed]


#: What a matrix's fabrics carry.
Load: TypeAlias = CarriedLoad | ServedLoad


def carried_load(
    source: str,
    asked: MatrixSettings,
    transports: Mapping[str, Transport],
    common: Mapping[str, Any] = NOTHING,
    pattern: Mapping[str, Any] = NOTHING,
) -> CarriedLoad:
    """Read or make what is carried, build the fabrics, and check every cell's network.

    Parameters
    ----------
    source : str
        Name of a pattern, or a file of transfers or of a trace.
    asked : MatrixSettings
        Rows and columns.
    transports : mapping of Transport
        The columns.
    common : mapping
        Keys of ``[network]`` that hold for every column.
    pattern : mapping
        Keys of the pattern.

    Raises
    ------
    InputError
        With every fault of all of them.
    """
    faults, made, read = FaultList(), None, None
    fabrics: dict[str, Fabric] = {}
    for reference in asked.fabrics:
        with faults:
            fabrics[_label(reference, asked.fabrics)] = load_fabric(reference)
    if source in PATTERNS:
        with faults:
            made = validate(PATTERNS[source], pattern, lambda key: f"--pattern-set {key}")
    elif pattern:
        faults.faults.append(Fault("--pattern-set", f"with {source}", "one of the patterns " + ", ".join(PATTERNS)))
    faults.faults.extend(_sizes(fabrics, made is not None))
    faults.faults.extend(asked.conditions.faults(fabrics))
    faults.faults.extend(_set_by_parts(common, transports))
    faults.check()
    bills = _bills(fabrics, asked)
    if made is None:
        read = _read(source, fabrics)
    else:
        made.flows(_cluster(next(iter(fabrics.values()))), asked.seed)
    networks = _networks(fabrics, asked, transports, _common(asked, common, None if made is None else made.cell_bytes))
    for (label, transport), network in networks.items():
        with faults:
            # Only to see that the fabric has such paths.
            try:
                carrier_on(fabrics[label], network, asked.seed)
            except InputError as error:
                places = (Fault(f"{label} with {transport}: {one.where}", one.found, one.expected) for one in error.faults)
                raise InputError(places) from error
    faults.check()
    return CarriedLoad(asked, fabrics, bills, transports, networks, made, read, source)


def served_load(
    scenario: Scenario, asked: MatrixSettings, transports: Mapping[str, Transport], progress: Progress
) -> ServedLoad:
    """Make a scenario ready under every transport.

    Parameters
    ----------
    scenario : Scenario
        With the matrix's fabrics.
    asked : MatrixSettings
        Rows and columns.
    transports : mapping of Transport
        The columns.
    progress : Progress
        Told what is under way.

    Raises
    ------
    InputError
        With every fault of the scenario, and of its network under each transport.
    """
    prepared = prepare(scenario, progress, False)
    built, faults = {label: carrier.declared for label, carrier in prepared.carriers.items()}, FaultList()
    faults.faults.extend(asked.conditions.faults(built))
    faults.check()
    scenarios: dict[str, Scenario] = {}
    for name, transport in transports.items():
        tables: dict[str, Any] = {}
        for reference in scenario.fabrics:
            label = scenario.labels[reference]
            with faults:
                own = scenario.network_of(reference).model_dump(exclude_unset=True)
                network = checked_network(own, transport, built[label].family, asked.fidelity, built[label].nic_ports)
                tables[f'network."{reference}"'] = network.model_dump(exclude_unset=True)
        faults.check()
        without = {f'network."{table}"': None for table in scenario.network.tables}
        scenarios[name] = changed(scenario, {**without, **tables}, f"transport {name}")
        with faults:
            carriers_of(scenarios[name], built)
    faults.check()
    return ServedLoad(asked, transports, scenarios, prepared)


def _cluster(fabric: Fabric) -> Cluster:
    return Cluster(fabric.gpus, fabric.gpus_per_server, fabric.nic_gbps)


def _set_by_parts(common: Mapping[str, Any], transports: Mapping[str, Transport]) -> Iterator[Fault]:
    """Return a fault for every key that is to hold for all columns and that one of them sets otherwise."""
    for key, value in flat(common).items():
        others = [name for name, transport in transports.items() if transport.changes("").get(key, value) != value]
        if others:
            expected = "a key that no column sets otherwise; copy a part to change it: zcube transport copy"
            yield Fault(f"--set {key}", f"also set by {', '.join(others)}", expected)


def _sizes(fabrics: Mapping[str, Fabric], made: bool) -> Iterator[Fault]:
    """Return a fault for every fabric of another size than the first, where transfers are made for all of them."""
    for label, fabric in fabrics.items() if made else ():
        first = next(iter(fabrics.values()))
        if (fabric.gpus, fabric.gpus_per_server) != (first.gpus, first.gpus_per_server):
            found = f"{fabric.gpus} GPUs, {fabric.gpus_per_server} a server"
            yield Fault(f"fabric {label}", found, f"{first.gpus}, {first.gpus_per_server} a server, as the first one has")


def _common(asked: MatrixSettings, common: Mapping[str, Any], cell_bytes: int | None) -> dict[str, Any]:
    """Return keys of ``[network]`` that hold for every column."""
    packet = dict(common.get("packet", {}))
    if asked.fidelity == "packet" and "cell_bytes" not in packet:
        cell_bytes = asked.cell_bytes or cell_bytes
        packet |= {} if cell_bytes is None else {"cell_bytes": cell_bytes}
    own = {"queue_pairs": asked.queue_pairs, "fall_back": "nvlink-relay", "memory_gb": asked.memory_gb}
    return {**own, **common, "packet": packet}


def _networks(
    fabrics: Mapping[str, Fabric], asked: MatrixSettings, transports: Mapping[str, Transport], common: Mapping[str, Any]
) -> dict[tuple[str, str], Network]:
    faults, networks = FaultList(), {}
    for label, fabric in fabrics.items():
        for name, transport in transports.items():
            with faults:
                networks[label, name] = checked_network(
                    common, transport, fabric.family, asked.fidelity, fabric.nic_ports, "--set"
                )
    faults.check()
    return networks


def _bills(fabrics: Mapping[str, Fabric], asked: MatrixSettings) -> dict[str, BillOfMaterials]:
    faults, bills = FaultList(), {}
    book = load_price_book(asked.price_book)
    for label, fabric in fabrics.items():
        with faults:
            bills[label] = bill_of_materials(fabric, book, optics_of(fabric, asked.optics, None))
    faults.check()
    return bills


def _read(source: str, fabrics: Mapping[str, Fabric]) -> FlowList | CommTrace:
    path = Path(source)
    if not is_file(source):
        expected = f"a file of transfers or a trace; one of the patterns {', '.join(PATTERNS)}; or a scenario"
        raise InputError(Fault(source, "neither a file nor a name that is known", expected))
    if is_trace(path):
        return read_trace(path)
    smallest = min(fabrics.values(), key=lambda fabric: fabric.gpus)
    flows = read_flows(path, lambda names: gpu_numbers(smallest, names), known_gpus=known_gpus(smallest))
    # The file's rows need not go to every process.
    return replace(flows, where=numbered)


def _label(reference: str, references: Sequence[str]) -> str:
    """Return how results name a fabric: by the stem of its file, or in full where stems repeat or something has failed."""
    stems = [one if FAILURES_AFTER in one else Path(one).stem for one in references]
    stem = stems[references.index(reference)]
    return stem if stems.count(stem) == 1 else reference
