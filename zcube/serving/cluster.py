"""The serving cluster: the router, and the life of a request across prefill, transfer and decode."""

from __future__ import annotations

from functools import partial
from math import isfinite

from zcube.arrays import IntArray
from zcube.llm.cards import ModelCard
from zcube.llm.compute import ComputeModel
from zcube.llm.kv import room_tokens
from zcube.network.protocol import NetworkModel
from zcube.progress import ShareDone
from zcube.serving.arrivals import Arrivals
from zcube.serving.clock import Clock
from zcube.serving.decode_nodes import DecodeHooks, DecodeNodes
from zcube.serving.journey import COMPLETED, FAILED, REJECTED, UNFINISHED, Journeys
from zcube.serving.placement import Seated
from zcube.serving.prefill import Pause, PrefillHooks, PrefillJob
from zcube.serving.prefill_nodes import PrefillNodes
from zcube.serving.prompt_blocks import PromptBlocks
from zcube.serving.reach import Reach
from zcube.serving.recording import Recorder
from zcube.serving.router import NOBODY
from zcube.serving.settings import ServingSettings
from zcube.serving.shipping import KvShipper, Lanes, Shipment
from zcube.serving.site import Assigned, Site
from zcube.serving.tilert_decode import TileRtNode
from zcube.serving.transfers import Transfers
from zcube.serving.window import WindowWatch
from zcube.serving.work_done import WorkDone
from zcube.workload.requests import RequestTrace

#: Steps of requests of which one is told of as progress: at least so many, and so large a part of all that requests are.
LEAST_UNTOLD, UNTOLD_SHARE = 16, 1 / 256


