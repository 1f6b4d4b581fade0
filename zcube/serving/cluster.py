"""The serving cluster: arrival, router, and the life of a request across prefill, transfer and decode."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from functools import partial

import numpy as np
import simpy

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.llm.schedules.normal_plan import NormalPlan
from zcube.network.protocol import NetworkModel
from zcube.progress import ShareDone
from zcube.serving.decode import DecodeNode
from zcube.serving.journey import COMPLETED, FAILED, REJECTED, UNFINISHED, Journeys
from zcube.serving.placement import Placed
from zcube.serving.prefill import PrefillHooks, PrefillInstance, PrefillJob
from zcube.serving.prefix_cache import PrefixCaches
from zcube.serving.reach import Reach
from zcube.serving.recording import Recorder
from zcube.serving.router import NOBODY, PrefillLoads, choose
from zcube.serving.settings import ServingSettings
from zcube.serving.shipping import KvShipper, Lanes, Shipment
from zcube.serving.transfers import Transfers
from zcube.serving.window import WindowWatch
from zcube.serving.work_done import WorkDone
from zcube.workload.requests import RequestTrace, followers

#: Steps of requests of which one is told of as progress.
STEPS_UNTOLD = 16


@dataclass(slots=True)
class _Assigned:
    """A prompt's full blocks, where the request goes and what it holds there."""

    blocks: IntArray
    source_rank: int
    target_rank: int
    reserved_tokens: int
    shipment: Shipment | None = None


