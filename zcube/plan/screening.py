"""Which candidates are worth building: those that no other of their family beats in arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zcube.plan.candidate import Candidate

#: Candidates built of one family, wiring and choice of switch models: those with fewest switches.
MOST_ALIKE = 3


@dataclass(frozen=True)
class SetAside:
    """A candidate that is not built, and why."""

    candidate: Candidate
    reason: str

    def document(self) -> dict[str, Any]:
        """Return it, JSON-ready."""
        return {**self.candidate.document(), "reason": self.reason}


def screened(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[SetAside]]:
    """Part candidates into those to be built and those set aside.

    Two are compared only where they are alike: of one family, wiring and switch models. One that has no fewer switches,
    cables, oversubscription and NIC ports on one switch than another, and more of one of them, is set aside; so are all but
    :data:`MOST_ALIKE` of those that are left, fewest switches first.
    """
    kept: list[Candidate] = []
    aside: list[SetAside] = []
    for _, group in groupby(sorted(candidates, key=_kind), key=_kind):
        alike = sorted(group, key=_axes)
        best: list[Candidate] = []
        for one in alike:
            better = next((other for other in best if _no_worse(other, one)), None)
            if better is not None:
                aside.append(
                    SetAside(one, f"{better.name} has no more switches, cables, oversubscription and GPUs on a switch")
                )
            elif len(best) == MOST_ALIKE:
                aside.append(SetAside(one, f"{MOST_ALIKE} of its family have fewer switches, {best[-1].name} the most of them"))
            else:
                best.append(one)
        kept += best
    place = {one.name: number for number, one in enumerate(candidates)}
    return sorted(kept, key=lambda one: place[one.name]), sorted(aside, key=lambda one: place[one.candidate.name])


def _kind(one: Candidate) -> tuple[str, ...]:
    return (one.family, one.traffic, one.kind, *sorted(one.switches))


def _axes(one: Candidate) -> tuple[float, ...]:
    return (one.switch_count, one.switch_links + one.nic_links, one.oversubscription, one.gpus_per_switch)


def _no_worse(one: Candidate, other: Candidate) -> bool:
    return all(mine <= theirs for mine, theirs in zip(_axes(one), _axes(other)))
