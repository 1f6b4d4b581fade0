"""Whether a search still finds better fabrics: the hypervolume of its front after each generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.plan.front import beats
from zcube.plan.objectives import Objective
from zcube.plan.search.state import Found

#: Called settled: the hypervolume rose by no more than this part of its last value in the last part of the generations, of
#: which there were at least so many in all.
MOST_RISE, LAST_PART, LEAST_GENERATIONS = 0.01, 0.25, 20
#: How far beyond the worst of the front the reference lies, as a part of the front's extent in each objective.
BEYOND = 0.1
#: Objectives beyond which no hypervolume is worked out, and generations at which it is, at most: it grows steeply with both.
MOST_OBJECTIVES, MOST_MARKS = 6, 64


def settling(found: Sequence[Found], reached: Sequence[int], criteria: Sequence[Objective]) -> dict[str, Any]:
    """Return the hypervolume over generations and what it says, JSON-ready.

    Objectives are scaled so that the last front reaches from 0 to 1; the hypervolume is the part of the box from 0 to 1.1 that
    the fabrics found so far beat. Its values compare within one search, not between searches.

    Parameters
    ----------
    found : sequence of Found
        Every graph that was measured, in the order in which they were found.
    reached : sequence of int
        How many of them there were after each generation.
    criteria : sequence of Objective
        What decides.
    """
    last = len(reached) - 1
    marks = sorted({round(mark) for mark in np.linspace(0, last, min(len(reached), MOST_MARKS))} | {_before_last_part(last)})
    fronts = [_front(found[: reached[mark]], criteria) for mark in marks]
    if not fronts[-1] or len(criteria) > MOST_OBJECTIVES:
        why = "Whether the search has settled is not known: nothing that meets the demand, or too many objectives."
        return {"hypervolume": None, "rise": None, "since_generation": None, "verdict": "not known", "words": why}
    rows = [np.array([[c.cost(value) for c, value in zip(criteria, one)] for one in front]) for front in fronts]
    volumes = _volumes(rows)
    since = _before_last_part(last)
    rise = 1.0 - volumes[marks.index(since)] / volumes[-1]
    verdict = "settled" if rise <= MOST_RISE else "still improving"
    if last < LEAST_GENERATIONS:
        verdict = "too few generations to tell"
    words = f"Hypervolume of the search's front since generation {since} of {last}: {100 * rise:+.1f} % of its last; {verdict}."
    return {
        "hypervolume": [{"generation": mark, "part": volume} for mark, volume in zip(marks, volumes)],
        "rise": rise,
        "since_generation": since,
        "verdict": verdict,
        "words": words,
    }


def _before_last_part(last: int) -> int:
    return last - round(last * LAST_PART)


def _front(found: Sequence[Found], criteria: Sequence[Objective]) -> list[tuple[float, ...]]:
    front: list[tuple[float, ...]] = []
    for row in (one.values for one in found if one.lacking == 0):
        if not any(beats(criteria, list(other), list(row)) for other in front):
            front = [*(other for other in front if not beats(criteria, list(row), list(other))), row]
    return front


def _volumes(fronts: Sequence[FloatArray]) -> list[float]:
    """Return the hypervolume of each front, as a part of the box up to the reference."""
    from pymoo.indicators.hv import HV

    low, high = fronts[-1].min(axis=0), fronts[-1].max(axis=0)
    extent = np.where(high > low, high - low, 1.0)
    side = 1.0 + BEYOND
    measured = HV(ref_point=np.full(len(low), side))
    # Below 0 lie earlier values equal within their tolerance to one that took their place.
    scaled = [np.maximum(0.0, (front - low) / extent) for front in fronts if len(front)]
    found = iter([float(measured(front)) / side ** len(low) for front in scaled])
    return [next(found) if len(front) else 0.0 for front in fronts]
