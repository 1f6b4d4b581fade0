"""From a demand to an answer: candidates by arithmetic, the ones worth it built and measured, the front, the recommendation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zcube.errors import InputError
from zcube.plan.candidate import Unbuildable
from zcube.plan.candidates import candidates_of
from zcube.plan.demand import Site
from zcube.plan.front import Front, front_of
from zcube.plan.growing import Growth, grown
from zcube.plan.measures import POWER_RULE, Measured, Measuring
from zcube.plan.measuring import fabrics_at_once, measure_all
from zcube.plan.objectives import OBJECTIVES
from zcube.plan.recommendation import Recommendation, recommend
from zcube.plan.screening import SetAside, screened
from zcube.plan.search.searched import Searched
from zcube.plan.simulation import MOST_FAILED, simulated
from zcube.plan.zcube_losses import zcube_losses
from zcube.pricing.bill import NO_POWER, counting_rule
from zcube.progress import Progress, silent
from zcube.side_by_side import SideBySide

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
#: Fabrics simulated at most: what a scenario holds, less those with a failure.
MOST_SIMULATED = 32 - MOST_FAILED


@dataclass(frozen=True)
class Plan:
    """The answer to a demand.

    Attributes
    ----------
    site : Site
        The demand with its files read.
    measured : tuple of Measured
        Every fabric that was built, within the bounds or not.
    front : Front
        Who is on the front, of those within the bounds.
    recommendation : Recommendation or None
        None where nothing meets the demand.
    baseline : str or None
        Fabric with which all are compared: the cheapest two-tier spine-leaf without oversubscription, else of three tiers.
    refused : mapping of str
        Fabrics outside the demand's bounds, or that cannot be cabled, and why.
    unbuildable : tuple of Unbuildable
        What cannot be built, with the binding arithmetic.
    set_aside : tuple of SetAside
        What was not built, since others of its family are better by arithmetic.
    simulation : mapping
        Results of the scenario by fabric, of the front only; empty without a scenario.
    growth : mapping of Growth
        How the fabrics on the front and the baseline grow; empty where no later stage is asked for.
    search : mapping or None
        What a search for further fabrics did, see :meth:`~zcube.plan.search.searched.Searched.document`; None without one.
    """

    site: Site
    measured: tuple[Measured, ...]
    front: Front
    recommendation: Recommendation | None
    baseline: str | None
    refused: Mapping[str, str]
    unbuildable: tuple[Unbuildable, ...]
    set_aside: tuple[SetAside, ...]
    simulation: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    growth: Mapping[str, Growth] = field(default_factory=dict)
    search: Mapping[str, Any] | None = None

    @property
    def met(self) -> bool:
        """Whether any fabric meets the demand."""
        return self.recommendation is not None

    def nearest(self) -> list[dict[str, Any]]:
        """Return changes of the demand, each of which alone makes a fabric possible, the smallest first."""
        found: list[tuple[float, dict[str, Any]]] = []
        for one in self.unbuildable:
            for change in one.nearest:
                if _within_bounds(self.site, one.family, change):
                    named = {**change, "family": one.family, "arrangement": one.arrangement}
                    found.append((_distance(self.site, change), named))
        for built in self.measured:
            raised = _raised(self.site, built)
            if raised is not None:
                found.append((_distance(self.site, raised), {**raised, "fabric": built.candidate.name}))
        unique: dict[str, dict[str, Any]] = {}
        for _, change in sorted(found, key=lambda pair: pair[0]):
            changed = change.keys() & _CHANGED
            # Of bounds the smallest change; other keys have one entry for each value.
            key = str(sorted(changed if changed <= _BOUNDS else {(key, change[key]) for key in changed}))
            unique.setdefault(key, change)
        return list(unique.values())

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data; equal demands give equal documents. Units stand in the keys."""
        site = self.site
        return {
            "schema_version": SCHEMA_VERSION,
            "demand": site.demand.model_dump(mode="json"),
            "met": self.met,
            "price_book": {"name": site.book.name, "source": site.book.source, "covers": site.covers},
            "power_book": None if site.power == NO_POWER else {"name": site.power.name, "source": site.power.source},
            "power_rule": POWER_RULE,
            "counting_rule": counting_rule(site.demand.optics),
            "objectives": {name: _objective(name) for name in self.front.objectives},
            "recommendation": self.recommendation.document() if self.recommendation else None,
            "where_zcube_does_not_win": zcube_losses([one for one in self.measured if one.candidate.name not in self.refused]),
            "baseline": self.baseline,
            "front": list(self.front.names),
            "ties": [list(group) for group in self.front.ties],
            "fabrics": {one.candidate.name: self._fabric(one) for one in self.measured},
            "cannot_be_built": [one.document() for one in self.unbuildable],
            "set_aside": {one.candidate.name: one.document() for one in self.set_aside},
            "nearest_demands": [] if self.met else self.nearest(),
            "search": self.search,
        }

    def table(self) -> pd.DataFrame:
        """Return every figure of the fabrics but lists, a row each; a column has the document's keys, joined by points."""
        import pandas as pd

        from zcube.outputs import flat

        rows = {
            name: {key: value for key, value in flat(fabric).items() if not isinstance(value, list)}
            for name, fabric in self.document()["fabrics"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("fabric")

    def _fabric(self, one: Measured) -> dict[str, Any]:
        name = one.candidate.name
        state = (
            "on the front" if name in self.front.names else "beaten" if name in self.front.beaten_by else "outside the bounds"
        )
        if name in self.front.not_compared:
            state = "not compared"
        return {
            "family": one.candidate.family,
            "arrangement": one.candidate.arrangement,
            "oversubscription": one.candidate.oversubscription,
            "state": state,
            "beaten_by": self.front.beaten_by.get(name),
            "refused": self.refused.get(name),
            "against_baseline": self._against_baseline(one),
            **one.figures,
            "simulation": self.simulation.get(name),
            "growth": self.growth[name].document() if name in self.growth else None,
            "topology": {
                "family": one.candidate.spec.family,
                **one.candidate.spec.model_dump(mode="json", exclude_defaults=True),
            },
        }

    def _against_baseline(self, one: Measured) -> dict[str, float | None] | None:
        """Return changes against the baseline as fractions of its values."""
        base = next((other for other in self.measured if other.candidate.name == self.baseline), None)
        if base is None:
            return None
        changes: dict[str, float | None] = {}
        for name in OBJECTIVES:
            mine, theirs = one.value(name), base.value(name)
            changes[name] = None if mine is None or not theirs else mine / theirs - 1.0
        return changes


#: Keys of a demand that the nearest demand may change.
_BOUNDS = {"budget_usd", "max_power_w", "hosts_forward"}
_CHANGED = {"gpus", "switch", "gpus_per_server"} | _BOUNDS


def _objective(name: str) -> dict[str, Any]:
    one = OBJECTIVES[name]
    return {
        "label": one.label,
        "unit": one.unit,
        "better": one.better,
        "tolerance": one.tolerance,
        "definition": one.definition,
    }


def _distance(site: Site, change: Mapping[str, Any]) -> float:
    """Return how far a change of the demand is, as the logarithm of a ratio."""
    if "gpus" in change:
        return abs(math.log(change["gpus"] / site.demand.gpus))
    if "switch" in change:
        entry = site.catalogue.switch[change["switch"]]
        most = max(spec.ports * spec.port_gbps for spec in site.switches.values())
        return abs(math.log(entry.ports * entry.port_gbps / most))
    bounds = {key: getattr(site.demand, key) for key in ("budget_usd", "max_power_w")}
    far = sum(math.log(change[key] / bound) for key, bound in bounds.items() if key in change)
    return far + change.get("hosts_forward", False)


def _raised(site: Site, one: Measured) -> dict[str, Any] | None:
    """Return the bounds with which a fabric would meet the demand, None where it is not known what it comes to."""
    changes: dict[str, Any] = {}
    if _needs_hosts(site, one.candidate.family):
        changes["hosts_forward"] = True
    for key, objective, _ in _BOUNDED:
        bound, value = getattr(site.demand, key), one.value(objective)
        if bound is None:
            continue
        if value is None:
            return None
        if value > bound:
            changes[key] = math.ceil(value)
    return changes or None


def _within_bounds(site: Site, family: str, change: Mapping[str, Any]) -> bool:
    """Return whether a family has a fabric within the bounds of a changed demand, by its bill."""
    demand = site.demand.model_copy(update={"growth": (), "families": (family,), **change})
    if demand.budget_usd is None and demand.max_power_w is None:
        return not _needs_hosts(site, family)
    switches = (
        {name: site.catalogue.switch[name].spec(name) for name in [change["switch"]]} if "switch" in change else site.switches
    )
    changed = replace(site, demand=demand, switches=switches)
    measuring, (candidates, _) = Measuring(changed), candidates_of(changed)
    for candidate in screened(candidates)[0]:
        try:
            if _outside(changed, Measured(candidate, measuring.bill(candidate))) is None:
                return True
        except InputError:
            continue
    return False


def _needs_hosts(site: Site, family: str) -> bool:
    return family == "bcube" and not site.demand.hosts_forward


#: Bounds of a demand: the key, the objective, its unit.
_BOUNDED = (("budget_usd", "capital_usd", "USD"), ("max_power_w", "power_w", "W"))


def plan(site: Site, progress: Progress = silent, searched: Searched | None = None, jobs: int | None = 1) -> Plan:
    """Answer a demand.

    Parameters
    ----------
    site : Site
        From :func:`~zcube.plan.demand.load_demand`.
    progress : Progress
        Told what is under way and how much of it is done.
    searched : Searched, optional
        What a search found; it is measured and compared like what the families have.
    jobs : int, optional
        Fabrics measured, grown and simulated at a time; None: what pays, see :func:`zcube.side_by_side.jobs_for`.

    Raises
    ------
    InputError
        If the scenario does not fit the fabrics of the front.
    """
    progress("counting candidates", 0, 0, "")
    candidates, unbuildable = candidates_of(site)
    chosen, aside = screened(candidates)
    if searched is not None:
        chosen += searched.candidates()
    with SideBySide(fabrics_at_once(site, chosen, jobs), "zcube.plan.growing") as beside:
        measured, refused = measure_all(site, chosen, progress, beside)
        refused |= {one.candidate.name: reason for one in measured if (reason := _outside(site, one)) is not None}
        baseline = _baseline(measured)
        within = [one for one in measured if one.candidate.name not in refused]
        front = front_of(within, site.demand.objectives)
        growing = [one for one in measured if one.candidate.name in front.names or one.candidate.name == baseline]
        growth = grown(site, growing, progress, beside)
    advice = recommend(front, measured, site.demand.max_oversubscription, baseline, growth)
    simulation: Mapping[str, Mapping[str, Any]] = {}
    if site.scenario is not None and advice is not None:
        once = _once(front, within, advice.name)
        simulation = simulated(once, _failures(within), site.scenario, site.demand, progress, jobs)
    return Plan(
        site,
        tuple(measured),
        front,
        advice,
        baseline,
        refused,
        tuple(unbuildable),
        tuple(aside),
        simulation,
        growth,
        None if searched is None else searched.document(chosen),
    )


def _outside(site: Site, one: Measured) -> str | None:
    """Return which bound of the demand a fabric breaks, None where it keeps all."""
    demand = site.demand
    if _needs_hosts(site, one.candidate.family):
        return "its servers pass on what is meant for others, which hosts_forward = false rules out"
    for key, objective, unit in _BOUNDED:
        bound, value = getattr(demand, key), one.value(objective)
        if bound is None:
            continue
        if value is None:
            return f"{key} = {bound:,.0f} {unit}: it is not known what it comes to"
        if value > bound:
            return f"{value:,.0f} {unit}, more than {key} = {bound:,.0f}"
    return None


def _baseline(measured: Sequence[Measured]) -> str | None:
    """Return the spine-leaf without oversubscription of fewest tiers, then of fewest switch ports."""
    rows = [
        (one.candidate.kind, len(one.candidate.switches), one.candidate.switch_ports, one.candidate.name)
        for one in measured
        if one.candidate.family == "spine-leaf" and one.candidate.oversubscription <= 1.0
    ]
    return min(rows)[3] if rows else None


def _once(front: Front, measured: Sequence[Measured], chosen: str) -> list[Measured]:
    """Return the fabrics on the front, one of each tie, the one that was chosen first."""
    passed = {name for group in front.ties for name in group if name != (chosen if chosen in group else group[0])}
    by_name = {one.candidate.name: one for one in measured}
    names = [chosen, *(name for name in front.names if name not in passed | {chosen})]
    return [by_name[name] for name in names][:MOST_SIMULATED]


def _failures(measured: Sequence[Measured]) -> dict[str, str]:
    """Return the switch whose failure was measured, of each fabric."""
    return {
        one.candidate.name: f"switch:{failure['switch']}" for one in measured if (failure := one.figures["failure"]) is not None
    }
