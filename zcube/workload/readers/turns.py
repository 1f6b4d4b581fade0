"""Turns of sessions: when each may arrive, and the prompts that grow turn by turn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zcube.arrays import FloatArray, IntArray
from zcube.workload.appearance import numbered


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
        Numbers of at least 0.
    """
    first = np.arange(previous.size)
    for turn in np.flatnonzero(previous >= 0).tolist():
        first[turn] = first[previous[turn]]
    whole, count = prompt_tokens // block_tokens, -(-prompt_tokens // block_tokens)
    named, distinct = numbered(ids)
    # A session's own blocks have a stretch of numbers behind those of the file, partial ones one number each behind them all.
    stretch = int(count.max())
    end = np.cumsum(count)
    start = end - count
    block_id = np.arange(int(end[-1])) + np.repeat(distinct + first * stretch - start, count)
    partial = np.flatnonzero(count > whole)
    block_id[end[partial] - 1] = distinct + count.size * stretch + partial
    shared = np.minimum(whole[first], given[first])
    inside = np.arange(int(shared.sum())) - np.repeat(np.cumsum(shared) - shared, shared)
    from_file = np.cumsum(given) - given
    block_id[np.repeat(start, shared) + inside] = named[np.repeat(from_file[first], shared) + inside]
    return count, block_id
