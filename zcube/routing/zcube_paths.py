"""ZCube's two link-disjoint paths per pair of GPUs, and what is left of them after failures.

For GPU x on switches A[a] (its segment) and B[b] (its rail), a pair (a, b) -> (c, d) uses

* P1: source port 0 -> A[a] -> B[d] -> destination port 1
* P2: source port 1 -> B[b] -> A[c] -> destination port 0

Source: Z.ai's article of 2026-05-21 draws one path per source port, each arriving at the destination's other port; the tables
are unpublished, the rule above is inferred from the drawing.

Where a switch pair has T parallel links, the member is that of the GPU whose rail fixes the B switch: ``(GPU // m) mod T``,
where GPU is the destination on P1 and the source on P2. The T GPUs of a segment on one rail then use one member each. So over a
uniform all-to-all every member carries the same number of pairs, whether or not pairs inside a server are left out (for that,
segments must be whole servers). A member that is down is replaced by the next one that is up. Under ``zcube-all-links`` both
paths are there over every member that is up, for packets that are sprayed or steered by queue depth.

After failures (inferred, as above): a pair that has lost one path uses the other. One that has lost both takes a detour over
three switches, B[b] -> A[x] -> B[d] by both ports 1, with x the first from (source + destination) on that works; failing
that the mirror image A[a] -> B[y] -> A[c] by both ports 0; failing that any shortest path. Detours of one kind leave the
network free of deadlock under lossless back-pressure, both kinds together can close a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from zcube.arrays import BoolArray, IntArray
from zcube.fabric.families.zcube import ZCubeStructure
from zcube.fabric.model import Fabric
from zcube.routing.policy import needed_structure
from zcube.routing.routes import Routes, Routing, assemble, check_pairs, downlink, merged, nvlink_hops, uplink

#: A detour crosses four links: out of the NIC, to the switch of the other group, back, into the NIC.
WIDTH = 4


@dataclass(frozen=True)
class ZCubePaths:
    """Routing of a two-port ZCube over P1 and P2; GPUs of one server use NVLink.

    Attributes
    ----------
    fabric : Fabric
        A fabric of family ``zcube``.
    last_resort : Routing
        Routes pairs that neither P1, P2 nor a detour joins.
    name : str
        ``"zcube-paths"``, ``"zcube-detours"`` or ``"zcube-all-links"``.
    extra_detours : bool
        Use a detour of each kind beside P1 and P2, to show what that does.
    every_member : bool
        List P1 and P2 over every parallel link.
    """

    fabric: Fabric
    last_resort: Routing
    name: str = field(default="zcube-paths")
    extra_detours: bool = False
    every_member: bool = False

    @cached_property
    def _structure(self) -> ZCubeStructure:
        return needed_structure(self.fabric, ZCubeStructure, self.name)

    @cached_property
    def _segment(self) -> IntArray:
        """A switch of each GPU, counted from 0."""
        return (self.fabric.cables.b[self.fabric.nic_cable[:, 0]] - self.fabric.gpus).astype(np.int64)

    @cached_property
    def _rail(self) -> IntArray:
        """B switch of each GPU, counted from 0."""
        return self.fabric.cables.b[self.fabric.nic_cable[:, 1]] - self.fabric.gpus - self._segments

    @cached_property
    def _all_up(self) -> bool:
        return bool(self.fabric.cable_up.all())

    @property
    def _segments(self) -> int:
        return self._structure.segments

    @property
    def _rails(self) -> int:
        return self._structure.group_switches

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return two subflows per pair, one over NVLink inside a server; fewer, or detours, after failures."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        members = self._structure.parallel_links if self.every_member else 1
        candidates = 2 * members + 2 * self.extra_detours
        rows = np.full((len(source), candidates, WIDTH), -1, dtype=np.int64)
        for column in range(2 * members):
            # By turns over the ports, so that a queue pair of both, which sends in turn, lets none idle while it waits.
            self._path(rows[:, column], source, target, column % 2, column // 2)
        if not self._all_up:
            rows[~self._works(rows)] = -1
        rows[local] = -1
        lost = ~(rows[:, :, 0] >= 0).any(axis=1) & ~local
        for column, port in ((candidates - 2, 1), (candidates - 1, 0)):
            wanted = np.flatnonzero(~local if self.extra_detours else lost)
            if len(wanted):
                rows[wanted, column] = self._detour(source[wanted], target[wanted], port)
                lost[wanted] &= rows[wanted, column, 0] < 0
        rows[local, 0, :2] = nvlink_hops(fabric, source[local], target[local])
        used = rows[:, :, 0] >= 0
        routes = assemble(used.sum(axis=1), rows[used])
        if not lost.any():
            return routes
        return merged(routes, np.flatnonzero(lost), self.last_resort.routes(source[lost], target[lost]))

    def _path(self, rows: IntArray, source: IntArray, target: IntArray, port: int, further: int) -> None:
        """Write P1 (port 0) or P2 (port 1) of each pair, so many members on, up or not, into rows [pairs, 3 or more]."""
        on_a, on_b = (source, target) if port == 0 else (target, source)
        trunk = self._trunk(self._segment[on_a], self._rail[on_b], on_b // self._rails + further)
        rows[:, 0], rows[:, 1] = uplink(self.fabric, source, port), 2 * trunk + port
        rows[:, 2] = downlink(self.fabric, target, 1 - port)

    def _trunk(self, a: IntArray, b: IntArray, wanted: IntArray) -> IntArray:
        """Return the cable from A[a] to B[b]: the wanted member of the parallel ones, or the next that is up."""
        parallel, up = self._structure.parallel_links, self.fabric.cable_up
        first = self.fabric.nic_ports * self.fabric.gpus + (a * self._rails + b) * parallel
        trunk = first + wanted % parallel
        # Where every member is listed, none takes another's place.
        for step in range(1, 1 if self.every_member or self._all_up else parallel):
            down = ~up[trunk]
            if not down.any():
                break
            trunk = np.where(down, first + (wanted + step) % parallel, trunk)
        return trunk

    def _works(self, rows: IntArray) -> BoolArray:
        """Return which paths have links, all of them up [..., paths]."""
        up = np.where(rows >= 0, self.fabric.cable_up[rows // 2], True)
        return np.asarray(up.all(axis=-1) & (rows[..., 0] >= 0))

    def _detour(self, source: IntArray, target: IntArray, port: int) -> IntArray:
        """Return a path that leaves and arrives by one port, over one switch or three; -1 where there is none [pairs, 4]."""
        own, others = (self._rail, self._segments) if port else (self._segment, self._rails)
        here, there = own[source], own[target]
        found = np.full((len(source), WIDTH), -1, dtype=np.int64)
        open_pairs = np.arange(len(source))
        for step in range(others):
            if not len(open_pairs):
                break
            over = (source[open_pairs] + target[open_pairs] + step) % others
            rows = self._over(source[open_pairs], target[open_pairs], here[open_pairs], there[open_pairs], over, port)
            works = self._works(rows)
            found[open_pairs[works]] = rows[works]
            open_pairs = open_pairs[~works]
        return found

    def _over(
        self, source: IntArray, target: IntArray, here: IntArray, there: IntArray, over: IntArray, port: int
    ) -> IntArray:  # fmt: skip
        """Return paths by one port over a given switch of the other group; straight where both ends share a switch."""
        if port:
            out, back = self._trunk(over, here, source // self._rails), self._trunk(over, there, target // self._rails)
        else:
            out, back = self._trunk(here, over, target // self._rails), self._trunk(there, over, source // self._rails)
        up, down = uplink(self.fabric, source, port), downlink(self.fabric, target, port)
        none = np.full_like(up, -1)
        straight = np.stack([up, down, none, none], axis=1)
        around = np.stack([up, 2 * out + port, 2 * back + 1 - port, down], axis=1)
        return np.where((here == there)[:, None], straight, around)
