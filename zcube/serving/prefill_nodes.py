"""The prefill nodes of a cluster: which one takes a prompt, and what its cache, its memory and the tiers below hold of it."""

from __future__ import annotations

from functools import cache

from zcube.arrays import IntArray
from zcube.serving.cache_tiers import CacheTiers, Read
from zcube.serving.expert_exchange import PrefillExchange
from zcube.serving.kv_memory import KvMemory
from zcube.serving.pipeline import Pipeline
from zcube.serving.prefill import Pause, PrefillHooks, PrefillInstance, PrefillJob
from zcube.serving.prefill_bursts import PrefillBursts
from zcube.serving.prefix_cache import PrefixCaches
from zcube.serving.router import PrefillLoads, choose
from zcube.serving.settings import ServingSettings
from zcube.serving.site import Assigned, Site


class PrefillNodes:
    """Prefill instances with the KV that their nodes keep.

    Parameters
    ----------
    site : Site
        Where they stand.
    hooks : PrefillHooks
        What instances report.
    ranks : int
        Data-parallel attention ranks of a node, which take prompts in turn.
    """

    def __init__(self, site: Site, hooks: PrefillHooks, ranks: int):
        self._site, self._pool, self._ranks = site, site.settings.prefill, ranks
        settings, pool, trace = site.settings, site.settings.prefill, site.journeys.trace
        self._env, self._journeys, self._work = site.env, site.journeys, site.work
        self._cells = site.journeys.cells()
        self._span, self._block_tokens = pool.nodes_per_instance, trace.block_tokens
        block_tokens = trace.block_tokens or 1
        cached_blocks, capacity = pool.prefix_cache_tokens // block_tokens, pool.kv_capacity_tokens
        room_blocks = cached_blocks if capacity is None else capacity // block_tokens if cached_blocks else 0
        self._caches = PrefixCaches(pool.nodes, room_blocks, trace.are_chained)
        self._tiers: CacheTiers | None = None
        if settings.cache.is_on and trace.block_tokens:
            self._tiers = CacheTiers(
                site.env, site.transfers, settings.cache, site.placed, site.card, settings.engine().kv, block_tokens,
                trace.are_chained, ranks > 1,
            )  # fmt: skip
        self._memory: KvMemory | None = None
        if capacity is not None:
            self._memory = KvMemory(pool.nodes, capacity, self._caches, block_tokens, cached_blocks)
        self._loads = PrefillLoads.idle(pool.nodes, pool.chunk_tokens, pool.max_queue)
        self._instances = self._start_instances(hooks)
        for instance in self._instances:
            if not instance.carries:
                self._loads.room[instance.nodes] = 0
        #: Prompts at nodes that have not started.
        self.queued = 0
        self._next_rank = [0] * pool.nodes
        #: The node that comes first where several are equal.
        self._turn = 0

    def _start_instances(self, hooks: PrefillHooks) -> list[PrefillInstance]:
        site, pool, span = self._site, self._pool, self._pool.nodes_per_instance
        plan = site.settings.engine().prefill_exchange(site.card) if span > 1 and site.card.moe_layers else None
        instances = []

        @cache
        def bursts_among(domains: int) -> PrefillBursts:
            assert plan is not None
            return PrefillBursts(plan, site.compute.exchanges, site.nic_gbps, pool, domains)

        for first in range(0, pool.nodes, span):
            servers = site.placed.prefill[first : first + span]
            exchange: PrefillExchange | Pipeline | None = None
            if pool.pipeline_stages > 1:
                exchange = site.pipeline(servers[0], pool)
            if plan is not None:
                group = site.expert_group(servers, pool.gpus_per_node, plan.rail_rank, plan.peers())
                exchange = PrefillExchange(group, bursts_among(site.placed.domains(servers)), pool)
            instance = PrefillInstance(
                site.env, range(first, first + span), servers, site.compute, pool, self._loads, hooks, exchange, site.recorder,
                overtakes=_overtakes(site.settings), blocks=site.settings.kv.blocking == "step",
            )  # fmt: skip
            instances.append(instance)
        return instances

    @property
    def carries(self) -> bool:
        """Whether any instance's nodes reach each other."""
        return any(instance.carries for instance in self._instances)

    def pauses(self) -> list[list[Pause]]:
        """Return when each instance paused for its pushes or for memory."""
        return [instance.pauses for instance in self._instances]

    def instance(self, node: int) -> PrefillInstance:
        """Return the instance that a node belongs to."""
        return self._instances[node // self._span]

    def fits(self, request: int) -> bool:
        """Return whether a prompt could ever be held."""
        return self._memory is None or int(self._site.journeys.prompt_room_tokens[request]) <= self._memory.capacity_tokens

    def choose(self, blocks: IntArray, input_tokens: int) -> tuple[int, int]:
        """Return the node that is to take a prompt and the blocks it has of it, see :func:`zcube.serving.router.choose`."""
        return choose(self._loads, self._caches, blocks, input_tokens, self._block_tokens, self._env.now, self._turn)

    def takes(self, node: int, in_turn: bool) -> int:
        """Return the rank of a node that takes the next prompt; where equals take turns, the next node comes first then."""
        if in_turn:
            self._turn = (node + 1) % len(self._next_rank)
        rank = self._next_rank[node]
        self._next_rank[node] = (rank + 1) % self._ranks
        return rank

    def submit(self, assigned: Assigned, input_tokens: int, has_room: bool) -> PrefillJob:
        """Queue a prompt at the node that has just been chosen for it, and begin to read what tiers below its cache hold."""
        node, assigned.hit_at = assigned.prefill_node, self._caches.changes[assigned.prefill_node]
        new_tokens = max(1, input_tokens - assigned.hit * self._block_tokens)
        job = PrefillJob(assigned.request, input_tokens, new_tokens, has_room=has_room)
        if self._tiers is not None:
            self._read_tiers(self._tiers, node, assigned, job)
        self.queued += 1
        self.instance(node).submit(node, job)
        return job

    def _read_tiers(self, tiers: CacheTiers, node: int, assigned: Assigned, job: PrefillJob) -> None:
        read = assigned.read = tiers.read(job.request, node, assigned.source_rank, assigned.blocks, assigned.hit)
        if read is not None:
            journeys = self._site.journeys
            journeys.pool_bytes[job.request], journeys.store_bytes[job.request] = read.pool_bytes, read.store_bytes
            job.read, job.waits_to_start = read.done, self._site.settings.cache.reads == "wait"
            read.done.callbacks.append(lambda _: self.instance(node).wake())

    def start(self, assigned: Assigned, input_tokens: int) -> int | None:
        """Look a prompt up in its node's cache, claim memory for it and note the start.

        Returns the cached tokens; None where the node's memory has no room for it.
        """
        request, node = assigned.request, assigned.prefill_node
        unchanged = assigned.hit_at == self._caches.changes[node]
        hit = assigned.hit if unchanged else self._caches.hit(node, assigned.blocks)
        if self._memory is not None:
            site, room = self._site, int(self._cells.prompt_room_tokens[request])
            assigned.claim = self._memory.claim(node, assigned.blocks, hit, room)
            if assigned.claim is None:
                site.recorder.lacks_memory(site.placed.prefill[node])
                return None
            site.recorder.has_memory(site.placed.prefill[node], request)
        self.queued -= 1
        self._cells.prefill_start_s[request] = self._env.now
        found = hit if assigned.read is None else self._found(assigned, assigned.read, hit)
        # The last token is always computed: its logits give the first output token.
        cached = min(found * self._block_tokens, input_tokens - 1)
        self._cells.cached_tokens[request] = cached
        self._work.reach(request, cached, computed=False)
        return cached

    def _found(self, assigned: Assigned, read: Read, hit: int) -> int:
        """Return how many leading blocks of a prompt are there, read ones and those the node holds; note their tiers."""
        request, journeys = assigned.request, self._journeys
        # What was read goes on from what the node held then.
        if hit < read.held:
            return hit
        block_tokens, most = self._block_tokens, int(journeys.trace.input_tokens[request]) - 1
        ends = [min(max(hit, end) * block_tokens, most) for end in (hit, read.pool_end, read.end)]
        journeys.pool_tokens[request], journeys.store_tokens[request] = ends[1] - ends[0], ends[2] - ends[1]
        return max(hit, read.end)

    def keep(self, assigned: Assigned) -> None:
        """Keep the blocks of a prompt that has been computed."""
        if self._tiers is not None:
            self._tiers.put(assigned.request, assigned.prefill_node, assigned.source_rank, assigned.blocks)
        if self._memory is None or assigned.claim is None:
            self._caches.insert(assigned.prefill_node, assigned.blocks)
            return
        self._memory.computed(assigned.claim)
        if assigned.shipment is not None and assigned.shipment.failed:
            self.free(assigned)

    def free(self, assigned: Assigned) -> None:
        """Give back the memory of a prompt that is shipped, or never will be, and see who waits for it."""
        if self._memory is not None and assigned.claim is not None:
            self._memory.free(assigned.claim)
            self._site.recorder.frees_memory(self._site.placed.prefill[assigned.prefill_node], assigned.request)
            self.instance(assigned.prefill_node).wake()
            assigned.claim = None

    def let_go(self) -> None:
        """Empty what only a run under way needs."""
        for part in (self._caches, self._tiers, self):
            if part is not None:
                vars(part).clear()


def _overtakes(settings: ServingSettings) -> bool:
    """Return whether prompts that may start pass others: without room at decode, or with a read under way."""
    order, cache = settings.decode.preallocate, settings.cache
    return order == "overtake" or (order == "none" and cache.is_on and cache.reads == "wait")
