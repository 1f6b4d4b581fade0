"""The bill of materials of a fabric's switches and optics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zcube.fabric.model import CableKind, Fabric
from zcube.fabric.ports import native_ports_used
from zcube.pricing.price_book import PriceBook

if TYPE_CHECKING:
    import pandas as pd

COUNTING_RULE = (
    "Switches are bought whole: native ports x the port price at the native rate. Every end of every NIC and inter-switch "
    "link holds optics. Links slower than a native port share its module (two 200G links = one 400G module), so switch-side "
    "modules = native ports in use. NIC side: one module per GPU at the GPU's line rate (a dual-port NIC = one twin module). "
    "transceivers, optics_usd and total_usd count the switch side, the part that a choice of fabric changes; with_nic_side "
    "adds the NIC side. Cables, NICs and labour carry no price here."
)


@dataclass(frozen=True, slots=True)
class BillLine:
    """One position of the bill; price is None where the book has none."""

    item: str
    quantity: int
    unit_usd: float | None

    @property
    def usd(self) -> float | None:
        """Quantity times price."""
        return None if self.unit_usd is None else self.quantity * self.unit_usd


@dataclass(frozen=True, slots=True)
class BillOfMaterials:
    """What a fabric needs and costs under one price book.

    Attributes
    ----------
    fabric, price_book : str
        Names.
    switches, switch_modules, nic_modules, cables : tuple of BillLine
        Switches by model; modules at the switch side and at the NIC side by rate; cables by use, unpriced.
    """

    fabric: str
    price_book: str
    switches: tuple[BillLine, ...]
    switch_modules: tuple[BillLine, ...]
    nic_modules: tuple[BillLine, ...]
    cables: tuple[BillLine, ...]

    def table(self) -> pd.DataFrame:
        """Return one row per position: item, quantity, price of one and of all in USD, missing where the book has no price."""
        import pandas as pd

        return pd.DataFrame(self.document()["lines"])

    def document(self) -> dict[str, Any]:
        """Return the bill as JSON-ready data; a sum is null where one of its prices is missing."""
        switch_usd, optics_usd = _sum(self.switches), _sum(self.switch_modules)
        nic_optics_usd = _sum((*self.switch_modules, *self.nic_modules))
        return {
            "switches": _count(self.switches),
            "transceivers": _count(self.switch_modules),
            "switch_usd": switch_usd,
            "optics_usd": optics_usd,
            "total_usd": _add(switch_usd, optics_usd),
            "price_book": self.price_book,
            "with_nic_side": {
                "transceivers": _count((*self.switch_modules, *self.nic_modules)),
                "optics_usd": nic_optics_usd,
                "total_usd": _add(switch_usd, nic_optics_usd),
            },
            "lines": [
                {"item": line.item, "quantity": line.quantity, "unit_usd": line.unit_usd, "usd": line.usd}
                for line in (*self.switches, *self.switch_modules, *self.nic_modules, *self.cables)
            ],
        }


def bill_of_materials(fabric: Fabric, book: PriceBook) -> BillOfMaterials:
    """Count and price a fabric under :data:`COUNTING_RULE`."""
    used = native_ports_used(fabric)
    switches: dict[tuple[str, int, float], int] = {}
    modules: dict[float, int] = {}
    for group in fabric.groups:
        model = group.model
        key = (model.name, model.ports, model.port_gbps)
        switches[key] = switches.get(key, 0) + group.count
        first = group.first_node - fabric.gpus
        count = sum(math.ceil(ports - 1e-9) for ports in used[first : first + group.count])
        modules[model.port_gbps] = modules.get(model.port_gbps, 0) + count
    kinds = fabric.cables.kind
    return BillOfMaterials(
        fabric=fabric.name,
        price_book=book.name,
        switches=tuple(
            BillLine(f"switch {name}, {ports} x {gbps:g}G", count, _box_usd(book, ports, gbps))
            for (name, ports, gbps), count in switches.items()
        ),
        switch_modules=tuple(
            BillLine(f"transceiver {gbps:g}G, switch side", count, book.transceiver_usd.get(_rate(gbps)))
            for gbps, count in modules.items()
        ),
        nic_modules=(
            BillLine(
                f"transceiver {fabric.nic_gbps:g}G, NIC side", fabric.gpus, book.transceiver_usd.get(_rate(fabric.nic_gbps))
            ),
        ),
        cables=tuple(
            BillLine(f"cable, {use}", int((kinds == kind).sum()), None)
            for use, kind in (("NIC to switch", CableKind.NIC), ("switch to switch", CableKind.SWITCH))
        ),
    )


def _box_usd(book: PriceBook, ports: int, gbps: float) -> float | None:
    port_usd = book.switch_port_usd.get(_rate(gbps))
    return None if port_usd is None else ports * port_usd


def _rate(gbps: float) -> int:
    """Return the book's key of a rate, -1 where no book could hold it."""
    return int(gbps) if gbps == int(gbps) else -1


def _count(lines: Iterable[BillLine]) -> int:
    return sum(line.quantity for line in lines)


def _sum(lines: Iterable[BillLine]) -> float | None:
    total: float | None = 0.0
    for line in lines:
        total = _add(total, line.usd)
    return total


def _add(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
