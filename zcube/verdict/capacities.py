"""What is said of the loads up to which fabrics meet the service levels."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any

from zcube.outputs import INFINITE
from zcube.verdict.limits import listed, plain_percent
from zcube.verdict.loads import effort, load_words
from zcube.verdict.request_sets import not_served_parts
from zcube.verdict.rows import ABSENT, significant

_PRICES = ("usd_per_million_output", "usd_per_million_good", "hardware_usd_per_million_output")


def capacity_sentences(capacity: Mapping[str, Any]) -> list[str]:
    """Return one sentence per fabric.

    Parameters
    ----------
    capacity : mapping
        The comparison's, of its document.
    """
    return [f"Capacity of {name}: {_text(found, capacity)}" for name, found in capacity["fabrics"].items()]


def capacity_rule(capacity: Mapping[str, Any]) -> str:
    """Return what a capacity is and how it was searched, in a sentence."""
    bounds = [f"{key.removesuffix('_s').upper()} at most {bound:g} s" for key, bound in capacity["bounds"].items() if bound]
    return (
        f"Capacity: the largest load at which at least {plain_percent(capacity['share'])} of the window's requests have "
        f"{listed(bounds)}; rejected, failed and unfinished requests miss. Found between loads "
        f"{plain_percent(capacity['tolerance'])} apart or less; {effort(capacity)}."
    )


def _text(capacity: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    runs = {run["load"]: run for run in capacity["runs"]}
    met, missed = runs.get(capacity["load"]), runs.get(capacity["missed_at"])
    if met is None:
        assert missed is not None
        if capacity["status"] == "not known":
            return f"not known: at {load_words(missed['load'], found)} it cannot be told, {missed['why_not']}."
        lowest = "the lowest load tried" if capacity["status"] == "never" else "the last load tried"
        return f"missed even at {load_words(missed['load'], found)}, {lowest}: {_met(missed)}."
    text = f"{load_words(met['load'], found)}: {_met(met)}"
    if missed is None:
        highest = "the highest load tried" if capacity["status"] == "at the highest" else "the last load tried"
        return f"at least {text}, at {highest}; {_cost(met)}."
    end = f"missed at {load_words(missed['load'], found)}: {_met(missed)}"
    if capacity["status"] == "not known":
        end = f"at {load_words(missed['load'], found)} it cannot be told, {missed['why_not']}"
    elif capacity["status"] == "out of runs":
        end += ", where the search ran out of loads to try"
    return f"{text}; {end}; {_cost(met)}."


def _met(run: Mapping[str, Any]) -> str:
    unsteady = ", not in a steady state" if run["steady"] is False else ""
    return f"{_percent(run['share'])} within bounds, {not_served_parts(run)}{unsteady}"


def _cost(run: Mapping[str, Any]) -> str:
    """Return what tokens cost at a load that is met, for the fabric alone."""
    whole, good, hardware = (_usd(run["cost"][f"{key}_tokens"]) for key in _PRICES)
    return f"there a million tokens cost {whole} USD (fabric and power; {hardware} without power), a million good ones {good}"


def _usd(value: float | str | None) -> str:
    return ABSENT if value is None else "infinite" if value == INFINITE else significant(float(value))


def _percent(share: float | None) -> str:
    """Return a measured share, cut off so that none below a bound reads as if it reached it."""
    return f"{floor(1e4 * (share or 0.0) + 1e-6) / 100:g} %"
