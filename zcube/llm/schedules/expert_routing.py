"""How many tokens go from which GPU to which node, GPU or expert owner in one MoE layer.

Routing as in :func:`zcube.llm.expert_traffic.hit_probability`: a token picks its groups uniformly, then its experts in them
as if with replacement, here in proportion to the experts' popularity. Experts lie in order over the GPUs; where they do not
divide evenly, redundant copies fill the slots (DeepSeek serves 256 experts on 144 GPUs as 288), placed with the rest by load as
its balancer does (:mod:`zcube.llm.expert_placement`). Sampled counts are binomial draws with the same chances, so that
destinations of one token are independent of each other; expected counts are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard
from zcube.llm.expert_placement import POWER_LAWS, balanced, popularity
from zcube.node import GPUS_PER_NODE
from zcube.seeds import stream

#: Sets of expert groups that are enumerated.
_MAX_GROUP_SETS = 10_000


@dataclass(frozen=True)
class ExpertRouting:
    """Routing of one expert-parallel group.

    Attributes
    ----------
    card : ModelCard
        The model.
    nodes : int
        Nodes the experts are spread over.
    counts : {"expected", "sampled"}
        Expected values under even routing, or draws from the streams ``experts/...`` of ``seed``.
    balance : {"balanced", "power_law_1.01", "power_law_1.2"}
        Popularity of the experts for sampled counts, drawn anew for every layer: as in NVIDIA aiconfigurator's MoE
        benchmark, a bounded power law between 1 and ``0.8 * power_law_tokens``.
    seed : int
        Of the draws.
    power_law_tokens : int
        Tokens that bound the power law.
    gpus_per_node : int
        GPUs of each node.
    """

    card: ModelCard
    nodes: int
    counts: Literal["expected", "sampled"] = "expected"
    balance: str = "balanced"
    seed: int = 0
    power_law_tokens: int = 4096
    gpus_per_node: int = GPUS_PER_NODE

    def __post_init__(self) -> None:
        card, faults = self.card, []
        if self.balance not in ("balanced", *POWER_LAWS):
            faults.append(Fault("expert balance", repr(self.balance), "one of balanced, " + ", ".join(POWER_LAWS)))
        if comb(card.expert_groups, card.expert_groups_per_token) > _MAX_GROUP_SETS:
            faults.append(Fault(f"{card.name}: expert_groups", str(card.expert_groups), f"at most {_MAX_GROUP_SETS} choices"))
        if faults:
            raise InputError(faults)

    @property
    def ranks(self) -> int:
        """GPUs of the group."""
        return self.nodes * self.gpus_per_node

    @property
    def redundant_experts(self) -> int:
        """Experts held twice so that every GPU holds as many."""
        return -self.card.routed_experts % self.ranks

    def layer(self, layer: int, batch: int = 0) -> LayerRouting:
        """Return the routing of a microbatch in one layer; it depends on seed, layer and microbatch alone."""
        weights = np.full(self.card.routed_experts, 1.0 / self.card.routed_experts)
        if self.counts == "expected":
            return LayerRouting(self, weights, None)
        if self.balance in POWER_LAWS:
            drawn = stream(self.seed, f"experts/{layer}")
            weights = popularity(self.card.routed_experts, self.balance, self.power_law_tokens, drawn)
        return LayerRouting(self, weights, stream(self.seed, f"experts/{layer}/{batch}"))


class LayerRouting:
    """Chances and counts of one layer; see :class:`ExpertRouting`."""

    def __init__(self, routing: ExpertRouting, weights: FloatArray, random: np.random.Generator | None):
        self._routing, self._random = routing, random
        # [rank, group]: popularity of a group's experts on a rank.
        self._held = _held(routing, weights)

    def node_chances(self) -> FloatArray:
        """Return the chance that a token has an expert on each node, shape (nodes,)."""
        return self._chances(self._held.reshape(self._routing.nodes, self._routing.gpus_per_node, -1).sum(axis=1))

    def rank_chances(self) -> FloatArray:
        """Return the chance that a token has an expert on each GPU, shape (ranks,)."""
        return self._chances(self._held)

    def tokens_reaching(self, tokens: IntArray, chances: FloatArray) -> FloatArray:
        """Return tokens of each source that reach each owner, shape (sources, owners), as counts or expectations."""
        if self._random is None:
            return np.multiply.outer(tokens, chances)
        return self._random.binomial(tokens[:, None], chances[None, :]).astype(np.float64)

    def messages(self, tokens: IntArray, layer: int) -> IntArray:
        """Return messages per (source, expert owner) when each token sends one per expert, shape (ranks, ranks).

        Rows sum to ``tokens * experts_per_token``. Expected counts are whole numbers that differ by at most one; the larger
        ones move on with source and layer, so that every owner receives as many.
        """
        ranks, sent = self._routing.ranks, tokens * self._routing.card.experts_per_token
        if self._random is not None:
            groups, chosen = self._routing.card.expert_groups, self._routing.card.expert_groups_per_token
            share = self._mean_over_groups(self._held) if chosen < groups else self._held.sum(axis=1)
            return self._random.multinomial(sent, share / share.sum())
        least, rest = np.divmod(sent, ranks)
        turn = (np.arange(ranks)[None, :] - np.arange(ranks)[:, None] - layer * self._routing.gpus_per_node) % ranks
        return (least[:, None] + (turn < rest[:, None])).astype(np.int64)

    def _mean_over_groups(self, held: FloatArray) -> FloatArray:
        return np.mean([held[:, picked].sum(axis=1) / held[:, picked].sum() for picked in self._group_sets()], axis=0)

    def _chances(self, held: FloatArray) -> FloatArray:
        """Return the chance of a hit for owners that hold ``held`` [owner, group] of the popularity."""
        experts = self._routing.card.experts_per_token
        misses = [(1.0 - held[:, picked].sum(axis=1) / held[:, picked].sum()) ** experts for picked in self._group_sets()]
        # A sole owner's share may exceed one by a rounding.
        return np.clip(1.0 - np.mean(misses, axis=0), 0.0, 1.0)

    def _group_sets(self) -> list[list[int]]:
        card = self._routing.card
        if card.expert_groups == card.expert_groups_per_token:
            return [list(range(card.expert_groups))]
        return [list(picked) for picked in combinations(range(card.expert_groups), card.expert_groups_per_token)]


def _held(routing: ExpertRouting, weights: FloatArray) -> FloatArray:
    experts, ranks = routing.card.routed_experts, routing.ranks
    group = np.arange(experts) * routing.card.expert_groups // experts
    held = np.zeros((ranks, routing.card.expert_groups))
    if routing.counts == "expected" and routing.redundant_experts:
        # Even popularity: copies level every GPU's share.
        return held + np.bincount(group, weights, routing.card.expert_groups) / ranks
    slots: IntArray = np.arange(experts)
    owner: IntArray = slots * ranks // experts
    if routing.redundant_experts:
        count = experts + routing.redundant_experts
        slots, owner = balanced(weights, count, routing.card.expert_groups, routing.nodes, ranks)
    copies = np.bincount(slots, minlength=experts)
    np.add.at(held, (owner, group[slots]), (weights / copies)[slots])
    return held
