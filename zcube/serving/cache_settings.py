"""Tiers of KV caches below the memory of the GPUs, as a scenario declares them: tables ``[cache]`` and below."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zcube.inputs import Declared


class CachePool(Declared):
    """Host memory of prefill nodes (HiCache's L2). 0 tokens switch it off.

    1 TB of it holds 16 million tokens of GLM-5.1 in fp8. Every GPU of a node loads its copy over its own PCIe link, so that a
    prompt's KV comes at the rate of one: PCIe 5.0 x16 has 63 GB/s, of which 50 are reached (inferred). Reads of a node come one
    after the other. Where several nodes share a pool, a block is there for all of them at that rate, whoever put it in: they
    are taken to reach it without the fabric. Memory of other nodes that is read over it is a store.
    """

    tokens: int = Field(default=0, ge=0, le=10**12, description="KV of prompts that one pool keeps")
    nodes: int = Field(default=1, ge=1, le=100_000, description="prefill nodes that share a pool, side by side")
    gbytes_per_s: float = Field(default=50.0, gt=0, le=1e6, description="rate at which a node reads")
    latency_s: float = Field(default=0.0, ge=0, le=10, description="time before a read's first byte; not published")


class CacheStore(Declared):
    """Memory that all prefill nodes read over the fabric (Mooncake Store, HiCache's L3). 0 tokens switch it off.

    Blocks go in turn over its servers, and over the NICs of each: block ``b`` lies behind NIC ``b // servers mod nics`` of
    server ``b mod servers`` (inferred). A read is one transfer from every NIC that holds some of it, to the same GPU of the
    prefill node, or to the GPU that has the request under data-parallel attention; other GPUs of the node get their copy over
    NVLink. What a prefill node holds itself comes at the pool's rate. ``latency_s`` is Mooncake's time per request (fitted, see
    ``kv.setup_s``), and ``kv.efficiency`` bounds these transfers too.
    """

    tokens: int = Field(default=0, ge=0, le=10**12, description="KV of prompts that it keeps in all")
    placement: Literal["own", "prefill", "decode"] = Field(
        default="own", description="whose servers hold it: its own, numbered behind both pools, or those of a pool"
    )
    servers: int | None = Field(
        default=None, ge=1, le=100_000, description="how many, the first of a pool; default: one of its own, all of a pool"
    )
    nics: int = Field(default=8, ge=1, le=1024, description="NICs of a server that it uses, of GPU 0 on; at most all")
    latency_s: float = Field(default=0.00037, ge=0, le=10, description="time before a read or a write reaches the network")
    writes: Literal["carried", "free"] = Field(
        default="carried", description="whether new blocks cross the fabric to it, or are there when they are computed"
    )


class Cache(Declared):
    """Where prefill nodes look for a prompt's prefix beyond their own memory, ``prefill.prefix_cache_tokens``. Off by default.

    When a prompt comes to its prefill node, what pool and store hold beyond the node's own cache is read, if that is
    ``least_tokens`` or more (SGLang HiCache's ``prefetch_threshold``). ``reads``: ``wait``, the prompt starts once all of it is
    there, and others go on meanwhile (HiCache's ``wait_complete``); ``overlap``, it starts at once, layer by layer behind the
    read, so that its first iteration ends no sooner than the read. A prompt's blocks are put into every tier when it is
    computed (HiCache's ``write_through``); each loses the least recently used. The router looks at the nodes' own caches only
    (inferred).
    """

    reads: Literal["wait", "overlap"] = Field(default="wait", description="what a prompt's read holds up")
    least_tokens: int = Field(default=256, ge=1, le=1 << 20, description="tokens found below which nothing is read")
    pool: CachePool = CachePool()
    store: CacheStore = CacheStore()

    @property
    def is_on(self) -> bool:
        """Whether there is any tier."""
        return self.pool.tokens > 0 or self.store.tokens > 0
