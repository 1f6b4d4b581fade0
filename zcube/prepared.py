"""What a comparison needs: read, built, priced and checked, every fault told at once, before anything is simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from zcube.calibrate.links import carrier_on, load_calibration
from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.fabric.optics import optics_of
from zcube.llm.cards import ModelCard, load_card
from zcube.llm.compute import ComputeModel, RooflineModel
from zcube.llm.compute_choice import compute_model
from zcube.llm.devices import Device, load_device
from zcube.llm.expert_traffic import hit_probability
from zcube.memory import give_back_memory
from zcube.network.carrier import Carrier
from zcube.node_fit import memory_faults, server_faults, stage_faults
from zcube.pricing.amortised import HourlyCost, hourly_cost
from zcube.pricing.bill import BillOfMaterials, bill_of_materials
from zcube.pricing.pieces import piece_prices
from zcube.pricing.price_book import PowerBook, PriceBook, load_power_book, load_price_book
from zcube.progress import Progress
from zcube.scenario import Cost, Scenario, parted
from zcube.serving.footprint import expected_transfers
from zcube.serving.placement import place
from zcube.serving.reach import Reach, reach_of
from zcube.serving.settings import Load
from zcube.serving.tilert_decode import request_times
from zcube.workload.offered import OfferedRequests, offered_requests
from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    # Of no use where nothing was measured and no room is described.
    from zcube.calibrate.apply import AppliedCalibration
    from zcube.calibrate.tile_run import AppliedTiles
    from zcube.fabric.wiring.rack_layout import RackLayout

#: The price book, the power book, and the machine room if one is described.
Prices: TypeAlias = "tuple[PriceBook, PowerBook, RackLayout | None]"
Read = TypeVar("Read", ModelCard, Device)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scenario's parts; those of fabrics by label, in the scenario's order.

    Attributes
    ----------
    card : ModelCard
        The model that is served.
    compute : ComputeModel
        Its compute times.
    offered : OfferedRequests
        The requests under the first seed.
    carriers : dict of Carrier
        Fabrics ready to carry transfers.
    reaches : dict of Reach
        Which pairs failures leave without a path.
    bills : dict of BillOfMaterials
        What fabrics cost.
    costs : dict of HourlyCost
        The same by the hour, power included.
    needed_bytes : dict of float
        Memory of each one's run, an estimate.
    tiles : AppliedTiles or None
        Measured parts of tiles.
    """

    card: ModelCard
    compute: ComputeModel
    offered: OfferedRequests
    carriers: dict[str, Carrier]
    reaches: dict[str, Reach]
    bills: dict[str, BillOfMaterials]
    costs: dict[str, HourlyCost]
    needed_bytes: dict[str, float]
    tiles: AppliedTiles | None = None


def timed_by_tiles(tiles: AppliedTiles | None, scenario: Scenario, compute: ComputeModel) -> tuple[Scenario, ComputeModel]:
    """Return a scenario and compute times with measured parts of tiles, or a draw of them; the same without."""
    if tiles is None:
        return scenario, compute
    nodes = scenario.decode.tilert.model_copy(update={"figures": tiles.node_figures()})
    decode = scenario.decode.model_copy(update={"tilert": nodes})
    return scenario.model_copy(update={"decode": decode}), tiles.with_starts(compute)


def prepare(scenario: Scenario, progress: Progress, searched: bool) -> Prepared:
    """Read and build what a scenario names.

    Parameters
    ----------
    scenario : Scenario
        The experiment.
    progress : Progress
        Told what is under way.
    searched : bool
        Whether other loads are to be searched, for which requests must have a rate.

    Raises
    ------
    InputError
        With every file that cannot be read and every fabric that does not fit.
    """
    progress("building", 0, 0, "")
    asked, load = scenario.requests, scenario.load
    faults = FaultList()
    with faults:
        card, compute, prices, carriers = named_by(scenario)
        tiles = _tiles(scenario, compute)
    progress("reading requests", 0, 0, "")
    with faults:
        offered = offered_requests(asked, load.rate_per_s, load.mode == "closed", scenario.seed)
        if searched:
            load_of(load, offered)
    faults.check()
    bills = _bills(scenario, {name: carrier.declared for name, carrier in carriers.items()}, prices)
    costs = {name: hourly_cost(bills[name], scenario.cost, carrier.declared.gpus) for name, carrier in carriers.items()}
    needed_bytes = check_room(carriers, offered.trace, scenario)
    reaches = {name: reach_of(carrier.fabric, carrier.routing, scenario, card) for name, carrier in carriers.items()}
    # Making requests takes several times the memory that they do.
    give_back_memory()
    return Prepared(card, compute, offered, carriers, reaches, bills, costs, needed_bytes, tiles)


