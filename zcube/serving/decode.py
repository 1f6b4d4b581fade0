"""Decode nodes: continuous batching, simulated from one change of the batch to the next.

Between changes every request of the batch gains one token a step, so the step times follow from the contexts in closed form
and need no event each; a request that joins meanwhile waits for the boundary of the step under way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.llm.compute import ComputeModel
from zcube.serving.decode_batch import CONTEXT, LEFT, MOST_LEFT, give_tokens
from zcube.serving.recording import Recorder
from zcube.serving.settings import DecodePool

#: Steps predicted at once after a request joined, doubled up to the most while none does: a longer prediction is likelier
#: to be cut short.
LEAST_STEPS_AHEAD, MOST_STEPS_AHEAD = 32, 512

NO_STEPS: FloatArray = np.zeros(0)


class DecodeNode:
    """One decode node: room for KV, a running batch, and what waits for either.

    Parameters
    ----------
    env : simpy.Environment
        Clock.
    compute : ComputeModel
        Step times.
    pool : DecodePool
        Limits.
    ranks : int
        Data-parallel attention ranks, which share the requests out.
    on_finish : callable
        Called with a request's number when its last token is out, and the steps that have ended.
    on_step : callable
        Called with the numbers of requests whose first decode step begins, the time at which it will have ended, and the steps
        that ended before it.
    server : int
        Where it is placed.
    recorder : Recorder
        Told of room and steps.
    on_prompt : callable
        ``on_prompt(request, ended)``: called when a prompt begins to be computed here, and when it has been.
    """

    def __init__(
        self, env: simpy.Environment, compute: ComputeModel, pool: DecodePool, ranks: int,
        on_finish: Callable[[int, int], None], on_step: Callable[[list[int], float, int], None],
        server: int, recorder: Recorder, on_prompt: Callable[[int, bool], None],
    ):  # fmt: skip
        self._env, self._compute, self._pool = env, compute, pool
        self._on_finish, self._on_step, self._server, self._recorder = on_finish, on_step, server, recorder
        self._on_prompt = on_prompt
        #: Prompts to be computed here, and how long each takes.
        self._prompts: deque[tuple[int, float]] = deque()
        self._rank_load = [0] * ranks
        self._next_rank = 0
        self._held_requests = 0
        self._held_tokens = 0
        self._waiting: deque[tuple[int, int, simpy.Event]] = deque()
        self._joining: list[tuple[int, int, int]] = []
        self._batch: IntArray = np.zeros((3, 16), dtype=np.int64)
        self._size, self._least_left = 0, MOST_LEFT
        self._finished: IntArray = np.zeros(16, dtype=np.int64)
        #: Steps ended, when the last of them did, and when those under way are to.
        self._steps, self._last_end_s, self._ends_s = 0, 0.0, NO_STEPS
        self._wake = env.event()
        env.process(self._run())

    def take_rank(self) -> int:
        """Give a request to the rank with the fewest, in turn among equals."""
        turned = self._rank_load[self._next_rank :] + self._rank_load[: self._next_rank]
        rank = (self._next_rank + turned.index(min(turned))) % len(turned)
        self._next_rank = (rank + 1) % len(turned)
        self._rank_load[rank] += 1
        return rank

    def fits(self, tokens: int) -> bool:
        """Return whether a request of so many tokens could ever be held."""
        return tokens <= self._pool.kv_capacity_tokens

    def reserve(self, request: int, tokens: int) -> simpy.Event:
        """Return an event that comes when room for a request is held for it, first come first served."""
        granted = self._env.event()
        self._recorder.reserves(self._server, not self._waiting)
        self._waiting.append((request, tokens, granted))
        self._grant()
        return granted

    def join(self, request: int, context_tokens: int, tokens_left: int) -> None:
        """Add a request whose KV has arrived to the batch, from the next step on."""
        self._joining.append((request, context_tokens, tokens_left))
        if not self._wake.triggered:
            self._wake.succeed()

    def compute_prompt(self, request: int, seconds: float) -> None:
        """Compute a prompt, from the end of the step under way on; the batch waits meanwhile."""
        self._prompts.append((request, seconds))
        if not self._wake.triggered:
            self._wake.succeed()

    def release(self, request: int, rank: int, tokens: int) -> None:
        """Give back the room of a request that is done."""
        self._recorder.released(self._server, request)
        self._rank_load[rank] -= 1
        self._held_requests -= 1
        self._held_tokens -= tokens
        self._grant()

    def _grant(self) -> None:
        pool = self._pool
        while self._waiting and self._held_requests < pool.max_batch:
            request, tokens, granted = self._waiting[0]
            if self._held_tokens + tokens > pool.kv_capacity_tokens:
                return
            self._waiting.popleft()
            self._held_requests += 1
            self._held_tokens += tokens
            self._recorder.granted(self._server, request)
            granted.succeed()

    def _run(self) -> simpy.events.ProcessGenerator:
        env = self._env
        ahead = LEAST_STEPS_AHEAD
        while True:
            if not (self._size or self._joining or self._prompts):
                self._wake = env.event()
                yield self._wake
            if self._prompts:
                request, seconds = self._prompts.popleft()
                self._on_prompt(request, False)
                yield env.timeout(seconds)
                self._on_prompt(request, True)
                continue
            joined = [request for request, _, _ in self._joining]
            self._join_batch()
            start_s = env.now
            steps = min(ahead, self._least_left)
            ends_s = self._compute.decode_steps_s(self._batch[CONTEXT, : self._size], steps).cumsum()
            ends_s /= self._pool.tokens_per_step
            ends_s += start_s
            self._ends_s = ends_s
            if joined:
                self._on_step(joined, float(ends_s[0]), self._steps)
            self._sleep(float(ends_s[-1]) - start_s)
            yield self._wake
            # A time equal to a boundary up to the clock's rounding is that boundary.
            now_s = env.now - 4 * math.ulp(env.now)
            comes = bool(self._joining or self._prompts)
            done = min(int(ends_s.searchsorted(now_s)) + 1, steps) if comes else steps
            ahead = LEAST_STEPS_AHEAD if comes else min(2 * ahead, MOST_STEPS_AHEAD)
            self._ends_s = ends_s[:done]
            if ends_s[done - 1] > env.now:
                yield env.timeout(float(ends_s[done - 1]) - env.now)
            self._steps, self._last_end_s, self._ends_s = self._steps + done, float(ends_s[done - 1]), NO_STEPS
            finished = self._give_tokens(done)
            self._recorder.decodes(self._server, start_s, env.now, joined, finished)
            for request in finished:
                self._on_finish(request, self._steps)

    def _sleep(self, seconds: float) -> None:
        """Let :attr:`_wake` come after some time, or before with the next request that joins."""
        self._wake = self._env.event()
        self._env.timeout(seconds, self._wake).callbacks.append(_come_true)

    def _join_batch(self) -> None:
        for row in self._joining:
            if self._size == len(self._finished):
                self._batch = np.concatenate([self._batch, np.zeros_like(self._batch)], axis=1)
                self._finished = np.zeros(2 * self._size, dtype=np.int64)
            self._batch[:, self._size] = row
            self._size += 1
            self._least_left = min(self._least_left, row[LEFT])
        self._joining = []

    def _give_tokens(self, steps: int) -> list[int]:
        """Give every running request its tokens and let the finished ones go; return these."""
        before = self._size
        self._size, self._least_left = give_tokens(self._batch, before, steps, self._finished)
        done: list[int] = self._finished[: before - self._size].tolist()
        return done

    def steps_before(self, time_s: float) -> int:
        """Return how many steps end before a time, the present or barely later."""
        # What ended at this very moment has been counted.
        ended = self._steps - (self._steps > 0 and self._last_end_s >= time_s)
        return ended + int(self._ends_s.searchsorted(time_s))


def _come_true(timer: simpy.Event) -> None:
    """Let the event that a timer carries come, unless it has."""
    wake: Any = timer.value
    if not wake.triggered:
        wake.succeed()
