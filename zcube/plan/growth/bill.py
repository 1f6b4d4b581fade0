"""What a stage of growth buys, and what of before it uses again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zcube.fabric.model import Fabric
from zcube.fabric.optics import Optics
from zcube.pricing.bill import BillOfMaterials, bill_of_materials, sum_known
from zcube.pricing.price_book import Covers, PriceBook


@dataclass(frozen=True, slots=True)
class StageLine:
    """One position of a stage's bill: pieces before and after, of which those there are go on being used."""

    part: str
    item: str
    before: int
    after: int
    unit_usd: float | None

    @property
    def bought(self) -> int:
        """Pieces beyond those there are."""
        return max(0, self.after - self.before)

    @property
    def usd(self) -> float | None:
        """What they cost; None where the book has no price for something that is bought."""
        return 0.0 if not self.bought else None if self.unit_usd is None else self.bought * self.unit_usd

    def document(self) -> dict[str, Any]:
        """Return the position as JSON-ready data."""
        return {
            "part": self.part,
            "item": self.item,
            "before": self.before,
            "after": self.after,
            "bought": self.bought,
            "reused": min(self.before, self.after),
            "left_over": max(0, self.before - self.after),
            "unit_usd": self.unit_usd,
            "usd": self.usd,
        }


@dataclass(frozen=True, slots=True)
class StageBill:
    """Switches, modules, NICs and cables of a stage.

    A module or cable that is freed in one place is taken to be used again in another that needs the same kind; what is left
    over is a spare.
    """

    price_book: str
    optics_rule: str
    lines: tuple[StageLine, ...]

    @property
    def total_usd(self) -> float | None:
        """Sum of switches, modules and NICs bought; cables carry no price. None where a price is missing."""
        return sum_known(line.usd for line in self.lines if line.part != "cables")

    def capital_usd(self, covers: Covers) -> float | None:
        """Return what of it a plan's capital cost covers; None where a price is missing."""
        # Links priced whole hold their modules.
        side = "switch_links" if any(line.part == "switch_links" for line in self.lines) else "switch_modules"
        parts = ("switches", side, *_BEYOND_SWITCH_SIDE[covers])
        return sum_known(line.usd for line in self.lines if line.part in parts)

    def document(self) -> dict[str, Any]:
        """Return the bill as JSON-ready data."""
        return {
            "price_book": self.price_book,
            "optics_rule": self.optics_rule,
            "total_usd": self.total_usd,
            "lines": [line.document() for line in self.lines],
        }


_PARTS = ("switches", "switch_links", "switch_modules", "nic_modules", "nics", "cables")
_BEYOND_SWITCH_SIDE: Mapping[Covers, tuple[str, ...]] = {
    "switch-side": (),
    "with-nic-side": ("nic_modules",),
    "with-nics": ("nic_modules", "nics"),
}


def stage_bill(start: Fabric, target: Fabric, book: PriceBook, before: Optics, after: Optics) -> StageBill:
    """Return what has to be bought to come from one fabric to another.

    Parameters
    ----------
    start, target : Fabric
        Before and after.
    book : PriceBook
        Prices.
    before, after : Optics
        Their optics tables, by one rule.
    """
    bills = [bill_of_materials(fabric, book, optics) for fabric, optics in ((start, before), (target, after))]
    return StageBill(book.name, after.rule, tuple(line for part in _PARTS for line in _lines(part, *bills)))


def _lines(part: str, before: BillOfMaterials, after: BillOfMaterials) -> list[StageLine]:
    old, new = ({line.item: line for line in getattr(bill, part) or ()} for bill in (before, after))
    return [
        StageLine(
            part,
            item,
            old[item].quantity if item in old else 0,
            new[item].quantity if item in new else 0,
            (new.get(item) or old[item]).unit_usd,
        )
        for item in {**old, **new}
    ]
