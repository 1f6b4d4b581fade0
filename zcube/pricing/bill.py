"""The bill of materials of a fabric's switches, optics and NICs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray, distinct
from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.optics import OPTICS_RULES, Optics, OpticsRule, cable_use, optics_of
from zcube.pricing.price_book import Covers, PowerBook, PriceBook, box_key

if TYPE_CHECKING:
    import pandas as pd

    from zcube.pricing.pieces import PiecePrices

#: The rule under which Z.ai's published saving of a third comes out: switch ports and the modules in them.
DEFAULT_RULE: OpticsRule = "all-optical"

_USES = {CableKind.NIC: "NIC to switch", CableKind.SWITCH: "switch to switch"}


#: Of pieces whose power is not asked for.
NO_POWER = PowerBook(name="none", source="none")


def counting_rule(rule: str) -> str:
    """Return how a bill under an optics rule is to be read."""
    return (
        f"Optics by rule {rule}: {OPTICS_RULES[rule]}. Switches are bought whole: native ports x the port price at the native "
        "rate. transceivers, optics_usd and total_usd count the switch side, the part that a choice of fabric changes; "
        "with_nic_side adds the modules in NICs (the NIC ports of a GPU in one twin module, unless nic.cages says per-port); "
        "nic_usd are the NICs themselves, one a GPU at the rate of its ports together, in with_nics only. Cables and labour "
        "carry no price. A book that prices links between switches whole, cable and both modules, prices no module and no link "
        "to a NIC: its optics_usd are these links."
    )


@dataclass(frozen=True, slots=True)
class BillLine:
    """One position of the bill; price and power of a piece are None where the book has none."""

    item: str
    quantity: int
    unit_usd: float | None
    unit_watts: float | None = None

    @property
    def usd(self) -> float | None:
        """Quantity times price."""
        return None if self.unit_usd is None else self.quantity * self.unit_usd

    @property
    def watts(self) -> float | None:
        """Quantity times power."""
        return None if self.unit_watts is None else self.quantity * self.unit_watts


@dataclass(frozen=True, slots=True)
class BillOfMaterials:
    """What a fabric needs and costs under one price book and one optics rule.

    Attributes
    ----------
    fabric, price_book, optics_rule : str
        Names.
    switches, switch_modules, nic_modules, nics, cables : tuple of BillLine
        Switches by model; modules at the switch side and at the NIC side by rate, lanes and split; NICs by rate; cable
        assemblies by use, unpriced.
    switch_links : tuple of BillLine or None
        Links between switches by rate, where the book prices them whole; None where it prices modules.
    pieces : PiecePrices or None
        The same switch by switch and cable by cable, where that is wanted.
    """

    fabric: str
    price_book: str
    optics_rule: str
    switches: tuple[BillLine, ...]
    switch_modules: tuple[BillLine, ...]
    nic_modules: tuple[BillLine, ...]
    nics: tuple[BillLine, ...]
    cables: tuple[BillLine, ...]
    switch_links: tuple[BillLine, ...] | None = None
    pieces: PiecePrices | None = field(default=None, compare=False, repr=False)

    def table(self) -> pd.DataFrame:
        """Return one row per position: item, quantity, price of one and of all in USD, missing where the book has no price."""
        import pandas as pd

        return pd.DataFrame(self.document()["lines"])

    def document(self) -> dict[str, Any]:
        """Return the bill as JSON-ready data; a sum is null where one of its prices is missing."""
        modules = (*self.switch_modules, *self.nic_modules)
        switch_usd, nic_usd, links = _usd(self.switches), _usd(self.nics), self.switch_links
        # Links priced whole are those between switches; of those to NICs such a book says nothing.
        optics_usd, nic_optics_usd = (_usd(self.switch_modules), _usd(modules)) if links is None else (_usd(links), None)
        return {
            "switches": _count(self.switches),
            "transceivers": _count(self.switch_modules),
            "switch_usd": switch_usd,
            "optics_usd": optics_usd,
            "total_usd": sum_known((switch_usd, optics_usd)),
            "price_book": self.price_book,
            "optics_rule": self.optics_rule,
            "with_nic_side": {
                "transceivers": _count(modules),
                "optics_usd": nic_optics_usd,
                "total_usd": sum_known((switch_usd, nic_optics_usd)),
            },
            "with_nics": {
                "nics": _count(self.nics),
                "nic_usd": nic_usd,
                "total_usd": sum_known((switch_usd, nic_optics_usd, nic_usd)),
            },
            "lines": [
                {"item": line.item, "quantity": line.quantity, "unit_usd": line.unit_usd, "usd": line.usd}
                for line in (*self.switches, *(self.switch_links or ()), *modules, *self.nics, *self.cables)
            ],
        }

    def capital_usd(self, covers: Covers) -> float | None:
        """Return one of the bill's sums, None where one of its prices is missing."""
        document = self.document()
        whole = document if covers == "switch-side" else document[covers.replace("-", "_")]
        total: float | None = whole["total_usd"]
        return total


