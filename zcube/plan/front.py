"""The Pareto front: fabrics that none beats in every objective. What another seed could turn round is a tie, not a win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zcube.plan.measures import Measured
from zcube.plan.objectives import OBJECTIVES


@dataclass(frozen=True)
class Front:
    """Who is on the front, and who is not.

    Attributes
    ----------
    objectives : tuple of str
        Those that could be compared: known of at least one fabric.
    names : tuple of str
        Fabrics on the front, in the order of the first objective, then of the others.
    ties : tuple of tuple of str
        Fabrics on the front that are equal in every objective, two or more together.
    beaten_by : mapping of str
        One that beats it, for each of the others.
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

    One beats another if it is no worse in any objective and better in one, values being compared on the grid of each
    (:class:`~zcube.plan.objectives.Objective`).

    Parameters
    ----------
    measured : sequence of Measured
        What was built and is within the demand's bounds.
    objectives : sequence of str
        Keys of :data:`~zcube.plan.objectives.OBJECTIVES`.
    """
    known = tuple(name for name in objectives if any(one.value(name) is not None for one in measured))
    not_compared, ranks = {}, {}
    for one in measured:
        values = {name: one.value(name) for name in known}
        lost = [name for name, value in values.items() if value is None]
        if lost:
            not_compared[one.candidate.name] = ", ".join(lost)
        else:
            ranks[one.candidate.name] = tuple(
                OBJECTIVES[name].rank(value) for name, value in values.items() if value is not None
            )
    beaten_by = {}
    for name, rank in ranks.items():
        better = [(its, other) for other, its in ranks.items() if its != rank and all(a <= b for a, b in zip(its, rank))]
        # Of those that beat it the first in order, which none beats.
        if better:
            beaten_by[name] = min(better)[1]
    names = sorted((name for name in ranks if name not in beaten_by), key=lambda name: ranks[name])
    alike: dict[tuple[float, ...], list[str]] = {}
    for name in names:
        alike.setdefault(ranks[name], []).append(name)
    ties = tuple(tuple(group) for group in alike.values() if len(group) > 1)
    return Front(known, tuple(names), ties, beaten_by, not_compared)
