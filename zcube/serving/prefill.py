"""Prefill instances: queues, chunked prefill in iterations, expert traffic where an instance spans nodes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import simpy

from zcube.llm.compute import ComputeModel
from zcube.llm.layer_times import LayerTimes, PrefillLayer
from zcube.serving.clock import Clock, go_on
from zcube.serving.expert_exchange import PrefillExchange
from zcube.serving.pipeline import Pipeline
from zcube.serving.pools import PrefillPool
from zcube.serving.recording import Recorder
from zcube.serving.router import CHUNKS_AHEAD, PrefillLoads

#: Why an instance pauses though it has prompts: a push of its own is under way, KV memory is short, or cached KV is being read.
PUSH, MEMORY, READ = 0, 1, 2


class Pause(NamedTuple):
    """A time in which an instance computed nothing, and why."""

    reason: int
    start_s: float
    end_s: float


@dataclass(slots=True)
class PrefillJob:
    """A prompt at a prefill node.

    ``done_tokens`` counts cached and computed tokens; ``has_room`` says whether it may start as far as decode is concerned.
    ``read`` is the end of the read of what is cached elsewhere, which it waits for where ``waits_to_start``, and else its first
    iteration.
    """

    request: int
    input_tokens: int
    estimated_new_tokens: int
    done_tokens: int = 0
    has_room: bool = True
    read: simpy.Event | None = None
    waits_to_start: bool = False

    @property
    def is_reading(self) -> bool:
        """Whether its read is under way."""
        return self.read is not None and not self.read.processed

    @property
    def may_start(self) -> bool:
        """Whether neither decode nor its read holds it back."""
        return self.has_room and not (self.waits_to_start and self.is_reading)


@dataclass(frozen=True)
class PrefillHooks:
    """What an instance tells the cluster.

    Attributes
    ----------
    start : callable
        ``start(node, job)`` returns the cached tokens a job begins with; None if the node's KV memory has no room for it yet.
    ahead : callable
        ``ahead(job, ends)``: whole chunks of a job are going to end one after the other, each time with the tokens done then.
    progress : callable
        ``progress(node, job)`` after every iteration that advanced a job, or after all that were told of ahead.
    """

    start: Callable[[int, PrefillJob], int | None]
    ahead: Callable[[PrefillJob, list[tuple[float, int]]], None]
    progress: Callable[[int, PrefillJob], None]


class PrefillInstance:
    """Nodes that iterate in step, each on its own queue.

    Parameters
    ----------
    env : Clock
        Clock.
    nodes : sequence of int
        Numbers of its nodes in the pool.
    servers : sequence of int
        Their servers.
    compute, pool
        Iteration times, limits.
    loads : PrefillLoads
        Kept up to date for its nodes.
    hooks : PrefillHooks
        What it reports.
    exchange : PrefillExchange, Pipeline or None
        What its nodes, or the stages of its node, send each other; None where they send nothing.
    recorder : Recorder
        Told of every iteration.
    overtakes : bool
        Whether a prompt that may start does so before others that may not, which came earlier.
    blocks : bool
        Whether an iteration waits for the pushes before it, so that none can be foreseen.
    """

    def __init__(
        self,
        env: Clock,
        nodes: Sequence[int],
        servers: Sequence[int],
        compute: ComputeModel,
        pool: PrefillPool,
        loads: PrefillLoads,
        hooks: PrefillHooks,
        exchange: PrefillExchange | Pipeline | None,
        recorder: Recorder,
        overtakes: bool = False,
        blocks: bool = False,
    ):
        self._env, self._compute, self._chunk_tokens = env, compute, pool.chunk_tokens
        self._on_start, self._on_ahead, self._on_progress = hooks.start, hooks.ahead, hooks.progress
        self._exchange, self._recorder, self._overtakes = exchange, recorder, overtakes
        #: Whether iterations may be foreseen, of which no exchange and no push decides how long they take.
        self._foresees = exchange is None and not (blocks or recorder.keeps_order)
        # Single numbers of arrays are read and written several times faster through a view of their memory.
        self._backlog_tokens, self._held = loads.backlog_tokens.data, loads.held.data
        self._chunk_ends_s: Any = loads.chunk_ends_s.data
        #: Prompts that have started, and those that have not, in order.
        self._running: dict[int, deque[PrefillJob]] = {node: deque() for node in nodes}
        self._queues: dict[int, deque[PrefillJob]] = {node: deque() for node in nodes}
        #: Pushes under way that the next iteration waits for, and prompts of all nodes.
        self._pushes = self._prompts = 0
        self.pauses: list[Pause] = []
        #: Why it pauses, if that is a reason to tell, and since when.
        self._paused, self._since_s = True, 0.0
        self._reason: int | None = None
        self._short = self._awaits_read = False
        self.nodes = list(nodes)
        self._servers = list(servers)
        #: Of the iterations under way: what each prompt has computed with the last of them, by node.
        self._computed: list[tuple[int, PrefillJob, int]] = []
        #: Reads that the prompts of the iteration under way are computed behind.
        self._reads: list[simpy.Event] = []

    @property
    def carries(self) -> bool:
        """Whether its nodes reach each other; one whose nodes do not never starts."""
        return self._exchange is None or self._exchange.carried

    def submit(self, node: int, job: PrefillJob) -> None:
        """Queue a prompt at a node."""
        self._queues[node].append(job)
        self._prompts += 1
        self._held[node] += 1
        self._backlog_tokens[node] += job.estimated_new_tokens
        self.wake()

    def wake(self) -> None:
        """Look again at what may start."""
        if self._paused:
            self._paused = False
            self._env.after(0.0, self._end_pause)

    def push_begins(self) -> None:
        """Let the next iteration wait for a push."""
        self._pushes += 1

    def push_ends(self) -> None:
        """Note that a push which the next iteration waits for has arrived."""
        self._pushes -= 1
        if not self._pushes:
            self.wake()

    def _begin(self) -> None:
        """Begin what comes next: whole chunks, an iteration or a pause."""
        if self._pushes or not self._prompts:
            self._pause(PUSH if self._pushes else None)
        elif self._foresees and (chunks := self._chunks_ahead()):
            self._whole_chunks(chunks)
        else:
            self._iterate()

    def _pause(self, reason: int | None) -> None:
        """Wait until something changes."""
        self._paused, self._reason = True, reason
        if reason is not None:
            self._since_s = float(self._env.now)

    def _end_pause(self) -> None:
        """Go on after a pause, and keep since when it was and why if that is a reason to tell."""
        if self._reason is not None:
            self.pauses.append(Pause(self._reason, self._since_s, float(self._env.now)))
        self._begin()

    def _iterate(self) -> None:
        """Let an iteration pass, if any prompt may be computed."""
        started: list[int] = []
        self._short = self._awaits_read = False
        self._computed, self._reads = [], []
        by_node, seconds = [], []
        for node in self.nodes:
            taken = self._take(node, started)
            if taken[0]:
                by_node.append(taken)
                seconds.append(self._compute.prefill_iteration_s(*taken))
        if not by_node:
            self._pause(MEMORY if self._short else READ if self._awaits_read else None)
            return
        self._recorder.iteration(self._servers, started)
        compute_s = max(seconds)
        if self._exchange is None:
            self._recorder.computes(self._servers, compute_s)
            self._env.after(compute_s, self._end_iteration)
            return
        node_tokens = dict.fromkeys(self.nodes, 0)
        for node, _, tokens in self._computed:
            node_tokens[node] += tokens
        # Of equals the last.
        slowest = len(seconds) - 1 - seconds[::-1].index(compute_s)
        layer = partial(_layer, self._compute, *by_node[slowest])
        exchange = self._exchange.iteration(tuple(node_tokens.values()), compute_s, layer)
        go_on(exchange, self._end_iteration)

    def _end_iteration(self) -> None:
        """Wait for the reads that the iteration's prompts computed behind."""
        reads = self._reads and [read for read in self._reads if not read.processed]
        if reads:
            self._since_s = float(self._env.now)
            self._env.all_of(reads).callbacks.append(self._end_reads)
        else:
            self._advance()

    def _end_reads(self, _: simpy.Event) -> None:
        self.pauses.append(Pause(READ, self._since_s, float(self._env.now)))
        self._advance()

    def _chunks_ahead(self) -> int:
        """Return how many iterations from now on the only node's first prompt fills alone, whatever else comes."""
        node = self.nodes[0]
        running = self._running[node]
        job = running[0] if running else self._admit(node)
        if job is None or job.is_reading:
            return 0
        return min((job.input_tokens - job.done_tokens) // self._chunk_tokens, CHUNKS_AHEAD)

    def _whole_chunks(self, chunks: int) -> None:
        """Let iterations pass that one prompt fills alone."""
        node, chunk = self.nodes[0], self._chunk_tokens
        job, end_s, ends_s = self._running[node][0], self._env.now, self._chunk_ends_s
        done, ends = job.done_tokens, []
        for at in range(chunks):
            end_s += self._compute.prefill_iteration_s([chunk], [done])
            done += chunk
            ends.append((end_s, done))
            ends_s[node, at] = end_s
        self._on_ahead(job, ends)
        self._computed = [(node, job, chunks * chunk)]
        self._env.at(end_s, self._end_chunks)

    def _end_chunks(self) -> None:
        node, ends_s, (_, _, tokens) = self.nodes[0], self._chunk_ends_s, self._computed[0]
        # Of as many chunks as were foreseen; behind them nothing has been written.
        for at in range(tokens // self._chunk_tokens):
            ends_s[node, at] = math.inf
        self._advance()

    def _admit(self, node: int) -> PrefillJob | None:
        """Start the prompt of a node's queue whose turn it is, and return it; None if none may start."""
        queue = self._queues[node]
        if not queue:
            return None
        at = 0
        if self._overtakes:
            at = next((at for at, job in enumerate(queue) if job.may_start), 0)
        job = queue[at]
        if not job.may_start:
            self._awaits_read = self._awaits_read or any([job.has_room and job.is_reading for job in queue])
            return None
        cached = self._on_start(node, job)
        if cached is None:
            self._short = True
            return None
        del queue[at]
        job.done_tokens = cached
        self._backlog_tokens[node] += job.input_tokens - cached - job.estimated_new_tokens
        self._running[node].append(job)
        return job

    def _take(self, node: int, started: list[int]) -> tuple[list[int], list[int]]:
        """Fill one iteration of a node, running prompts first; adds the requests that start to ``started``.

        Returns
        -------
        tuple of list of int
            Tokens that each prompt computes, and tokens before them.
        """
        room, running, at = self._chunk_tokens, self._running[node], 0
        new_tokens: list[int] = []
        prefix_tokens: list[int] = []
        while room > 0:
            if at == len(running):
                if self._admit(node) is None:
                    break
                started.append(running[at].request)
            job = running[at]
            at += 1
            count = min(room, job.input_tokens - job.done_tokens)
            room -= count
            new_tokens.append(count)
            prefix_tokens.append(job.done_tokens)
            self._computed.append((node, job, count))
            if job.read is not None:
                self._reads.append(job.read)
        return new_tokens, prefix_tokens

    def _advance(self) -> None:
        """Count what the iterations that have passed computed, tell of it, and begin what comes next."""
        for node, job, count in self._computed:
            job.done_tokens += count
            self._backlog_tokens[node] -= count
            if job.done_tokens == job.input_tokens:
                self._running[node].popleft()
                self._prompts -= 1
                self._held[node] -= 1
            self._on_progress(node, job)
        self._begin()


def _layer(compute: ComputeModel, new_tokens: list[int], prefix_tokens: list[int]) -> PrefillLayer:
    """Return a layer of an iteration, which not every compute model knows."""
    return cast(LayerTimes, compute).prefill_layer(new_tokens, prefix_tokens)
