"""The memory of prefill nodes against a twin that keeps every block in a list and counts it all anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving.kv_memory import Claim, KvMemory
from zcube.serving.prefix_cache import PrefixCaches

BLOCK = 10


class NaiveMemory:
    """One node: blocks from the least to the most recently used, and what prompts hold, each by its blocks and other tokens."""

    def __init__(self, capacity: int, most_idle: int):
        self.capacity, self.most_idle = capacity, most_idle
        self.cached: list[int] = []
        self.prompts: dict[int, tuple[list[int], int]] = {}

    def used(self) -> set[int]:
        return {block for blocks, _ in self.prompts.values() for block in blocks}

    def own(self) -> int:
        return sum(own for _, own in self.prompts.values())

    def held(self) -> int:
        return len(self.cached) * BLOCK + self.own()

    def drop(self, until) -> None:
        while not until():
            self.cached.remove(next(block for block in self.cached if block not in self.used()))

    def hit(self, blocks: list[int]) -> list[int]:
        count = 0
        while count < len(blocks) and blocks[count] in self.cached:
            count += 1
        return blocks[:count]

    def claim(self, number: int, blocks: list[int], tokens: int) -> bool:
        hit = self.hit(blocks)
        self.prompts[number] = hit, tokens - len(hit) * BLOCK
        if len(self.used()) * BLOCK + self.own() > self.capacity:
            del self.prompts[number]
            return False
        self.drop(lambda: self.held() <= self.capacity)
        return True

    def computed(self, number: int, blocks: list[int], tokens: int) -> None:
        self.prompts[number] = blocks, tokens - len(blocks) * BLOCK
        self.cached = [block for block in self.cached if block not in blocks] + blocks[::-1]

    def free(self, number: int) -> None:
        del self.prompts[number]
        self.drop(lambda: len([block for block in self.cached if block not in self.used()]) <= self.most_idle)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[list[int], int]:
    """Blocks of a prompt, which branch as a tree does, and its tokens."""
    ids, node = [], 0
    for branch in draw(st.lists(st.integers(0, 1), max_size=6)):
        node = node * 2 + branch + 1
        ids.append(node)
    return ids, len(ids) * BLOCK + draw(st.integers(not ids, BLOCK - 1))


@settings(max_examples=200)
@given(st.data())
def test_claims_and_what_is_held_equal_the_twins(data: st.DataObject):
    capacity, most_idle = data.draw(st.integers(30, 200)), data.draw(st.integers(1, 8))
    caches = PrefixCaches(2, capacity // BLOCK, chained=data.draw(st.booleans()))
    memory, twin = KvMemory(2, capacity, caches, BLOCK, most_idle), NaiveMemory(capacity, most_idle)
    running: dict[int, tuple[Claim, list[int], int]] = {}
    shipping: dict[int, Claim] = {}
    for number in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(["claim", "claim", "computed", "free"]))
        if step == "claim":
            ids, tokens = data.draw(prompts())
            blocks = np.array(ids, dtype=np.int64)
            claim = memory.claim(1, blocks, caches.hit(1, blocks), tokens)
            assert (claim is not None) == twin.claim(number, ids, tokens)
            if claim is not None:
                running[number] = claim, ids, tokens
        elif step == "computed" and running:
            at = data.draw(st.sampled_from(sorted(running)))
            claim, ids, tokens = running.pop(at)
            memory.computed(claim)
            twin.computed(at, ids, tokens)
            shipping[at] = claim
        elif step == "free" and shipping:
            at = data.draw(st.sampled_from(sorted(shipping)))
            memory.free(shipping.pop(at))
            twin.free(at)
        assert memory.held_tokens(1) == twin.held() <= capacity
        assert memory.needed_tokens(1) == len(twin.used()) * BLOCK + twin.own()
        for block in range(128):
            assert caches.hit(1, np.array([block])) == (block in twin.cached)
    assert memory.held_tokens(0) == 0
