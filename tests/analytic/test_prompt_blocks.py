"""The full blocks of prompts, however a trace keeps its blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zcube.serving.prompt_blocks import PromptBlocks
from zcube.workload.block_runs import BlockRuns
from zcube.workload.requests import RequestTrace

#: Tokens of prompts in blocks of 10, and their blocks: ends full, ends within one, lacks one, has no full one.
PROMPTS = {20: [7, 8], 25: [7, 8, 9], 31: [7, 40], 9: [3]}


def trace_of(ids):
    count = [len(blocks) for blocks in PROMPTS.values()]
    tokens = np.array(list(PROMPTS))
    return RequestTrace(
        name="mine", source="none", arrival_s=np.zeros(4), input_tokens=tokens, output_tokens=np.ones(4, dtype=np.int64),
        block_tokens=10, first_block=np.concatenate([[0], np.cumsum(count)]), block_id=ids, session=np.full(4, -1),
    )  # fmt: skip


@pytest.mark.parametrize("kept", ["runs", "32 bits", "64 bits"])
def test_full_blocks_are_those_that_prompts_fill(kept):
    ids = np.concatenate(list(PROMPTS.values()))
    if kept == "runs":
        ids = BlockRuns.joined(iter([(np.array([len(blocks) for blocks in PROMPTS.values()]), ids)]))
    elif kept == "64 bits":
        ids = ids + (1 << 40)
    trace = trace_of(ids)
    blocks = PromptBlocks(trace)
    for request, full in enumerate([[7, 8], [7, 8], [7, 40], []]):
        found = blocks.of(request)
        assert found.dtype == np.int64 and found.flags.writeable
        assert found.tolist() == [one + (1 << 40) * (kept == "64 bits") for one in full]
    without = replace(trace, block_tokens=0, first_block=np.zeros(5, dtype=np.int64), block_id=np.zeros(0, dtype=np.int64))
    assert PromptBlocks(without).of(1).tolist() == []
