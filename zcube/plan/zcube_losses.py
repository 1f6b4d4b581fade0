"""Where ZCube does not win: every objective in which another fabric is better than the best of all ZCubes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zcube.plan.measures import Measured
from zcube.plan.objectives import OBJECTIVES, shown

#: What families of ZCube are called, pods and further levels among them.
FAMILY = "zcube"


def zcube_losses(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return each objective that no ZCube leads, with both values and a sentence; empty where there is no ZCube to compare.

    Parameters
    ----------
    measured : sequence of Measured
        Fabrics within the demand's bounds.
    """
    ours = [one for one in measured if one.candidate.family.startswith(FAMILY)]
    found = []
    for name, objective in OBJECTIVES.items():
        ranked = [
            sorted(
                ((objective.cost(value), place) for place, one in enumerate(group) if (value := one.value(name)) is not None)
            )
            for group in (ours, measured)
        ]
        if not all(ranked):
            continue
        zcube, best = ours[ranked[0][0][1]], measured[ranked[1][0][1]]
        mine, theirs = zcube.value(name), best.value(name)
        assert mine is not None and theirs is not None  # only known ones were ranked
        if not objective.worse(mine, theirs):
            continue
        unit = f" {objective.unit}" if objective.unit else ""
        figures = f"{shown(theirs)} against {shown(mine)}{unit} of {zcube.candidate.name}"
        found.append(
            {
                "objective": name,
                "best": best.candidate.name,
                "value": theirs,
                "zcube": zcube.candidate.name,
                "zcube_value": mine,
                "words": f"{objective.label} ({best.candidate.name} {figures})",
            }
        )
    return found
