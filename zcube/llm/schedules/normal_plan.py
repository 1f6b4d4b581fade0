"""Bytes of DeepEP's normal mode, used in prefill: what every GPU of an expert-parallel group sends in one layer.

Dispatch: a GPU sends a token once to every other node that holds one of its experts, to the GPU of its own index, which
forwards it over NVLink to the GPUs that hold the experts. Combine goes back the same way. Message sizes: DeepEP source
(csrc/kernels).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import FloatArray, IntArray
from zcube.llm.expert_traffic import normal_combine_bytes, normal_dispatch_bytes
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.node import GPUS_PER_NODE


class RailBytes(NamedTuple):
    """What goes over the rails, one row per pair of GPUs, int arrays [rows]; GPUs are numbered within the group.

    ``pair`` is its number among the plan's rail pairs.
    """

    source: IntArray
    target: IntArray
    size_bytes: IntArray
    pair: IntArray


class NormalPlan:
    """Who sends how much to whom in one expert-parallel group.

    Attributes
    ----------
    rail_rank, rail_node : int array [pairs]
        Every GPU with every other node.
    relay, gpu : int array [pairs]
        Every GPU with the index of every other GPU of its node.

    Parameters
    ----------
    routing : ExpertRouting
        Where tokens go.
    """

    def __init__(self, routing: ExpertRouting):
        self.routing = routing
        nodes, ranks, card, size = routing.nodes, routing.ranks, routing.card, routing.gpus_per_node
        self.dispatch_bytes = normal_dispatch_bytes(card.hidden, card.experts_per_token)
        self.combine_bytes = normal_combine_bytes(card.hidden, card.experts_per_token)
        rank, node = np.divmod(np.arange(ranks * nodes), nodes)
        away = rank // size != node
        self.rail_rank, self.rail_node = rank[away], node[away]
        relay, gpu = np.divmod(np.arange(ranks * size), size)
        other = relay % size != gpu
        self.relay, self.gpu = relay[other], gpu[other]
        #: Under expected counts the tokens of each pair, of one token of its GPU; and of every pair the one that sends back.
        self._reached = (
            routing.layer(0).node_chances()[self.rail_node].astype(np.float64) if routing.counts == "expected" else None
        )
        number = np.zeros((ranks, nodes), dtype=np.int64)
        self._every = np.arange(len(self.rail_rank))
        number[self.rail_rank, self.rail_node] = self._every
        self._peer = self.peers()
        self._back = number[self._peer, self.rail_rank // size]

    def peers(self) -> IntArray:
        """Return the GPU a GPU's messages to another node go to [rail pairs]."""
        size = self.routing.gpus_per_node
        return self.rail_node * size + self.rail_rank % size

    def tokens_reaching(self, layer: int, batch: int, tokens: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the tokens of a layer per (GPU, other node), and per (relay, other GPU of its node).

        Parameters
        ----------
        layer, batch : int
            Layer and microbatch; expected counts are the same in all of them.
        tokens : int array [ranks]
            Tokens of each GPU.
        """
        drawn, nodes, ranks = self.routing.layer(layer, batch), self.routing.nodes, self.routing.ranks
        size = self.routing.gpus_per_node
        by_node = drawn.tokens_reaching(tokens, drawn.node_chances())
        by_rank = drawn.tokens_reaching(tokens, drawn.rank_chances())
        # The relay of node j and rail r carries what all GPUs of rail r send to the GPUs of node j.
        on_rail = by_rank.reshape(nodes, size, nodes, size).sum(axis=0)
        relayed = on_rail.transpose(1, 0, 2).reshape(ranks, size)
        return by_node[self.rail_rank, self.rail_node], relayed[self.relay, self.gpu]

    def layer_rails(self, microbatches: list[IntArray]) -> RailBytes:
        """Return what one layer sends between nodes under expected counts, dispatch and combine of all its microbatches.

        Parameters
        ----------
        microbatches : list of int array [ranks]
            Tokens of each GPU.
        """
        assert self._reached is not None, "of sampled counts every layer differs"
        reached = np.array(microbatches)[:, self.rail_rank] * self._reached
        size_bytes: IntArray = message_bytes(reached, self.dispatch_bytes).sum(axis=0)
        size_bytes += message_bytes(reached, self.combine_bytes).sum(axis=0)[self._back]
        if size_bytes.all():
            # The same arrays every time, by which who asks knows the pairs again.
            return RailBytes(self.rail_rank, self._peer, size_bytes, self._every)
        full = np.flatnonzero(size_bytes)
        return RailBytes(self.rail_rank[full], self._peer[full], size_bytes[full], full)


def message_bytes(tokens: FloatArray, of_token: int) -> IntArray:
    """Return the whole bytes of messages that carry so many tokens."""
    return np.rint(tokens * of_token).astype(np.int64)


def dealt(node_tokens: ArrayLike, gpus_per_node: int = GPUS_PER_NODE) -> IntArray:
    """Return the tokens of each GPU [ranks] when nodes deal theirs evenly, as the compute model assumes."""
    behind = np.arange(gpus_per_node - 1, -1, -1)
    return ((np.asarray(node_tokens, dtype=np.int64)[:, None] + behind) // gpus_per_node).ravel()
