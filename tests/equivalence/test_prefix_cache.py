"""The indexed prefix caches against a twin of lists that searches everything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.serving.prefix_cache import PrefixCaches


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


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_answer_equals_the_twins(data: st.DataObject):
    nodes, capacity = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 9))
    caches, twin = PrefixCaches(nodes, capacity), NaiveCaches(nodes, capacity)
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


@settings(max_examples=50, deadline=None)
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
