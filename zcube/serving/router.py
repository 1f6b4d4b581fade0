"""Which prefill node a request goes to: the one that could finish its prompt soonest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.kernels import kernel
from zcube.serving.prefix_cache import PrefixCaches, caches_at, holds, leading_run

#: No node takes the request.
NOBODY = -1

#: Chunks that a node plans at once at most.
CHUNKS_AHEAD = 16


class PrefillLoads(NamedTuple):
    """What the prefill nodes have before them [nodes].

    ``backlog_tokens`` are still to compute, cached ones left out as far as they were known on arrival; ``held`` requests are
    queued or under way; ``room`` is how many a node holds at most, 0 where it takes none. Of whole chunks that a node computes
    one after the other ``chunk_ends_s`` [nodes, :data:`CHUNKS_AHEAD`] holds when each is done, infinity behind them; their
    tokens, ``chunk_tokens`` each, leave the backlog with the last of them.
    """

    backlog_tokens: IntArray
    held: IntArray
    room: IntArray
    chunk_ends_s: FloatArray
    chunk_tokens: int

    @classmethod
    def idle(cls, nodes: int, chunk_tokens: int, max_queue: int | None) -> PrefillLoads:
        """Return the loads of idle nodes."""
        most = np.iinfo(np.int64).max if max_queue is None else max_queue
        return cls(
            np.zeros(nodes, dtype=np.int64),
            np.zeros(nodes, dtype=np.int64),
            np.full(nodes, most, dtype=np.int64),
            np.full((nodes, CHUNKS_AHEAD), np.inf),
            chunk_tokens,
        )


@kernel
def soonest(
    backlog_tokens: np.ndarray, held: np.ndarray, room: np.ndarray, chunk_ends_s: np.ndarray, chunk_tokens: int,
    caches: np.ndarray, chained: bool, blocks: np.ndarray, input_tokens: int, block_tokens: int, now_s: float, first: int,
) -> tuple[int, int]:  # fmt: skip
    """Return the node of least backlog after a prompt, of equals the one that comes first from ``first`` on, and its hit."""
    held_blocks = caches_at(caches)
    best, least_tokens, best_hit = NOBODY, 0, 0
    node = first - 1
    for _ in range(len(held)):
        node += 1
        if node >= len(held):
            node = 0
        if held[node] >= room[node]:
            continue
        left_tokens, done = backlog_tokens[node], 0
        # Most nodes compute no whole chunks, whose ends need not be looked up.
        while left_tokens >= chunk_tokens and done < CHUNKS_AHEAD and chunk_ends_s[node, done] <= now_s:
            left_tokens -= chunk_tokens
            done += 1
        needed = 0
        if best != NOBODY:
            if left_tokens + 1 >= least_tokens:
                continue
            if chained:
                # Blocks that it has to hold to come before the best one so far.
                excess = input_tokens + left_tokens - least_tokens
                needed = excess // block_tokens + 1 if excess >= 0 else 0
                if needed > len(blocks) or (needed > 0 and not holds(held_blocks, node, blocks[needed - 1])):
                    continue
        hit = leading_run(held_blocks, node, blocks, chained, needed)
        new_tokens = max(1, input_tokens - hit * block_tokens)
        if best == NOBODY or left_tokens + new_tokens < least_tokens:
            best, least_tokens, best_hit = node, left_tokens + new_tokens, hit
    return best, best_hit


def choose(
    loads: PrefillLoads,
    caches: PrefixCaches,
    blocks: IntArray,
    input_tokens: int,
    block_tokens: int,
    now_s: float,
    first: int = 0,
) -> tuple[int, int]:
    """Return the node that could finish a prompt soonest, counting tokens, and how many of its leading blocks that holds.

    Counted are the tokens queued at a node and those that the prompt needs beyond the node's prefix cache. Of equals it is the
    one that comes first, counted round from ``first`` on; :data:`NOBODY` where none has room.
    """
    return soonest(*loads, caches.frame, caches.chained, blocks, input_tokens, max(1, block_tokens), now_s, first)
