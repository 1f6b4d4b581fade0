"""The serving cluster: arrival, router, and the life of a request across prefill, transfer and decode."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.network.protocol import NetworkModel
from zcube.progress import ShareDone
from zcube.serving.cache_tiers import CacheTiers, Read
from zcube.serving.clock import seconds_between
from zcube.serving.decode import DecodeInstance, DecodeNode
from zcube.serving.expert_exchange import DecodeExchange, ExpertGroup, PrefillExchange
from zcube.serving.journey import COMPLETED, FAILED, REJECTED, UNFINISHED, Journeys
from zcube.serving.kv_memory import Claim, KvMemory
from zcube.serving.placement import Placed
from zcube.serving.prefill import Pause, PrefillHooks, PrefillInstance, PrefillJob
from zcube.serving.prefix_cache import PrefixCaches
from zcube.serving.reach import Reach
from zcube.serving.recording import Recorder
from zcube.serving.router import NOBODY, PrefillLoads, choose
from zcube.serving.settings import ServingSettings
from zcube.serving.shipping import KvShipper, Lanes, Shipment
from zcube.serving.tilert_decode import Desk, TileRtNode, request_times
from zcube.serving.transfers import Transfers
from zcube.serving.window import WindowWatch
from zcube.serving.work_done import WorkDone
from zcube.workload.requests import RequestTrace, followers

#: Steps of requests of which one is told of as progress.
STEPS_UNTOLD = 16

#: In place of the requests at a decode node that takes none: more than any has.
TAKES_NONE = 1 << 60


@dataclass(slots=True)
class _Assigned:
    """A prompt's full blocks, where the request goes and what it holds there."""

    blocks: IntArray
    source_rank: int
    target_rank: int
    reserved_tokens: int
    shipment: Shipment | None = None
    read: Read | None = None
    claim: Claim | None = None