class Cluster:
    """Prefill and decode pools under one router.

    The router sends a request to the prefill node that could finish it soonest, counting tokens: what is queued there plus
    what the prompt needs beyond that node's prefix cache. Among decode nodes it takes the one with the fewest outstanding
    requests; TileRT's take one at a time. Ties go to the lower number. An instance whose nodes do not reach each other takes no
    request; where that leaves no prefill or no decode node, a request fails when it comes. A request whose KV cannot be carried
    fails when its first push is due.
    """

    def __init__(
        self, env: Clock, model: NetworkModel, trace: RequestTrace, settings: ServingSettings, placed: Seated,
        card: ModelCard, compute: ComputeModel, progress: ShareDone, recorder: Recorder, nic_gbps: float,
        reach: Reach | None = None, kv_cap_bps: float | None = None,
    ):  # fmt: skip
        self._env, self._settings, self._progress, self._recorder = env, settings, progress, recorder
        self._placed = placed
        self.journeys, kv = Journeys(trace), settings.engine().kv
        self.journeys.prompt_room_tokens = room_tokens(card, trace.input_tokens, kv)
        self.journeys.room_tokens = room_tokens(card, trace.input_tokens + trace.output_tokens, kv)
        # Numbers of arrays are read and written one by one, which is faster through a view of their memory.
        self._cells = self.journeys.cells()
        self._input_tokens, self._output_tokens = trace.input_tokens.data, trace.output_tokens.data
        self._room_tokens = self._cells.room_tokens
        self.transfers = Transfers(env, model, reach, kv_cap_bps)
        self.finished = env.event()
        self._work = WorkDone(trace)
        site = Site(env, self.transfers, settings, placed, card, compute, recorder, nic_gbps, self.journeys, self._work)
        self._blocks = PromptBlocks(trace)
        pushes = settings.engine().kv_pushes(card)
        self._lanes = Lanes(self.transfers, pushes, placed.prefill, placed.decode)
        self._preallocates, self._in_turn = settings.decode.asked_first, settings.router.ties == "in-turn"
        self._shipper = KvShipper(
            env, self.transfers, pushes, settings.kv.setup_s, self._on_post, self._on_arrival, self._on_failure, recorder,
            self._on_push if settings.kv.blocking == "step" else None,
        )  # fmt: skip
        hooks = PrefillHooks(self._on_prefill_start, self._on_chunks_ahead, self._on_prefill_progress)
        self._prefill = PrefillNodes(site, hooks, pushes.ranks.prefill_dp)
        told = DecodeHooks(self._begin_answer, self._on_step, self._on_finish)
        self._decode = DecodeNodes(site, told, pushes.ranks.decode_dp)
        self._working = self._prefill.carries and self._decode.carries
        fits_model = trace.input_tokens + trace.output_tokens <= card.max_positions
        #: By request, whether it is short enough for the model and for the memory of a decode node: 0 or 1.
        self._decodable = (fits_model & self._decode.fit(self.journeys.room_tokens)).tobytes()
        self.watch = WindowWatch(env, self.transfers, self.steps_before, trace, settings.measure, settings.load)
        self._assigned: dict[int, Assigned] = {}
        self._requests, self._resolved, self._untold = len(trace), 0, 0
        self._told_every = max(LEAST_UNTOLD, int(UNTOLD_SHARE * len(trace)))
        self._horizon_s = float("inf") if settings.load.horizon_s is None else settings.load.horizon_s
        self._prefill_answers = settings.decode.first_token == "prefill"
        self._arrivals = Arrivals(env, trace, settings.load, recorder, self._arrive)
        self._arrivals.begin()

    def pauses(self) -> list[list[Pause]]:
        """Return when each prefill instance paused for its pushes or for memory."""
        return self._prefill.pauses()

    def steps_before(self, time_s: float) -> IntArray:
        """Return how many steps of each decode node end before a time, the present or barely later [decode nodes]."""
        return self._decode.steps_before(time_s)

    def _arrive(self, request: int, arrival_s: float) -> None:
        cells, desk = self._cells, self._decode.desk
        cells.arrival_s[request] = arrival_s
        self.watch.arrived(request, arrival_s)
        cells.outcome[request] = UNFINISHED
        if not self._working:
            self._recorder.ended(request)
            self._resolve(request, FAILED)
        elif desk is None or not self._could_be_held(request) or desk.take():
            self._route(request)
        elif desk.queues:
            desk.wait(request)
        else:
            self._resolve(request, REJECTED)

    def _could_be_held(self, request: int) -> bool:
        """Return whether a request is short enough for the model and for the memory of the nodes that it would pass."""
        return self._prefill.fits(request) and bool(self._decodable[request])

    def _route(self, request: int) -> None:
        """Send a request to its nodes."""
        cells, blocks = self._cells, self._blocks.of(request)
        input_tokens, room = self._input_tokens[request], self._room_tokens[request]
        node, hit, local = NOBODY, 0, self._decode.computes(blocks, input_tokens, self._prefill.queued)
        if local is None:
            node, hit = self._prefill.choose(blocks, input_tokens)
        nowhere = local is None and (node == NOBODY or not self._prefill.fits(request))
        if nowhere or not self._decodable[request]:
            self._recorder.ended(request)
            self._resolve(request, REJECTED)
            return
        decode_node = self._decode.idlest() if local is None else local
        target_rank = self._decode.takes(decode_node, self._in_turn)
        cells.decode_node[request] = decode_node
        if local is not None:
            assigned = self._assigned[request] = Assigned(request, blocks, NOBODY, NOBODY, local, target_rank, room)
            granted = partial(self._decode.compute_prompt, assigned)
            if self._decode.reserve(assigned, granted):
                self._env.after(0.0, granted)
            return
        cells.prefill_node[request] = node
        source_rank = self._prefill.takes(node, self._in_turn)
        assigned = self._assigned[request] = Assigned(request, blocks, node, source_rank, decode_node, target_rank, room, hit)
        job = self._prefill.submit(assigned, input_tokens, not self._preallocates)
        if self._preallocates:
            self._ask_for_room(assigned, job)

    def _on_prefill_start(self, node: int, job: PrefillJob) -> int | None:
        """Start a prompt, and ask the decode node for room; returns the cached tokens, None without memory for it."""
        assigned = self._assigned[job.request]
        cached = self._prefill.start(assigned, job.input_tokens)
        if cached is not None and not self._preallocates:
            self._ask_for_room(assigned, job)
        return cached

    def _ask_for_room(self, assigned: Assigned, job: PrefillJob) -> None:
        """Ask a request's decode node for room, and let its KV cache go out when it is given."""
        lane = self._lanes.lane(assigned.prefill_node, assigned.source_rank, assigned.decode_node, assigned.target_rank)
        shipment = assigned.shipment = self._shipper.prepare(job.request, job.input_tokens, lane)
        granted = partial(self._on_granted, assigned, shipment, job)
        if not self._decode.reserve(assigned, granted):
            return
        if job.has_room:
            granted()
        else:
            # The prompt waits for room, which comes after all else at a moment.
            self._env.after(0.0, granted)

    def _on_granted(self, assigned: Assigned, shipment: Shipment, job: PrefillJob) -> None:
        self._cells.granted_s[job.request] = self._env.now
        held_tokens = self._decode.held_tokens(assigned)
        self._cells.decode_cached_tokens[job.request] = held_tokens
        if not job.has_room:
            job.has_room = True
            self._prefill.instance(assigned.prefill_node).wake()
        self._shipper.grant(shipment, held_tokens)

    def _on_chunks_ahead(self, job: PrefillJob, ends: list[tuple[float, int]]) -> None:
        self._work.reach(job.request, ends[-1][1])
        self._tell()
        shipment = self._assigned[job.request].shipment
        assert shipment is not None
        self._shipper.foresee(shipment, ends)

    def _on_prefill_progress(self, node: int, job: PrefillJob) -> None:
        request, assigned = job.request, self._assigned[job.request]
        self._work.reach(request, job.done_tokens)
        self._tell()
        if job.done_tokens == job.input_tokens:
            self._cells.prefill_end_s[request] = self._env.now
            self._prefill.keep(assigned)
        assert assigned.shipment is not None
        self._recorder.computed(request, self._placed.prefill[node])
        self._shipper.computed(assigned.shipment, job.done_tokens)

    def _on_post(self, shipment: Shipment, at_s: float) -> None:
        self._cells.kv_post_s[shipment.request] = at_s

    def _on_push(self, shipment: Shipment, begins: bool) -> None:
        instance = self._prefill.instance(self._cells.prefill_node[shipment.request])
        if begins:
            instance.push_begins()
        else:
            instance.push_ends()

    def _on_arrival(self, shipment: Shipment) -> None:
        request, assigned = shipment.request, self._assigned[shipment.request]
        self._cells.kv_end_s[request] = self._env.now
        self._cells.kv_bytes[request] = sum(shipment.push_bytes)
        self._prefill.free(assigned)
        node = self._decode[assigned.decode_node]
        if isinstance(node, TileRtNode):
            node.take_in(request, self._input_tokens[request])
        else:
            self._begin_answer(request)

    def _begin_answer(self, request: int) -> None:
        """Let a request whose KV is at its decode node join the batch there."""
        assigned = self._assigned[request]
        self._work.join(request)
        self._decode.keep(assigned)
        tokens_left = self._output_tokens[request]
        if self._prefill_answers:
            self._cells.first_token_s[request] = self._env.now
            tokens_left -= 1
        if tokens_left:
            instance = self._decode[assigned.decode_node].instance
            instance.join(request, self._input_tokens[request], tokens_left)
        else:
            self._recorder.ended(request)
            self._on_finish(request, 0)

    def _on_step(self, requests: list[int], end_s: float, steps: int) -> None:
        cells = self._cells
        # Mostly one, for which NumPy's choice of rows takes ten times as long.
        for request in requests:
            cells.first_step_s[request] = end_s
            cells.steps_before[request] = steps
            if not self._prefill_answers:
                cells.first_token_s[request] = end_s

    def _on_finish(self, request: int, steps: int) -> None:
        self._cells.finish_s[request] = self._env.now
        self._cells.steps_at_end[request] = steps
        self._release(self._assigned.pop(request))
        self._resolve(request, COMPLETED)

    def _on_failure(self, shipment: Shipment) -> None:
        """Give a request up whose KV cannot be carried; its prompt is computed to the end, for other prompts' prefixes."""
        request, assigned = shipment.request, self._assigned[shipment.request]
        self._recorder.ended(request)
        if isfinite(self._cells.prefill_end_s[request]):
            self._prefill.free(assigned)
        self._release(assigned)
        self._resolve(request, FAILED)

    def _release(self, assigned: Assigned) -> None:
        """Give back what a request holds at its decode node, and route the one that waits for it."""
        following = self._decode.release(assigned)
        if following is not None:
            self._recorder.takes_over(following, assigned.request)
            self._route(following)

    def _resolve(self, request: int, outcome: int) -> None:
        self._cells.outcome[request] = outcome
        self._cells.left_s[request] = self._env.now
        self._resolved += 1
        self._work.end(request)
        self._tell()
        if self._resolved == self._requests:
            self.finished.succeed()
        else:
            self._arrivals.left(request)

    def _tell(self) -> None:
        """Tell how much is done, now and then."""
        self._untold += 1
        if self._untold >= self._told_every or self._resolved == self._requests:
            self._untold = 0
            self._progress(max(self._work.share, self._env.now / self._horizon_s))

    def cut(self) -> None:
        """Keep of what is under way at the end of the run only what has happened."""
        now_s = float(self._env.now)
        self.journeys.cut(now_s)
        for request, assigned in self._assigned.items():
            if assigned.shipment is not None:
                self.journeys.kv_bytes[request] = assigned.shipment.bytes_before(now_s)
            if assigned.read is not None and assigned.read.start_s >= now_s:
                self.journeys.store_bytes[request] = 0.0

    def fail_rest(self) -> None:
        """Give up what is under way, because the network cannot go on."""
        outcome = self.journeys.outcome
        outcome[outcome == UNFINISHED] = FAILED

    def let_go(self) -> None:
        """Empty what only a run under way needs: processes refer to each other, and would keep it until the collector comes."""
        for pool in (self._prefill, self._decode):
            pool.let_go()
        for part in (self.transfers, self._lanes, self._arrivals, self):
            vars(part).clear()