def named_by(scenario: Scenario) -> tuple[ModelCard, ComputeModel, Prices, dict[str, Carrier]]:
    """Read and build what a scenario names, but for its requests.

    Raises
    ------
    InputError
        With every file that cannot be read and every fabric that does not fit.
    """
    faults, device, card, compute = FaultList(), None, None, None
    with faults:
        device = _read("compute.device", load_device, scenario.compute.device)
        faults.faults.extend(stage_faults(scenario, device))
    with faults:
        card = _read("compute.model", load_card, scenario.compute.model)
        card.check_served()
        _check_expert_span(scenario, card)
        if device is not None:
            compute = _compute_model(scenario, card, device)
            faults.faults.extend(memory_faults(scenario, card, device))
    with faults:
        if card is not None and "tilert" in scenario.engines.values():
            card.check_indexed("decode.engine = tilert")
            request_times(scenario, card)
    with faults:
        if scenario.tiles.parts is not None:
            from zcube.calibrate.tile_parts import read_tile_parts

            read_tile_parts(Path(scenario.tiles.parts))
    with faults:
        prices = _prices(scenario.cost)
    with faults:
        carriers = carriers_of(scenario)
        if device is not None:
            faults.faults.extend(
                one for name, carrier in carriers.items() for one in server_faults(carrier.declared, name, device)
            )
    faults.check()
    # Without one of them there was a fault.
    assert card is not None and compute is not None
    return card, compute, prices, carriers


def load_of(load: Load, offered: OfferedRequests) -> float:
    """Return the load that can be varied: requests per second, or requests under way of a closed loop.

    Raises
    ------
    InputError
        If the requests come all at once, so that they have no rate.
    """
    rate = load.concurrency if load.mode == "closed" else load.rate_per_s or offered.document()["clock"]["rate_per_s"]
    if rate is None:
        raise InputError(Fault("load.rate_per_s", "requests that come all at once", "a rate that can be varied"))
    return float(rate)


def check_room(carriers: dict[str, Carrier], trace: RequestTrace, scenario: Scenario) -> dict[str, float]:
    """Return how much memory every fabric's run takes, an estimate; refuse what would not fit by itself.

    Raises
    ------
    InputError
        With every fabric whose run would not.
    """
    faults = FaultList()
    expected, needed_bytes = expected_transfers(trace, scenario), {}
    for name, carrier in carriers.items():
        with faults:
            needed_bytes[name] = carrier.check_room(expected, f"{len(trace)} requests with {expected} transfers on {name}")
    faults.check()
    return needed_bytes


def carriers_of(scenario: Scenario, built: Mapping[str, Fabric] = MappingProxyType({})) -> dict[str, Carrier]:
    """Make every fabric ready, by its label, and collect what does not fit; those built already are not built again.

    Raises
    ------
    InputError
        With every fault of every fabric.
    """
    faults = FaultList()
    carriers: dict[str, Carrier] = {}
    for name in scenario.fabrics:
        with faults:
            label = scenario.labels[name]
            fabric = built[label] if label in built else load_fabric(parted(name)[0])
            place(fabric, scenario.on(label))
            carriers[label] = carrier = carrier_on(fabric, scenario.network_of(name), scenario.seed)
            if carrier.network.bin_s:
                expected = "0: a comparison keeps totals; zcube replay keeps bins"
                faults.faults.append(Fault(f"fabric {name}: network.bin_s", f"{carrier.network.bin_s:g}", expected))
            check_gpus(fabric, scenario.gpus, name)
    faults.check()
    return carriers


