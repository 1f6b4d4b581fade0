"""Operations that wait for each other, carried by any network model: an event loop over what has ended."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zcube.arrays import FloatArray, IntArray, distinct
from zcube.network.protocol import FlowTable, NetworkModel
from zcube.routing.routes import Routes
from zcube.trace.comm_trace import CommTrace, Kind

#: Operations that end between two calls of the progress callback.
PROGRESS_EVERY = 1000


@dataclass(frozen=True, eq=False)
class OperationTimes:
    """When operations ran.

    Attributes
    ----------
    start_s, finish_s : float array [operations]
        Of a transfer: when it was posted and when its last byte arrived.
    sent : int array [transfers]
        The transfers in the order in which they were posted, so entry ``i`` is flow ``i`` of the network model.
    """

    start_s: FloatArray
    finish_s: FloatArray
    sent: IntArray


def run_operations(
    model: NetworkModel,
    trace: CommTrace,
    routes: Routes,
    gpu_of_rank: IntArray,
    progress: Callable[[int, int], None] = lambda done, total: None,
    message_start_s: FloatArray | None = None,
) -> OperationTimes:
    """Run a trace to its end.

    Parameters
    ----------
    model : NetworkModel
        Idle, at time 0.
    trace : CommTrace
        Without collectives.
    routes : Routes
        Paths of its transfers, in their order.
    gpu_of_rank : int array [ranks]
        The GPU each rank runs on, all different.
    progress : callable
        ``progress(ended, total)`` operations.
    message_start_s : float array [transfers], optional
        As in :class:`~zcube.network.protocol.FlowTable`.
    """
    return _Run(model, trace, routes, gpu_of_rank, message_start_s).times(progress)


class _Run:
    """State of one run: what still waits, what computes, and which flow is which operation."""

    def __init__(
        self,
        model: NetworkModel,
        trace: CommTrace,
        routes: Routes,
        gpu_of_rank: IntArray,
        message_start_s: FloatArray | None,
    ):
        self._model, self._trace, self._routes, self._gpu = model, trace, routes, gpu_of_rank
        self._message_start_s = message_start_s
        count = len(trace)
        self._computes = trace.kind == Kind.COMPUTE
        self._transfer_of = np.cumsum(trace.kind == Kind.TRANSFER) - 1
        self._waits = np.diff(trace.first_dependency)
        owner = np.repeat(np.arange(count), self._waits)
        self._follower = owner[np.argsort(trace.dependency, kind="stable")]
        self._first_follower = np.concatenate([[0], np.cumsum(np.bincount(trace.dependency, minlength=count))])
        self._start_s, self._finish_s = trace.start_s.copy(), np.full(count, np.nan)
        self._computing: list[tuple[float, int]] = []
        self._sent: IntArray = np.zeros(max(1, int((trace.kind == Kind.TRANSFER).sum())), dtype=np.int64)
        self._posted = self._ended = 0

    def times(self, progress: Callable[[int, int], None]) -> OperationTimes:
        """Run to the end."""
        total, said = len(self._trace), 0
        self._begin(np.flatnonzero(self._waits == 0), 0.0)
        while self._ended < total:
            network_s = self._model.next_event_s()
            now_s = min(network_s, self._computing[0][0] if self._computing else np.inf)
            ended = [self._sent[self._model.advance(now_s)]] if network_s <= now_s else []
            computed = []
            while self._computing and self._computing[0][0] <= now_s:
                computed.append(heapq.heappop(self._computing)[1])
            self._end(np.concatenate([*ended, np.array(computed, dtype=np.int64)]), now_s)
            if self._ended - said >= PROGRESS_EVERY:
                said = self._ended
                progress(said, total)
        sent = self._sent[: self._posted]
        # The model knows its arrivals to the last place, also of those that came together.
        self._finish_s[sent] = self._model.completions().finish_s
        progress(total, total)
        return OperationTimes(self._start_s, self._finish_s, sent)

    def _begin(self, operations: IntArray, now_s: float) -> None:
        """Start what waits for nothing any more, each at its own earliest start."""
        if not len(operations):
            return
        trace = self._trace
        self._start_s[operations] = np.maximum(self._start_s[operations], now_s)
        computes = self._computes[operations]
        computing = operations[computes]
        for end_s, row in zip(
            (self._start_s[computing] + trace.duration_s[computing]).tolist(), computing.tolist(), strict=True
        ):
            heapq.heappush(self._computing, (end_s, row))
        sends = operations[~computes]
        if len(sends):
            number = self._transfer_of[sends]
            flows = FlowTable(
                self._gpu[trace.source[sends]],
                self._gpu[trace.target[sends]],
                trace.size_bytes[sends].astype(np.float64),
                self._start_s[sends],
                message_start_s=None if self._message_start_s is None else self._message_start_s[number],
            )
            self._model.send(flows, self._routes.take(number))
            self._sent[self._posted : self._posted + len(sends)] = sends
            self._posted += len(sends)

    def _end(self, operations: IntArray, now_s: float) -> None:
        """Note that operations have ended, and start what waited for them alone."""
        if not len(operations):
            return
        self._ended += len(operations)
        self._finish_s[operations] = now_s
        followers = self._followers(operations)
        if not len(followers):
            return
        np.subtract.at(self._waits, followers, 1)
        ready = followers[self._waits[followers] == 0]
        self._begin(distinct(ready) if len(ready) > 1 else ready, now_s)

    def _followers(self, operations: IntArray) -> IntArray:
        """Return what waits for operations, once for each it waits for."""
        if len(operations) == 1:
            # Most moments end one operation, and its followers lie together.
            only = operations[0]
            return self._follower[self._first_follower[only] : self._first_follower[only + 1]]
        first, last = self._first_follower[operations], self._first_follower[operations + 1]
        count = last - first
        place = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        return self._follower[place]
