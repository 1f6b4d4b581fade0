"""DeepEP's low-latency mode, used in decode: one message per token and selected expert, straight to the expert's owner.

Messages cross rails freely; inside a node they are NVLink copies. Messages of one (source, owner) pair are one transfer with
their bytes. A token's messages to its own GPU are no transfer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.llm.expert_traffic import low_latency_combine_bytes, low_latency_dispatch_bytes
from zcube.llm.schedules.expert_routing import ExpertRouting
from zcube.trace.builder import TraceBuilder

PHASE = "decode"


@dataclass
class LowLatencyExchange:
    """Dispatch and combine of one expert-parallel group in decode.

    Attributes
    ----------
    builder : TraceBuilder
        Appended to.
    routing : ExpertRouting
        Who sends how many messages to whom.
    first_rank : int
        The group's first GPU.
    tokens : list of int array [ranks]
        Tokens of each GPU, per microbatch.
    """

    builder: TraceBuilder
    routing: ExpertRouting
    first_rank: int
    tokens: list[IntArray]

    def dispatch(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a dispatch: from every GPU, once ``after`` [ranks] has ended, to the owners.

        Returns
        -------
        list of int arrays [ranks]
            Operations each GPU's experts wait for; -1 for none.
        """
        messages = self.routing.layer(layer, batch).messages(self.tokens[batch], layer)
        return self._send("dispatch", layer, messages * low_latency_dispatch_bytes(self.routing.card.hidden), after)

    def combine(self, layer: int, batch: int, after: IntArray) -> list[IntArray]:
        """Append a combine: from the owners back; result as :meth:`dispatch`."""
        messages = self.routing.layer(layer, batch).messages(self.tokens[batch], layer)
        return self._send("combine", layer, messages.T * low_latency_combine_bytes(self.routing.card.hidden), after)

    def _send(self, name: str, layer: int, size_bytes: IntArray, after: IntArray) -> list[IntArray]:
        sent = size_bytes.copy()
        np.fill_diagonal(sent, 0)
        source, target = np.nonzero(sent)
        rows = np.full(sent.shape, -1, dtype=np.int64)
        rows[source, target] = self.builder.transfer(
            name, self.first_rank + source, self.first_rank + target, sent[source, target], phase=PHASE, layer=layer,
            after=[after[source]],
        )  # fmt: skip
        return [row for row in rows if (row >= 0).any()]
