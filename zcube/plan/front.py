"""The Pareto front: fabrics that none beats in every objective. What another seed could turn round is a tie, not a win."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zcube.plan.measures import Measured
from zcube.plan.objectives import OBJECTIVES, Objective


@dataclass(frozen=True)
class Front:
    """Who is on the front, and who is not.

    Attributes
    ----------
    objectives : tuple of str
        Those that could be compared: known of at least one fabric.
    names : tuple of str
        Fabrics on the front, best in the first objective first, equal ones in the order in which they were given.
    ties : tuple of tuple of str
        Fabrics on the front that are equal in every objective, two or more together.
    beaten_by : mapping of str
        One that beats it, for each of the others: one on the front.
    not_compared : mapping of str
        Fabrics of which an objective is not known, and which.
    """

    objectives: tuple[str, ...]
    names: tuple[str, ...]
    ties: tuple[tuple[str, ...], ...]
    beaten_by: Mapping[str, str]
    not_compared: Mapping[str, str]


def front_of(measured: Sequence[Measured], objectives: Sequence[str]) -> Front:
    """Return the front of measured fabrics.

    One beats another if it is worse in no objective and better in one, each beyond the objective's tolerance
    (:class:`~zcube.plan.objectives.Objective`).

    Parameters
    ----------
    measured : sequence of Measured
        What was built and is within the demand's bounds.
    objectives : sequence of str
        Keys of :data:`~zcube.plan.objectives.OBJECTIVES`.
    """
    known = tuple(name for name in objectives if any(one.value(name) is not None for one in measured))
    criteria = [OBJECTIVES[name] for name in known]
    values: dict[str, Values] = {}
    not_compared = {}
    for one in measured:
        found = {name: one.value(name) for name in known}
        if lost := [name for name, value in found.items() if value is None]:
            not_compared[one.candidate.name] = ", ".join(lost)
        else:
            values[one.candidate.name] = [value for value in found.values() if value is not None]
    front: list[str] = []
    for name, row in values.items():
        if not any(beats(criteria, values[other], row) for other in front):
            front = [*(other for other in front if not beats(criteria, row, values[other])), name]
    beaten_by = {}
    for name, row in values.items():
        if name not in front:
            better = (other for other in (*front, *values) if beats(criteria, values[other], row))
            beaten_by[name] = next(better)
    front.sort(key=lambda name: [one.cost(value) for one, value in zip(criteria[:1], values[name])])
    return Front(known, tuple(front), tuple(_ties(criteria, front, values)), beaten_by, not_compared)


Values = list[float]


def beats(criteria: Sequence[Objective], one: Values, other: Values) -> bool:
    """Return whether a fabric with some values beats one with others."""
    rows = list(zip(criteria, one, other))
    return not any(c.worse(a, b) for c, a, b in rows) and any(c.worse(b, a) for c, a, b in rows)


def _ties(criteria: Sequence[Objective], front: Sequence[str], values: Mapping[str, Values]) -> Iterator[tuple[str, ...]]:
    """Yield fabrics that are equal to the first of them in every objective."""
    left = list(front)
    while left:
        first = values[left[0]]
        equal = [
            name for name in left if not any(c.worse(a, b) or c.worse(b, a) for c, a, b in zip(criteria, first, values[name]))
        ]
        if len(equal) > 1:
            yield tuple(equal)
        left = [name for name in left if name not in equal]
