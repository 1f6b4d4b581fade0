"""The answer in words: which fabric, the figures that decide, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.plan.front import Front
from zcube.plan.growing import Growth
from zcube.plan.growth_words import growth_order, growth_words
from zcube.plan.measures import Measured
from zcube.plan.objectives import OBJECTIVES, shown

NO_GROWTH: Mapping[str, Growth] = {}
#: Figures that a recommendation names.
DECIDING = 3
#: Part of the bisection that may be missing from what the demand allows before a fabric is passed over.
SLACK = 0.01


@dataclass(frozen=True)
class Recommendation:
    """A fabric, and why.

    Attributes
    ----------
    name : str
        The fabric.
    rule : str
        How it was chosen from the front.
    against : str or None
        The fabric it is compared with; None if there is no other.
    deciding : tuple of mapping
        The figures that decide: objective, value of both, change as a fraction of the other's.
    worse : tuple of mapping
        Where it is worse than the other, in the same form.
    would_change : tuple of str
        What would change it, a sentence each.
    tied_with : tuple of str
        Fabrics equal to it in every objective.
    growth : tuple of str
        What the later stages say for and against it, a sentence each; empty where none is asked for.
    """

    name: str
    rule: str
    against: str | None
    deciding: tuple[Mapping[str, Any], ...]
    worse: tuple[Mapping[str, Any], ...]
    would_change: tuple[str, ...]
    tied_with: tuple[str, ...]
    growth: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it, JSON-ready."""
        return {
            "fabric": self.name,
            "rule": self.rule,
            "against": self.against,
            "deciding": [dict(one) for one in self.deciding],
            "worse": [dict(one) for one in self.worse],
            "would_change": list(self.would_change),
            "tied_with": list(self.tied_with),
            "growth": list(self.growth),
            "words": self.words(),
        }

    def words(self) -> list[str]:
        """Return the recommendation as sentences."""
        lines = [f"Take {self.name}: {self.rule}."]
        if self.tied_with:
            verb = "is" if len(self.tied_with) == 1 else "are"
            lines.append(f"A tie: {', '.join(self.tied_with)} {verb} equal in every objective.")
        if self.worse:
            lines.append(f"It is worse in {'; '.join(map(_figure, self.worse))}, than {self.against}.")
        if self.deciding:
            lines.append(f"Against {self.against}: {'; '.join(map(_figure, self.deciding))}.")
        return [*lines, *self.growth, *self.would_change]


def recommend(
    front: Front,
    measured: Sequence[Measured],
    max_oversubscription: float,
    baseline: str | None,
    growth: Mapping[str, Growth] = NO_GROWTH,
) -> Recommendation | None:
    """Choose from the front.

    The rule: best in the first objective among the fabrics whose bisection is at least what the demanded oversubscription
    leaves; of those equal in every objective the one that grows best, else the first.

    Parameters
    ----------
    front : Front
        Where it is chosen from.
    measured : sequence of Measured
        Its fabrics and others, the baseline among them, within the bounds or not.
    max_oversubscription : float
        Of the demand.
    baseline : str, optional
        Fabric to compare with; another of the front where it is the one chosen.
    growth : mapping of Growth
        How the fabrics of the front grow, where later stages are asked for.
    """
    if not front.names:
        return None
    by_name = {one.candidate.name: one for one in measured}
    least = 1.0 / max_oversubscription - SLACK
    wide = [name for name in front.names if (by_name[name].value("bisection") or 1.0) >= least]
    name = (wide or list(front.names))[0]
    equal = next((group for group in front.ties if name in group), (name,))
    if growth:
        name = min((other for other in equal if other in growth), key=lambda other: growth_order(growth[other]), default=name)
    chosen = by_name[name]
    first = OBJECTIVES[front.objectives[0]]
    bound = f"a bisection of {1 / max_oversubscription:.2g} of the NIC rate"
    rule = f"best in {first.label} of those on the front with at least {bound}"
    if not wide:
        rule = f"best in {first.label} on the front; none has {bound}"
    if growth and len(equal) > 1:
        rule += ", and of its equals best to grow"
    tied = tuple(other for other in equal if other != name)
    said = tuple(growth_words(name, tied, growth)) if name in growth else ()
    others = [other for other in front.names if other != name and other not in tied]
    against = baseline if baseline not in (None, name) else next(iter(others), None)
    if against is None:
        return Recommendation(name, rule, None, (), (), (), tied, said)
    figures = list(_figures(chosen, by_name[against], (*front.objectives, "switch_ports", "bisection", "worst_share")))
    better = sorted((one for one in figures if one["better"]), key=lambda one: -abs(one["change"] or 0.0))
    worse = sorted((one for one in figures if one["better"] is False), key=lambda one: -abs(one["change"] or 0.0))
    changes = [*_other_weights(chosen, [by_name[other] for other in others], front), *_other_prices(chosen, by_name, front)]
    return Recommendation(name, rule, against, tuple(better[:DECIDING]), tuple(worse[:DECIDING]), tuple(changes), tied, said)


