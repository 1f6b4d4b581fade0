"""What a cache of unlimited size would hold of prompts as they arrive."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.workload.appearance import numbered
from zcube.workload.block_runs import BlockRuns

#: Largest block id, in blocks, up to which ids serve as places in an array.
_SPARSE = 4

#: Prompts whose ids are made of runs at a time: those of all take as much memory as ten times the rest of a trace.
PROMPTS_AT_ONCE = 4096


def prefix_hits(first_block: IntArray, blocks: IntArray | BlockRuns) -> tuple[IntArray, bool]:
    """Return the leading blocks of each prompt that occurred in an earlier one, and whether ids are chained.

    Parameters
    ----------
    first_block : int array [requests + 1]
        Offsets into the blocks, prompts in order of arrival.
    blocks : int array [blocks] or BlockRuns
        Blocks of all prompts.

    Returns
    -------
    tuple of int array [requests] and bool
        Chained ids are those where a block always follows the same one, or always begins a prompt, so that an id stands for a
        whole prefix.
    """
    ids, most = blocks, blocks.max(initial=0)
    if blocks.min(initial=0) < 0 or most > _SPARSE * blocks.size:
        ids, most = numbered((blocks.ids() if isinstance(blocks, BlockRuns) else blocks).astype(np.int64))
        ids = ids.astype(np.int32)
    hits: IntArray = np.zeros(len(first_block) - 1, dtype=np.int64)
    owner = np.full(int(most) + 1, -1, dtype=np.int32)
    before, chained = np.zeros_like(owner), True
    for first in range(0, len(hits), PROMPTS_AT_ONCE):
        end = min(first + PROMPTS_AT_ONCE, len(hits))
        offsets = first_block[first : end + 1] - first_block[first]
        some = ids.some(first, end) if isinstance(ids, BlockRuns) else ids[first_block[first] : first_block[end]].view()
        # The ids of a trace may not be written.
        some.setflags(write=False)
        chained = bool(count_hits(offsets, some, owner, before, hits[first:end], first)) and chained
    return hits, chained


@compiled()
def count_hits(
    first_block: np.ndarray, ids: np.ndarray, owner: np.ndarray, before: np.ndarray, hits: np.ndarray, first: int
) -> bool:
    """Write the hits of some prompts, numbered from ``first``, and return whether ids are chained.

    ``owner``, all -1 before the first prompt, and ``before`` are scratch [ids].
    """
    chained = True
    for prompt in range(len(hits)):
        previous, is_hit = -1, True
        for at in range(first_block[prompt], first_block[prompt + 1]):
            block = ids[at]
            if owner[block] < 0:
                owner[block], before[block] = first + prompt, previous
            chained = chained and before[block] == previous
            # Behind a block that is new nothing can be a hit.
            is_hit = is_hit and owner[block] != first + prompt
            hits[prompt] += is_hit
            previous = block
    return chained
