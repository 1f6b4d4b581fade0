"""Transfers as SimPy events: the seam between the processes that decide and the network that moves bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.network.protocol import FlowTable, NetworkModel
from zcube.serving.reach import Reach

#: Kinds of traffic, kept beside every transfer.
KV, EXPERT = 0, 1

#: Called when transfers have arrived, as a callback of an event.
Then = Callable[[simpy.Event | None], None]


class Transfers:
    """Posts groups of transfers on a network model and tells their senders when they have arrived.

    Parameters
    ----------
    env : simpy.Environment
        Its clock drives the network model's.
    model : NetworkModel
        Idle at the environment's present.
    reach : Reach, optional
        Which pairs have no path; default: all have one.
    """

    def __init__(self, env: simpy.Environment, model: NetworkModel, reach: Reach | None = None):
        self._env = env
        self._model = model
        self._reach = reach
        self._wake_s = float("inf")
        self._network_s = 0.0
        self._ends: list[tuple[IntArray, IntArray]] = []
        self._group_of: list[int] = []
        #: By group under way: how many of its transfers are, and what is told of the last one's arrival.
        self._open: dict[int, list[Any]] = {}
        self._posted: list[tuple[IntArray, IntArray, float, int]] = []

    def carries(self, source: IntArray, target: IntArray) -> bool:
        """Return whether all of some transfers could be carried."""
        return self._reach is None or self._reach.carries(source, target)

    def paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths between pairs of GPUs once and for all, and return their numbers [pairs]."""
        self._ends.append((source, target))
        return self._model.paths(source, target)

    def send(self, paths: IntArray, size_bytes: IntArray, kind: int) -> simpy.Event:
        """Post transfers now, over paths by number, and return the event of the last one's arrival."""
        done = self._env.event()
        self.post(paths, size_bytes, kind, done)
        return done

    def post(self, paths: IntArray, size_bytes: IntArray, kind: int, done: simpy.Event | Then) -> None:
        """Post transfers now, over paths by number; ``done`` succeeds, or is called, when the last one has arrived."""
        now = max(self._env.now, self._network_s)
        self._model.post(paths, size_bytes, now)
        self._group_of += [len(self._posted)] * len(paths)
        self._open[len(self._posted)] = [len(paths), done]
        self._posted.append((paths, size_bytes, now, kind))
        self._plan()

    def posted(self) -> tuple[FlowTable, IntArray]:
        """Return every transfer posted, in order, and its kind."""
        if not self._posted:
            none = np.zeros(0, dtype=np.int64)
            return FlowTable(none, none, np.zeros(0), np.zeros(0)), none
        paths, size = (np.concatenate([row[column] for row in self._posted]) for column in range(2))
        source, target = (np.concatenate([ends[column] for ends in self._ends]) for column in range(2))
        counts = [len(row[0]) for row in self._posted]
        start = np.repeat([row[2] for row in self._posted], counts)
        kind = np.repeat([row[3] for row in self._posted], counts)
        return FlowTable(source[paths], target[paths], size.astype(np.float64), start), kind

    def _plan(self) -> None:
        """Wake at the network's next event, unless a wake-up at or before it is already planned."""
        env = self._env
        next_s = self._model.next_event_s()
        if next_s >= self._wake_s:
            return
        self._wake_s = next_s
        if next_s <= env.now < env.peek():
            # Nothing else is due at this moment, so the wake-up would come next.
            self._wake()
        else:
            env.timeout(max(0.0, next_s - env.now), value=next_s).callbacks.append(self._on_wake)

    def _on_wake(self, wake: simpy.Event) -> None:
        if wake.value == self._wake_s:
            self._wake()

    def _wake(self) -> None:
        # Adding a delay to the clock rounds, so the planned time may lie a last place after the present.
        done = self._advance(max(self._env.now, self._wake_s))
        self._wake_s = float("inf")
        if len(done) == 1 and not isinstance(done[0], simpy.Event) and self._env.now < self._env.peek():
            # As above: the event of this arrival would come next.
            self._plan()
            done[0](None)
        else:
            self._succeed(done)
            self._plan()

    def _advance(self, to_s: float) -> list[simpy.Event | Then]:
        """Run the network up to a time and return what is to be told of transfers that have arrived."""
        self._network_s = to_s
        done = []
        for flow in self._model.advance(to_s).tolist():
            group = self._group_of[flow]
            waits = self._open[group]
            waits[0] -= 1
            if not waits[0]:
                done.append(waits[1])
                del self._open[group]
        return done

    def _succeed(self, done: list[simpy.Event | Then]) -> None:
        for told in done:
            if isinstance(told, simpy.Event):
                told.succeed()
            else:
                event = self._env.event()
                event.callbacks.append(told)
                event.succeed()

    def carried_bytes(self) -> FloatArray:
        """Return what every link has carried up to the present [links]."""
        self._succeed(self._advance(max(self._env.now, self._network_s)))
        return self._model.link_table().size_bytes.copy()
