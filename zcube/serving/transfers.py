"""Transfers as SimPy events: the seam between the processes that decide and the network that moves bytes.

Nobody decides anything when a transfer starts or shares links with another, so the network is run on only when something
arrives that is waited for: the last of what a group of transfers carries.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from zcube.arrays import FloatArray, IntArray
from zcube.network.fluid_state import grown
from zcube.network.protocol import FlowTable, NetworkModel
from zcube.serving.clock import Clock
from zcube.serving.reach import Reach

#: Kinds of traffic: KV to decode, expert exchanges, blocks of prompts out of the store and into it.
KV, EXPERT, CACHE_READ, CACHE_WRITE = 0, 1, 2, 3

#: Transfers for which there is room at first.
LEAST_ROWS = 1024

#: In place of a request, of transfers that are nobody's: expert traffic.
NOBODYS = -1


@dataclass(frozen=True, eq=False)
class Posted:
    """Transfers in the order of their starts.

    Attributes
    ----------
    flows : FlowTable
        What was sent when.
    request : int array [flows]
        Whose KV it is, :data:`NOBODYS` of expert traffic, :func:`read_of` and :func:`write_of` requests of the store's.
    number : int array [flows]
        Number in the network.
    path : int array [flows]
        Number of the pair of GPUs.
    ends : tuple of int array [pairs]
        Sources and targets of all pairs.
    """

    flows: FlowTable
    request: IntArray
    number: IntArray
    path: IntArray
    ends: tuple[IntArray, IntArray]


def read_of(request: int) -> int:
    """Return the number that stands in place of a request for a read of its prompt out of the store."""
    return -2 - 2 * request


def write_of(request: int) -> int:
    """Return the number that stands in place of a request for a write of its prompt into the store."""
    return -3 - 2 * request


def kinds_of(request: IntArray) -> IntArray:
    """Return the kind of transfers by whose KV they are, or by the number in its place."""
    kind: IntArray = np.where(request >= 0, KV, EXPERT)
    of_store = np.flatnonzero(request < NOBODYS)
    kind[of_store] = np.where(request[of_store] % 2 == 0, CACHE_READ, CACHE_WRITE)
    return kind


class PostedRows:
    """Path, payload and start of transfers in the order in which they are posted, from where the network reads them.

    Attributes
    ----------
    used : int
        How many there are.
    """

    def __init__(self) -> None:
        self.used = 0
        self._keep(np.zeros(LEAST_ROWS, dtype=np.int64), np.zeros(LEAST_ROWS), np.zeros(LEAST_ROWS))

    def _keep(self, path: IntArray, size_bytes: FloatArray, start_s: FloatArray) -> None:
        self._columns = path, size_bytes, start_s
        # Few values are written to memory one by one sooner than an array is asked to take them.
        self._views: tuple[Any, Any, Any] = path.data, size_bytes.data, start_s.data

    def add(
        self, paths: list[int] | IntArray, size_bytes: list[int] | IntArray, start_s: list[float] | float
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Add some transfers, few in lists or many in arrays with one start, and return their rows."""
        first, end = self.used, self.used + len(paths)
        if end > len(self._columns[0]):
            path, size, start = self._columns
            self._keep(grown(path, end), grown(size, end), grown(start, end))
        path, size, start = self._columns
        if isinstance(start_s, list):
            path_view, size_view, start_view = self._views
            if end == first + 1:
                path_view[first], size_view[first], start_view[first] = paths[0], size_bytes[0], start_s[0]
            else:
                for at, row in enumerate(zip(paths, size_bytes, start_s, strict=True), first):
                    path_view[at], size_view[at], start_view[at] = row
        else:
            path[first:end], size[first:end], start[first:end] = paths, size_bytes, start_s
        self.used = end
        return path[first:end], size[first:end], start[first:end]

    def columns(self) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return path, payload and start of all."""
        path, size_bytes, start_s = self._columns
        return path[: self.used], size_bytes[: self.used], start_s[: self.used]


class Transfers:
    """Posts groups of transfers on a network model and tells their senders when they have arrived.

    Parameters
    ----------
    env : Clock
        Its clock drives the network model's.
    model : NetworkModel
        Idle at the environment's present.
    reach : Reach, optional
        Which pairs have no path; default: all have one.
    kv_cap_bps : float, optional
        Rate that no transfer of KV, the store's included, exceeds; default: none.
    """

    def __init__(self, env: Clock, model: NetworkModel, reach: Reach | None = None, kv_cap_bps: float | None = None):
        self._env = env
        self._model = model
        self._reach, self._kv_cap_bps = reach, kv_cap_bps
        self._wake_s = float("inf")
        self._ends: list[tuple[IntArray, IntArray]] = []
        #: By the number of a group, what is called when it has arrived.
        self._arrived: dict[int, Callable[[], object]] = {}
        #: Every transfer posted; of every post, whose KV it is and how many transfers.
        self._rows, self._posts = PostedRows(), (array("q"), array("q"))

    def carries(self, source: IntArray, target: IntArray) -> bool:
        """Return whether all of some transfers could be carried."""
        return self._reach is None or self._reach.carries(source, target)

    def paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths between pairs of GPUs once and for all, and return their numbers [pairs]."""
        self._ends.append((source, target))
        return self._model.paths(source, target)

    def open_group(self, arrived: Callable[[], object]) -> int:
        """Return the number of a new group of transfers, and call something once it is complete and all have arrived."""
        group = self._model.open_group()
        self._arrived[group] = arrived
        return group

    def send(self, paths: IntArray, size_bytes: IntArray, request: int = NOBODYS) -> simpy.Event:
        """Post transfers now, over paths by number, and return the event of the last one's arrival."""
        done = self._env.event()
        self._post(self.open_group(done.succeed), paths, size_bytes, self._env.now, request, True)
        return done

    def post(
        self, group: int, paths: list[int], size_bytes: list[int], start_s: list[float], request: int, is_last: bool
    ) -> None:  # fmt: skip
        """Post a few transfers of a group, over paths by number.

        Parameters
        ----------
        group : int
            What they are part of.
        paths, size_bytes : list of int [transfers]
            Numbers of their paths, and payload.
        start_s : list of float [transfers]
            When each is posted, ascending.
        request : int
            Whose KV they are, :data:`NOBODYS` of expert traffic.
        is_last : bool
            Whether the group is complete with them.
        """
        if self._model.ahead or start_s[-1] <= self._env.now:
            self._post(group, paths, size_bytes, start_s, request, is_last)
            return
        first = 0
        for end in range(1, len(paths) + 1):
            if end == len(paths) or start_s[end] != start_s[first]:
                rows, last = slice(first, end), is_last and end == len(paths)
                self._env.at(start_s[first], self._post, group, paths[rows], size_bytes[rows], start_s[rows], request, last)
                first = end

    def _post(
        self, group: int, paths: list[int] | IntArray, size_bytes: list[int] | IntArray, start_s: list[float] | float,
        request: int, is_last: bool,
    ) -> None:  # fmt: skip
        rows = self._rows.add(paths, size_bytes, start_s)
        if request == NOBODYS:
            self._model.post(group, *rows, is_last, traffic_class=1)
        elif self._kv_cap_bps is None:
            self._model.post(group, *rows, is_last)
        else:
            self._model.post(group, *rows, is_last, np.full(len(paths), self._kv_cap_bps))
        self._posts[0].append(request)
        self._posts[1].append(len(paths))
        self._plan()

    def posted(self) -> Posted:
        """Return every transfer posted before the present."""
        path, size, start_s = self._rows.columns()
        request = np.repeat(*(np.array(column) for column in self._posts))
        none: IntArray = np.zeros(0, dtype=np.int64)
        source, target = (np.concatenate([none, *(ends[column] for ends in self._ends)]) for column in range(2))
        order = np.argsort(start_s, kind="stable")
        start_s = start_s[order]
        order = order[: int(np.searchsorted(start_s, self._env.now, side="left"))]
        path = path[order]
        flows = FlowTable(source[path], target[path], size[order], start_s[: len(order)])
        return Posted(flows, request[order], order, path, (source, target))

    def _plan(self) -> None:
        """Wake when something may arrive that is waited for, unless a wake-up at or before it is already planned."""
        next_s = self._model.next_group_s()
        if next_s < self._wake_s:
            self._wake_s = next_s
            self._env.at(max(next_s, self._env.now), self._on_wake, next_s)

    def _on_wake(self, wake_s: float) -> None:
        """Run the network on to the next arrival, or to the next moment at which somebody may post something."""
        if wake_s != self._wake_s:
            return
        self._wake_s, now_s = float("inf"), self._env.now
        groups = self._model.advance_groups(now_s, self._env.peek())
        if groups and (arrival_s := self._model.now_s) > now_s:
            self._env.at(arrival_s, self._tell, groups)
        else:
            self._tell(groups)

    def _tell(self, groups: list[int]) -> None:
        """Tell of groups that have arrived now."""
        self._plan()
        for group in groups:
            self._arrived.pop(group)()

    def carried_bytes(self) -> FloatArray:
        """Return what every link has carried up to the present [links]."""
        self._tell(self._model.advance_groups(float(self._env.now)))
        return self._model.link_table().size_bytes.copy()
