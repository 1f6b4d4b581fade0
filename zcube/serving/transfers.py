"""Transfers as SimPy events: the seam between the processes that decide and the network that moves bytes.

Nobody decides anything when a transfer starts or shares links with another, so the network is run on only when something
arrives that is waited for: the last of what a group of transfers carries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.network.protocol import FlowTable, NetworkModel
from zcube.serving.clock import seconds_between
from zcube.serving.reach import Reach

#: Kinds of traffic, kept beside every transfer.
KV, EXPERT = 0, 1


@dataclass(slots=True, eq=False)
class Group:
    """Transfers that somebody waits for together; ``arrived`` is called once all have arrived, the last post among them.

    ``under_way`` are their numbers; from ``first_watched`` on the network is asked to tell of each.
    """

    arrived: Callable[[], object]
    under_way: set[int] = field(default_factory=set)
    first_watched: int | None = None


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
        self._ends: list[tuple[IntArray, IntArray]] = []
        self._groups: dict[int, Group] = {}
        self._posted: list[tuple[IntArray, IntArray, FloatArray, int]] = []

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
        self.post(Group(done.succeed), paths, size_bytes, np.full(len(paths), float(self._env.now)), kind, 0)
        return done

    def post(
        self, group: Group, paths: IntArray, size_bytes: IntArray, start_s: FloatArray, kind: int, first_watched: int
    ) -> None:
        """Post transfers of a group, over paths by number.

        Parameters
        ----------
        group : Group
            What they are part of.
        paths, size_bytes : int array [transfers]
            Numbers of their paths, and payload.
        start_s : float array [transfers]
            When each is posted, ascending.
        kind : int
            :data:`KV` or :data:`EXPERT`.
        first_watched : int
            Row of the first transfer of the group's last post; as many as there are rows if that is yet to come.
        """
        if self._model.ahead or start_s[-1] <= self._env.now:
            self._post(group, paths, size_bytes, start_s, kind, first_watched)
            return
        for rows in np.split(np.arange(len(paths)), np.flatnonzero(np.diff(start_s)) + 1):
            last = 0 if rows[0] >= first_watched else len(rows)
            timer = self._env.timeout(seconds_between(self._env.now, float(start_s[rows[0]])))
            begin = partial(self._post, group, paths[rows], size_bytes[rows], start_s[rows], kind, last)
            timer.callbacks.append(begin)

    def _post(
        self, group: Group, paths: IntArray, size_bytes: IntArray, start_s: FloatArray, kind: int, first_watched: int,
        _: simpy.Event | None = None,
    ) -> None:  # fmt: skip
        first = self._model.post(paths, size_bytes, start_s, first_watched)
        for flow in range(first, first + len(paths)):
            group.under_way.add(flow)
            self._groups[flow] = group
        if first_watched < len(paths):
            group.first_watched = first + first_watched
        self._posted.append((paths, size_bytes, start_s, kind))
        self._plan()

    def posted(self) -> tuple[FlowTable, IntArray, IntArray]:
        """Return every transfer posted up to the present, in order of time, its kind, and its number in the network."""
        if not self._posted:
            none = np.zeros(0, dtype=np.int64)
            return FlowTable(none, none, np.zeros(0), np.zeros(0)), none, none
        paths, size, start_s = (np.concatenate([row[column] for row in self._posted]) for column in range(3))
        source, target = (np.concatenate([ends[column] for ends in self._ends]) for column in range(2))
        kind = np.repeat([row[3] for row in self._posted], [len(row[0]) for row in self._posted])
        order = np.argsort(start_s, kind="stable")
        order = order[: int(np.searchsorted(start_s[order], self._env.now, side="right"))]
        paths = paths[order]
        flows = FlowTable(source[paths], target[paths], size[order].astype(np.float64), start_s[order])
        return flows, kind[order], order

    def _plan(self) -> None:
        """Wake when something may arrive that is waited for, unless a wake-up at or before it is already planned."""
        next_s = self._model.next_arrival_s()
        if next_s < self._wake_s:
            self._wake_s = next_s
            timer = self._env.timeout(seconds_between(self._env.now, max(next_s, self._env.now)), value=next_s)
            timer.callbacks.append(self._on_wake)

    def _on_wake(self, wake: simpy.Event) -> None:
        if wake.value == self._wake_s:
            self._wake_s = float("inf")
            self._advance()

    def _advance(self) -> None:
        """Run the network up to the present and tell of the groups that have arrived."""
        arrived, watched = [], []
        for flow in self._model.advance(float(self._env.now)).tolist():
            group = self._groups.pop(flow)
            group.under_way.remove(flow)
            if group.first_watched is None:
                continue
            if not group.under_way:
                arrived.append(group)
            elif flow >= group.first_watched > min(group.under_way):
                # What was posted before the last of it comes after it.
                group.first_watched = min(group.under_way)
                watched += sorted(group.under_way)
        if watched:
            self._model.watch(np.array(watched, dtype=np.int64))
        self._plan()
        for group in arrived:
            group.arrived()

    def carried_bytes(self) -> FloatArray:
        """Return what every link has carried up to the present [links]."""
        self._advance()
        return self._model.link_table().size_bytes.copy()