def bill_of_materials(
    fabric: Fabric, book: PriceBook, optics: Optics | None = None, power: PowerBook | None = None
) -> BillOfMaterials:
    """Count and price a fabric.

    Parameters
    ----------
    fabric : Fabric
        What is built.
    book : PriceBook
        Prices.
    optics : Optics, optional
        Its optics table; default: by rule ``all-optical``.
    power : PowerBook, optional
        What the pieces draw; default: not known.
    """
    power = NO_POWER if power is None else power
    optics = optics_of(fabric, DEFAULT_RULE) if optics is None else optics
    switches: Counter[tuple[str, int, float]] = Counter()
    for group in fabric.groups:
        switches[group.model.name, group.model.ports, group.model.port_gbps] += group.count
    return BillOfMaterials(
        fabric=fabric.name,
        price_book=book.name,
        optics_rule=optics.rule,
        switches=tuple(box_line(name, ports, gbps, count, book, power) for (name, ports, gbps), count in switches.items()),
        switch_modules=_modules(optics, ~optics.at_nic, "switch side", book, power),
        nic_modules=_modules(optics, optics.at_nic, "NIC side", book, power),
        nics=tuple(
            nic_line(gbps, count, book, power)
            for gbps, count in sorted(Counter(fabric.cables.gbps[fabric.nic_cable].sum(axis=1).tolist()).items())
        ),
        cables=_cables(optics),
        switch_links=_switch_links(fabric, book),
    )


def _switch_links(fabric: Fabric, book: PriceBook) -> tuple[BillLine, ...] | None:
    """Return a line for every rate of the links between switches, None where the book does not price them whole."""
    if not book.switch_link_usd:
        return None
    rates = Counter(fabric.cables.gbps[fabric.cables.kind == CableKind.SWITCH].tolist())
    return tuple(switch_link_line(gbps, count, book) for gbps, count in sorted(rates.items()))


def _modules(optics: Optics, at_side: BoolArray, side: str, book: PriceBook, power: PowerBook) -> tuple[BillLine, ...]:
    """Return a line for every rate, number of lanes and split of the modules at one side."""
    held = optics.module & at_side
    columns = (optics.module_gbps, optics.lanes, optics.lane_gbps, optics.cages.legs)
    kinds = Counter(zip(*(column[held].tolist() for column in columns)))
    lines = []
    for (gbps, lanes, lane_gbps, legs), count in sorted(kinds.items()):
        split = f" in {legs} legs" if legs > 1 else ""
        lines.append(module_line(f"{gbps}G ({lanes} x {lane_gbps}G{split})", side, gbps, count, book, power))
    return tuple(lines)


def _cables(optics: Optics) -> tuple[BillLine, ...]:
    """Return a line for every use, medium and split of the cable assemblies."""
    head = distinct(optics.assembly)
    far, use = optics.far_cages[head], cable_use(optics)[head]
    kinds = Counter(zip(use.tolist(), np.where(optics.module[head], "fibre", "copper").tolist(), far.tolist()))
    return tuple(
        BillLine(f"{f'splitter 1:{legs}' if legs > 1 else 'cable'}, {medium}, {_USES[CableKind(use)]}", count, None)
        for (use, medium, legs), count in sorted(kinds.items())
    )


def box_line(name: str, ports: int, gbps: float, count: int, book: PriceBook, power: PowerBook = NO_POWER) -> BillLine:
    """Return the position of switches, bought whole: by the price of the box, else of its ports."""
    port_usd, port_watts = (of_port.get(_rate(gbps)) for of_port in (book.switch_port_usd, power.switch_port_watts))
    usd = book.switch_usd.get(box_key(ports, gbps), None if port_usd is None else ports * port_usd)
    item = f"switch {name}, {ports} x {gbps:g}G" if name else f"switch {ports} x {gbps:g}G"
    return BillLine(item, count, usd, None if port_watts is None else ports * port_watts)


def module_line(kind: str, side: str, gbps: float, count: int, book: PriceBook, power: PowerBook = NO_POWER) -> BillLine:
    """Return the position of modules at one side."""
    rate = _rate(gbps)
    return BillLine(f"transceiver {kind}, {side}", count, book.transceiver_usd.get(rate), power.transceiver_watts.get(rate))


def nic_line(gbps: float, count: int, book: PriceBook, power: PowerBook = NO_POWER) -> BillLine:
    """Return the position of NICs."""
    return BillLine(f"NIC {gbps:g}G", count, book.nic_usd.get(_rate(gbps)), power.nic_watts.get(_rate(gbps)))


def switch_link_line(gbps: float, count: int, book: PriceBook) -> BillLine:
    """Return the position of links between switches that a book prices whole."""
    return BillLine(f"link {gbps:g}G between switches, whole", count, book.switch_link_usd.get(_rate(gbps)))


def _rate(gbps: float) -> int:
    """Return the book's key of a rate, -1 where no book could hold it."""
    return int(gbps) if gbps == int(gbps) else -1


def _count(lines: Iterable[BillLine]) -> int:
    return sum(line.quantity for line in lines)


def _usd(lines: Iterable[BillLine]) -> float | None:
    return sum_known(line.usd for line in lines)


def sum_known(values: Iterable[float | None]) -> float | None:
    """Return the sum of some figures, None where one is missing."""
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