class Cluster:
    """Prefill and decode pools under one router.

    The router sends a request to the prefill node that could finish it soonest, counting tokens: what is queued there plus
    what the prompt needs beyond that node's prefix cache. Among decode nodes it takes the one with the fewest outstanding
    requests. Ties go to the lower number. An instance whose nodes do not reach each other takes no request; where that leaves
    none, a request fails when it comes. A request whose KV cannot be carried fails when its first push is due.
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
        reach: Reach | None = None,
    ):
        self._env, self._settings, self._placed, self._card = env, settings, placed, card
        self._progress, self._recorder = progress, recorder
        self.journeys = Journeys(trace)
        self.transfers = Transfers(env, model, reach)
        self.finished = env.event()
        engine = settings.engine()
        pushes = engine.kv_pushes(card)
        self._ranks = pushes.ranks
        self._lanes = Lanes(self.transfers, pushes, placed.prefill, placed.decode)
        self._shipper = KvShipper(
            env, self.transfers, pushes, settings.kv.setup_s, self._on_post, self._on_arrival, self._on_failure, recorder
        )
        block_tokens = trace.block_tokens or 1
        cached_blocks = settings.prefill.prefix_cache_tokens // block_tokens
        self._caches = PrefixCaches(settings.prefill.nodes, cached_blocks, trace.are_chained)
        exchanges = engine.prefill_ep_nodes > 1 and card.moe_layers > 0
        self._loads = PrefillLoads.idle(settings.prefill.nodes, settings.prefill.chunk_tokens, settings.prefill.max_queue)
        self._instances = self._prefill_instances(compute, engine.prefill_exchange(card) if exchanges else None)
        self._working = False
        for instance in self._instances:
            if instance.carries_expert_traffic():
                self._working = True
            else:
                self._loads.room[instance.nodes] = 0
        self._decode = [
            DecodeNode(env, compute, settings.decode, self._ranks.decode_dp, self._on_finish, self._on_step, server, recorder)
            for server in placed.decode
        ]
        #: Requests of each decode node that have neither ended nor failed.
        self._outstanding = [0] * len(self._decode)
        self.watch = WindowWatch(env, self.transfers, self.steps_before, trace, settings.measure, settings.load)
        self._assigned: dict[int, _Assigned] = {}
        self._next_source_rank = [0] * settings.prefill.nodes
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

    def _prefill_instances(self, compute: ComputeModel, plan: NormalPlan | None) -> list[PrefillInstance]:
        pool = self._settings.prefill
        hooks = PrefillHooks(self._on_prefill_start, self._on_chunks_ahead, self._on_prefill_progress)
        span = pool.nodes_per_instance
        groups = [range(first, first + span) for first in range(0, pool.nodes, span)]
        return [
            PrefillInstance(
                self._env,
                self.transfers,
                nodes,
                [self._placed.prefill[node] for node in nodes],
                compute,
                pool,
                self._loads,
                hooks,
                plan,
                self._recorder,
            )
            for nodes in groups
        ]

    def _instance(self, node: int) -> PrefillInstance:
        return self._instances[node // self._settings.prefill.nodes_per_instance]

    def _arrivals(self) -> simpy.events.ProcessGenerator:
        for request in self._ready:
            at_s = float(self.journeys.trace.arrival_s[request])
            if at_s > self._env.now:
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
        journeys, trace = self.journeys, self.journeys.trace
        journeys.arrival_s[request] = arrival_s
        self.watch.arrived(request, arrival_s)
        journeys.outcome[request] = UNFINISHED
        input_tokens, output_tokens = int(trace.input_tokens[request]), int(trace.output_tokens[request])
        blocks, total = self._full_blocks(request), input_tokens + output_tokens
        if not self._working:
            self._recorder.ended(request)
            self._resolve(request, FAILED)
            return
        node, new_tokens = choose(self._loads, self._caches, blocks, input_tokens, trace.block_tokens, self._env.now)
        if node == NOBODY or total > self._card.max_positions or not self._decode[0].fits(total):
            self._recorder.ended(request)
            self._resolve(request, REJECTED)
            return
        decode_node = self._outstanding.index(min(self._outstanding))
        self._outstanding[decode_node] += 1
        journeys.prefill_node[request], journeys.decode_node[request] = node, decode_node
        source_rank = self._next_source_rank[node]
        self._next_source_rank[node] = (source_rank + 1) % self._ranks.prefill_dp
        self._assigned[request] = _Assigned(blocks, source_rank, self._decode[decode_node].take_rank(), total)
        self._instance(node).submit(node, PrefillJob(request, input_tokens, new_tokens))

    def _full_blocks(self, request: int) -> IntArray:
        """Return the ids of a prompt's full blocks; a block that is not full cannot be reused."""
        trace = self.journeys.trace
        full = int(trace.input_tokens[request]) // trace.block_tokens if trace.block_tokens else 0
        # A copy, since kernels are compiled for arrays that may be written.
        return np.array(trace.blocks(request)[:full], dtype=np.int64)

    def _on_prefill_start(self, node: int, job: PrefillJob) -> int:
        """Note the start, look the prompt up in the node's cache, and ask the decode node for room."""
        request, journeys = job.request, self.journeys
        journeys.prefill_start_s[request] = self._env.now
        held = self._caches.hit(node, self._assigned[request].blocks) * journeys.trace.block_tokens
        # The last token is always computed: its logits give the first output token.
        cached = min(held, job.input_tokens - 1)
        journeys.cached_tokens[request] = cached
        self._work.reach(request, cached, computed=False)
        assigned, decode_node = self._assigned[request], int(journeys.decode_node[request])
        lane = self._lanes.lane(node, assigned.source_rank, decode_node, assigned.target_rank)
        granted = self._decode[decode_node].reserve(request, assigned.reserved_tokens)
        granted.callbacks.append(partial(self._note_granted, request))
        assigned.shipment = self._shipper.prepare(request, job.input_tokens, lane, granted)
        return cached

    def _note_granted(self, request: int, _: simpy.Event) -> None:
        self.journeys.granted_s[request] = self._env.now

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
            self._caches.insert(node, self._assigned[request].blocks)
        shipment = self._assigned[request].shipment
        assert shipment is not None
        self._recorder.computed(request, self._placed.prefill[node])
        self._shipper.computed(shipment, job.done_tokens)

    def _tell(self) -> None:
        """Tell how much is done, now and then."""
        self._untold += 1
        if self._untold >= STEPS_UNTOLD or self._resolved == self._requests:
            self._untold = 0
            self._progress(max(self._work.share, self._env.now / self._horizon_s))

    def _on_post(self, shipment: Shipment, at_s: float) -> None:
        self.journeys.kv_post_s[shipment.request] = at_s

    def _on_arrival(self, shipment: Shipment) -> None:
        request, journeys = shipment.request, self.journeys
        journeys.kv_end_s[request] = self._env.now
        self._work.join(request)
        journeys.kv_bytes[request] = shipment.bytes_sent
        tokens_left = int(journeys.trace.output_tokens[request])
        if self._prefill_answers:
            journeys.first_token_s[request] = self._env.now
            tokens_left -= 1
        if tokens_left:
            node = self._decode[int(journeys.decode_node[request])]
            node.join(request, shipment.input_tokens, tokens_left)
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
        return np.array([node.steps_before(time_s) for node in self._decode])

    def _on_finish(self, request: int, steps: int) -> None:
        self.journeys.finish_s[request] = self._env.now
        self.journeys.steps_at_end[request] = steps
        self._release(request, self._assigned.pop(request))
        self._resolve(request, COMPLETED)

    def _on_failure(self, shipment: Shipment) -> None:
        """Give a request up whose KV cannot be carried; its prompt is computed to the end, for other prompts' prefixes."""
        request = shipment.request
        self._recorder.ended(request)
        self._release(request, self._assigned[request])
        self._resolve(request, FAILED)

    def _release(self, request: int, assigned: _Assigned) -> None:
        """Give back what a request holds at its decode node."""
        node = int(self.journeys.decode_node[request])
        self._outstanding[node] -= 1
        self._decode[node].release(request, assigned.target_rank, assigned.reserved_tokens)

    def let_go(self) -> None:
        """Empty what only a run under way needs: processes refer to each other, and would keep it until the collector comes."""
        for part in (self.transfers, self._lanes, self._caches):
            vars(part).clear()

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
