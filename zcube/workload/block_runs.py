"""The prefix blocks of prompts as runs of consecutive ids.

Blocks numbered by appearance come in runs as long as what a turn added to its session, some twenty blocks; every later prompt
of the session holds the run again. So runs take a tenth of the memory of the ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled


@dataclass(frozen=True, eq=False)
class BlockRuns:
    """Ids of prefix blocks, prompt after prompt.

    Attributes
    ----------
    first_run : int array [prompts + 1]
        Runs of prompt ``i`` are those from ``first_run[i]`` up to ``first_run[i + 1]``.
    first_block : int32 array [runs + 1]
        Where each run's first block stands among the blocks of all prompts.
    first_id : int32 array [runs]
        Its id; the run's further ones follow.
    """

    first_run: IntArray
    first_block: np.ndarray
    first_id: np.ndarray

    @classmethod
    def joined(cls, parts: Iterator[tuple[IntArray, IntArray]]) -> BlockRuns:
        """Take blocks some prompts at a time: how many each has, at least one, and the ids of all."""
        runs, places, ids, blocks = [np.zeros(1, dtype=np.int64)], [], [], 0
        for count, given in parts:
            ends = np.cumsum(count)
            begins = np.ones(len(given), dtype=np.bool_)
            np.not_equal(given[1:], given[:-1] + 1, out=begins[1:])
            begins[ends[:-1]] = True
            at = np.flatnonzero(begins)
            runs.append(runs[-1][-1] + np.searchsorted(at, ends))
            places.append((blocks + at).astype(np.int32))
            ids.append(given[at].astype(np.int32))
            blocks += len(given)
        places.append(np.array([blocks], dtype=np.int32))
        return cls(np.concatenate(runs), np.concatenate(places), np.concatenate(ids))

    @property
    def size(self) -> int:
        """How many blocks there are."""
        return int(self.first_block[-1])

    def min(self, initial: int) -> int:
        """Return the least id, or ``initial`` where that is less."""
        return int(self.first_id.min(initial=initial))

    def max(self, initial: int) -> int:
        """Return the largest id, or ``initial`` where that is more."""
        return int((self.first_id + np.diff(self.first_block) - 1).max(initial=initial))

    def head(self, prompts: int) -> BlockRuns:
        """Return those of the first prompts."""
        runs = int(self.first_run[prompts])
        return BlockRuns(self.first_run[: prompts + 1], self.first_block[: runs + 1], self.first_id[:runs])

    def of(self, prompt: int) -> IntArray:
        """Return the ids of one prompt's blocks."""
        return self._ids(int(self.first_run[prompt]), int(self.first_run[prompt + 1]), np.int64)

    def some(self, first: int, end: int) -> IntArray:
        """Return the ids of some prompts' blocks, from one up to another, of 32 bits."""
        return self._ids(int(self.first_run[first]), int(self.first_run[end]), np.int32)

    def ids(self) -> IntArray:
        """Return the ids of all prompts' blocks, of 32 bits."""
        return self._ids(0, len(self.first_id), np.int32)

    def _ids(self, first: int, end: int, kind: type) -> IntArray:
        ids: IntArray = np.empty(int(self.first_block[end]) - int(self.first_block[first]), dtype=kind)
        write_ids(self.first_block, self.first_id, first, end, ids)
        return ids


class KeptBlocks:
    """The field of a dataclass that is given ids of blocks, as an array or in runs, and gives them as an array."""

    def __get__(self, owner: Any, kind: type) -> IntArray:
        """Return all ids, made anew where they are kept in runs."""
        if owner is None:
            # So a dataclass knows that the field has no default.
            raise AttributeError
        kept = kept_blocks(owner)
        return kept.ids() if isinstance(kept, BlockRuns) else kept

    def __set__(self, owner: Any, blocks: IntArray | BlockRuns) -> None:
        """Keep ids as they are given."""
        vars(owner)["_kept_blocks"] = blocks


def kept_blocks(owner: Any) -> IntArray | BlockRuns:
    """Return what a dataclass with such a field keeps."""
    kept: IntArray | BlockRuns = vars(owner)["_kept_blocks"]
    return kept


@compiled()
def write_ids(first_block: np.ndarray, first_id: np.ndarray, first: int, end: int, ids: np.ndarray) -> None:
    """Write the ids of the runs from one up to another."""
    at = 0
    for run in range(first, end):
        for place in range(first_block[run + 1] - first_block[run]):
            ids[at] = first_id[run] + place
            at += 1
