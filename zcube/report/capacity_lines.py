"""What is said of the loads up to which fabrics meet the service levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.outputs import INFINITE
from zcube.verdict.request_sets import not_served_parts
from zcube.verdict.rows import ABSENT, significant

_PRICES = ("usd_per_million_output", "usd_per_million_good", "hardware_usd_per_million_output")


def capacity_lines(document: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return name and text of each line; none where no capacity was searched.

    Parameters
    ----------
    document : mapping
        ``Comparison.document()``.
    names : mapping
        How its fabrics are shown.
    """
    found = document.get("capacity")
    if found is None:
        return []
    lines = [(f"Capacity of {names[name]}", _text(capacity, found)) for name, capacity in found["fabrics"].items()]
    return [("Capacity", _rule(found)), *lines]


def _rule(found: Mapping[str, Any]) -> str:
    bounds = [f"{key.removesuffix('_s').upper()} at most {bound:g} s" for key, bound in found["bounds"].items() if bound]
    loads = sum(len(capacity["runs"]) for capacity in found["fabrics"].values())
    seeds = "one seed each, so that noise moves it" if found["seeds"] == 1 else f"means over {found['seeds']} seeds"
    return (
        f"the largest load at which at least {_percent(found['share'])} of the window's requests have {' and '.join(bounds)}; "
        "rejected, failed and unfinished requests miss. Met and missed loads lie "
        f"{_percent(found['tolerance'])} apart or less; {loads} runs, {seeds}."
    )


def _text(capacity: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    runs = {run["load"]: run for run in capacity["runs"]}
    met, missed = runs.get(capacity["load"]), runs.get(capacity["missed_at"])
    if met is None:
        assert missed is not None
        if capacity["status"] == "not known":
            return f"not known: at {_load(missed, found)} it cannot be told, {missed['why_not']}."
        lowest = "the lowest load tried" if capacity["status"] == "never" else "the last load tried"
        return f"missed even at {_load(missed, found)}, {lowest}: {_met(missed)}."
    text = f"{_load(met, found)}: {_met(met)}"
    if missed is None:
        highest = "the highest load tried" if capacity["status"] == "at the highest" else "the last load tried"
        return f"at least {text}, at {highest}; {_cost(met)}."
    end = f"missed at {_load(missed, found)}: {_met(missed)}"
    if capacity["status"] == "not known":
        end = f"at {_load(missed, found)} it cannot be told, {missed['why_not']}"
    elif capacity["status"] == "out of runs":
        end += ", where the search ran out of loads to try"
    return f"{text}; {end}; {_cost(met)}."


def _load(run: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return f"{significant(run['load'])} {found['unit']} ({significant(run['multiple'], 3)} times this run's load)"


def _met(run: Mapping[str, Any]) -> str:
    unsteady = ", not in a steady state" if run["steady"] is False else ""
    return f"{_percent(run['share'])} within bounds, {not_served_parts(run)}{unsteady}"


def _cost(run: Mapping[str, Any]) -> str:
    """Return what tokens cost at a load that is met, for the fabric alone."""
    whole, good, hardware = (_usd(run["cost"][f"{key}_tokens"]) for key in _PRICES)
    return f"there a million tokens cost {whole} USD (fabric and power; {hardware} without power), a million good ones {good}"


def _usd(value: float | str | None) -> str:
    return ABSENT if value is None else "infinite" if value == INFINITE else significant(float(value))


def _percent(share: float) -> str:
    return f"{significant(100 * share, 4).rstrip('0').rstrip('.')} %" if share else "0 %"
