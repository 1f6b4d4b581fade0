"""What a cache of unlimited size would hold of prompts as they arrive."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.workload.appearance import numbered

#: Largest block id, in blocks, up to which ids serve as places in an array.
_SPARSE = 4


def prefix_hits(first_block: IntArray, block_id: IntArray) -> tuple[IntArray, bool]:
    """Return the leading blocks of each prompt that occurred in an earlier one, and whether ids are chained.

    Parameters
    ----------
    first_block : int array [requests + 1]
        Offsets into ``block_id``, prompts in order of arrival.
    block_id : int array [blocks]
        Blocks of all prompts.

    Returns
    -------
    tuple of int array [requests] and bool
        Chained ids are those where a block always follows the same one, or always begins a prompt, so that an id stands for a
        whole prefix.
    """
    ids, most = block_id, int(block_id.max(initial=0))
    if block_id.min(initial=0) < 0 or most > _SPARSE * len(block_id):
        ids, most = numbered(block_id.astype(np.int64))
        ids = ids.astype(np.int32)
    # The ids of a trace may not be written, and a copy of them takes as much memory as all the rest of it.
    ids = ids.view()
    ids.setflags(write=False)
    hits: IntArray = np.zeros(len(first_block) - 1, dtype=np.int64)
    owner = np.full(most + 1, -1, dtype=np.int64)
    return hits, bool(count_hits(np.array(first_block), ids, owner, np.zeros_like(owner), hits))


@compiled()
def count_hits(first_block: np.ndarray, ids: np.ndarray, owner: np.ndarray, before: np.ndarray, hits: np.ndarray) -> bool:
    """Write the hits of each prompt and return whether ids are chained; ``owner``, all -1, and ``before`` are scratch [ids]."""
    chained = True
    for prompt in range(len(hits)):
        previous, is_hit = -1, True
        for at in range(first_block[prompt], first_block[prompt + 1]):
            block = ids[at]
            if owner[block] < 0:
                owner[block], before[block] = prompt, previous
            chained = chained and before[block] == previous
            # Behind a block that is new nothing can be a hit.
            is_hit = is_hit and owner[block] != prompt
            hits[prompt] += is_hit
            previous = block
    return chained
