"""DeepEP's normal mode, used in prefill: over the rail once per node, then over NVLink.

Dispatch: a GPU sends a token once to every other node that holds one of its experts, to the GPU of its own index, which
forwards it over NVLink to the GPUs that hold the experts. Combine goes back: NVLink to the GPU of the token's rail, which adds
up, then one message per token and node. Message sizes: DeepEP source (csrc/kernels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.llm.expert_traffic import normal_combine_bytes, normal_dispatch_bytes
from zcube.llm.node_links import GPUS_PER_NODE
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.trace.builder import TraceBuilder

PHASE = "prefill"


@dataclass
class NormalExchange:
    """Dispatch and combine of one expert-parallel group in prefill.

    Attributes
    ----------
    builder : TraceBuilder
        Appended to.
    routing : ExpertRouting
        Who sends how much to whom.
    first_rank : int
        The group's first GPU.
    tokens : list of int array [ranks]
        Tokens of each GPU, per microbatch.
    chunks : int
        Parts in which a message goes over the rail; forwarding of a part starts when it has come over all rails (DeepEP's
        kernels forward every few tokens; 1 is store and forward).
    """

    builder: TraceBuilder
    routing: ExpertRouting
    first_rank: int
    tokens: list[IntArray]
    chunks: int = 1

    def __post_init__(self) -> None:
        nodes, ranks = self.routing.nodes, self.routing.ranks
        card = self.routing.card
        self._dispatch_bytes = normal_dispatch_bytes(card.hidden, card.experts_per_token)
        self._combine_bytes = normal_combine_bytes(card.hidden, card.experts_per_token)
        rank, node = np.divmod(np.arange(ranks * nodes), nodes)
        away = rank // GPUS_PER_NODE != node
        # Over the rails: GPU -> node; inside nodes: GPU of the rail -> GPU of the expert.
        self._rail_rank, self._rail_node = rank[away], node[away]
        relay, gpu = np.divmod(np.arange(ranks * GPUS_PER_NODE), GPUS_PER_NODE)
        other = relay % GPUS_PER_NODE != gpu
        self._relay, self._gpu = relay[other], gpu[other]
        self._reached: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}
        # The last message of every queue pair, by operation, so that messages of one pair keep their order.
        self._queue: dict[str, IntArray] = {}

    def dispatch(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a dispatch.

        Parameters
        ----------
        layer, batch : int
            Layer and microbatch.
        after : int array [ranks]
            What each GPU's sending waits for.

        Returns
        -------
        list of int arrays [ranks]
            Operations each GPU's experts wait for; -1 for none.
        """
        between, inside = self._sizes(layer, batch, self._dispatch_bytes)
        arrived: list[IntArray] = []
        for part in range(self.chunks):
            came = self._over_rails("dispatch", layer, _part(between, part, self.chunks), [after])
            forwards = self._inside("dispatch-forward", layer, _part(inside, part, self.chunks), [after, *came])
            arrived += [*forwards, *came]
        return arrived

    def combine(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a combine; as :meth:`dispatch`, the result is what each GPU's next layer waits for."""
        between, inside = self._sizes(layer, batch, self._combine_bytes)
        arrived: list[IntArray] = []
        for part in range(self.chunks):
            gathered = self._inside("combine-gather", layer, _part(inside, part, self.chunks), [after], reverse=True)
            came = self._over_rails("combine", layer, _part(between, part, self.chunks), [after, *gathered], reverse=True)
            arrived += [*gathered, *came]
        return arrived

    def _sizes(self, layer: int, batch: int, message_bytes: int) -> tuple[IntArray, IntArray]:
        """Return bytes per (GPU, other node) and per (relay, other GPU of its node)."""
        key = (0 if self.routing.counts == "expected" else layer, batch)
        if key not in self._reached:
            drawn, tokens = self.routing.layer(layer, batch), self.tokens[batch]
            nodes, ranks = self.routing.nodes, self.routing.ranks
            by_node = drawn.tokens_reaching(tokens, drawn.node_chances())
            by_rank = drawn.tokens_reaching(tokens, drawn.rank_chances())
            # The relay of node j and rail r carries what all GPUs of rail r send to the GPUs of node j.
            on_rail = by_rank.reshape(nodes, GPUS_PER_NODE, nodes, GPUS_PER_NODE).sum(axis=0)
            relayed = on_rail.transpose(1, 0, 2).reshape(ranks, GPUS_PER_NODE)
            # Two microbatches of one layer are under way at a time.
            self._reached = {known: sizes for known, sizes in self._reached.items() if known[0] == key[0]}
            self._reached[key] = (by_node[self._rail_rank, self._rail_node], relayed[self._relay, self._gpu])
        between, inside = self._reached[key]
        return np.rint(between * message_bytes).astype(np.int64), np.rint(inside * message_bytes).astype(np.int64)

    def _over_rails(
        self, name: str, layer: int, size_bytes: IntArray, after: list[IntArray], reverse: bool = False
    ) -> list[IntArray]:
        """Send between the same GPUs of two nodes; ``after`` is per sender. Returns arrivals per receiver, one per peer."""
        near, far = self._rail_rank, self._rail_node * GPUS_PER_NODE + self._rail_rank % GPUS_PER_NODE
        source, target = (far, near) if reverse else (near, far)
        queue = self._queue.get(name, np.full(len(source), -1, dtype=np.int64))
        rows = self._send(name, layer, source, target, size_bytes, [*(wait[source] for wait in after), queue])
        self._queue[name] = np.where(rows >= 0, rows, queue)
        peers = self.routing.nodes - 1
        order = np.lexsort((source, target))
        return list(rows[order].reshape(-1, peers).T) if peers else []

    def _inside(
        self, name: str, layer: int, size_bytes: IntArray, after: list[IntArray], reverse: bool = False
    ) -> list[IntArray]:
        relay, gpu = self._relay, self._relay // GPUS_PER_NODE * GPUS_PER_NODE + self._gpu
        source, target = (gpu, relay) if reverse else (relay, gpu)
        rows = self._send(name, layer, source, target, size_bytes, [wait[source] for wait in after])
        order = np.lexsort((source, target))
        return list(rows[order].reshape(-1, GPUS_PER_NODE - 1).T)

    def _send(
        self, name: str, layer: int, source: IntArray, target: IntArray, size_bytes: IntArray, after: list[IntArray]
    ) -> IntArray:
        """Append the transfers that have bytes; returns one number per entry, -1 where there is nothing to send."""
        full = size_bytes > 0
        rows = np.full(len(source), -1, dtype=np.int64)
        rows[full] = self.builder.transfer(
            name, self.first_rank + source[full], self.first_rank + target[full], size_bytes[full], phase=PHASE, layer=layer,
            after=[wait[full] for wait in after],
        )  # fmt: skip
        return rows


def _part(size_bytes: IntArray, part: int, parts: int) -> IntArray:
    """Return one of nearly equal parts; the first ones take the remainder."""
    return size_bytes // parts + (part < size_bytes % parts)
