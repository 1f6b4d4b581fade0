"""What can be bought: switches, NICs and modules, each with its source; the user's own entries beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from zcube.errors import Fault, FaultList, InputError
from zcube.fabric.spec import LEAST_GBPS, SwitchSpec
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate
from zcube.plan.failure_rates import Part
from zcube.pricing.price_book import MAX_FIGURE, PriceBook, box_key

BUNDLED = Path(__file__).resolve().parent / "catalogue.toml"

#: Entries of one table that a file may hold, and the most that a device may draw, W.
MAX_ENTRIES = 256
MAX_W = 1e6
MAX_FAILURES_A_YEAR = 1e4


class Entry(Declared):
    """What every table's entries have; a power or a price without a source is left out."""

    source: str = Field(min_length=1, max_length=400, description="where the figures stand")
    note: str = Field(default="", max_length=400, description="anything else, shown with the entry")
    power_w: tuple[float, float] | None = Field(default=None, description="least and most, W; missing where no source says")
    price_usd: float | None = Field(
        default=None, ge=0, le=MAX_FIGURE, description="before the price book's; missing: the book's"
    )

    @field_validator("power_w")
    @classmethod
    def _a_range(cls, power_w: tuple[float, float] | None) -> tuple[float, float] | None:
        if power_w is not None and not 0 <= power_w[0] <= power_w[1] <= MAX_W:
            raise ValueError(f"[least, most] with 0 <= least <= most <= {MAX_W:g} W")
        return power_w


class SwitchEntry(Entry):
    """A switch as it is bought; ``power_w`` is that of the box without modules."""

    ports: int = Field(ge=2, le=4096, description="front-panel ports")
    port_gbps: float = Field(ge=LEAST_GBPS, le=1e6, description="native rate of a port, Gb/s")

    def spec(self, name: str) -> SwitchSpec:
        """Return the keys of a topology file."""
        return SwitchSpec(model=name, ports=self.ports, port_gbps=self.port_gbps)


class NicEntry(Entry):
    """A GPU's NIC, all its ports together."""

    gbps: float = Field(ge=LEAST_GBPS, le=1e6, description="line rate of a GPU, Gb/s")


class ModuleEntry(Entry):
    """A pluggable module."""

    gbps: float = Field(ge=LEAST_GBPS, le=1e6, description="rate of all lanes together, Gb/s")
    kind: str = Field(min_length=1, max_length=20, description="IEEE 802.3's or the trade's name without the rate, e.g. SR4")


class FailureEntry(Declared):
    """How often one part of a kind fails; a kind without a source is left out."""

    per_year: float = Field(ge=0, le=MAX_FAILURES_A_YEAR, description="failures of one a year")
    source: str = Field(min_length=1, max_length=400, description="where the figure stands")
    inferred: bool = Field(default=False, description="true: a default of this planner, no source's figure; results say so")


class Catalogue(Declared):
    """Entries by name."""

    switch: Mapping[str, SwitchEntry] = Field(default_factory=dict)
    nic: Mapping[str, NicEntry] = Field(default_factory=dict)
    module: Mapping[str, ModuleEntry] = Field(default_factory=dict)
    failures: Mapping[Part, FailureEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _bounded(self) -> Catalogue:
        for table in (self.switch, self.nic, self.module):
            if len(table) > MAX_ENTRIES or any(not name.strip() or len(name) > 60 or "," in name for name in table):
                raise ValueError(f"at most {MAX_ENTRIES} entries a table, with names of 1 to 60 characters without commas")
        return self

    def module_power_w(self, gbps: float, kind: str) -> tuple[float, float] | None:
        """Return the least and most power of a module, None where no entry gives one."""
        found = [entry.power_w for entry in self.module.values() if (entry.gbps, entry.kind) == (gbps, kind)]
        return found[-1] if found else None

    def priced(self, book: PriceBook) -> PriceBook:
        """Return a price book with the entries' own prices before the book's; its name says so where there are any."""
        switches = {box_key(e.ports, e.port_gbps): e.price_usd for e in self.switch.values() if e.price_usd is not None}
        modules = {int(e.gbps): e.price_usd for e in self.module.values() if e.price_usd is not None}
        nics = {int(e.gbps): e.price_usd for e in self.nic.values() if e.price_usd is not None}
        if not (switches or modules or nics):
            return book
        return book.model_copy(
            update={
                "name": f"{book.name} with prices of the catalogue",
                "switch_usd": {**book.switch_usd, **switches},
                "transceiver_usd": {**book.transceiver_usd, **modules},
                "nic_usd": {**book.nic_usd, **nics},
            }
        )


def load_catalogue(own: str | None = None) -> Catalogue:
    """Read the bundled catalogue and a user's file, whose entries come before bundled ones of the same name.

    Raises
    ------
    InputError
        With every fault of the user's file.
    """
    bundled = validate(Catalogue, read_toml(BUNDLED), BUNDLED.name)
    if own is None:
        return bundled
    if not is_file(own):
        raise InputError(
            Fault(f"catalogue {own}", "no such file", "a TOML file with tables [switch.NAME], [nic.NAME], [module.NAME]")
        )
    mine = validate(Catalogue, read_toml(Path(own)), own)
    faults = FaultList()
    boxes: dict[str, tuple[str, float]] = {}
    for name, entry in mine.switch.items():
        if entry.price_usd is not None:
            first = boxes.setdefault(box_key(entry.ports, entry.port_gbps), (name, entry.price_usd))
            if first[1] != entry.price_usd:
                expected = f"that of {first[0]}, {first[1]:g}: switches of equal ports have one price"
                faults.faults.append(Fault(f"{own}: switch.{name}.price_usd", f"{entry.price_usd:g}", expected))
    faults.check()
    return Catalogue(
        switch={**bundled.switch, **mine.switch},
        nic={**bundled.nic, **mine.nic},
        module={**bundled.module, **mine.module},
        failures={**bundled.failures, **mine.failures},
    )
