"""Which transfers of a serving run failures leave without a path, found before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import IntArray, distinct
from zcube.fabric.model import Fabric
from zcube.llm.cards import ModelCard
from zcube.llm.schedules.kv_plans import KvPushes
from zcube.llm.stages import stage_pairs
from zcube.routing.routes import Routing
from zcube.serving.placement import Seated, place, store_ends
from zcube.serving.settings import ServingSettings

#: Pairs routed at once, and pairs named in a document.
ROUTED_AT_ONCE, LISTED_PAIRS = 1 << 17, 10


@dataclass(frozen=True, eq=False)
class Reach:
    """Pairs of GPUs that a placement sends between, and those of them that no path joins.

    Attributes
    ----------
    gpus : int
        GPUs of the fabric.
    checked : int
        Ordered pairs between which KV or expert traffic may go.
    cut : int array
        Those without a path, as ``source * gpus + target``, ascending.
    """

    gpus: int
    checked: int
    cut: IntArray

    def carries(self, source: IntArray, target: IntArray) -> bool:
        """Return whether every one of some transfers has a path."""
        return not len(self.cut) or not np.isin(source * self.gpus + target, self.cut).any()

    def document(self, fabric: Fabric) -> dict[str, Any]:
        """Return counts and the first pairs, JSON-ready."""
        source, target = np.divmod(self.cut[:LISTED_PAIRS], self.gpus)
        return {
            "pairs": self.checked,
            "without_path": len(self.cut),
            "first_without_path": [
                {"from": fabric.node_name(one), "to": fabric.node_name(other)}
                for one, other in zip(source.tolist(), target.tolist(), strict=True)
            ],
        }


def reach_of(fabric: Fabric, routing: Routing, settings: ServingSettings, card: ModelCard) -> Reach:
    """Return which of the pairs that a run may use have a path.

    Parameters
    ----------
    fabric : Fabric
        As it is, with what has failed. Where nothing has, every pair counts as joined.
    routing : Routing
        With its fall-back.
    settings, card
        Pools, placement, rank map and model, which decide who sends to whom.
    """
    sends = settings.engine().kv_pushes(card)
    checked, cut = 0, [np.zeros(0, dtype=np.int64)]
    for source, target in _pairs(place(fabric, settings), sends, settings):
        checked += len(source)
        if fabric.cable_up.all():
            continue
        for first in range(0, len(source), ROUTED_AT_ONCE):
            some = slice(first, first + ROUTED_AT_ONCE)
            lost = routing.routes(source[some], target[some]).unreachable
            cut.append(source[some][lost] * fabric.gpus + target[some][lost])
    return Reach(fabric.gpus, checked, distinct(np.concatenate(cut)))


def _pairs(placed: Seated, pushes: KvPushes, settings: ServingSettings) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield sources and targets of KV, one prefill server after the other, of expert traffic and of the store's."""
    sends = sorted(
        {
            (source, target)
            for source_rank in range(pushes.ranks.prefill_dp)
            for target_rank in range(pushes.ranks.decode_dp)
            for source, target, _ in pushes.sends(source_rank, target_rank)
        }
    )
    out, into = np.array(sends, dtype=np.int64).reshape(-1, 2).T
    decode = np.array(placed.decode, dtype=np.int64)[:, None]
    for first in placed.prefill:
        target = (decode + into).ravel()
        yield np.tile(first + out, len(decode)), target
    for gpus in _instances(placed.prefill, settings.prefill.nodes_per_instance, placed.prefill_gpus):
        # Normal mode stays on the rail.
        one, other = np.nonzero(~np.eye(len(gpus), dtype=bool))
        yield gpus[one].ravel(), gpus[other].ravel()
    size = placed.decode_gpus
    for pool, firsts in ((settings.prefill, placed.prefill), (settings.decode, placed.decode)):
        if pool.pipeline_stages > 1:
            near, far = stage_pairs(pool.pipeline_stages, pool.stage_gpus)
            for first in firsts:
                yield first + near, first + far
    for gpus in _instances(placed.decode, settings.decode.nodes_per_instance, size):
        one, other = np.nonzero(np.repeat(np.repeat(~np.eye(len(gpus), dtype=bool), size, 0), size, 1))
        yield gpus.ravel()[one], gpus.ravel()[other]
    holders = np.array(placed.store, dtype=np.int64)
    ranks = range(placed.prefill_gpus) if pushes.ranks.prefill_dp > 1 else (None,)
    for first in placed.prefill if placed.store else ():
        for rank in ranks:
            held, there = store_ends(settings.cache, placed, holders[holders != first], first, rank)
            yield held, there
            if settings.cache.store.writes == "carried":
                yield there, held


def _instances(firsts: Sequence[int], span: int, size: int) -> Iterator[IntArray]:
    """Yield the GPUs [nodes, size] of every instance that spans nodes."""
    for first in range(0, len(firsts) if span > 1 else 0, span):
        yield np.array(firsts[first : first + span], dtype=np.int64)[:, None] + np.arange(size)
