"""DeepEP's normal mode as operations: over the rail once per node, then over NVLink; combine goes back.

:mod:`zcube.llm.schedules.normal_plan` holds the sizes. In a combine NVLink carries to the GPU of the token's rail, which adds
up, then one message goes per token and node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.llm.schedules.normal_plan import NormalPlan, message_bytes
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
        self._plan = NormalPlan(self.routing)
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
        between, inside = self._sizes(layer, batch, self._plan.dispatch_bytes)
        arrived: list[IntArray] = []
        for part in range(self.chunks):
            came = self._over_rails("dispatch", layer, _part(between, part, self.chunks), [after])
            forwards = self._inside("dispatch-forward", layer, _part(inside, part, self.chunks), [after, *came])
            arrived += [*forwards, *came]
        return arrived

    def combine(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a combine; as :meth:`dispatch`, the result is what each GPU's next layer waits for."""
        between, inside = self._sizes(layer, batch, self._plan.combine_bytes)
        arrived: list[IntArray] = []
        for part in range(self.chunks):
            gathered = self._inside("combine-gather", layer, _part(inside, part, self.chunks), [after], reverse=True)
            came = self._over_rails("combine", layer, _part(between, part, self.chunks), [after, *gathered], reverse=True)
            arrived += [*gathered, *came]
        return arrived

    def _sizes(self, layer: int, batch: int, of_token: int) -> tuple[IntArray, IntArray]:
        """Return bytes per (GPU, other node) and per (relay, other GPU of its node)."""
        key = (0 if self.routing.counts == "expected" else layer, batch)
        if key not in self._reached:
            # Two microbatches of one layer are under way at a time.
            self._reached = {known: tokens for known, tokens in self._reached.items() if known[0] == key[0]}
            self._reached[key] = self._plan.tokens_reaching(layer, batch, self.tokens[batch])
        between, inside = self._reached[key]
        return message_bytes(between, of_token), message_bytes(inside, of_token)

    def _over_rails(
        self, name: str, layer: int, size_bytes: IntArray, after: list[IntArray], reverse: bool = False
    ) -> list[IntArray]:
        """Send between the same GPUs of two nodes; ``after`` is per sender. Returns arrivals per receiver, one per peer."""
        near, far = self._plan.rail_rank, self._plan.peers()
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
        relay, size = self._plan.relay, self.routing.gpus_per_node
        gpu = relay // size * size + self._plan.gpu
        source, target = (gpu, relay) if reverse else (relay, gpu)
        rows = self._send(name, layer, source, target, size_bytes, [wait[source] for wait in after])
        order = np.lexsort((source, target))
        return list(rows[order].reshape(-1, size - 1).T) if size > 1 else []

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
