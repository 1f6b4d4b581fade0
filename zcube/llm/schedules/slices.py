"""Mooncake's cutting of a request into slices, one RDMA write each, and their dealing to queue pairs.

A request is cut every ``slice_bytes``; what is left at the end joins the last slice unless it exceeds a quarter of a slice
(Mooncake transfer engine, RDMA transport: MC_SLICE_SIZE 65536, MC_FRAGMENT_RATIO 4, MC_NUM_QP_PER_EP 2). That slices go round
the queue pairs in turn is inferred: the engine posts batches to queue pairs at random.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from zcube.arrays import IntArray
from zcube.inputs import Declared


class Slicing(Declared):
    """How a transfer engine cuts and deals what it sends.

    Attributes
    ----------
    slice_bytes : int
        Size of a slice.
    fragment_ratio : int
        What is left of a request joins its last slice up to ``slice_bytes / fragment_ratio``.
    queue_pairs : int
        Queue pairs between two NICs.
    """

    slice_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 65_536
    fragment_ratio: Annotated[int, Field(ge=1, le=1 << 20)] = 4
    queue_pairs: Annotated[int, Field(ge=1, le=256)] = 2

    def counts(self, request_bytes: ArrayLike) -> IntArray:
        """Return the slices of each request; none where it is empty."""
        size = np.asarray(request_bytes, dtype=np.int64)
        beyond = size - self.slice_bytes // self.fragment_ratio
        return np.where(size > 0, np.maximum(1, -(-beyond // self.slice_bytes)), 0)

    def sizes(self, request_bytes: ArrayLike) -> IntArray:
        """Return the bytes of all slices, request by request."""
        size = np.asarray(request_bytes, dtype=np.int64).ravel()
        counts = self.counts(size)
        slices = np.full(int(counts.sum()), self.slice_bytes, dtype=np.int64)
        full = counts > 0
        slices[np.cumsum(counts)[full] - 1] = (size - (counts - 1) * self.slice_bytes)[full]
        return slices

    def per_queue_pair(self, request_bytes: ArrayLike) -> tuple[IntArray, IntArray]:
        """Return bytes and slices that go over each queue pair, shape (queue_pairs,)."""
        slices = self.sizes(request_bytes)
        pair = np.arange(len(slices)) % self.queue_pairs
        sent = np.zeros(self.queue_pairs, dtype=np.int64)
        np.add.at(sent, pair, slices)
        return sent, np.bincount(pair, minlength=self.queue_pairs)
