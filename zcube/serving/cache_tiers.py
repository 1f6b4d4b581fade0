"""Tiers of KV caches below the prefill nodes' own: host memory of groups of nodes, and a store that is read over the fabric.

A tier keeps whole blocks of prompts, least recently used out first, like the nodes' own caches. Tiers are looked up in order,
the node's own cache first: what a tier holds of a prompt is a run of leading blocks, and it is read only for what the tiers
before it do not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.kv import KvLayout, bytes_per_token
from zcube.serving.cache_settings import Cache
from zcube.serving.placement import Seated, store_ends, store_nics
from zcube.serving.prefix_cache import PrefixCaches
from zcube.serving.transfers import Transfers, read_of, write_of


@dataclass(slots=True, eq=False)
class Read:
    """A prompt's read: leading blocks held by the node, by node or pool, and by any tier, when it began.

    ``pool_bytes`` come out of host memory, ``store_bytes`` over the fabric, these from ``start_s`` on. ``done`` comes with the
    last of them.
    """

    held: int
    pool_end: int
    end: int
    pool_bytes: int
    store_bytes: int
    start_s: float
    done: simpy.Event


class CacheTiers:
    """Pools and store of a run.

    Parameters
    ----------
    env, transfers
        Clock and network.
    asked : Cache
        Sizes, rates, latencies.
    placed : Placed
        Servers of nodes and store.
    card, layout
        What a token takes.
    block_tokens : int
        Tokens of a block, at least 1.
    chained : bool
        As :class:`~zcube.serving.prefix_cache.PrefixCaches`.
    data_parallel : bool
        Whether one GPU of a prefill node has a request to itself.
    """

    def __init__(
        self, env: simpy.Environment, transfers: Transfers, asked: Cache, placed: Seated, card: ModelCard, layout: KvLayout,
        block_tokens: int, chained: bool, data_parallel: bool,
    ):  # fmt: skip
        self._env, self._transfers, self._asked, self._data_parallel = env, transfers, asked, data_parallel
        self._block_bytes = bytes_per_token(card, layout) * block_tokens
        self._least_blocks = max(1, -(-asked.least_tokens // block_tokens))
        pools = -(-len(placed.prefill) // asked.pool.nodes)
        self._pools = PrefixCaches(pools, asked.pool.tokens // block_tokens, chained)
        self._store = PrefixCaches(1, asked.store.tokens // block_tokens, chained)
        #: When each node's link to host memory is free.
        self._free_s = [0.0] * len(placed.prefill)
        self._prefill, self._holders = placed.prefill, np.array(placed.store, dtype=np.int64)
        self._placed, self._nics = placed, store_nics(asked, placed)
        self._lanes: dict[tuple[int, int, bool], IntArray | None] = {}

    def read(self, request: int, node: int, rank: int, blocks: IntArray, held: int) -> Read | None:
        """Begin to read what the tiers hold of a prompt beyond the first ``held`` blocks; None if that is too little.

        Parameters
        ----------
        request, node, rank : int
            Whose prompt it is, and the prefill node and data-parallel rank that get it.
        blocks : int array [blocks]
            Of the prompt.
        held : int
            Leading blocks that the node holds itself.
        """
        pool_end = max(held, self._pools.hit(node // self._asked.pool.nodes, blocks))
        end = max(pool_end, self._store.hit(0, blocks) if len(self._holders) else 0)
        paths = self._paths(node, rank, reads=True) if end > pool_end else None
        if paths is None:
            end = pool_end
        if end - held < self._least_blocks:
            return None
        sizes, own_bytes = self._by_nic(blocks[pool_end:end], node)
        pool_bytes = (pool_end - held) * self._block_bytes + own_bytes
        waits: list[simpy.Event] = []
        start_s = float(self._env.now) + self._asked.store.latency_s
        if pool_bytes:
            waits.append(self._env.timeout(self._from_host_s(node, pool_bytes)))
        if paths is not None and sizes.any():
            sent = self._env.event()
            self._after(self._asked.store.latency_s, partial(self._send, paths, sizes, read_of(request), sent.succeed))
            waits.append(sent)
        return Read(held, pool_end, end, pool_bytes, int(sizes.sum()), start_s, self._env.all_of(waits))

    def put(self, request: int, node: int, rank: int, blocks: IntArray) -> None:
        """Put a computed prompt's blocks into every tier; what goes to the store over the fabric is there when it arrives."""
        self._pools.insert(node // self._asked.pool.nodes, blocks)
        if not len(self._holders) or not len(blocks):
            return
        new = blocks[self._store.hit(0, blocks) :]
        sizes, _ = self._by_nic(new, node)
        paths = self._paths(node, rank, reads=False) if self._asked.store.writes == "carried" and sizes.any() else None
        if self._asked.store.writes == "free" or not sizes.any():
            self._store.insert(0, blocks)
        elif paths is not None:
            kept = partial(self._store.insert, 0, blocks)
            self._after(self._asked.store.latency_s, partial(self._send, paths, sizes, write_of(request), kept))

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._env.timeout(seconds).callbacks.append(lambda _: what())

    def _send(self, paths: IntArray, sizes: IntArray, whose: int, arrived: Callable[[], object]) -> None:
        def on_arrival(_: simpy.Event) -> None:
            arrived()

        some = sizes > 0
        self._transfers.send(paths[some], sizes[some], whose).callbacks.append(on_arrival)

    def _from_host_s(self, node: int, size_bytes: int) -> float:
        """Return how long a read out of host memory takes from now on, those before it on the node's link waited for."""
        now, pool = float(self._env.now), self._asked.pool
        self._free_s[node] = max(now, self._free_s[node]) + size_bytes / (pool.gbytes_per_s * 1e9)
        return self._free_s[node] + pool.latency_s - now

    def _by_nic(self, blocks: IntArray, node: int) -> tuple[IntArray, int]:
        """Return the bytes of blocks behind each NIC of the store [servers * nics], and those that the node holds itself."""
        servers, nics = max(1, len(self._holders)), self._nics
        holder, nic = blocks % servers, blocks // servers % nics
        counts = np.bincount(holder * nics + nic, minlength=servers * nics).reshape(servers, nics)
        own = self._holders == self._prefill[node]
        own_blocks = int(counts[own].sum()) if own.any() else 0
        counts[own] = 0
        return counts.ravel() * self._block_bytes, own_blocks * self._block_bytes

    def _paths(self, node: int, rank: int, reads: bool) -> IntArray | None:
        """Return the paths between every NIC of the store and a prefill node, any one for its own; None if some are cut."""
        key = node, rank if self._data_parallel else 0, reads
        if key not in self._lanes:
            first, rank_there = self._prefill[node], key[1] if self._data_parallel else None
            held, there = store_ends(self._asked, self._placed, self._holders, first, rank_there)
            source, target = (held, there) if reads else (there, held)
            other = np.repeat(self._holders != first, self._nics)
            found = None
            if self._transfers.carries(source[other], target[other]):
                found = np.full(len(held), -1, dtype=np.int64)
                if other.any():
                    found[other] = self._transfers.paths(source[other], target[other])
            self._lanes[key] = found
        return self._lanes[key]
