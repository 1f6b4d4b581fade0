"""KV memory of the prefill nodes: one pool a node for the prefix cache, prompts that run and prompts not yet shipped.

As in SGLang, whose prefix cache and running requests share one pool of pages and whose prefill nodes keep a prompt's pages
until its transfer has ended. A prompt's memory is claimed in full when it starts; cached blocks that it reuses are shared, and
stay while a prompt needs them. What nobody needs is cache and gives way to a prompt that starts, least recently used first.
"""

from __future__ import annotations

from dataclasses import dataclass

from zcube.arrays import IntArray
from zcube.serving.prefix_cache import PrefixCaches


@dataclass(slots=True)
class Claim:
    """What a prompt holds: the first ``shared`` of its whole blocks, which others may use too, and tokens of its own."""

    node: int
    blocks: IntArray
    shared: int
    own_tokens: int


class KvMemory:
    """Claims of prompts on the memory of their nodes.

    Parameters
    ----------
    nodes : int
        Prefill nodes.
    capacity_tokens : int
        KV that one node holds.
    caches : PrefixCaches
        What is held in whole blocks; with room for the whole memory, or for nothing where caching is off.
    block_tokens : int
        Tokens of a block.
    most_idle : int
        Blocks that a node keeps beyond those that prompts need.
    """

    def __init__(self, nodes: int, capacity_tokens: int, caches: PrefixCaches, block_tokens: int, most_idle: int):
        self.capacity_tokens = capacity_tokens
        self._caches, self._block_tokens, self._most_idle = caches, block_tokens, most_idle
        self._own_tokens, self._used_blocks = [0] * nodes, [0] * nodes

    def held_tokens(self, node: int) -> int:
        """Return the tokens that a node holds, cache included."""
        return self._own_tokens[node] + self._caches.held(node) * self._block_tokens

    def needed_tokens(self, node: int) -> int:
        """Return the tokens that a node's prompts need."""
        return self._own_tokens[node] + self._used_blocks[node] * self._block_tokens

    def claim(self, node: int, blocks: IntArray, hit: int, prompt_tokens: int) -> Claim | None:
        """Claim memory for a prompt whose first ``hit`` blocks the node holds; None if there is not enough."""
        blocks = blocks if self._most_idle else blocks[:0]
        own_tokens = prompt_tokens - hit * self._block_tokens
        self._used_blocks[node] += self._caches.use(node, blocks[:hit], 1)
        if self.needed_tokens(node) + own_tokens > self.capacity_tokens:
            self._used_blocks[node] += self._caches.use(node, blocks[:hit], -1)
            return None
        self._own_tokens[node] += own_tokens
        over = self.held_tokens(node) - self.capacity_tokens
        if over > 0:
            self._caches.drop_idle(node, -(-over // self._block_tokens))
        return Claim(node, blocks, hit, own_tokens)

    def computed(self, claim: Claim) -> None:
        """Put a prompt's whole blocks where others find them; what is there twice is held once."""
        node, rest = claim.node, claim.blocks[claim.shared :]
        self._caches.insert(node, claim.blocks)
        self._used_blocks[node] += self._caches.use(node, rest, 1)
        self._own_tokens[node] -= len(rest) * self._block_tokens
        claim.own_tokens -= len(rest) * self._block_tokens
        claim.shared = len(claim.blocks)

    def free(self, claim: Claim) -> None:
        """Give a claim back; its blocks stay as cache, up to the most that is kept."""
        node = claim.node
        self._own_tokens[node] -= claim.own_tokens
        self._used_blocks[node] += self._caches.use(node, claim.blocks[: claim.shared], -1)
        self._caches.drop_idle(node, self._caches.held(node) - self._used_blocks[node] - self._most_idle)
