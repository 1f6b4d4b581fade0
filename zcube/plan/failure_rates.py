"""How often parts of a fabric fail and how much of the time they are down: rates a year, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

HOURS_A_YEAR = 8760.0

#: Switches; links between a NIC port and a switch, and between two switches, with their modules; NICs with all their ports.
Part = Literal["switch", "nic_link", "switch_link", "nic"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """How often one kind of part fails.

    Attributes
    ----------
    per_year : float or None
        Failures of one part a year; None where no source gives a rate.
    down : float or None
        Part of the time in which one is down; None where it does not follow.
    source : str
        Where that stands, or what is missing.
    """

    per_year: float | None
    down: float | None
    source: str


_UNKNOWN = (None, "no rate of failures is known")


def down_of(per_year: float, repair_hours: float) -> float:
    """Return the part of the time that a part is down: up for 1 / rate on the mean, then down for the repair."""
    return per_year * repair_hours / (HOURS_A_YEAR + per_year * repair_hours)


def failure_rates(
    published: Mapping[Part, tuple[float, str]],
    asked: Mapping[Part, float | None],
    repair_hours: float | None,
    switch_down: float | None,
    switch_down_source: str,
) -> dict[Part, FailureRate]:
    """Return the rate of every kind of part.

    Parameters
    ----------
    published : mapping
        Failures a year by kind, with their sources.
    asked : mapping
        Failures a year that the demand gives, which come before published ones.
    repair_hours : float, optional
        Mean time of repair; without it no rate says how much is down.
    switch_down : float, optional
        Part of the time that a switch is down, where that is given instead.
    switch_down_source : str
        Where it comes from.
    """
    rates: dict[Part, FailureRate] = {}
    for part in PARTS:
        mine = asked.get(part)
        per_year, source = (mine, "the demand") if mine is not None else published.get(part, _UNKNOWN)
        if part == "switch" and switch_down is not None:
            rates[part] = FailureRate(per_year, switch_down, switch_down_source)
        elif per_year is None:
            rates[part] = FailureRate(None, None, source)
        elif repair_hours is None:
            rates[part] = FailureRate(
                per_year, None, f"{source}; no repair_hours, so that it is not known how long they are down"
            )
        else:
            rates[part] = FailureRate(per_year, down_of(per_year, repair_hours), f"{source}; repaired in {repair_hours:g} h")
    return rates
