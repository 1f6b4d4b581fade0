"""What a plan's page tells of every fabric: label, unit, where the figure stands in ``plan.json``, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from zcube.plan.measures import VALUES, value_at
from zcube.plan.objectives import OBJECTIVES

ABSENT = "-"


class PlanMeasure(NamedTuple):
    """One figure of a fabric.

    Attributes
    ----------
    label, unit : str
        For readers.
    path : tuple of str
        Keys that lead to it in the fabric's part of the document.
    form : str
        How it is written.
    definition : str
        In words.
    objective : str
        Its name among the objectives; empty if it is none.
    """

    label: str
    unit: str
    path: tuple[str, ...]
    form: str
    definition: str
    objective: str = ""

    def value(self, fabric: Mapping[str, Any]) -> Any:
        """Return the figure, None where it is not known."""
        return value_at(fabric, self.path)

    def text(self, value: Any) -> str:
        """Return a figure as it is shown."""
        return ABSENT if value is None else value if isinstance(value, str) else self.form.format(value)


_FORMS = {"capital_usd": "{:,.0f}", "power_w": "{:,.0f}", "switches": "{:,.0f}", "switch_ports": "{:,.0f}", "cables": "{:,.0f}"}


def _of(objective: str) -> PlanMeasure:
    one = OBJECTIVES[objective]
    label = one.label[0].upper() + one.label[1:]
    way = f"{one.definition}; {one.better} is better"
    tie = f", a difference of up to {one.tolerance:g} is a tie" if one.tolerance else ""
    return PlanMeasure(label, one.unit, VALUES[objective], _FORMS.get(objective, "{:.3g}"), way + tie, objective)


#: What the two figures of a failed switch are, side by side.
LOST_AND_SLOWER = (
    "lost: mean part of its rate that a transfer loses, all of it without a path. slower: change of the mean time of the "
    "transfers that still have one, below 0 where the others' absence leaves them room; so both can stand together."
)

#: Measures by section, those of a simulation only where there is one.
SECTIONS: Mapping[str, tuple[PlanMeasure, ...]] = {
    "Cost and power": (
        _of("capital_usd"),
        PlanMeasure("Capital per GPU", "USD", ("cost", "capital_usd_per_gpu"), "{:,.0f}", "capital over the GPUs"),
        _of("power_w"),
        PlanMeasure(
            "Energy a year", "kWh", ("power", "energy_kwh_per_year_most"), "{:,.0f}", "the most power, all hours of a year"
        ),
    ),
    "Pieces": (
        _of("switches"),
        _of("switch_ports"),
        PlanMeasure("Modules", "", ("counts", "switch_modules"), "{:,.0f}", "pluggable modules in switches"),
        PlanMeasure("Modules in NICs", "", ("counts", "nic_modules"), "{:,.0f}", "pluggable modules in NICs"),
        _of("cables"),
        PlanMeasure("Copper", "km", ("counts", "copper_km"), "{:,.2f}", "cable in the room, by the least grade that reaches"),
        PlanMeasure("Fibre", "km", ("counts", "fibre_km"), "{:,.2f}", "cable in the room, by the least grade that reaches"),
    ),
    "Paths and traffic": (
        PlanMeasure("Oversubscription", "", ("oversubscription",), "{:.3g}", "capacity down over capacity up of a leaf"),
        _of("mean_path_switches"),
        _of("bisection"),
        _of("random_share"),
        _of("worst_share"),
        PlanMeasure("Worst permutation", "which", ("traffic", "worst_permutation"), "{}", "which of those tried was worst"),
        _of("kv_funnel"),
    ),
    "Failures": (
        _of("share_after_failure"),
        _of("loss_after_failure"),
        PlanMeasure(
            "Slower after a failure",
            "",
            ("failure", "slower_mean"),
            "{:+.1%}",
            "mean time of transfers that still have a path, over theirs before",
        ),
        PlanMeasure("Slower at worst", "", ("failure", "slower_worst"), "{:+.1%}", "the same of the worst single transfer"),
        _of("no_switch_down"),
    ),
}
SIMULATED = (
    PlanMeasure(
        "TTFT P50", "s", ("simulation", "ttft_p50_s"), "{:.4g}", "time to first token, median of the scenario's requests"
    ),
    PlanMeasure("TTFT P99", "s", ("simulation", "ttft_p99_s"), "{:.4g}", "time to first token, 99th percentile"),
    PlanMeasure("KV transfer P99", "s", ("simulation", "kv_transfer_p99_s"), "{:.4g}", "99th percentile of the KV transfers"),
    PlanMeasure("Output tokens", "1/s", ("simulation", "output_tokens_per_s"), "{:,.0f}", "put out a second over the window"),
    PlanMeasure(
        "Cost of tokens",
        "USD per million",
        ("simulation", "usd_per_million_output_tokens"),
        "{:.3g}",
        "bill over the scenario's cost.years, and power, by output token",
    ),
    PlanMeasure(
        "TTFT P99 after a failure",
        "s",
        ("simulation", "after_failure", "ttft_p99_s"),
        "{:.4g}",
        "the same requests with the switch failed whose loss is measured above; only of the first fabrics",
    ),
    PlanMeasure(
        "Its change",
        "",
        ("simulation", "after_failure", "change", "ttft_p99_s"),
        "{:+.1%}",
        "against the fabric with nothing failed",
    ),
)
