"""Which GPU holds which experts, and how much more than the mean the fullest one has to do.

Experts lie over the GPUs in order, or as DeepSeek's expert-parallel load balancer places them (EPLB, deepseek-ai/EPLB, whose
service has 32 copies among 256 experts): copies go one by one to the expert with the most load a copy, then experts and
copies, heaviest first, to the GPU with the least load that has room. Where the nodes divide the model's groups of experts,
groups are packed to nodes first and copies made within each ("hierarchical"), else all GPUs are one pack ("global").

The balancer is taken to know the load; DeepSeek estimates it from the past. Loads of single batches, which scatter about the
mean, are left out.
"""

from __future__ import annotations

from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.seeds import stream

#: Exponents of the balances that are not even; names as in the compute model.
POWER_LAWS = {"power_law_1.01": 1.01, "power_law_1.2": 1.2}
#: Most popular over least popular expert as a share of the tokens (NVIDIA aiconfigurator's benchmark).
TALLEST_SHARE = 0.8
#: Layers whose loads are drawn for the mean of the fullest GPU.
_DRAWN_LAYERS = 32


class Placed(NamedTuple):
    """What a GPU holds of a layer: experts and copies, and the fullest one's load over the mean."""

    slots: float
    imbalance: float


class Replicas(NamedTuple):
    """Experts and copies, in order of GPUs, each with as many: which expert it is, and its GPU."""

    expert: IntArray
    gpu: IntArray


def popularity(experts: int, balance: str, tokens: float, random: np.random.Generator) -> FloatArray:
    """Return shares of the load, a bounded power law between 1 and ``0.8 * tokens`` (NVIDIA aiconfigurator's benchmark)."""
    power = 1.0 - POWER_LAWS[balance]
    tallest = (TALLEST_SHARE * tokens) ** power
    drawn: FloatArray = ((tallest - 1.0) * random.random(experts) + 1.0) ** (1.0 / power)
    return drawn / drawn.sum()


def balanced(load: FloatArray, slots: int, groups: int, nodes: int, gpus: int) -> Replicas:
    """Return the placement of DeepSeek's load balancer.

    Parameters
    ----------
    load : float array [experts]
        Of each expert.
    slots : int
        Experts and copies, a multiple of ``gpus``.
    groups : int
        Groups of experts that the router chooses among, in order.
    nodes, gpus : int
        Nodes, and GPUs of all nodes.
    """
    if groups % nodes:
        groups = nodes = 1
    of_group = len(load) // groups
    group_node = packed(load.reshape(groups, of_group).sum(axis=1), nodes)
    expert, gpu = [], []
    for node in range(nodes):
        own = np.flatnonzero(np.repeat(group_node == node, of_group))
        copies = own[copied(load[own], slots // nodes)]
        counts = np.bincount(copies, minlength=len(load))
        place = packed((load / np.maximum(counts, 1))[copies], gpus // nodes)
        order = np.argsort(place, kind="stable")
        expert.append(copies[order])
        gpu.append(place[order] + node * (gpus // nodes))
    return Replicas(np.concatenate(expert), np.concatenate(gpu))


def copied(load: FloatArray, slots: int) -> IntArray:
    """Return the expert of each slot: all once, then in turn the one with the most load a copy."""
    most = [(-each, expert, 1) for expert, each in enumerate(load.tolist())]
    heapify(most)
    more = []
    for _ in range(slots - len(load)):
        _, expert, copies = most[0]
        heapreplace(most, (-float(load[expert]) / (copies + 1), expert, copies + 1))
        more.append(expert)
    return np.concatenate([np.arange(len(load)), np.array(more, dtype=np.int64)])


def packed(load: FloatArray, packs: int) -> IntArray:
    """Return the pack of each item, as many in each, heaviest first to the lightest pack with room."""
    if len(load) == packs:
        return np.arange(packs)
    lightest = [(0.0, pack, len(load) // packs) for pack in range(packs)]
    pack_of = np.zeros(len(load), dtype=np.int64)
    for item in np.argsort(-load, kind="stable").tolist():
        held, pack, room = lightest[0]
        pack_of[item] = pack
        if room > 1:
            heapreplace(lightest, (held + float(load[item]), pack, room - 1))
        else:
            heappop(lightest)
    return pack_of


def check_copies(card: ModelCard, key: str, redundant: int, ranks: int) -> list[Fault]:
    """Return what is wrong with a number of copies on so many GPUs."""
    slots = card.routed_experts + redundant
    if not card.moe_layers:
        return [Fault(key, str(redundant), f"none: {card.name} has no experts")]
    if redundant > (most := card.routed_experts * (ranks - 1)):
        return [Fault(key, str(redundant), f"at most {most}, with which every GPU has all {card.routed_experts} experts")]
    if slots % ranks:
        return [Fault(key, str(redundant), f"a number that makes {card.routed_experts} experts a multiple of {ranks} GPUs")]
    return []


def placed(card: ModelCard, balance: str, redundant: int, nodes: int, ranks: int, tokens: float) -> Placed:
    """Return what the load balancer leaves the fullest GPU, the mean over layers drawn alike in every run.

    Parameters
    ----------
    card : ModelCard
        The model.
    balance : str
        Popularity of its experts: ``balanced``, or one of :data:`POWER_LAWS`.
    redundant : int
        Copies.
    nodes, ranks : int
        Nodes and GPUs the experts are spread over.
    tokens : float
        Tokens of the group, which bound the power law; taken to the next power of two.

    Raises
    ------
    InputError
        If experts and copies cannot be spread evenly.
    """
    faults = check_copies(card, "redundant_experts", redundant, ranks)
    if faults:
        raise InputError(faults)
    bound = 1 << max(1, round(tokens) - 1).bit_length()
    sizes = card.routed_experts, card.experts_per_token, card.expert_groups
    return Placed((card.routed_experts + redundant) / ranks, _mean_imbalance(*sizes, balance, redundant, nodes, ranks, bound))


@lru_cache(maxsize=1024)
def _mean_imbalance(
    experts: int, drawn: int, groups: int, balance: str, redundant: int, nodes: int, ranks: int, tokens: int
) -> float:
    if balance not in POWER_LAWS:
        loads = [np.full(experts, 1.0 / experts)]
    else:
        random = stream(0, "expert load")
        # A token chooses an expert once, so that none has more than a token's share of the load.
        loads = [np.minimum(popularity(experts, balance, tokens, random), 1.0 / drawn) for _ in range(_DRAWN_LAYERS)]
    return float(np.mean([_imbalance(load, experts + redundant, groups, nodes, ranks) for load in loads]))


def _imbalance(load: FloatArray, slots: int, groups: int, nodes: int, gpus: int) -> float:
    where = balanced(load, slots, groups, nodes, gpus)
    share = load / np.bincount(where.expert, minlength=len(load))
    return float(np.bincount(where.gpu, share[where.expert], gpus).max() * gpus / load.sum())