class Cluster:
    """Prefill and decode pools under one router.

    The router sends a request to the prefill node that could finish it soonest, counting tokens: what is queued there plus
    what the prompt needs beyond that node's prefix cache. Among decode nodes it takes the one with the fewest outstanding
    requests; TileRT's take one at a time. Ties go to the lower number. An instance whose nodes do not reach each other takes no
    request; where that leaves no prefill or no decode node, a request fails when it comes. A request whose KV cannot be carried
    fails when its first push is due.
    """

    def __init__(
        self,
        env: simpy.Environment,
        model: NetworkModel,
        trace: RequestTrace,
        settings: ServingSettings,
        placed: Placed,
        card: ModelCard,
        compute: ComputeModel,
        progress: ShareDone,
        recorder: Recorder,
        nic_gbps: float,
        reach: Reach | None = None,
        kv_cap_bps: float | None = None,
    ):
        self._env, self._settings, self._placed, self._card, self._compute = env, settings, placed, card, compute
        self._nic_gbps = nic_gbps
        self._progress, self._recorder = progress, recorder
        self.journeys = Journeys(trace)
        self.transfers = Transfers(env, model, reach, kv_cap_bps)
        self.finished = env.event()
        engine = settings.engine()
        pushes = engine.kv_pushes(card)
        self._ranks = pushes.ranks
        self._lanes = Lanes(self.transfers, pushes, placed.prefill, placed.decode)
        self._blocks = settings.kv.blocking == "step"
        self._preallocates = settings.decode.asked_first
        self._shipper = KvShipper(
            env, self.transfers, pushes, settings.kv.setup_s, self._on_post, self._on_arrival, self._on_failure, recorder,
            self._on_push if self._blocks else None,
        )  # fmt: skip
        block_tokens = trace.block_tokens or 1
        cached_blocks = settings.prefill.prefix_cache_tokens // block_tokens
        capacity = settings.prefill.kv_capacity_tokens
        room_blocks = cached_blocks if capacity is None else capacity // block_tokens if cached_blocks else 0
        self._caches = PrefixCaches(settings.prefill.nodes, room_blocks, trace.are_chained)
        kept_blocks = settings.decode.prefix_cache_tokens // block_tokens
        self._decode_caches = PrefixCaches(settings.decode.nodes, kept_blocks, trace.are_chained) if kept_blocks else None
        self._tiers: CacheTiers | None = None
        if settings.cache.is_on and trace.block_tokens:
            self._tiers = CacheTiers(
                env, self.transfers, settings.cache, placed, card, engine.kv, block_tokens, trace.are_chained,
                self._ranks.prefill_dp > 1,
            )  # fmt: skip
        self._memory: KvMemory | None = None
        if capacity is not None:
            self._memory = KvMemory(settings.prefill.nodes, capacity, self._caches, block_tokens, cached_blocks)
        self._loads = PrefillLoads.idle(settings.prefill.nodes, settings.prefill.chunk_tokens, settings.prefill.max_queue)
        self._instances = self._prefill_instances()
        for instance in self._instances:
            if not instance.carries:
                self._loads.room[instance.nodes] = 0
        self._decode: list[DecodeNode | TileRtNode] = list(self._decode_nodes())
        #: Where requests wait for a node that takes one at a time.
        self._desk: Desk | None = None
        if settings.decode.engine == "tilert":
            times, tokens = request_times(settings, card), settings.decode.kv_capacity_tokens
            self._desk = Desk(settings.decode.nodes, settings.decode.tilert.when_busy == "queue")
            self._decode = [
                TileRtNode(env, times, tokens, self._on_taken_in, self._on_finish, self._on_step, server, recorder)
                for server in placed.decode
            ]
        #: Requests of each decode node that have neither ended nor failed.
        self._outstanding = [0 if node.instance.carries else TAKES_NONE for node in self._decode]
        self._working = any(one.carries for one in self._instances) and min(self._outstanding) < TAKES_NONE
        self.watch = WindowWatch(env, self.transfers, self.steps_before, trace, settings.measure, settings.load)
        self._assigned: dict[int, _Assigned] = {}
        #: Prompts at prefill nodes that have not started.
        self._queued = 0
        self._next_source_rank = [0] * settings.prefill.nodes
        #: Prefill and decode node that come first where several are equal.
        self._turns = (0, 0)
        self._requests, self._resolved, self._untold = len(trace), 0, 0
        self._horizon_s = float("inf") if settings.load.horizon_s is None else settings.load.horizon_s
        self._work = WorkDone(trace)
        self._waiting = followers(trace.after)
        self._open_loop = settings.load.mode == "open"
        self._prefill_answers = settings.decode.first_token == "prefill"
        #: Of a closed loop: places not taken, by the request that left each, and requests that wait for none, as a heap.
        self._places: deque[int | None] = deque([None] * min(settings.load.concurrency, len(trace)))
        self._ready = np.flatnonzero(trace.after < 0).tolist()
        if self._open_loop:
            env.process(self._arrivals())
        else:
            self._issue()

    def _prefill_instances(self) -> list[PrefillInstance]:
        pool, compute, card = self._settings.prefill, self._compute, self._card
        hooks = PrefillHooks(self._on_prefill_start, self._on_chunks_ahead, self._on_prefill_progress)
        span = pool.nodes_per_instance
        plan = self._settings.engine().prefill_exchange(card) if span > 1 and card.moe_layers else None
        instances = []
        for first in range(0, pool.nodes, span):
            servers, exchange = self._placed.prefill[first : first + span], None
            if plan is not None:
                group = self._group(servers, plan.rail_rank, plan.peers(), pool.expert_overlap)
                exchange = PrefillExchange(group, plan, compute.exchanges, self._nic_gbps, pool)
            instances.append(
                PrefillInstance(
                    self._env,
                    range(first, first + span),
                    servers,
                    compute,
                    pool,
                    self._loads,
                    hooks,
                    exchange,
                    self._recorder,
                    overtakes=self._overtakes(),
                    blocks=self._blocks,
                )
            )
        return instances

    def _decode_nodes(self) -> list[DecodeNode]:
        pool, env, compute, card, nodes = self._settings.decode, self._env, self._compute, self._card, []
        span = pool.nodes_per_instance
        plan = self._settings.engine().decode_exchange(card) if span > 1 and card.moe_layers else None
        for first in range(0, pool.nodes, span):
            servers, exchange = self._placed.decode[first : first + span], None
            if plan is not None:
                group = self._group(servers, plan.source, plan.target, pool.expert_overlap)
                exchange = DecodeExchange(group, plan, compute.exchanges, self._nic_gbps, pool)
            instance = DecodeInstance(
                env, compute, self._on_finish, self._on_step, servers, self._recorder, self._on_local_prompt, exchange,
                pool.tokens_per_step,
            )  # fmt: skip
            nodes += [DecodeNode(env, pool, self._ranks.decode_dp, server, instance, self._recorder) for server in servers]
        return nodes

    def _group(self, servers: Sequence[int], source: IntArray, target: IntArray, overlap: bool) -> ExpertGroup:
        return ExpertGroup(self._env, self.transfers, self._recorder, servers, source, target, overlap)

    def pauses(self) -> list[list[Pause]]:
        """Return when each prefill instance paused for its pushes or for memory."""
        return [instance.pauses for instance in self._instances]

    def _overtakes(self) -> bool:
        """Return whether prompts that may start pass others: without room at decode, or with a read under way."""
        order, cache = self._settings.decode.preallocate, self._settings.cache
        return order == "overtake" or (order == "none" and cache.is_on and cache.reads == "wait")

    def _instance(self, node: int) -> PrefillInstance:
        return self._instances[node // self._settings.prefill.nodes_per_instance]

    def _arrivals(self) -> simpy.events.ProcessGenerator:
        for request in self._ready:
            at_s = float(self.journeys.trace.arrival_s[request])
            # The clock rounds: what is left after a long delay is waited for too.
            while at_s > self._env.now:
                yield self._env.timeout(at_s - self._env.now)
            self._recorder.arrived(request, at_s)
            self._arrive(request, at_s)

    def _issue(self) -> None:
        """Fill the places of a closed loop, the request that comes first in the trace first."""
        while self._places and self._ready:
            request, freed_by = heapq.heappop(self._ready), self._places.popleft()
            self._recorder.arrived(request, 0.0, [] if freed_by is None else [freed_by], *self._wait(request))
            self._arrive(request, self._env.now)

    def _wait(self, request: int) -> tuple[int | None, float]:
        """Return the request that another one waits for, if it does, and for how long after it."""
        trace = self.journeys.trace
        before = int(trace.after[request])
        return (None, 0.0) if before < 0 else (before, float(trace.delay_s[request]))

    def _come(self, request: int, _: simpy.Event) -> None:
        """Let a request come whose wait for another is over."""
        if self._open_loop:
            self._recorder.arrived(request, float(self.journeys.trace.arrival_s[request]), [], *self._wait(request))
            self._arrive(request, self._env.now)
        else:
            heapq.heappush(self._ready, request)
            self._issue()

    def _release_followers(self, request: int) -> None:
        trace = self.journeys.trace
        for follower in self._waiting.pop(request, ()):
            wait_s = float(trace.delay_s[follower])
            if self._open_loop:
                wait_s = max(wait_s, float(trace.arrival_s[follower]) - self._env.now)
            self._env.timeout(wait_s).callbacks.append(partial(self._come, follower))

    def _arrive(self, request: int, arrival_s: float) -> None:
        journeys = self.journeys
        journeys.arrival_s[request] = arrival_s
        self.watch.arrived(request, arrival_s)
        journeys.outcome[request] = UNFINISHED
        if not self._working:
            self._recorder.ended(request)
            self._resolve(request, FAILED)
        elif self._desk is None or not self._could_be_held(request) or self._desk.take():
            self._route(request)
        elif self._desk.queues:
            self._desk.wait(request)
        else:
            self._resolve(request, REJECTED)

    def _could_be_held(self, request: int) -> bool:
        """Return whether a request is short enough for the model and for the memory of the nodes that it would pass."""
        trace = self.journeys.trace
        prompt, total = int(trace.input_tokens[request]), int(trace.input_tokens[request] + trace.output_tokens[request])
        short = self._memory is None or prompt <= self._memory.capacity_tokens
        return short and total <= self._card.max_positions and self._decode[0].fits(total)

    def _route(self, request: int) -> None:
        """Send a request to its nodes."""
        journeys, trace = self.journeys, self.journeys.trace
        input_tokens, output_tokens = int(trace.input_tokens[request]), int(trace.output_tokens[request])
        blocks, total = self._full_blocks(request), input_tokens + output_tokens
        node, new_tokens, local = NOBODY, 0, self._local_node(blocks, input_tokens)
        if local is None:
            now_s, first = self._env.now, self._turns[0]
            node, new_tokens = choose(self._loads, self._caches, blocks, input_tokens, trace.block_tokens, now_s, first)
        too_long = self._memory is not None and input_tokens > self._memory.capacity_tokens
        nowhere = local is None and (node == NOBODY or too_long)
        if nowhere or total > self._card.max_positions or not self._decode[0].fits(total):
            self._recorder.ended(request)
            self._resolve(request, REJECTED)
            return
        decode_node = self._idlest() if local is None else local
        self._outstanding[decode_node] += 1
        if self._settings.router.ties == "in-turn":
            self._turns = self._turns[0] if node == NOBODY else (node + 1) % len(self._loads.held), decode_node + 1
        journeys.decode_node[request] = decode_node
        if local is not None:
            self._assigned[request] = _Assigned(blocks, NOBODY, self._decode[local].take_rank(), total)
            self._decode[local].reserve(request, total).callbacks.append(partial(self._compute_locally, request))
            return
        journeys.prefill_node[request] = node
        source_rank = self._next_source_rank[node]
        self._next_source_rank[node] = (source_rank + 1) % self._ranks.prefill_dp
        self._assigned[request] = _Assigned(blocks, source_rank, self._decode[decode_node].take_rank(), total)
        job = PrefillJob(request, input_tokens, new_tokens, has_room=not self._preallocates)
        self._read_tiers(node, job)
        self._queued += 1
        self._instance(node).submit(node, job)
        if self._preallocates:
            self._ask_for_room(node, job)

    def _idlest(self) -> int:
        """Return the decode node with the fewest requests, of equals the one that comes first from whose turn it is on."""
        first, least = self._turns[1], min(self._outstanding)
        return self._outstanding.index(least, first) if least in self._outstanding[first:] else self._outstanding.index(least)

    def _read_tiers(self, node: int, job: PrefillJob) -> None:
        """Begin to read what tiers below the node's own cache hold of a prompt."""
        assigned = self._assigned[job.request]
        if self._tiers is None:
            return
        held = self._caches.hit(node, assigned.blocks)
        read = assigned.read = self._tiers.read(job.request, node, assigned.source_rank, assigned.blocks, held)
        if read is not None:
            self.journeys.pool_bytes[job.request] = read.pool_bytes
            self.journeys.store_bytes[job.request] = read.store_bytes
            job.read, job.waits_to_start = read.done, self._settings.cache.reads == "wait"
            read.done.callbacks.append(lambda _: self._instance(node).wake())

    def _found(self, request: int, hit: int) -> int:
        """Return how many leading blocks of a prompt are there, read ones and those the node holds; note their tiers."""
        read, journeys = self._assigned[request].read, self.journeys
        # What was read goes on from what the node held then.
        if read is None or hit < read.held:
            return hit
        block_tokens, most = journeys.trace.block_tokens, int(journeys.trace.input_tokens[request]) - 1
        ends = [min(max(hit, end) * block_tokens, most) for end in (hit, read.pool_end, read.end)]
        journeys.pool_tokens[request], journeys.store_tokens[request] = ends[1] - ends[0], ends[2] - ends[1]
        return max(hit, read.end)

    def _full_blocks(self, request: int) -> IntArray:
        """Return the ids of a prompt's full blocks; a block that is not full cannot be reused."""
        trace = self.journeys.trace
        full = int(trace.input_tokens[request]) // trace.block_tokens if trace.block_tokens else 0
        # A copy, since kernels are compiled for arrays that may be written.
        return np.array(trace.blocks(request)[:full], dtype=np.int64)

    def _on_prefill_start(self, node: int, job: PrefillJob) -> int | None:
        """Look the prompt up in the node's cache, claim memory for it, note the start, and ask the decode node for room.

        Returns the cached tokens; None where the node's memory has no room for it.
        """
        request, journeys, assigned = job.request, self.journeys, self._assigned[job.request]
        hit = self._caches.hit(node, assigned.blocks)
        if self._memory is not None:
            assigned.claim = self._memory.claim(node, assigned.blocks, hit, job.input_tokens)
            if assigned.claim is None:
                self._recorder.lacks_memory(self._placed.prefill[node])
                return None
            self._recorder.has_memory(self._placed.prefill[node], request)
        self._queued -= 1
        journeys.prefill_start_s[request] = self._env.now
        # The last token is always computed: its logits give the first output token.
        cached = min(self._found(request, hit) * journeys.trace.block_tokens, job.input_tokens - 1)
        journeys.cached_tokens[request] = cached
        self._work.reach(request, cached, computed=False)
        if not self._preallocates:
            self._ask_for_room(node, job)
        return cached

    def _ask_for_room(self, node: int, job: PrefillJob) -> None:
        """Ask a request's decode node for room, and let its KV cache go out when it is given."""
        request = job.request
        assigned, decode_node = self._assigned[request], int(self.journeys.decode_node[request])
        lane = self._lanes.lane(node, assigned.source_rank, decode_node, assigned.target_rank)
        granted = self._decode[decode_node].reserve(request, assigned.reserved_tokens)
        granted.callbacks.append(partial(self._note_granted, node, job))
        assigned.shipment = self._shipper.prepare(request, job.input_tokens, lane, granted)

    def _note_granted(self, node: int, job: PrefillJob, _: simpy.Event) -> None:
        self.journeys.granted_s[job.request] = self._env.now
        shipment = self._assigned[job.request].shipment
        assert shipment is not None
        shipment.held_tokens = self._held_at_decode(job.request)
        self.journeys.decode_cached_tokens[job.request] = shipment.held_tokens
        if not job.has_room:
            job.has_room = True
            self._instance(node).wake()

    def _local_node(self, blocks: IntArray, input_tokens: int) -> int | None:
        """Return the decode node that is to compute a prompt itself; None if it is to come from a prefill node."""
        asked, caches = self._settings.router, self._decode_caches
        if asked.policy != "conditional" or caches is None:
            return None
        hits = [caches.hit(node, blocks) for node in range(len(self._decode))]
        best = min(range(len(hits)), key=lambda node: (-hits[node], self._outstanding[node]))
        new_tokens = input_tokens - hits[best] * self.journeys.trace.block_tokens
        is_full = asked.max_prefill_queue is not None and self._queued >= asked.max_prefill_queue
        return best if is_full or new_tokens <= asked.max_local_prefill_tokens else None

    def _held_at_decode(self, request: int) -> int:
        """Return how many tokens of a prompt its decode node holds, the last one left out."""
        if self._decode_caches is None:
            return 0
        trace = self.journeys.trace
        hit = self._decode_caches.hit(int(self.journeys.decode_node[request]), self._assigned[request].blocks)
        return min(hit * trace.block_tokens, int(trace.input_tokens[request]) - 1)

    def _keep_at_decode(self, request: int) -> None:
        if self._decode_caches is not None:
            self._decode_caches.insert(int(self.journeys.decode_node[request]), self._assigned[request].blocks)

    def _compute_locally(self, request: int, _: simpy.Event) -> None:
        """Let a decode node that has room for a request compute its prompt, in chunks as a prefill node does."""
        journeys, chunk = self.journeys, self._settings.prefill.chunk_tokens
        journeys.granted_s[request] = self._env.now
        held, tokens = self._held_at_decode(request), int(journeys.trace.input_tokens[request])
        journeys.cached_tokens[request] = journeys.decode_cached_tokens[request] = held
        self._work.reach(request, held, computed=False)
        starts = range(held, tokens, chunk)
        seconds = sum(self._compute.prefill_iteration_s([min(chunk, tokens - at)], [at]) for at in starts)
        node = self._decode[int(journeys.decode_node[request])]
        assert isinstance(node, DecodeNode)
        node.instance.compute_prompt(request, seconds)

    def _on_local_prompt(self, request: int, ended: bool) -> None:
        if not ended:
            self.journeys.prefill_start_s[request] = self._env.now
            return
        server = self._placed.decode[int(self.journeys.decode_node[request])]
        seconds = seconds_between(float(self.journeys.prefill_start_s[request]), self._env.now)
        self._recorder.prompt_at_decode(server, request, seconds)
        self.journeys.prefill_end_s[request] = self._env.now
        self._work.reach(request, int(self.journeys.trace.input_tokens[request]))
        self._begin_answer(request)

    def _on_chunks_ahead(self, job: PrefillJob, ends: list[tuple[float, int]]) -> None:
        self._work.reach(job.request, ends[-1][1])
        self._tell()
        shipment = self._assigned[job.request].shipment
        assert shipment is not None
        self._shipper.foresee(shipment, ends)

    def _on_prefill_progress(self, node: int, job: PrefillJob) -> None:
        request = job.request
        self._work.reach(request, job.done_tokens)
        self._tell()
        if job.done_tokens == job.input_tokens:
            self.journeys.prefill_end_s[request] = self._env.now
            self._keep_prompt(request, node, self._assigned[request])
        shipment = self._assigned[request].shipment
        assert shipment is not None
        self._recorder.computed(request, self._placed.prefill[node])
        self._shipper.computed(shipment, job.done_tokens)

    def _keep_prompt(self, request: int, node: int, assigned: _Assigned) -> None:
        """Keep the blocks of a prompt that has been computed."""
        if self._tiers is not None:
            self._tiers.put(request, node, assigned.source_rank, assigned.blocks)
        if self._memory is None or assigned.claim is None:
            self._caches.insert(node, assigned.blocks)
            return
        self._memory.computed(assigned.claim)
        if assigned.shipment is not None and assigned.shipment.failed:
            self._free_memory(request, assigned)

    def _free_memory(self, request: int, assigned: _Assigned) -> None:
        """Give back the memory of a prompt that is shipped, or never will be, and see who waits for it."""
        if self._memory is not None and assigned.claim is not None:
            self._memory.free(assigned.claim)
            self._recorder.frees_memory(self._placed.prefill[assigned.claim.node], request)
            self._instance(assigned.claim.node).wake()
            assigned.claim = None

    def _tell(self) -> None:
        """Tell how much is done, now and then."""
        self._untold += 1
        if self._untold >= STEPS_UNTOLD or self._resolved == self._requests:
            self._untold = 0
            self._progress(max(self._work.share, self._env.now / self._horizon_s))

    def _on_post(self, shipment: Shipment, at_s: float) -> None:
        self.journeys.kv_post_s[shipment.request] = at_s

    def _on_push(self, shipment: Shipment, begins: bool) -> None:
        instance = self._instance(int(self.journeys.prefill_node[shipment.request]))
        if begins:
            instance.push_begins()
        else:
            instance.push_ends()

    def _on_arrival(self, shipment: Shipment) -> None:
        request = shipment.request
        self.journeys.kv_end_s[request] = self._env.now
        self.journeys.kv_bytes[request] = sum(shipment.push_bytes)
        self._free_memory(request, self._assigned[request])
        node = self._decode[int(self.journeys.decode_node[request])]
        if isinstance(node, TileRtNode):
            node.take_in(request, int(self.journeys.trace.input_tokens[request]))
        else:
            self._begin_answer(request)

    def _on_taken_in(self, request: int, injected: bool) -> None:
        if injected:
            self.journeys.injected_s[request] = self._env.now
            self._begin_answer(request)
        else:
            self.journeys.converted_s[request] = self._env.now

    def _begin_answer(self, request: int) -> None:
        """Let a request whose KV is at its decode node join the batch there."""
        journeys = self.journeys
        self._work.join(request)
        self._keep_at_decode(request)
        tokens_left = int(journeys.trace.output_tokens[request])
        if self._prefill_answers:
            journeys.first_token_s[request] = self._env.now
            tokens_left -= 1
        if tokens_left:
            instance = self._decode[int(journeys.decode_node[request])].instance
            instance.join(request, int(journeys.trace.input_tokens[request]), tokens_left)
        else:
            self._recorder.ended(request)
            self._on_finish(request, 0)

    def _on_step(self, requests: list[int], end_s: float, steps: int) -> None:
        self.journeys.first_step_s[requests] = end_s
        self.journeys.steps_before[requests] = steps
        if not self._prefill_answers:
            self.journeys.first_token_s[requests] = end_s

    def steps_before(self, time_s: float) -> IntArray:
        """Return how many steps of each decode node end before a time, the present or barely later [decode nodes]."""
        return np.array([node.instance.steps_before(time_s) for node in self._decode])

    def _on_finish(self, request: int, steps: int) -> None:
        self.journeys.finish_s[request] = self._env.now
        self.journeys.steps_at_end[request] = steps
        self._release(request, self._assigned.pop(request))
        self._resolve(request, COMPLETED)

    def _on_failure(self, shipment: Shipment) -> None:
        """Give a request up whose KV cannot be carried; its prompt is computed to the end, for other prompts' prefixes."""
        request = shipment.request
        self._recorder.ended(request)
        if np.isfinite(self.journeys.prefill_end_s[request]):
            self._free_memory(request, self._assigned[request])
        self._release(request, self._assigned[request])
        self._resolve(request, FAILED)

    def _release(self, request: int, assigned: _Assigned) -> None:
        """Give back what a request holds at its decode node."""
        node = int(self.journeys.decode_node[request])
        self._outstanding[node] -= 1
        self._decode[node].release(request, assigned.target_rank, assigned.reserved_tokens)
        following = None if self._desk is None else self._desk.give_back()
        if following is not None:
            self._recorder.takes_over(following, request)
            self._route(following)

    def cut(self) -> None:
        """Keep of what is under way at the end of the run only what has happened."""
        now_s = float(self._env.now)
        self.journeys.cut(now_s)
        for request, assigned in self._assigned.items():
            if assigned.shipment is not None:
                self.journeys.kv_bytes[request] = assigned.shipment.bytes_before(now_s)
            if assigned.read is not None and assigned.read.start_s >= now_s:
                self.journeys.store_bytes[request] = 0.0

    def let_go(self) -> None:
        """Empty what only a run under way needs: processes refer to each other, and would keep it until the collector comes."""
        for part in (self.transfers, self._lanes, self._caches, self._decode_caches, self._tiers):
            if part is not None:
                vars(part).clear()
        vars(self).clear()

    def fail_rest(self) -> None:
        """Give up what is under way, because the network cannot go on."""
        outcome = self.journeys.outcome
        outcome[outcome == UNFINISHED] = FAILED

    def _resolve(self, request: int, outcome: int) -> None:
        self.journeys.outcome[request] = outcome
        self.journeys.left_s[request] = self._env.now
        self._resolved += 1
        self._work.end(request)
        self._tell()
        if self._resolved == self._requests:
            self.finished.succeed()
            return
        self._release_followers(request)
        if not self._open_loop:
            # As an event of its own: requests that are rejected one after the other must not nest.
            self._places.append(request)
            self._env.timeout(0.0).callbacks.append(lambda _: self._issue())
