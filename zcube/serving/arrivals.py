"""When requests come: at times of their own, when an earlier one has left a place free, and after those that they wait for."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

import numpy as np

from zcube.serving.clock import Clock
from zcube.serving.recording import Recorder
from zcube.serving.settings import Load
from zcube.workload.requests import RequestTrace, followers


class Arrivals:
    """Lets the requests of a trace come.

    Parameters
    ----------
    env : Clock
        Clock.
    trace : RequestTrace
        What is offered.
    load : Load
        Open loop, or closed with so many places.
    recorder : Recorder
        Told of every arrival.
    on_arrival : callable
        ``on_arrival(request, at_s)``.
    """

    def __init__(
        self, env: Clock, trace: RequestTrace, load: Load, recorder: Recorder,
        on_arrival: Callable[[int, float], None],
    ):  # fmt: skip
        self._env, self._trace, self._recorder, self._on_arrival = env, trace, recorder, on_arrival
        self._waiting = followers(trace.after)
        self._open_loop = load.mode == "open"
        #: Of a closed loop: places not taken, by the request that left each, and requests that wait for none, as a heap.
        self._places: deque[int | None] = deque([None] * min(load.concurrency, len(trace)))
        self._ready = np.flatnonzero(trace.after < 0).tolist()
        # Single numbers of an array are read several times faster through a view of its memory.
        self._arrival_s = trace.arrival_s.data.cast("B").cast("d")

    def begin(self) -> None:
        """Let the first requests come, and those whose times come later."""
        if self._open_loop:
            self._env.after(0.0, self._come_in_time, 0)
        else:
            self._issue()

    def left(self, request: int) -> None:
        """Let those come that waited for a request, and one for its place."""
        self._release_followers(request)
        if not self._open_loop:
            # As an event of its own: requests that are rejected one after the other must not nest.
            self._places.append(request)
            self._env.after(0.0, self._issue)

    def _come_in_time(self, at: int) -> None:
        """Let those that wait for no other come, from one on, as far as it is their time; and wait for the next."""
        ready, now_s = self._ready, self._env.now
        while at < len(ready):
            request = ready[at]
            at_s = self._arrival_s[request]
            if at_s > now_s:
                # The clock rounds: what is left after a long delay is waited for too.
                self._env.after(at_s - now_s, self._come_in_time, at)
                return
            at += 1
            self._recorder.arrived(request, at_s)
            self._on_arrival(request, at_s)

    def _issue(self) -> None:
        """Fill the places of a closed loop, the request that comes first in the trace first."""
        while self._places and self._ready:
            request, freed_by = heapq.heappop(self._ready), self._places.popleft()
            self._recorder.arrived(request, 0.0, [] if freed_by is None else [freed_by], *self._wait(request))
            self._on_arrival(request, self._env.now)

    def _wait(self, request: int) -> tuple[int | None, float]:
        """Return the request that another one waits for, if it does, and for how long after it."""
        before = int(self._trace.after[request])
        return (None, 0.0) if before < 0 else (before, float(self._trace.delay_s[request]))

    def _come(self, request: int) -> None:
        """Let a request come whose wait for another is over."""
        if self._open_loop:
            self._recorder.arrived(request, self._arrival_s[request], [], *self._wait(request))
            self._on_arrival(request, self._env.now)
        else:
            heapq.heappush(self._ready, request)
            self._issue()

    def _release_followers(self, request: int) -> None:
        for follower in self._waiting.pop(request, ()):
            wait_s = float(self._trace.delay_s[follower])
            if self._open_loop:
                wait_s = max(wait_s, self._arrival_s[follower] - self._env.now)
            self._env.after(wait_s, self._come, follower)
