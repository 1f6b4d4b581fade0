"""What is asked of a fabric, as a file or options declare it; every fault of it is told at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.optics import OpticsRule
from zcube.fabric.spec import MAX_GPUS, SwitchSpec
from zcube.fabric.wiring.rack_layout import RackLayout, load_layout
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate
from zcube.node import GPUS_PER_NODE
from zcube.plan.catalogue import MAX_FAILURES_A_YEAR, Catalogue, SwitchEntry, load_catalogue
from zcube.plan.failure_rates import HOURS_A_YEAR, PARTS, FailureRate, Part, failure_rates
from zcube.plan.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from zcube.pricing.bill import NO_POWER
from zcube.pricing.price_book import MAX_FIGURE, Covers, PowerBook, PriceBook, box_key, load_power_book, load_price_book
from zcube.scenario import Scenario, load_scenario

#: A demand to start from.
TEMPLATE = Path(__file__).resolve().parent / "demand.toml"

MAX_STAGES = 32
MAX_SWITCHES = 8


class Demand(Declared):
    """How many GPUs are joined, from which switches, within which bounds, and what decides.

    Attributes
    ----------
    gpus, gpus_per_server : int
        The cluster.
    nic : float or str
        Line rate of a GPU, Gb/s, or the name of a NIC of the catalogue.
    switch : tuple of str
        Switches that may be bought, by their names in the catalogue.
    mixed_switches : bool
        Whether leaves and spines of a two-tier spine-leaf may be of different models.
    max_oversubscription : float
        Most capacity down per capacity up that the switches with GPUs may have.
    hosts_forward : bool
        Whether servers may pass on what is meant for others, as BCube needs.
    budget_usd, max_power_w : float, optional
        Most that the network may cost and draw.
    growth : tuple of int
        GPUs of later stages, rising.
    rooms : str, optional
        Description of the machine room.
    scenario : str, optional
        What the fabrics on the front are simulated on.
    catalogue : str, optional
        File with switches, NICs and modules beside the bundled ones.
    price_book : str
        Price book by name or file.
    power_book : str, optional
        Power by rate of what the catalogue gives none of. Default: the scenario's, else none.
    covers : str, optional
        Which sum of the bill is the capital cost; default: the price book's.
    optics : str
        Rule that says which links are copper.
    families : tuple of str
        Families that are tried; empty: all.
    objectives : tuple of str
        What decides which fabrics are on the front.
    usd_per_kwh : float, optional
        Price of energy.
    switch_down : float
        Probability that a switch is down. Default: the ATOP/ZCube paper's, at which it compares availability.
    repair_hours : float, optional
        Mean time of repair. With it rates of failures say how much is down, those of switches in place of ``switch_down``.
    switch_failures_per_year, nic_link_failures_per_year, switch_link_failures_per_year, nic_failures_per_year : float, optional
        Of one part; default: the catalogue's. Links are those between a NIC port and a switch, and between switches. What has
        no rate is left out of availability.
    failure_partners : int
        Servers that each server sends to, where the loss after a failure is measured. Default: 2, or 1 where there are but two.
    seed : int
        Of random permutations, hashes and failures.
    """

    gpus: int = Field(ge=2, le=MAX_GPUS)
    gpus_per_server: int = Field(default=GPUS_PER_NODE, ge=1, le=1024)
    nic: float | str = 400.0
    switch: tuple[str, ...] = Field(default=("25.6T", "51.2T"), min_length=1, max_length=MAX_SWITCHES)
    mixed_switches: bool = True
    max_oversubscription: float = Field(default=1.0, ge=1.0, le=64.0)
    hosts_forward: bool = False
    budget_usd: float | None = Field(default=None, gt=0)
    max_power_w: float | None = Field(default=None, gt=0)
    growth: tuple[int, ...] = Field(default=(), max_length=MAX_STAGES)
    rooms: str | None = None
    scenario: str | None = None
    catalogue: str | None = None
    price_book: str = "mixnet-2025"
    power_book: str | None = None
    covers: Covers | None = None
    optics: OpticsRule = "all-optical"
    families: tuple[str, ...] = ()
    objectives: tuple[str, ...] = Field(default=DEFAULT_OBJECTIVES, min_length=1)
    usd_per_kwh: float | None = Field(default=None, ge=0, le=MAX_FIGURE)
    switch_down: float = Field(default=0.0003, ge=0, lt=1)
    repair_hours: float | None = Field(default=None, ge=0, le=HOURS_A_YEAR)
    switch_failures_per_year: float | None = Field(default=None, ge=0, le=MAX_FAILURES_A_YEAR)
    nic_link_failures_per_year: float | None = Field(default=None, ge=0, le=MAX_FAILURES_A_YEAR)
    switch_link_failures_per_year: float | None = Field(default=None, ge=0, le=MAX_FAILURES_A_YEAR)
    nic_failures_per_year: float | None = Field(default=None, ge=0, le=MAX_FAILURES_A_YEAR)
    failure_partners: int = Field(default=2, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=1 << 63)


@dataclass(frozen=True)
class Site:
    """A demand with the files it names read.

    Attributes
    ----------
    demand : Demand
        As declared.
    nic_gbps : float
        Line rate of a GPU, Gb/s.
    switches : mapping of SwitchSpec
        Switches that may be bought, by name.
    catalogue : Catalogue
        Bundled and own entries.
    book : PriceBook
        Prices, those of the catalogue among them.
    power : PowerBook
        Power by rate of what the catalogue gives none of.
    covers : Covers
        Which sum of the bill is the capital cost.
    failure_rates : mapping of FailureRate
        How often parts fail, by kind.
    layout : RackLayout
        The machine room.
    scenario : Scenario or None
        What the front is simulated on.
    """

    demand: Demand
    nic_gbps: float
    switches: Mapping[str, SwitchSpec]
    catalogue: Catalogue
    book: PriceBook
    power: PowerBook
    covers: Covers
    failure_rates: Mapping[Part, FailureRate]
    layout: RackLayout
    scenario: Scenario | None


#: Keys whose options hold several values, parted by commas.
_LISTS = ("switch", "growth", "families", "objectives")


def load_demand(file: str | None, options: Mapping[str, Any], families: tuple[str, ...] = ()) -> Site:
    """Read a demand and all that it names.

    Parameters
    ----------
    file : str, optional
        TOML file; files named in it lie relative to it.
    options : mapping
        Values by key, which come before the file's; those that are None are left out. Several values may stand in one text,
        parted by commas.
    families : tuple of str
        Families there are.

    Raises
    ------
    InputError
        With every fault of the file, of the options and of the files they name.
    """
    data: dict[str, Any] = {}
    if file is not None:
        if not is_file(file):
            raise InputError(Fault(file or "''", "no such file", "a TOML file with the keys of a demand, e.g. gpus = 1024"))
        data = _beside(read_toml(Path(file)), Path(file).parent)
    for key, value in options.items():
        if value is not None:
            data[key] = _listed(value) if key in _LISTS else value
    if "nic" in data:
        data["nic"] = _rate(data["nic"])

    def place(key: str) -> str:
        top = key.split(".")[0]
        asked = options.get(top) is not None or file is None
        return f"--{key.replace('_', '-')}" if asked else f"{file}: {key}"

    faults = FaultList()
    demand: Demand | None = None
    with faults:
        demand = validate(Demand, data, place)
    if demand is None:
        # What is wrong with the other keys is told too: with the refused keys at defaults that fit everything.
        wrong = {fault.where for fault in faults.faults}
        kept = {key: value for key, value in data.items() if key in Demand.model_fields and not _under(place(key), wrong)}
        try:
            demand = Demand.model_validate({"gpus": GPUS_PER_NODE, **kept})
        except ValueError:
            faults.check()
            raise
        refused = {"gpus", *data} - kept.keys()
        _Checked(demand, place, families, refused).site(faults)
        faults.check()
    site = _Checked(demand, place, families, set()).site(faults)
    faults.check()
    assert site is not None  # else there was a fault
    return site


def _under(place: str, wrong: set[str]) -> bool:
    return any(where == place or where.startswith(f"{place}.") for where in wrong)


@dataclass(frozen=True)
class _Checked:
    """Checks of a demand whose keys are sound one by one.

    Attributes
    ----------
    demand : Demand
        As declared.
    place : callable
        Gives the place of a key in what the user wrote.
    families : tuple of str
        Families there are.
    refused : set of str
        Keys that were not given, or refused before; what hangs on them is not told of.
    """

    demand: Demand
    place: Any
    families: tuple[str, ...]
    refused: set[str]

    def site(self, faults: FaultList) -> Site | None:
        """Read what the demand names; what is wrong goes into ``faults``, and then there is None."""
        demand, before = self.demand, len(faults.faults)
        catalogue, book, layout, scenario = load_catalogue(), None, RackLayout(), None
        with faults:
            catalogue = load_catalogue(demand.catalogue)
        with faults:
            book = catalogue.priced(load_price_book(demand.price_book))
        with faults:
            if demand.rooms is not None:
                if not is_file(demand.rooms):
                    raise InputError(Fault(f"{self.place('rooms')} {demand.rooms}", "no such file", "a description of a room"))
                layout = load_layout(Path(demand.rooms))
        with faults:
            scenario = None if demand.scenario is None else load_scenario(demand.scenario)
        power = NO_POWER
        with faults:
            named = demand.power_book or (scenario.cost.power_book if scenario is not None else None)
            power = NO_POWER if named is None else load_power_book(named)
        found: list[Fault] = []
        switches = self._switches(catalogue, found)
        nic_gbps = self._nic_gbps(catalogue, switches, found)
        self._sizes(scenario, found)
        self._names(found)
        rates = self._failure_rates(catalogue, found)
        if book is not None:
            self._prices(book, switches, nic_gbps, found)
        self._power(switches, power, found)
        faults.faults.extend(fault for fault in found if fault not in faults.faults)
        if len(faults.faults) > before or book is None:
            return None
        partners = min(demand.failure_partners, demand.gpus // demand.gpus_per_server - 1)
        demand = demand.model_copy(update={"failure_partners": partners})
        specs = {name: entry.spec(name) for name, entry in switches.items()}
        covers = demand.covers or book.covers
        return Site(demand, nic_gbps, specs, catalogue, book, power, covers, rates, layout, scenario)

    def _switches(self, catalogue: Catalogue, found: list[Fault]) -> dict[str, SwitchEntry]:
        names = self.demand.switch
        for name in names:
            if name not in catalogue.switch:
                found.append(
                    Fault(self.place("switch"), repr(name)[:80], "switches of the catalogue: " + ", ".join(catalogue.switch))
                )
        self._repeated("switch", names, found)
        return {name: catalogue.switch[name] for name in names if name in catalogue.switch}

    def _nic_gbps(self, catalogue: Catalogue, switches: Mapping[str, SwitchEntry], found: list[Fault]) -> float:
        nic = self.demand.nic
        if isinstance(nic, str):
            if nic not in catalogue.nic:
                known = ", ".join(catalogue.nic)
                found.append(Fault(self.place("nic"), repr(nic)[:80], f"a rate in Gb/s or a NIC of the catalogue: {known}"))
                return math.nan
            return catalogue.nic[nic].gbps
        if not 0 < nic <= 1e6:
            found.append(Fault(self.place("nic"), f"{nic:g}", "a rate above 0 and up to 1e+06 Gb/s"))
            return math.nan
        for name, entry in switches.items():
            if 2 * entry.port_gbps < nic:
                expected = f"at most {2 * entry.port_gbps:g}: two NIC ports on ports of {entry.port_gbps:g}G of switch {name}"
                found.append(Fault(self.place("nic"), f"{nic:g}", expected))
        return float(nic)

    def _sizes(self, scenario: Scenario | None, found: list[Fault]) -> None:
        demand = self.demand
        given = "gpus" not in self.refused
        if given and demand.gpus % demand.gpus_per_server:
            found.append(Fault(self.place("gpus"), str(demand.gpus), f"whole servers of {demand.gpus_per_server} GPUs"))
        if given and demand.gpus < 2 * demand.gpus_per_server:
            found.append(Fault(self.place("gpus"), str(demand.gpus), f"at least two servers of {demand.gpus_per_server} GPUs"))
        servers = demand.gpus // demand.gpus_per_server
        if given and "failure_partners" in demand.model_fields_set and demand.failure_partners >= max(2, servers):
            expected = f"fewer than the {max(2, servers)} servers"
            found.append(Fault(self.place("failure_partners"), str(demand.failure_partners), expected))
        for stage in demand.growth:
            if not 0 < stage <= MAX_GPUS or stage % demand.gpus_per_server:
                expected = f"whole servers of {demand.gpus_per_server} GPUs, up to {MAX_GPUS} GPUs"
                found.append(Fault(self.place("growth"), str(stage), expected))
        if any(later <= earlier for earlier, later in zip(demand.growth, demand.growth[1:])):
            found.append(Fault(self.place("growth"), ", ".join(map(str, demand.growth)), "rising numbers of GPUs"))
        if given and demand.growth and demand.growth[-1] < demand.gpus:
            found.append(Fault(self.place("growth"), str(demand.growth[-1]), f"a last stage of at least gpus = {demand.gpus}"))
        if given and scenario is not None and scenario.gpus not in (None, demand.gpus):
            expected = f"a scenario for {demand.gpus} GPUs"
            found.append(Fault(self.place("scenario"), f"{demand.scenario}, of {scenario.gpus} GPUs", expected))

    def _names(self, found: list[Fault]) -> None:
        for key, known in (("families", self.families), ("objectives", tuple(OBJECTIVES))):
            names = getattr(self.demand, key)
            for name in names:
                if name not in known:
                    found.append(Fault(self.place(key), repr(name)[:80], "one of " + ", ".join(known)))
            self._repeated(key, names, found)

    def _repeated(self, key: str, names: tuple[str, ...], found: list[Fault]) -> None:
        again = sorted({name for name in names if names.count(name) > 1})
        if again:
            found.append(Fault(self.place(key), ", ".join(again)[:80] + " more than once", "each once"))

    def _failure_rates(self, catalogue: Catalogue, found: list[Fault]) -> dict[Part, FailureRate]:
        demand = self.demand
        asked = {part: getattr(demand, f"{part}_failures_per_year") for part in PARTS}
        named = [f"{part}_failures_per_year" for part, rate in asked.items() if rate is not None]
        if named and demand.repair_hours is None and "repair_hours" not in self.refused:
            found.append(Fault(self.place("repair_hours"), f"nothing beside {named[0]}", "the mean time of repair, in hours"))
        given = "switch_down" in demand.model_fields_set
        if given and asked["switch"] is not None:
            expected = "this probability, or switch_failures_per_year and repair_hours"
            found.append(Fault(self.place("switch_down"), f"{demand.switch_down:g} beside a rate of failures", expected))
        published = {
            part: (entry.per_year, f"{'default [inferred]: ' if entry.inferred else ''}{entry.source}")
            for part, entry in catalogue.failures.items()
        }
        known = asked["switch"] is not None or "switch" in published
        down = None if demand.repair_hours is not None and known and not given else demand.switch_down
        source = "the demand" if given else "ATOP/ZCube (SIGCOMM 2025), at which it compares availability"
        return failure_rates(published, asked, demand.repair_hours, down, f"down {demand.switch_down:g} of the time: {source}")

    def _prices(self, book: PriceBook, switches: Mapping[str, SwitchEntry], nic_gbps: float, found: list[Fault]) -> None:
        """Tell of prices that are missing where the capital cost decides or is bounded."""
        demand, covers = self.demand, self.demand.covers or book.covers
        if "capital_usd" not in demand.objectives and demand.budget_usd is None:
            return
        for name, entry in switches.items():
            priced = box_key(entry.ports, entry.port_gbps) in book.switch_usd or entry.port_gbps in book.switch_port_usd
            if not priced:
                what = f"no price of switch {name}, {entry.ports} x {entry.port_gbps:g}G, nor of its ports"
                found.append(Fault(f"{self.place('price_book')} {demand.price_book}", what, self._remedy()))
            if not book.switch_link_usd and entry.port_gbps not in book.transceiver_usd:
                what = f"no price of transceivers of {entry.port_gbps:g}G, for the ports of switch {name}"
                found.append(Fault(f"{self.place('price_book')} {demand.price_book}", what, self._remedy()))
        if book.switch_link_usd and covers != "switch-side":
            what = f"{covers} with a book that prices links between switches whole and none to NICs"
            found.append(Fault(self.place("covers"), what, "switch-side"))
        if covers == "with-nics" and not math.isnan(nic_gbps) and nic_gbps not in book.nic_usd:
            what = f"no price of NICs of {nic_gbps:g}G"
            found.append(Fault(f"{self.place('price_book')} {demand.price_book}", what, self._remedy()))

    def _remedy(self) -> str:
        return "another book, a price in a catalogue of your own, or neither budget_usd nor capital_usd among the objectives"

    def _power(self, switches: Mapping[str, SwitchEntry], power: PowerBook, found: list[Fault]) -> None:
        demand = self.demand
        if demand.max_power_w is None and "power_w" not in demand.objectives:
            return
        for name, entry in switches.items():
            if entry.power_w is None and entry.port_gbps not in power.switch_port_watts:
                where = "max_power_w" if demand.max_power_w is not None else "objectives"
                expected = (
                    "a power in a catalogue of your own, a power_book, or neither max_power_w nor power_w among the objectives"
                )
                found.append(Fault(self.place(where), f"switch {name}, of which no power is known", expected))


def _listed(value: Any) -> Any:
    """Return a text parted by commas as its parts, numbers as numbers; other values as they are."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    return tuple(part.strip() for part in value.split(","))


def _rate(nic: Any) -> Any:
    """Return a NIC as its rate where it is one, as a text where it cannot be."""
    try:
        rate = float(nic)
    except (OverflowError, TypeError, ValueError):
        return str(nic) if isinstance(nic, int) else nic
    return rate if math.isfinite(rate) and not isinstance(nic, bool) else str(nic)


def _beside(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a demand's data in which names of files that lie beside its file are paths to them."""
    for key in ("rooms", "scenario", "catalogue", "price_book", "power_book"):
        name = data.get(key)
        if isinstance(name, str) and name.endswith(".toml"):
            data[key] = str(folder / name)
    return data
