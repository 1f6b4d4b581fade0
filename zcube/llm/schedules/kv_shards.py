"""Who sends which units of a cache: whole layers of latents, or heads of keys and values sliced by tensor parallelism.

Latents and indexer keys are whole on every rank, and the rank map says which of them sends. Heads of keys and values, and of a
linear layer's state, are sliced: of K heads rank r of T has ``K / T``, or where there are fewer heads than ranks head
``r * K // T``, which ``T / K`` ranks then hold alike. A decode rank takes every head it needs from the prefill rank that holds
it; of several holders, from the one with its own place among them, so that equal layouts send from GPU i to GPU i (SGLang's
disaggregation does so for caches other than MLA's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from zcube.llm.kv import CachePart
from zcube.llm.rankmap import RankMap, Send


class UnitSend(NamedTuple):
    """One GPU-to-GPU transfer: GPUs in their nodes, and units of every part of the cache."""

    source_rank: int
    target_rank: int
    units: tuple[int, ...]


def unit_sends(ranks: RankMap, parts: Sequence[CachePart], source_rank: int, target_rank: int) -> list[UnitSend]:
    """Return the transfers of a request held by two data-parallel ranks, in the order of the rank map's.

    Parameters
    ----------
    ranks : RankMap
        Layouts, and who sends what is whole everywhere.
    parts : sequence of CachePart
        What a model keeps.
    source_rank, target_rank : int
        Data-parallel ranks of prefill and decode node.
    """
    if ranks.prefill_stages > 1 or ranks.decode_stages > 1:
        return _between_stages(ranks, parts, source_rank, target_rank)
    source, target = source_rank if ranks.prefill_dp > 1 else 0, target_rank if ranks.decode_dp > 1 else 0
    sends = ranks.sends(source, target)
    sliced = [part.heads > 1 and not ranks.single_pair and max(ranks.prefill_tp, ranks.decode_tp) > 1 for part in parts]
    found: dict[tuple[int, int], list[int]] = {(send.source_rank, send.target_rank): [0] * len(parts) for send in sends}
    for number, part in enumerate(parts):
        if sliced[number]:
            for pair, units in _head_sends(ranks, part, sends).items():
                found.setdefault(pair, [0] * len(parts))[number] = units
        else:
            for pair, units in _whole_sends(sends, part.units).items():
                found[pair][number] = units
    return [UnitSend(*pair, tuple(units)) for pair, units in found.items() if any(units)]


def _between_stages(ranks: RankMap, parts: Sequence[CachePart], source_rank: int, target_rank: int) -> list[UnitSend]:
    """Return the transfers of pipelines: of every pair of stages that share layers, as between nodes that have these alone.

    Layers of each part are dealt to stages in proportion (inferred: kinds of layers alternate).
    """
    pairs = [(out, into, share) for into, sharers in enumerate(ranks.stage_pairs()) for out, share in sharers]
    alone = replace(ranks, prefill_stages=1, decode_stages=1)
    dealt = [_dealt([share for _, _, share in pairs], part.layers) for part in parts]
    return [
        UnitSend(out * ranks.prefill_gpus + send.source_rank, into * ranks.decode_gpus + send.target_rank, send.units)
        for number, (out, into, _) in enumerate(pairs)
        for send in unit_sends(
            alone, [replace(part, layers=dealt[at][number]) for at, part in enumerate(parts)], source_rank, target_rank
        )
    ]


def _whole_sends(sends: Sequence[Send], units: int) -> dict[tuple[int, int], int]:
    """Deal a part's units to those who send to one GPU, by their fractions of a copy."""
    found = {}
    for target, to_one in groupby(sends, key=lambda send: send.target_rank):
        those = list(to_one)
        for send, share in zip(those, _dealt([send.fraction for send in those], units), strict=True):
            found[send.source_rank, target] = share
    return found


def _head_sends(ranks: RankMap, part: CachePart, sends: Sequence[Send]) -> dict[tuple[int, int], int]:
    """Return the units that each pair of GPUs carries: heads by tensor-parallel rank, layers by context-parallel one."""
    found: dict[tuple[int, int], int] = {}
    first_source, first_target = (min(send[end] for send in map(_ends, sends)) for end in (0, 1))
    for rank in range(ranks.decode_tp):
        to_rank = [send for send in sends if send.target_rank == first_target + rank]
        groups = [(send.source_rank - first_source) // ranks.prefill_tp * ranks.prefill_tp for send in to_rank]
        layers = _dealt([send.fraction for send in to_rank], part.layers)
        for head in _held(rank, ranks.decode_tp, part.heads):
            holders = [holder for holder in range(ranks.prefill_tp) if head in _held(holder, ranks.prefill_tp, part.heads)]
            takers = [taker for taker in range(ranks.decode_tp) if head in _held(taker, ranks.decode_tp, part.heads)]
            holder = holders[takers.index(rank) * len(holders) // len(takers)]
            for group, share in zip(groups, layers, strict=True):
                pair = first_source + group + holder, first_target + rank
                found[pair] = found.get(pair, 0) + share
    return found


def _ends(send: Send) -> tuple[int, int]:
    return send.source_rank, send.target_rank


def _dealt(fractions: Sequence[float], units: int) -> list[int]:
    """Return whole shares of some units by fractions that are one copy together, none left over."""
    edges = [0, *(round(done * units) for done in accumulate(fractions))]
    return [after - before for before, after in pairwise(edges)]


def _held(rank: int, ranks: int, heads: int) -> range:
    """Return the heads of a tensor-parallel rank."""
    if heads >= ranks:
        return range(rank * heads // ranks, (rank + 1) * heads // ranks)
    head = rank * heads // ranks
    return range(head, head + 1)
