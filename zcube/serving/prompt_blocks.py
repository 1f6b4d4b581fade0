"""The blocks of prompts as prefix caches take them."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.workload.block_runs import BlockRuns, kept_blocks
from zcube.workload.requests import RequestTrace


class PromptBlocks:
    """The ids of prompts' full blocks; a block that is not full cannot be reused.

    Parameters
    ----------
    trace : RequestTrace
        The prompts.
    """

    def __init__(self, trace: RequestTrace):
        self._kept, self._block_tokens = kept_blocks(trace), trace.block_tokens
        # Numbers of arrays are read one by one, which is faster through a view of their memory.
        self._input_tokens, self._first_block = trace.input_tokens.data, trace.first_block.data
        self._none: IntArray = np.zeros(0, dtype=np.int64)

    def of(self, request: int) -> IntArray:
        """Return those of a request's prompt: of 64 bits, and writable, for which kernels are compiled."""
        if not self._block_tokens:
            return self._none
        full, first = self._input_tokens[request] // self._block_tokens, self._first_block[request]
        if isinstance(self._kept, BlockRuns):
            return self._kept.of(request)[:full]
        return self._kept[first : min(first + full, self._first_block[request + 1])].astype(np.int64)