def check_gpus(fabric: Fabric, gpus: int | None, name: str) -> None:
    """Raise an :class:`~zcube.errors.InputError` where a fabric, named in a scenario, has not the GPUs that this declares."""
    if gpus is not None and fabric.gpus != gpus:
        raise InputError(Fault(f"fabric {name}: gpus", str(fabric.gpus), f"{gpus}, as the scenario's gpus"))


def _check_expert_span(scenario: Scenario, card: ModelCard) -> None:
    """Refuse prefill instances over whose nodes the model's expert groups cannot be spread.

    Decode's messages go to the owners of experts, which redundant copies level over any number of GPUs.
    """
    span = scenario.prefill.nodes_per_instance
    try:
        hit_probability(card, span)
    except InputError as error:
        raise InputError([Fault("prefill.nodes_per_instance", str(span), fault.expected) for fault in error.faults]) from error


def _read(key: str, read: Callable[[str], Read], reference: str) -> Read:
    """Return what a key names, its faults told by the key."""
    try:
        return read(reference)
    except InputError as error:
        raise InputError([replace(fault, where=f"{key}: {fault.where}") for fault in error.faults]) from error


def _compute_model(scenario: Scenario, card: ModelCard, device: Device) -> ComputeModel:
    asked = scenario.compute
    tables, engine = None if asked.tables is None else Path(asked.tables), scenario.engine(asked.moe_balance, asked.exchanges)
    model = compute_model(asked.times, card, device, engine, tables)
    if scenario.network.calibration is None:
        return model
    return compute_calibrated(model, load_calibration(Path(scenario.network.calibration)), scenario, card)


def _tiles(scenario: Scenario, compute: ComputeModel) -> AppliedTiles | None:
    """Return the measured parts that a scenario names, for the engines that its fabrics run."""
    asked, engines, nodes = scenario.tiles, set(scenario.engines.values()), scenario.decode.tilert
    if asked.parts is None:
        return None
    from zcube.calibrate.tile_parts import read_tile_parts
    from zcube.calibrate.tile_run import AppliedTiles
    from zcube.llm.decode_node.figures import load_node

    node = load_node(nodes.node) if "tilert" in engines else None
    tiles = AppliedTiles(
        read_tile_parts(Path(asked.parts)), asked, node, compute if "batched" in engines else None, nodes.figures
    )
    tiles.check()
    return tiles


def compute_calibrated(model: ComputeModel, measured: AppliedCalibration, scenario: Scenario, card: ModelCard) -> ComputeModel:
    """Return a scenario's compute model with those of prefill's collectives that a calibration has."""
    if not isinstance(model, RooflineModel):
        return model
    from zcube.calibrate.node_links import calibrated_compute

    engine = scenario.engine(scenario.compute.moe_balance, scenario.compute.exchanges)
    return calibrated_compute(model, measured, card, engine, scenario.prefill.chunk_tokens)


def _prices(cost: Cost) -> Prices:
    """Read the price book, the power book and the description of the machine room, if there is one."""
    faults = FaultList()
    with faults:
        book = load_price_book(cost.price_book)
    with faults:
        power = load_power_book(cost.power_book)
    with faults:
        room = None if cost.racks is None else _room(Path(cost.racks))
    faults.check()
    return book, power, room


def _room(path: Path) -> RackLayout:
    from zcube.fabric.wiring.rack_layout import load_layout

    return load_layout(path)


def _bills(scenario: Scenario, fabrics: Mapping[str, Fabric], prices: Prices) -> dict[str, BillOfMaterials]:
    """Price every fabric and collect what cannot be wired under the scenario's optics rule."""
    (book, power, room), faults = prices, FaultList()
    bills: dict[str, BillOfMaterials] = {}
    for name, fabric in fabrics.items():
        with faults:
            optics = optics_of(fabric, scenario.cost.optics, room)
            pieces = piece_prices(fabric, book, optics)
            bills[name] = replace(bill_of_materials(fabric, book, optics, power), pieces=pieces)
    faults.check()
    return bills
