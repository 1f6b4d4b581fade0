"""Looking for a wiring by exchanging cables of two GPUs at a time; nothing of any known wiring is put in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray, IntArray, distinct
from zcube.inputs import Declared
from zcube.plan.rewiring.loads import Spread, WiringLoads, blocks
from zcube.seeds import stream


class ExchangeSettings(Declared):
    """How long is looked for a wiring."""

    starts: int = Field(default=3, ge=1, le=1000, description="the wiring there is, then cables shuffled inside blocks")
    exchanges: int = Field(default=6000, ge=1, le=10_000_000, description="tried from each start at most")


@dataclass(frozen=True, eq=False)
class Wiring:
    """A wiring and how evenly it spreads the traffic.

    Attributes
    ----------
    cabled_as : int array [gpus]
        For every GPU the one whose NIC cables it has.
    spread : Spread
        See :class:`~zcube.plan.rewiring.loads.WiringLoads`.
    """

    cabled_as: IntArray
    spread: Spread


def wirings_found(loads: WiringLoads, settings: ExchangeSettings, seed: int, tell: Callable[[int, int], None]) -> list[Wiring]:
    """Return the best wiring from each start, the most even first, different ones only.

    Parameters
    ----------
    loads : WiringLoads
        What judges.
    settings : ExchangeSettings
        How long is looked.
    seed : int
        Of the shuffles and of the order in which exchanges are tried.
    tell : callable
        Told how many exchanges of how many were tried.
    """
    block = blocks(loads.fabric)
    found: dict[bytes, Wiring] = {}
    total = settings.starts * settings.exchanges
    for start in range(settings.starts):
        draw = stream(seed, f"wiring start {start}")
        own = np.arange(loads.fabric.gpus)
        begun = own if start == 0 else _shuffled(block, draw)
        wiring = _improved(
            loads, begun, block, draw, settings.exchanges, partial(_told, tell, start * settings.exchanges, total)
        )
        found.setdefault(wiring.cabled_as.tobytes(), wiring)
    tell(total, total)
    return sorted(found.values(), key=lambda one: one.spread)


def _told(tell: Callable[[int, int], None], before: int, total: int, tried: int) -> None:
    tell(before + tried, total)


def _shuffled(block: IntArray, draw: np.random.Generator) -> IntArray:
    """Return a random wiring in which cables stay in their blocks."""
    cabled_as = np.empty(len(block), dtype=np.int64)
    cabled_as[np.argsort(block, kind="stable")] = np.lexsort((draw.random(len(block)), block))
    return cabled_as


def _improved(
    loads: WiringLoads, begun: IntArray, block: IntArray, draw: np.random.Generator, most: int, tell: Callable[[int], None]
) -> Wiring:
    """Return what exchanges that make loads more even lead to, until none does or as many as may be were tried."""
    here = begun.copy()
    load = loads.of(here)
    spread = loads.spread(load)
    exchanges = _exchanges(loads, block)
    tried = 0
    while tried < most:
        before = spread
        for one, other in draw.permutation(exchanges).tolist():
            there = here.copy()
            there[[one, other]] = here[[other, one]]
            new: FloatArray = loads.after(load, here, there, (one, other))
            tried += 1
            if (after := loads.spread(new)) < spread:
                here, load, spread = there, new, after
            if tried % 64 == 0:
                tell(min(tried, most))
            if tried >= most:
                break
        if spread == before:
            break
    return Wiring(here, loads.spread(loads.of(here)))


def _exchanges(loads: WiringLoads, block: IntArray) -> IntArray:
    """Return the pairs of GPUs of one block of which one at least sends or receives [exchanges, 2]."""
    busy = distinct(np.concatenate([loads.pairs.source, loads.pairs.target]))
    is_busy = np.zeros(len(block), dtype=bool)
    is_busy[busy] = True
    rows = []
    for gpu in busy.tolist():
        others = np.flatnonzero(block == block[gpu])
        others = others[(others != gpu) & (~is_busy[others] | (others > gpu))]
        rows.append(np.column_stack([np.full(len(others), gpu), others]))
    return np.concatenate(rows)
