"""One row of a comparison table: its value on a fabric, how that is written, and its change against the baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

Document = Mapping[str, Any]

#: Stands where there is no value: a latency nobody had, a price the book does not hold.
ABSENT = "-"
#: Stand in place of a change that lies within the noise of the seeds, or that too few seeds cannot tell from it.
NO_DIFFERENCE, UNSURE = "no difference", "unsure, too few seeds"

Style = Literal["measure", "count", "usd", "percent"]
Better = Literal["lower", "higher", "neither"]
Shown = Literal["always", "if known", "if any"]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of a comparison.

    Attributes
    ----------
    section, label, unit : str
        Heading it stands under, name, unit (empty for a count or a ratio).
    path : tuple of str
        Keys that lead to its value in a fabric's part of the document.
    definition : str
        Formula in words and symbols.
    better : {"lower", "higher", "neither"}
        Which direction is an improvement.
    style : {"measure", "count", "usd", "percent"}
        How it is written. The change of a percentage is given in percentage points (pp), of all else in percent.
    scale : float
        What the document's value is multiplied by to get the unit.
    per : tuple of str
        Keys of a value to divide by.
    shown : {"always", "if known", "if any"}
        Whether it is left out where no fabric has a value, or where all have none or 0.
    exact : bool
        Whether no seed moves it, as with a bill.
    """

    section: str
    label: str
    unit: str
    path: tuple[str, ...]
    definition: str
    better: Better = "lower"
    style: Style = "measure"
    scale: float = 1.0
    per: tuple[str, ...] = ()
    shown: Shown = "always"
    exact: bool = False

    def value(self, fabric: Document) -> float | None:
        """Return the row's value for a fabric in the row's unit, None where there is none."""
        value = _at(fabric, self.path)
        if value is None or not self.per:
            return None if value is None else value * self.scale
        divisor = _at(fabric, self.per)
        return value * self.scale / divisor if divisor else None

    def text(self, value: float | None) -> str:
        """Return a value as the table writes it, without its unit."""
        if value is None:
            return ABSENT
        if not isfinite(value):
            return "infinite"
        if self.style == "count":
            return counted(value)
        if self.style == "usd":
            return f"{value:,.0f}"
        return significant(value, 3 if self.style == "percent" else 4)

    def change(self, value: float | None, reference: float | None) -> str:
        """Return the change of a value against the baseline's, with its unit."""
        if value is None or reference is None or not (isfinite(value) and isfinite(reference)):
            return ABSENT
        if self.style == "percent":
            return f"{signed(value - reference, 2)} pp"
        if value == reference:
            return "0.0 %"
        return f"{signed(100 * (value / reference - 1), 1)} %" if reference else ABSENT

    def improves(self, value: float | None, reference: float | None) -> bool | None:
        """Return whether a value is better than the baseline's; None where the two print as equal or cannot be compared."""
        if value is None or reference is None or self.better == "neither":
            return None
        if not any(digit in self.change(value, reference) for digit in "123456789"):
            return None
        return (value < reference) == (self.better == "lower")

    def against(self, fabric: Document, base: Document) -> tuple[str, bool | None]:
        """Return the change of a fabric's value against the baseline's, and whether it is better; None where that is open.

        Under several seeds a change that lies in the noise is "no difference", and one of too few seeds to tell is unsure,
        whatever its interval.
        Under one seed the noise is not known, so that no change is better or worse but that of an exact value.
        """
        value, reference = self.value(fabric), self.value(base)
        noise = self.noise(fabric)
        if self.exact or (noise is not None and noise["differs"]):
            return self.change(value, reference), self.improves(value, reference)
        if noise is None or value is None or value == reference:
            return self.change(value, reference), None
        return NO_DIFFERENCE if noise["differs"] is False else UNSURE, None

    def noise(self, fabric: Document) -> Document | None:
        """Return how the row's value scatters over the seeds; None under one seed, or where a seed has no value."""
        return (fabric.get("noise") or {}).get(".".join(self.per or self.path))


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, thousands separated, without a bare final point."""
    if value == 0:
        return "0"
    if abs(value) >= 10**digits - 0.5 or abs(value) >= 999.95:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def counted(value: float) -> str:
    """Return a count, or the mean of counts over seeds."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _at(fabric: Document, path: tuple[str, ...]) -> float | None:
    value: Any = fabric
    for key in path:
        value = value.get(key) if value is not None else None
    return value if value is None else float(value)


def signed(value: float, decimals: int) -> str:
    """Return a number with its sign, which one that is written as 0 has not."""
    text = f"{value:+,.{decimals}f}"
    return text if text.strip("+-0.,") else text[1:]
