"""What the later stages say for and against a fabric, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from zcube.plan.growing import Growth
from zcube.plan.objectives import shown

_TOO_LARGE = "is too large for its moves to be worked out"


def growth_order(one: Growth) -> tuple[float, ...]:
    """Return what says which of two fabrics grows better, least first: how far, for how much, with which moves."""
    least_first = (one.total_usd, one.cut_off_steps, one.replugged)
    return (
        0.0 if one.stopped_at is None else -one.stopped_at,
        *(math.inf if value is None else value for value in least_first),
    )


def growth_words(name: str, tied: Sequence[str], growth: Mapping[str, Growth]) -> Iterator[str]:
    """Yield sentences on how a fabric grows, beside the others.

    Parameters
    ----------
    name : str
        The fabric.
    tied : sequence of str
        Its equals, which are left out.
    growth : mapping of Growth
        Of it and of the others.
    """
    mine = growth[name]
    others = {other: one for other, one in growth.items() if other != name and other not in tied}
    if mine.stopped_at is not None:
        yield f"It cannot be grown to {mine.stopped_at:,} GPUs: {mine.why}."
        able = [other for other, one in others.items() if one.stopped_at is None]
        if able:
            best = min(able, key=lambda other: growth_order(others[other]))
            cost = others[best].total_usd
            yield f"If growth is sure: {best} can{'' if cost is None else f', for {shown(cost)} USD over all stages'}."
        return
    last = mine.stages[-1].fabric.gpus
    windows, cost = mine.cut_off_steps, mine.total_usd
    if windows is None:
        moves = f"it {_TOO_LARGE}"
    else:
        reach = f"{windows:,} steps cut GPUs in service off" if windows else "no GPU in service is cut off"
        moves = f"{mine.replugged:,} links are replugged, {reach}"
    price = "at a cost that is not known" if cost is None else f"for {shown(cost)} USD over all stages, the first included"
    yield f"It grows to {last:,} GPUs {price}; {moves}."
    cheaper = {other: total for other, one in others.items() if (total := one.total_usd) is not None and cost is not None}
    if not cheaper or cost is None:
        return
    best = min(cheaper, key=cheaper.__getitem__)
    if cheaper[best] < cost:
        replugged = others[best].replugged
        moves = _TOO_LARGE if replugged is None else f"replugs {replugged:,} links"
        yield f"If growth is sure: {best} costs {shown(cheaper[best])} USD over all stages and {moves}."
    else:
        yield f"Growth does not change the choice: the next, {best}, comes to {shown(cheaper[best])} USD over all stages."
