"""Bytes of DeepEP's low-latency mode, used in decode: what every GPU of an expert-parallel group sends in one step.

Dispatch sends a message per token and selected expert straight to the expert's owner, combine sends one back. The messages are
those of :class:`~zcube.llm.schedules.low_latency_exchange.LowLatencyExchange` under expected counts, added up over the layers.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.llm.expert_traffic import low_latency_combine_bytes, low_latency_dispatch_bytes
from zcube.llm.schedules.expert_routing import ExpertRouting


class LowLatencyPlan:
    """Who sends how much to whom in one expert-parallel group.

    Pairs of GPUs in different nodes stand in as many turns as a node has GPUs. In turn t a GPU meets, in every other node, the
    one whose index is its own plus t, so that a turn pairs the GPUs of any two nodes off and all turns hold every pair once.

    Attributes
    ----------
    source, target : int array [turns, GPUs with other nodes]
        GPUs, numbered within the group.

    Parameters
    ----------
    routing : ExpertRouting
        Where tokens go; expected counts.
    """

    def __init__(self, routing: ExpertRouting):
        self.routing = routing
        ranks, nodes, size = routing.ranks, routing.nodes, routing.gpus_per_node
        rank, node = np.divmod(np.arange(ranks * nodes), nodes)
        away = rank // size != node
        rank, node = rank[away], node[away]
        turn = np.arange(size)[:, None]
        self.source = np.tile(rank, (size, 1))
        self.target = node * size + (rank + turn) % size
        self._more = _further_messages(routing)

    def step_bytes(self, microbatches: list[IntArray]) -> IntArray:
        """Return what one step sends between nodes [turns, GPUs with other nodes], dispatch and combine of all layers.

        Parameters
        ----------
        microbatches : list of int array [ranks]
            Tokens of each GPU.
        """
        card, ranks = self.routing.card, self.routing.ranks
        messages = np.zeros((ranks, ranks), dtype=np.int64)
        offset = (np.arange(ranks)[None, :] - np.arange(ranks)[:, None]) % ranks
        for tokens in microbatches:
            least, rest = np.divmod(tokens * card.experts_per_token, ranks)
            messages += card.moe_layers * least[:, None] + self._more[offset, rest[:, None]]
        sent = messages * low_latency_dispatch_bytes(card.hidden) + messages.T * low_latency_combine_bytes(card.hidden)
        size_bytes: IntArray = sent[self.source, self.target]
        return size_bytes


def _further_messages(routing: ExpertRouting) -> IntArray:
    """Return in how many layers a GPU sends one message more to the owner so many GPUs on [GPUs on, messages left over]."""
    card, ranks = routing.card, routing.ranks
    layers = np.arange(card.first_dense_layers, card.layers)
    turn = (np.arange(ranks)[:, None] - layers * routing.gpus_per_node) % ranks
    count = np.zeros((ranks, ranks), dtype=np.int64)
    np.add.at(count, (np.arange(ranks)[:, None], turn), 1)
    return np.concatenate([np.zeros((ranks, 1), dtype=np.int64), count.cumsum(axis=1)[:, :-1]], axis=1)
