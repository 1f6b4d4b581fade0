"""Transfers as SimPy events: the seam between the processes that decide and the network that moves bytes."""

from __future__ import annotations

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.network.protocol import FlowTable, NetworkModel
from zcube.serving.reach import Reach

#: Kinds of traffic, kept beside every transfer.
KV, EXPERT = 0, 1


class Transfers:
    """Posts groups of transfers on a network model and wakes their senders.

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
        self._group_of: IntArray = np.zeros(1024, dtype=np.int64)
        self._open: list[int] = []
        self._done: list[simpy.Event] = []
        self._posted: list[tuple[IntArray, IntArray, FloatArray, float, int]] = []

    def carries(self, source: IntArray, target: IntArray) -> bool:
        """Return whether all of some transfers could be carried."""
        return self._reach is None or self._reach.carries(source, target)

    def send(self, source: IntArray, target: IntArray, size_bytes: FloatArray, kind: int) -> simpy.Event:
        """Post transfers now and return the event of the last one's completion."""
        now = max(self._env.now, self._network_s)
        flows = FlowTable(source, target, size_bytes, np.full(len(source), now))
        numbers = self._model.send(flows)
        group = len(self._done)
        while numbers[-1] >= len(self._group_of):
            self._group_of = np.concatenate([self._group_of, np.zeros_like(self._group_of)])
        self._group_of[numbers] = group
        self._open.append(len(source))
        done = self._env.event()
        self._done.append(done)
        self._posted.append((source, target, size_bytes, now, kind))
        self._plan()
        return done

    def posted(self) -> tuple[FlowTable, IntArray]:
        """Return every transfer posted, in order, and its kind."""
        if not self._posted:
            none = np.zeros(0, dtype=np.int64)
            return FlowTable(none, none, np.zeros(0), np.zeros(0)), none
        source, target, size = (np.concatenate([row[column] for row in self._posted]) for column in range(3))
        counts = [len(row[0]) for row in self._posted]
        start = np.repeat([row[3] for row in self._posted], counts)
        kind = np.repeat([row[4] for row in self._posted], counts)
        return FlowTable(source, target, size, start), kind

    def _plan(self) -> None:
        """Wake at the network's next event, unless a wake-up at or before it is already planned."""
        next_s = self._model.next_event_s()
        if next_s < self._wake_s:
            self._wake_s = next_s
            wake = self._env.timeout(max(0.0, next_s - self._env.now), value=next_s)
            wake.callbacks.append(self._on_wake)

    def _on_wake(self, wake: simpy.Event) -> None:
        if wake.value != self._wake_s:
            return
        # Adding a delay to the clock rounds, so the planned time may lie a last place after the present.
        self._advance(max(self._env.now, self._wake_s))
        self._wake_s = float("inf")
        self._plan()

    def _advance(self, to_s: float) -> None:
        self._network_s = to_s
        for group in self._group_of[self._model.advance(to_s)].tolist():
            self._open[group] -= 1
            if not self._open[group]:
                self._done[group].succeed()

    def carried_bytes(self) -> FloatArray:
        """Return what every link has carried up to the present [links]."""
        self._advance(max(self._env.now, self._network_s))
        return self._model.link_table().size_bytes.copy()
