"""What an iteration's exchanges of experts send in DeepEP's normal mode, burst by burst, and what they take alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.llm.devices import Exchanges
from zcube.llm.exchanges import NO_PARTS, ExchangeParts, normal_parts
from zcube.llm.schedules.normal_plan import NormalPlan, dealt
from zcube.llm.schedules.pieces import first_half
from zcube.serving.pools import PrefillPool

#: Iterations, and transfers of all their bursts, that are known again at most.
KNOWN_ITERATIONS, KNOWN_TRANSFERS = 4096, 1 << 20


class Burst(NamedTuple):
    """Exchanges of some layers that are sent together.

    Attributes
    ----------
    layers : int
        How many.
    pair, size_bytes : int array [transfers]
        The plan's rail pairs by number, and what they send.
    alone : ExchangeParts
        What the exchanges take on an idle fabric.
    """

    layers: int
    pair: IntArray
    size_bytes: IntArray
    alone: ExchangeParts


class PrefillBursts:
    """Bursts of whole layers by the tokens that nodes compute in an iteration.

    Most iterations are of full chunks on some of their nodes, so that what one sends is found once for all alike.

    Parameters
    ----------
    plan : NormalPlan
        What is sent in a layer.
    exchanges : Exchanges or None
        The device's figures; None where only links limit.
    nic_gbps : float
        Line rate of a GPU's NIC.
    pool : PrefillPool
        Says whether an iteration is cut in two microbatches, and how many bursts it has.
    domains : int, optional
        Servers that a group's nodes lie in, which DeepEP's own time counts as nodes; default: one for each node.
    """

    def __init__(
        self, plan: NormalPlan, exchanges: Exchanges | None, nic_gbps: float, pool: PrefillPool, domains: int | None = None
    ):
        self.plan, self.layers = plan, plan.routing.card.moe_layers
        self._exchanges, self._nic_gbps, self._cut = exchanges, nic_gbps, pool.expert_overlap
        self._domains = domains or plan.routing.nodes
        self._sizes = burst_sizes(self.layers, pool.expert_bursts)
        known = min(KNOWN_ITERATIONS, KNOWN_TRANSFERS // (len(set(self._sizes)) * len(plan.rail_rank)))
        #: Bursts of an iteration, in order, by the tokens of its nodes.
        self.of: Callable[[tuple[int, ...]], list[Burst]] = lru_cache(maxsize=known)(self._of)
        # The GPU with most tokens has as many in most of the others too.
        self._parts = lru_cache(maxsize=KNOWN_ITERATIONS)(self._parts_of)

    def _of(self, node_tokens: tuple[int, ...]) -> list[Burst]:
        tokens = np.array(node_tokens)
        first = first_half(tokens)
        parts = [first, tokens - first] if self._cut else [tokens]
        batches = [dealt(part, self.plan.routing.gpus_per_node) for part in parts]
        rails, alone = self.plan.layer_rails(batches), self._alone(batches)
        burst = {
            layers: Burst(layers, rails.pair, rails.size_bytes * layers, alone.times(layers)) for layers in set(self._sizes)
        }
        return [burst[layers] for layers in self._sizes]

    def _alone(self, batches: list[IntArray]) -> ExchangeParts:
        """Return what one layer's exchanges take on an idle fabric, paced by the GPU with most tokens."""
        alone = NO_PARTS
        if self._exchanges is not None:
            for tokens in batches:
                if most := int(tokens.max()):
                    alone = alone.then(self._parts(most))
        return alone

    def _parts_of(self, tokens: int) -> ExchangeParts:
        assert self._exchanges is not None
        routing = self.plan.routing
        size = routing.ranks // self._domains
        return normal_parts(routing.card, self._exchanges, self._domains, float(tokens), self._nic_gbps, size)


def burst_sizes(layers: int, bursts: int) -> list[int]:
    """Return the layers of each burst, at least one; the first bursts take the remainder."""
    count = min(layers, bursts)
    share, rest = divmod(layers, count)
    return [share + (burst < rest) for burst in range(count)]
