"""Kernels that walk prompts and batches, against plain Python."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcube.serving.decode_batch import CONTEXT, LEFT, MOST_LEFT, REQUEST, give_tokens, let_pass
from zcube.workload.block_runs import BlockRuns
from zcube.workload.prefix_blocks import Lineage, prefix_blocks, write_keys
from zcube.workload.prefix_hits import prefix_hits

PROMPTS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=20)


def hits_by_hand(prompts: list[list[int]]) -> tuple[list[int], bool]:
    """Leading blocks that occurred in an earlier prompt, and whether every block always follows the same one."""
    earlier: set[int] = set()
    before: dict[int, int | None] = {}
    hits, chained = [], True
    for prompt in prompts:
        run = 0
        while run < len(prompt) and prompt[run] in earlier:
            run += 1
        hits.append(run)
        for at, block in enumerate(prompt):
            previous = prompt[at - 1] if at else None
            chained = chained and before.setdefault(block, previous) == previous
        earlier.update(prompt)
    return hits, chained


@given(PROMPTS, st.sampled_from([1, 10**12]))
def test_prefix_hits_equal_those_of_a_set(prompts, spread):
    first = np.cumsum([0, *map(len, prompts)])
    blocks = np.array([spread * block for prompt in prompts for block in prompt], dtype=np.int64)
    hits, chained = prefix_hits(first, blocks)
    assert (hits.tolist(), chained) == hits_by_hand(prompts)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=9))
def test_prefix_hits_of_runs_are_those_of_their_ids_however_many_prompts_are_taken_at_once(prompts):
    counts, blocks = np.array([len(prompt) for prompt in prompts]), np.concatenate([*map(np.array, prompts)])
    runs = BlockRuns.joined(iter([(counts, blocks)]))
    assert (runs.min(initial=0), runs.max(initial=0)) == (0, blocks.max())
    first = np.cumsum([0, *counts])
    for at_once in (1, 2, 4096):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zcube.workload.prefix_hits.PROMPTS_AT_ONCE", at_once)
            for given_as in (blocks, runs):
                hits, chained = prefix_hits(first, given_as)
                assert (hits.tolist(), chained) == hits_by_hand(prompts)


def test_chained_ids_are_told_from_others():
    chained, other = np.array([1, 2, 1, 2, 3]), np.array([1, 2, 2, 1, 3])
    first = np.array([0, 2, 5])
    assert prefix_hits(first, chained)[1] and not prefix_hits(first, other)[1]


@given(st.lists(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 4)), min_size=3, max_size=3), max_size=12))
def test_keys_are_their_sources_plus_their_places(prompts):
    sources = np.array([[source for source, _ in prompt] for prompt in prompts], dtype=np.int64).reshape(-1, 3)
    lengths = np.array([[length for _, length in prompt] for prompt in prompts], dtype=np.int64).reshape(-1, 3)
    expected = []
    for prompt in prompts:
        place = 0
        for source, length in prompt:
            expected += [source + place + at for at in range(length)]
            place += length
    keys = np.full(lengths.sum(), -1)
    write_keys(sources, lengths, keys)
    assert keys.tolist() == expected


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 1), st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=10)
)
def test_prefix_blocks_are_equal_just_where_prompts_are(rows):
    """Blocks by the text they hold, token by token; the last, partial one is the prompt's own."""
    block, shared, grouped = 4, 5, 6
    tokens, group, history, trunk = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    trunk = np.maximum(trunk, shared + grouped)
    first, found = prefix_blocks(tokens, Lineage(shared, grouped, group, history, history, trunk), block, 2)
    texts: list[tuple[object, ...]] = []
    for prompt in range(len(rows)):
        text: list[object] = [
            "shared" if at < shared else ("group", group[prompt]) if at < shared + grouped else ("history", history[prompt])
            for at in range(tokens[prompt])
        ]
        for end in range(block, tokens[prompt] + block, block):
            whole = end <= tokens[prompt]
            # A block whose text has several sources belongs to the last of them.
            texts.append((end, text[end - 1]) if whole else (end, prompt, "partial"))
    seen: dict[tuple[object, ...], int] = {}
    assert found.ids().tolist() == [seen.setdefault(text, len(seen)) for text in texts]
    assert np.diff(first).tolist() == (-(-tokens // block)).tolist()
    prompts = np.split(found.ids(), first[1:-1])
    assert [found.of(prompt).tolist() for prompt in range(len(rows))] == [ids.tolist() for ids in prompts]
    some = len(rows) // 2 + 1
    assert found.head(some).ids().tolist() == np.concatenate(prompts[:some]).tolist()


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 10**6), st.integers(1, 9)), max_size=20), st.integers(0, 9))
def test_a_batch_gains_tokens_as_a_list_does(rows, steps):
    batch = np.array(rows, dtype=np.int64).reshape(-1, 3).T.copy()
    finished = np.zeros(max(1, len(rows)), dtype=np.int64)
    kept, least = give_tokens(batch, len(rows), steps, finished)
    stay = [(request, context + steps, left - steps) for request, context, left in rows if left > steps]
    assert list(zip(*(batch[row, :kept].tolist() for row in (REQUEST, CONTEXT, LEFT)), strict=True)) == stay
    assert finished[: len(rows) - kept].tolist() == [request for request, _, left in rows if left <= steps]
    assert least == min((left for _, _, left in stay), default=MOST_LEFT)


@given(st.lists(st.floats(1e-6, 10.0), max_size=40), st.sampled_from((1.0, 1.7, 3.0)), st.floats(0.0, 1e6))
def test_steps_end_when_their_sum_has_passed(seconds, tokens_per_step, start_s):
    ends_s = np.array(seconds)
    let_pass(ends_s, tokens_per_step, start_s)
    assert ends_s.tolist() == [passed_s / tokens_per_step + start_s for passed_s in accumulate(seconds)]
