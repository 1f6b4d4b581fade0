"""The kernels of the prefix caches and of the router against twins of lists that search everything."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving import prefix_cache
from zcube.serving.router import NOBODY, PrefillLoads, choose
from zcube.workload.requests import RequestTrace


class PrefixCaches(prefix_cache.PrefixCaches):
    """The caches, asked with lists."""

    def hits(self, blocks):
        found = {node: self.hit(node, blocks) for node in range(len(self.state.nodes))}
        return {node: count for node, count in found.items() if count}

    def hit(self, node, blocks):
        return super().hit(node, np.array(blocks, dtype=np.int64))

    def insert(self, node, blocks):
        super().insert(node, np.array(blocks, dtype=np.int64))


class NaiveCaches:
    """Per node a list of blocks, the most recently used last."""

    def __init__(self, nodes: int, capacity: int):
        self.capacity = capacity
        self.held: list[list[int]] = [[] for _ in range(nodes)]

    def hit(self, node: int, blocks: list[int]) -> int:
        matched = 0
        while matched < len(blocks) and blocks[matched] in self.held[node]:
            matched += 1
        return matched

    def hits(self, blocks: list[int]) -> dict[int, int]:
        every = {node: self.hit(node, blocks) for node in range(len(self.held))}
        return {node: matched for node, matched in every.items() if matched}

    def insert(self, node: int, blocks: list[int]) -> None:
        kept = blocks[: self.capacity]
        held = [block for block in self.held[node] if block not in kept]
        # What comes later in a prompt is worth less: it goes first.
        self.held[node] = (held + kept[::-1])[-self.capacity :] if self.capacity else []


@st.composite
def prompts(draw: st.DrawFn) -> list[int]:
    """Blocks of a prompt; an id stands for its whole prefix, so prompts branch as a tree does."""
    branches = draw(st.lists(st.integers(0, 2), max_size=6))
    ids, node = [], 0
    for branch in branches:
        node = node * 3 + branch + 1
        ids.append(node)
    return ids


@settings(max_examples=200)
@given(st.data())
def test_every_answer_equals_the_twins(data: st.DataObject):
    nodes, capacity = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 9))
    caches, twin = PrefixCaches(nodes, capacity, data.draw(st.booleans())), NaiveCaches(nodes, capacity)
    node_numbers = st.integers(0, nodes - 1)
    for node, prompt in data.draw(st.lists(st.tuples(node_numbers, prompts()), max_size=25)):
        caches.insert(node, prompt)
        twin.insert(node, prompt)
        asked = data.draw(prompts())
        assert caches.hits(asked) == twin.hits(asked)
        for other in range(min(nodes, 4)):
            assert caches.hit(other, asked) == twin.hit(other, asked)
    for node in range(nodes):
        for block in twin.held[node]:
            assert caches.hit(node, [block]) == 1
        assert len(twin.held[node]) <= capacity


@settings(max_examples=50)
@given(st.lists(prompts(), min_size=1, max_size=20), st.integers(1, 8))
def test_a_cache_of_whole_prompts_holds_prefixes_only(inserted: list[list[int]], capacity: int):
    caches = PrefixCaches(1, capacity)
    for prompt in inserted:
        caches.insert(0, prompt)
    for prompt in inserted:
        held = [caches.hit(0, [block]) for block in prompt]
        assert sum(held) == caches.hit(0, prompt), "a block without its prefix can never be hit and wastes room"


def test_the_least_recently_used_goes_first():
    caches = PrefixCaches(2, 4)
    caches.insert(0, [1, 2])
    caches.insert(0, [3, 4])
    caches.insert(0, [1, 2])
    caches.insert(0, [5])
    assert caches.hit(0, [3, 4]) == 1, "the end of the oldest prompt is dropped"
    assert caches.hit(0, [1, 2]) == 2
    assert caches.hits([3]) == {0: 1}
    assert caches.hits([4]) == {}
    assert caches.hits([]) == {}


def test_a_prompt_longer_than_the_cache_keeps_its_beginning():
    caches = PrefixCaches(1, 3)
    caches.insert(0, [1, 2, 3, 4, 5])
    assert caches.hit(0, [1, 2, 3, 4, 5]) == 3


@pytest.mark.parametrize("chained", [False, True])
def test_many_long_prompts_equal_the_twins(chained):
    # Enough to let the table grow several times and to move entries up behind removed ones.
    random = np.random.default_rng(3)
    caches, twin = PrefixCaches(5, 700, chained), NaiveCaches(5, 700)
    for _ in range(150):
        node, first, length = random.integers(0, 5), int(random.integers(0, 9)), int(random.integers(1, 900))
        prompt = [first * 10**15 + step for step in range(length)]
        caches.insert(int(node), prompt)
        twin.insert(int(node), prompt)
        chains = random.integers(0, 9, 1 if chained else 900)
        asked = [int(chains[step % len(chains)]) * 10**15 + step for step in range(900)]
        assert caches.hits(asked) == twin.hits(asked)


@settings(max_examples=200)
@given(st.data())
def test_the_router_takes_the_node_that_could_finish_soonest(data: st.DataObject):
    nodes, most = data.draw(st.integers(1, 6)), data.draw(st.none() | st.integers(1, 3))
    caches, loads = prefix_cache.PrefixCaches(nodes, 20, data.draw(st.booleans())), PrefillLoads.idle(nodes, 64, most)
    loads.backlog_tokens[:] = data.draw(st.lists(st.integers(0, 200), min_size=nodes, max_size=nodes))
    loads.held[:] = data.draw(st.lists(st.integers(0, 3), min_size=nodes, max_size=nodes))
    for node in range(nodes):
        caches.insert(node, np.array(data.draw(prompts()), dtype=np.int64))
    blocks = np.array(data.draw(prompts()), dtype=np.int64)
    input_tokens = 16 * len(blocks) + data.draw(st.integers(1, 15))
    now_s = float(data.draw(st.integers(0, 5)))
    # Whole chunks under way are part of the backlog.
    chunks = (loads.backlog_tokens // 64).tolist()
    ends_s = {node: sorted(data.draw(st.lists(st.integers(0, 6), max_size=chunks[node]))) for node in range(nodes)}
    for node, ends in ends_s.items():
        loads.chunk_ends_s[node, : len(ends)] = ends
    costs, first = {}, data.draw(st.integers(0, nodes - 1))
    for node in range(nodes):
        hit = caches.hit(node, blocks)
        new_tokens = max(1, input_tokens - 16 * hit)
        if most is None or loads.held[node] < most:
            done = sum(end_s <= now_s for end_s in ends_s[node])
            costs[node] = (loads.backlog_tokens[node] - 64 * done + new_tokens, (node - first) % nodes, node, hit)
    expected = min(costs.values())[2:] if costs else (NOBODY, 0)
    assert choose(loads, caches, blocks, input_tokens, 16, now_s, first) == expected


def test_blocks_are_chained_if_each_follows_the_same_one():
    def trace(*rows):
        count = len(rows)
        return RequestTrace(
            name="x", source="x", arrival_s=np.zeros(count), input_tokens=np.full(count, 64), output_tokens=np.ones(count, int),
            block_tokens=16, first_block=np.cumsum([0, *map(len, rows)]), block_id=np.array([*chain(*rows)], dtype=int),
            session=np.arange(count),
        )  # fmt: skip

    assert trace([1, 2, 3], [1, 2, 4], [5]).are_chained
    assert not trace([1, 2, 3], [4, 2]).are_chained, "2 follows 1 and 4"
    assert not trace([1, 2], [2]).are_chained, "2 follows 1 and begins a prompt"
    assert trace([], [7]).are_chained and trace([]).are_chained