def _figures(chosen: Measured, other: Measured, names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(names):
        mine, theirs = chosen.value(name), other.value(name)
        if mine is None or theirs is None:
            continue
        objective = OBJECTIVES[name]
        better, worse = objective.worse(theirs, mine), objective.worse(mine, theirs)
        found.append(
            {
                "objective": name,
                "value": mine,
                "other": theirs,
                "change": mine / theirs - 1.0 if theirs else None,
                "better": better if better or worse else None,
            }
        )
    return found


def _figure(one: Mapping[str, Any]) -> str:
    objective = OBJECTIVES[one["objective"]]
    unit = f" {objective.unit}" if objective.unit else ""
    change = "" if one["change"] is None else f" ({100 * one['change']:+.1f} %)"
    return f"{objective.label} {shown(one['value'])} against {shown(one['other'])}{unit}{change}"


def _other_weights(chosen: Measured, others: Sequence[Measured], front: Front) -> list[str]:
    """Return, for each objective in which another of the front is best, what that one gives and takes."""
    lines = []
    first = front.objectives[0]
    for name in front.objectives[1:]:
        objective = OBJECTIVES[name]
        mine = chosen.value(name)
        rivals = [(objective.cost(value), one, value) for one in others if (value := one.value(name)) is not None]
        if mine is None or not rivals:
            continue
        _, rival, value = min(rivals, key=lambda row: row[0])
        cost, base = rival.value(first), chosen.value(first)
        if not objective.worse(mine, value) or cost is None or base is None:
            continue
        extra = f"{shown(cost)} against {shown(base)} {OBJECTIVES[first].unit} of {OBJECTIVES[first].label}".replace("  ", " ")
        lines.append(
            f"If {objective.label} counts more: {rival.candidate.name} has {shown(value)} against {shown(mine)}"
            f"{' ' + objective.unit if objective.unit else ''}, for {extra}."
        )
    return lines


def _other_prices(chosen: Measured, by_name: Mapping[str, Measured], front: Front) -> list[str]:
    """Return at which ratio of module prices to switch prices another family would cost less."""
    if "capital_usd" not in front.objectives:
        return []
    mine = _parts(chosen)
    rivals = []
    for name in (*front.names, *front.beaten_by):
        one = by_name[name]
        theirs = _parts(one)
        if one.candidate.family == chosen.candidate.family or mine is None or theirs is None:
            continue
        # Factor on the prices of optics, those of switches as they are, at which both cost the same.
        switch, optics = theirs[0] - mine[0], mine[1] - theirs[1]
        factor = switch / optics if optics else -1.0
        if factor > 0:
            rivals.append((abs(factor - 1), factor, one.candidate.name, switch > 0))
    if not rivals:
        return (
            ["No ratio of the prices of optics to those of switches makes a fabric of another family cheaper."] if mine else []
        )
    _, factor, name, dearer = min(rivals)
    return [f"If optics cost {'more' if dearer else 'less'} than {factor:.2g} times the price book's, {name} would be cheaper."]


def _parts(one: Measured) -> tuple[float, float] | None:
    """Return what switches and optics cost, None where that is not known."""
    cost = one.figures["cost"]
    switch, optics = cost["switch_usd"], cost["optics_usd"]
    return None if switch is None or optics is None else (switch, optics)
