"""Prefix caches of the prefill nodes: least recently used blocks, and who holds which."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


class PrefixCaches:
    """One cache of whole prompt blocks per node, and an index over all of them.

    A block id stands for the whole prefix up to its end, so a node's hit on a prompt is its run of leading blocks.

    Parameters
    ----------
    nodes : int
        Prefill nodes.
    capacity_blocks : int
        Blocks one node keeps; 0 switches caching off.
    """

    def __init__(self, nodes: int, capacity_blocks: int):
        self._capacity = capacity_blocks
        self._held: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(nodes)]
        self._holders: dict[int, int] = {}

    def hits(self, blocks: Sequence[int]) -> dict[int, int]:
        """Return how many leading blocks each node holds; nodes without a hit are left out."""
        found: dict[int, int] = {}
        mask = -1
        matched = 0
        for block in blocks:
            here = mask & self._holders.get(block, 0)
            if here != mask and mask != -1:
                _record(found, mask & ~here, matched)
            mask = here
            if not mask:
                return found
            matched += 1
        if mask > 0:
            _record(found, mask, matched)
        return found

    def hit(self, node: int, blocks: Sequence[int]) -> int:
        """Return how many leading blocks one node holds."""
        held = self._held[node]
        for matched, block in enumerate(blocks):
            if block not in held:
                return matched
        return len(blocks)

    def insert(self, node: int, blocks: Sequence[int]) -> None:
        """Keep a prompt's blocks at a node as the most recently used, and drop the least recently used beyond capacity."""
        held, bit = self._held[node], 1 << node
        # The last block goes in first, so that a prefix is never dropped before what extends it.
        for block in reversed(blocks[: self._capacity]):
            held[block] = None
            held.move_to_end(block)
            self._holders[block] = self._holders.get(block, 0) | bit
        while len(held) > self._capacity:
            block, _ = held.popitem(last=False)
            left = self._holders[block] & ~bit
            if left:
                self._holders[block] = left
            else:
                del self._holders[block]


def _record(found: dict[int, int], mask: int, matched: int) -> None:
    while mask:
        low = mask & -mask
        if matched:
            found[low.bit_length() - 1] = matched
        mask ^= low
