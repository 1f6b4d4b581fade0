"""What happened to each request: one row each, filled in while a run goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.workload.requests import RequestTrace

if TYPE_CHECKING:
    import pandas as pd

#: Outcomes. A request that has arrived and is none of the others is unfinished.
ABSENT, UNFINISHED, COMPLETED, REJECTED, FAILED = 0, 1, 2, 3, 4
OUTCOMES = ("absent", "unfinished", "completed", "rejected", "failed")

_TIMES = (
    "arrival_s", "prefill_start_s", "prefill_end_s", "kv_post_s", "kv_end_s", "converted_s", "injected_s", "first_token_s",
    "finish_s",
)  # fmt: skip
_PLACES = ("prefill_node", "decode_node")
_AMOUNTS = (
    "cached_tokens", "decode_cached_tokens", "pool_tokens", "store_tokens", "pool_bytes", "store_bytes", "kv_bytes",
)  # fmt: skip


class Journeys:
    """Columns over requests; times are nan and places -1 until known.

    Attributes
    ----------
    arrival_s, prefill_start_s, prefill_end_s : float array
        When the request came, its first chunk started and its last chunk ended.
    granted_s : float array
        When the decode node made room for it.
    kv_post_s : float array
        When its last KV push was posted, after the decode node had made room.
    kv_end_s : float array
        When its KV had arrived in full.
    converted_s, injected_s : float array
        When a TileRT node had turned its KV into bf16, and when all its GPUs held it; nan on other nodes.
    first_token_s : float array
        When its first token was given out: where prefill made it at ``kv_end_s``, or ``injected_s``, else at the end of its
        first decode step.
    first_step_s : float array
        When its first decode step ended.
    steps_before, steps_at_end : int array
        Steps of its decode node that had ended when its first one began, and when its last one had ended; of a TileRT node,
        whose steps yield several tokens, the tokens it had made.
    finish_s : float array
        When its last token was generated.
    left_s : float array
        When it was served or turned away.
    prefill_node, decode_node : int array
        Nodes by their number in the pool; a prompt that its decode node computes has no prefill node.
    cached_tokens : int array
        Prompt tokens found in the prefix cache of the node that computes the rest.
    decode_cached_tokens : int array
        Prompt tokens found in the prefix cache of the decode node, which are not shipped.
    pool_tokens, store_tokens : int array
        Those of ``cached_tokens`` that came from the pool and from the store of ``[cache]``.
    pool_bytes, store_bytes : float array
        Bytes read for it out of host memory and over the fabric, whether it came to use them or not.
    kv_bytes : float array
        KV bytes put on the network before the end of the run, copies included.
    prompt_room_tokens, room_tokens : int array
        Memory that the prompt, and the prompt with its answer, take of a node, in tokens; see
        :func:`zcube.llm.kv.room_tokens`.
    outcome : int array
        Index into :data:`OUTCOMES`.
    """

    def __init__(self, trace: RequestTrace):
        count = len(trace)
        self.trace = trace
        self.arrival_s, self.prefill_start_s, self.prefill_end_s = (np.full(count, np.nan) for _ in range(3))
        self.kv_post_s, self.kv_end_s, self.first_token_s = (np.full(count, np.nan) for _ in range(3))
        self.converted_s, self.injected_s = (np.full(count, np.nan) for _ in range(2))
        self.first_step_s, self.finish_s, self.left_s, self.granted_s = (np.full(count, np.nan) for _ in range(4))
        self.prefill_node, self.decode_node = (np.full(count, -1, dtype=np.int64) for _ in range(2))
        self.cached_tokens, self.decode_cached_tokens = (np.zeros(count, dtype=np.int64) for _ in range(2))
        self.steps_before, self.steps_at_end = (np.zeros(count, dtype=np.int64) for _ in range(2))
        self.pool_tokens, self.store_tokens = (np.zeros(count, dtype=np.int64) for _ in range(2))
        self.kv_bytes, self.pool_bytes, self.store_bytes = (np.zeros(count) for _ in range(3))
        self.prompt_room_tokens, self.room_tokens = trace.input_tokens, trace.input_tokens + trace.output_tokens
        self.outcome = np.zeros(count, dtype=np.int8)

    def cells(self) -> Any:
        """Return memory views of the columns, under their names, for who reads and writes single values while a run goes on.

        Twenty are written a request, each in half the time that an array of NumPy takes. A view does not see that a column is
        replaced, as :meth:`close` does; those of what requests ask for are not to be written to.
        """
        return SimpleNamespace(**{name: of.data for name, of in vars(self).items() if isinstance(of, np.ndarray)})

    def cut(self, end_s: float) -> None:
        """Forget the pushes and decode steps that were foreseen for a time after the end of the run."""
        for times_s in (self.kv_post_s, self.first_step_s, self.first_token_s):
            times_s[times_s > end_s] = np.nan

    def close(self) -> None:
        """Keep of columns that are the same for all requests one value: nothing is noted any more.

        Most runs have no reads out of a store, no conversions, and so on.
        """
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray) and len(column) and _is_one_value(column):
                setattr(self, name, np.broadcast_to(column[0], column.shape))

    def frame(self) -> pd.DataFrame:
        """Return one row per request, with the latencies derived from the times."""
        import pandas as pd

        table = pd.DataFrame({name: getattr(self, name) for name in (*_TIMES, *_PLACES, *_AMOUNTS)})
        table.insert(0, "request", np.arange(len(table)))
        table.insert(1, "outcome", np.array(OUTCOMES)[self.outcome])
        table.insert(2, "input_tokens", self.trace.input_tokens)
        table.insert(3, "output_tokens", self.trace.output_tokens)
        table["ttft_s"] = self.ttft_s()
        table["tpot_s"] = self.tpot_s()
        table["e2e_s"] = self.e2e_s()
        table["kv_transfer_s"] = self.kv_transfer_s()
        return table

    def ttft_s(self) -> np.ndarray:
        """Return the time to first token: arrival to when the first token was given out."""
        return self.first_token_s - self.arrival_s

    def tpot_s(self) -> np.ndarray:
        """Return the time per output token after the first; nan for one-token answers."""
        gaps = (self.trace.output_tokens - 1).astype(float)
        gaps[gaps == 0] = np.nan
        return (self.finish_s - self.first_token_s) / gaps

    def e2e_s(self) -> np.ndarray:
        """Return arrival to last token."""
        return self.finish_s - self.arrival_s

    def kv_transfer_s(self) -> np.ndarray:
        """Return the post of the last KV push to the arrival of its last byte."""
        return self.kv_end_s - self.kv_post_s


def _is_one_value(column: np.ndarray) -> bool:
    """Return whether a column holds the same in every row."""
    first = column[0]
    return bool(np.isnan(column).all() if np.isnan(first) else (column == first).all())
