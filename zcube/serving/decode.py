"""Decode nodes: continuous batching, simulated from one change of the batch to the next.

Between changes every request of the batch gains one token a step, so the step times follow from the contexts in closed form
and need no event each; a request that joins meanwhile waits for the boundary of the step under way. Where the nodes of an
instance exchange tokens over the fabric, which decides how long that takes, steps pass in bursts instead.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.llm.compute import ComputeModel
from zcube.llm.layer_times import LayerTimes
from zcube.serving.clock import Clock, go_on
from zcube.serving.decode_batch import CONTEXT, LEFT, MOST_LEFT, REQUEST, evened, give_tokens, let_pass
from zcube.serving.expert_exchange import DecodeExchange
from zcube.serving.pipeline import Pipeline
from zcube.serving.pools import DecodePool
from zcube.serving.recording import Recorder

#: Steps predicted at once after a request joined, doubled up to the most while none does: a longer prediction is likelier
#: to be cut short.
LEAST_STEPS_AHEAD, MOST_STEPS_AHEAD = 32, 512

NO_STEPS: FloatArray = np.zeros(0)

#: Of an instance: does nothing; lets steps pass, which another request would end; ends them, or does something else.
IDLE, STEPPING, ENDING = 0, 1, 2


def least_of(loads: list[int], first: int) -> int:
    """Return the place of the least load, of equal ones the one that comes first from a place on."""
    least = min(loads)
    place = loads.index(least)
    return loads.index(least, first) if place < first and least in loads[first:] else place


class DecodeNode:
    """One decode node: room for KV, and what waits for it.

    Parameters
    ----------
    env : Clock
        Clock.
    pool : DecodePool
        Limits.
    ranks : int
        Data-parallel attention ranks, which share the requests out.
    server : int
        Where it is placed.
    instance : DecodeInstance
        Whose batch its requests join.
    recorder : Recorder
        Told of room.
    """

    def __init__(self, env: Clock, pool: DecodePool, ranks: int, server: int, instance: DecodeInstance, recorder: Recorder):
        self._env, self._server, self._recorder = env, server, recorder
        self.instance = instance
        self._rank_load = [0] * ranks
        self._next_rank = 0
        self._held_requests, self._most_requests = 0, pool.max_batch
        self._held_tokens, self._most_tokens = 0, pool.kv_tokens
        self._waiting: deque[tuple[int, int, Callable[[], None]]] = deque()

    def take_rank(self) -> int:
        """Give a request to the rank with the fewest, in turn among equals."""
        rank = least_of(self._rank_load, self._next_rank)
        self._next_rank = rank + 1
        self._rank_load[rank] += 1
        return rank

    def reserve(self, request: int, tokens: int, granted: Callable[[], None]) -> bool:
        """Return whether room for a request is held for it; else something is called when it is, first come first served."""
        self._recorder.reserves(self._server, not self._waiting)
        if not self._waiting and self._has_room(tokens):
            self._hold(request, tokens)
            return True
        self._waiting.append((request, tokens, granted))
        return False

    def release(self, request: int, rank: int, tokens: int) -> None:
        """Give back the room of a request that is done."""
        self._recorder.released(self._server, request)
        self._rank_load[rank] -= 1
        self._held_requests -= 1
        self._held_tokens -= tokens
        while self._waiting and self._has_room(self._waiting[0][1]):
            following, tokens, granted = self._waiting.popleft()
            self._hold(following, tokens)
            self._env.after(0.0, granted)

    def _has_room(self, tokens: int) -> bool:
        return self._held_requests < self._most_requests and self._held_tokens + tokens <= self._most_tokens

    def _hold(self, request: int, tokens: int) -> None:
        self._held_requests += 1
        self._held_tokens += tokens
        self._recorder.granted(self._server, request)


class DecodeInstance:
    """Nodes that decode one batch in step.

    Parameters
    ----------
    env : Clock
        Clock.
    compute : ComputeModel
        Step times.
    on_finish : callable
        Called with a request's number when its last token is out, and the steps that have ended.
    on_step : callable
        Called with the numbers of requests whose first decode step begins, or has passed in a burst, the time at which it ends,
        and the steps that ended before it.
    servers : sequence of int
        Where its nodes are placed.
    recorder : Recorder
        Told of steps.
    on_prompt : callable
        ``on_prompt(request, ended)``: called when a prompt begins to be computed here, and when it has been.
    exchange : DecodeExchange, Pipeline or None
        What its nodes, or the stages of its node, send each other; None where they send nothing.
    tokens_per_step : float
        Output tokens that speculative decoding makes in the computing time of one step without it.
    even_ranks : int, optional
        GPUs that share the requests out, where their KV is evened out; default: requests are dealt in order.
    """

    def __init__(
        self, env: Clock, compute: ComputeModel, on_finish: Callable[[int, int], None],
        on_step: Callable[[list[int], float, int], None], servers: Sequence[int], recorder: Recorder,
        on_prompt: Callable[[int, bool], None], exchange: DecodeExchange | Pipeline | None = None, tokens_per_step: float = 1.0,
        even_ranks: int | None = None,
    ):  # fmt: skip
        self._env, self._compute, self._exchange, self._tokens_per_step = env, compute, exchange, tokens_per_step
        self._on_finish, self._on_step, self._servers, self._recorder = on_finish, on_step, list(servers), recorder
        self._on_prompt, self._even_ranks = on_prompt, even_ranks
        #: Prompts to be computed here, and how long each takes.
        self._prompts: deque[tuple[int, float]] = deque()
        self._joining: list[tuple[int, int, int]] = []
        self._keep(np.zeros((3, 16), dtype=np.int64))
        self._size, self._least_left = 0, MOST_LEFT
        #: Steps ended, and when the last of them did; when those foreseen would end, and how many of them are let pass.
        self._steps, self._last_end_s, self._ends_s, self._passing = 0, 0.0, NO_STEPS, 0
        #: Steps predicted next, and what becomes of a request that comes.
        self._ahead, self._state = LEAST_STEPS_AHEAD, IDLE
        #: Of the ends of steps that were planned the number of the last, which alone holds.
        self._plans = 0
        #: When the steps under way began, and the requests that joined before.
        self._start_s, self._joined = 0.0, list[int]()

    @property
    def carries(self) -> bool:
        """Whether its nodes reach each other; one whose nodes do not gets no request."""
        return self._exchange is None or self._exchange.carried

    def join(self, request: int, context_tokens: int, tokens_left: int) -> None:
        """Add a request whose KV has arrived to the batch, from the next step on."""
        self._joining.append((request, context_tokens, tokens_left))
        self._come()

    def compute_prompt(self, request: int, seconds: float) -> None:
        """Compute a prompt, from the end of the step under way on; the batch waits meanwhile."""
        self._prompts.append((request, seconds))
        self._come()

    def _come(self) -> None:
        """Let what has come be taken up: at once, or at the end of the step under way."""
        if self._state == STEPPING:
            # A time equal to a boundary up to the clock's rounding is that boundary.
            now_s, ends_s = self._env.now, self._ends_s.data
            self._passing = done = min(bisect_left(ends_s, now_s - 4 * math.ulp(now_s)) + 1, len(ends_s))
            self._ahead = LEAST_STEPS_AHEAD
            self._end_at(max(now_s, ends_s[done - 1]))
        elif self._state == IDLE:
            self._env.after(0.0, self._begin)
        self._state = ENDING

    def _begin(self) -> None:
        """Begin what comes next, if anything does: a prompt, or steps."""
        if self._prompts:
            request, seconds = self._prompts.popleft()
            self._on_prompt(request, False)
            self._env.after(seconds, self._end_prompt, request)
        elif not (self._size or self._joining):
            self._state = IDLE
        elif self._exchange is not None:
            go_on(self._burst(self._exchange, self._join_batch()), self._begin)
        else:
            self._step(self._join_batch())

    def _end_prompt(self, request: int) -> None:
        self._on_prompt(request, True)
        self._begin()

    def _step(self, joined: list[int]) -> None:
        """Let steps pass until one of them is a request's last, or until a request comes."""
        start_s = float(self._env.now)
        self._start_s, self._joined, self._state = start_s, joined, STEPPING
        steps, contexts = min(self._ahead, self._least_left), self._contexts[: self._size]
        if self._even_ranks is not None:
            contexts = evened(contexts, self._even_ranks)
        ends_s = self._compute.decode_steps_s(contexts, steps)
        let_pass(ends_s, self._tokens_per_step, start_s)
        self._ends_s, self._passing, self._ahead = ends_s, steps, min(2 * self._ahead, MOST_STEPS_AHEAD)
        if joined:
            self._on_step(joined, ends_s.item(0), self._steps)
        self._end_at(ends_s.item(-1))

    def _end_at(self, time_s: float) -> None:
        """Let the steps under way end at a time, in place of another one if there is one."""
        self._plans += 1
        self._env.at(time_s, self._end_steps, self._plans)

    def _end_steps(self, plan: int) -> None:
        """Give the batch the tokens of the steps that have passed, unless they are to end at another time."""
        if plan != self._plans:
            return
        self._state, done = ENDING, self._passing
        self._steps, self._last_end_s = self._steps + done, self._ends_s.item(done - 1)
        self._ends_s, self._passing = NO_STEPS, 0
        finished = self._give_tokens(done)
        self._recorder.decodes(self._servers[0], self._start_s, self._env.now, self._joined, finished)
        for request in finished:
            self._on_finish(request, self._steps)
        self._begin()

    def _burst(self, exchange: DecodeExchange | Pipeline, joined: list[int]) -> simpy.events.ProcessGenerator:
        """Let steps pass whose exchanges are sent as one; every one takes the same part of what is not computed."""
        requests, left = self._size, self._batch[LEFT, : self._size].copy()
        steps = min(exchange.burst_steps, int(left.max()) if exchange.whole_bursts else self._least_left)
        batches = [self._contexts[rows] for rows in exchange.microbatches(requests)]
        if self._even_ranks is not None:
            batches = [evened(contexts, self._even_ranks) for contexts in batches]
        each_s = np.sum([self._compute.decode_steps_s(contexts, steps) for contexts in batches], axis=0)
        each_s /= self._tokens_per_step
        start_s, before, compute_s, stages = self._env.now, self._steps, float(each_s.sum()), None
        if isinstance(exchange, DecodeExchange) and exchange.in_stages:
            layers = cast(LayerTimes, self._compute)
            stages = exchange.stages(batches, layers, steps, compute_s, self._tokens_per_step)
        self._recorder.joins(self._servers, joined)
        yield from exchange.steps(requests, steps, compute_s, stages)
        now_s = self._env.now
        self._steps, self._last_end_s = before + steps, now_s
        if joined:
            first_s = (now_s - start_s - compute_s) / steps + float(each_s[0])
            self._on_step(joined, min(start_s + first_s, now_s), before)
        finished = self._give_tokens(steps)
        self._recorder.leaves(self._servers, finished)
        # Where a burst is not cut short, a request leaves at its end but has no more tokens than it wanted.
        for request, made in zip(finished, left[left <= steps].tolist(), strict=True):
            self._on_finish(request, before + made)

    def _keep(self, batch: IntArray) -> None:
        """Take a batch's table, and make room for as many requests that finish."""
        self._batch, self._contexts, self._finished = batch, batch[CONTEXT], np.zeros(batch.shape[1], dtype=np.int64)
        # Single values are written to memory sooner than an array is asked to take them.
        self._cells = batch.data

    def _join_batch(self) -> list[int]:
        """Let the requests that have come join the batch, and return them."""
        joined = []
        for request, context_tokens, tokens_left in self._joining:
            at = self._size
            if at == len(self._finished):
                self._keep(np.concatenate([self._batch, np.zeros_like(self._batch)], axis=1))
            cells = self._cells
            cells[REQUEST, at], cells[CONTEXT, at], cells[LEFT, at] = request, context_tokens, tokens_left
            self._size = at + 1
            if tokens_left < self._least_left:
                self._least_left = tokens_left
            joined.append(request)
        self._joining.clear()
        return joined

    def _give_tokens(self, steps: int) -> list[int]:
        """Give every running request its tokens and let the finished ones go; return these."""
        before = self._size
        self._size, self._least_left = give_tokens(self._batch, before, steps, self._finished)
        gone = before - self._size
        if gone < 2:
            return [self._finished.item(0)] if gone else []
        done: list[int] = self._finished[:gone].tolist()
        return done

    def steps_before(self, time_s: float) -> int:
        """Return how many steps end before a time, the present or barely later."""
        # What ended at this very moment has been counted.
        ended = self._steps - (self._steps > 0 and self._last_end_s >= time_s)
        return ended + int(self._ends_s[: self._passing].searchsorted(time_s))
