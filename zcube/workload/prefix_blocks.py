"""Numbering the prefix blocks of prompts, so that equal numbers mean equal prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.workload.appearance import Numbering
from zcube.workload.block_runs import BlockRuns

#: Prompts whose blocks are numbered together: keys take twenty times the memory of what is kept.
PROMPTS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Lineage:
    """Where the text of each prompt comes from, in the order in which it stands there.

    Attributes
    ----------
    shared_tokens : int
        Text that starts every prompt.
    group_tokens : int
        Text after it that a group's prompts share.
    group : array of int [N]
        Group of each prompt.
    trunk : array of int [N]
        History whose text follows, up to ``trunk_tokens`` from the start of the prompt.
    branch : array of int [N]
        History whose text stands behind that; equal to ``trunk`` where it is the same history.
    trunk_tokens : array of int [N]
        Where a branch leaves its trunk, at least ``shared_tokens + group_tokens``.
    """

    shared_tokens: int
    group_tokens: int
    group: IntArray
    trunk: IntArray
    branch: IntArray
    trunk_tokens: IntArray


def prefix_blocks(prompt_tokens: IntArray, lineage: Lineage, block_tokens: int, groups: int) -> tuple[IntArray, BlockRuns]:
    """Give the prefix blocks of prompts their numbers.

    A block whose text has several sources belongs to the last of them. The partial block at a prompt's end is this
    prompt's alone, since the next turn fills the block up with other text.

    Parameters
    ----------
    prompt_tokens : array of int [N]
        Length of each prompt.
    lineage : Lineage
        Sources of the text.
    block_tokens : int
        Tokens per block.
    groups : int
        Number of groups.

    Returns
    -------
    first_block : array of int [N + 1]
        Where each prompt's blocks begin among those of all.
    blocks : BlockRuns
        Numbers from 0 in order of first appearance, ``ceil(prompt / block_tokens)`` per prompt.
    """
    whole = prompt_tokens // block_tokens
    count = -(-prompt_tokens // block_tokens)
    first_block = np.concatenate(([0], np.cumsum(count)))
    fixed_tokens = lineage.shared_tokens + lineage.group_tokens
    ends = [
        np.minimum(whole, lineage.shared_tokens // block_tokens),
        np.minimum(whole, fixed_tokens // block_tokens),
        np.minimum(whole, lineage.trunk_tokens // block_tokens),
        whole,
        count,
    ]
    lengths = np.diff(np.column_stack([np.zeros_like(whole), *ends]), axis=1)
    # Each source owns a stretch of keys, one per block position; a partial block has a negative key of its own.
    stretch = int(count.max())
    sources = [
        np.zeros_like(whole),
        (1 + lineage.group) * stretch,
        (1 + groups + lineage.trunk) * stretch,
        (1 + groups + lineage.branch) * stretch,
        -1 - np.arange(whole.size) - whole,
    ]
    starts, numbering = np.column_stack(sources), Numbering()

    def some_at_a_time() -> Iterator[tuple[IntArray, IntArray]]:
        for first in range(0, whole.size, PROMPTS_AT_ONCE):
            some = slice(first, first + PROMPTS_AT_ONCE)
            keys: IntArray = np.empty(int(count[some].sum()), dtype=np.int64)
            write_keys(starts[some], lengths[some], keys)
            numbering.number(keys)
            yield count[some], keys

    return first_block, BlockRuns.joined(some_at_a_time())


@compiled()
def write_keys(sources: np.ndarray, lengths: np.ndarray, key: np.ndarray) -> None:
    """Write the keys of prompts' blocks: that of its source [prompts, sources], plus the block's place in the prompt."""
    at = 0
    for prompt in range(len(sources)):
        place = 0
        for source in range(sources.shape[1]):
            for _ in range(lengths[prompt, source]):
                key[at] = sources[prompt, source] + place
                at += 1
                place += 1
