"""Turns of sessions: when each may arrive, and the prompts that grow turn by turn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from zcube.arrays import FloatArray, IntArray


def turn_arrivals_s(times_s: FloatArray, previous: IntArray) -> FloatArray:
    """Return the earliest arrival of every request: its own time, and no earlier than that of the turn before.

    Parameters
    ----------
    times_s : array of float [N]
        Own times, -inf where there is none.
    previous : array of int [N]
        The turn before, a lower number, or -1; a first turn without a time of its own arrives at 0.
    """
    earliest = np.where((previous < 0) & np.isneginf(times_s), 0.0, times_s).tolist()
    for turn in np.flatnonzero(previous >= 0).tolist():
        before = earliest[previous[turn]]
        if earliest[turn] < before:
            earliest[turn] = before
    return np.array(earliest, dtype=np.float64)


def turn_blocks(
    prompt_tokens: IntArray, previous: IntArray, given: IntArray, ids: npt.NDArray[np.uint64], block_tokens: int
) -> tuple[IntArray, IntArray]:
    """Give the prompts of sessions their blocks, where a file says of each turn only what it adds.

    The blocks that lie whole in a session's first prompt are the ones the file names there, so that sessions share what the
    file says they share. Every later whole block holds part of the session's own answers and is shared by its later turns
    only. A prompt's partial last block is that prompt's alone, since the next turn fills it up with other text.

    Parameters
    ----------
    prompt_tokens : array of int [N]
        Whole prompts.
    previous : array of int [N]
        The turn before, or -1.
    given : array of int [N]
        Ids the file gives for each prompt; only those of first turns are used.
    ids : array of uint64 [sum of given]
        These ids.
    block_tokens : int
        Tokens per block.

    Returns
    -------
    count : array of int [N]
        Blocks of each prompt, ``ceil(prompt / block_tokens)``.
    block_id : array of int [sum of count]
        Numbers from 0 in order of first appearance.
    """
    first = np.arange(previous.size)
    for turn in np.flatnonzero(previous >= 0).tolist():
        first[turn] = first[previous[turn]]
    start = np.concatenate(([0], np.cumsum(given)))[:-1]
    whole, count = prompt_tokens // block_tokens, -(-prompt_tokens // block_tokens)
    shared = np.minimum(whole[first], given[first])
    position = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    named, distinct = pd.factorize(ids)
    stretch = int(count.max())
    key = np.repeat(distinct.size + first * stretch, count) + position
    partial = position >= np.repeat(whole, count)
    key[partial] = -1 - np.repeat(np.arange(count.size), count)[partial]
    from_file = ~partial & (position < np.repeat(shared, count))
    key[from_file] = named[(np.repeat(start[first], count) + position)[from_file]]
    block_id, _ = pd.factorize(key)
    return count, block_id.astype(np.int64, copy=False)
