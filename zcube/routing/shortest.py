"""Shortest paths over any switch graph, with equal-cost links chosen by hash.

Policies share the walk. ``ecmp`` gives a transfer a number of queue pairs, each on one path chosen by the hash of its
five-tuple. ``shortest-path`` uses every pair of NIC ports that is nearest, one path each: on ZCube a same-rail or
same-segment pair then has one common switch and one 200G port instead of two paths, which is what its cost is shown with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.routing.hashing import choose, queue_pair_keys
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, uplink
from zcube.routing.switch_graph import OverSwitches, SwitchGraph, nearest_ports


@compiled()
def walk(
    first: IntArray, link: IntArray, neighbour: IntArray, distance: IntArray,
    start: IntArray, goal: IntArray, key: np.ndarray, order: IntArray, hops: IntArray,
) -> None:  # fmt: skip
    """Fill ``hops[i]`` with the inter-switch links from switch ``start[i]`` to ``goal[i]``, hashed at every switch.

    ``order`` has the walks of one goal together: what leads there from a switch is looked up once for all of them.
    """
    leads_to = np.full(len(first) - 1, -1)
    ways = np.zeros(len(first) - 1, dtype=np.int64)
    edges = np.empty(len(link), dtype=np.int64)
    for flow in order:
        here, end = start[flow], goal[flow]
        step = 0
        while here != end:
            if leads_to[here] != end:
                leads_to[here], ways[here] = end, 0
                nearer = distance[here, end] - 1
                for edge in range(first[here], first[here + 1]):
                    if distance[neighbour[edge], end] == nearer:
                        edges[first[here] + ways[here]] = edge
                        ways[here] += 1
            edge = edges[first[here] + choose(key[flow], here, ways[here])]
            hops[flow, step] = link[edge]
            here = neighbour[edge]
            step += 1


def hashed_walks(graph: SwitchGraph, start: IntArray, goal: IntArray, key: IntArray) -> IntArray:
    """Return the inter-switch links from each switch to another, chosen among the nearest ways by hash.

    Parameters
    ----------
    graph : SwitchGraph
        Where to walk.
    start, goal : int array [walks]
        Switches, numbered from 0; each goal must be reachable, see :func:`zcube.routing.switch_graph.reachable`.
    key : uint64 array [walks]
        Hash keys, see :func:`zcube.routing.hashing.queue_pair_keys`.

    Returns
    -------
    int array [walks, width]
        Directed links in order, -1 after the last.
    """
    farthest = int(graph.distance[start, goal].max(initial=0))
    rows = np.full((len(start), farthest), -1, dtype=np.int64)
    order = np.argsort(goal, kind="stable")
    walk(graph.first, graph.link, graph.neighbour, graph.distance, start, goal, key, order, rows)
    return rows


@dataclass(frozen=True, eq=False)
class ShortestPaths(OverSwitches):
    """Shortest paths with hashed choice among equals; GPUs of one server use NVLink.

    Attributes
    ----------
    name : str
        ``"ecmp"`` or ``"shortest-path"``.
    queue_pairs : int
        Queue pairs per transfer; for ``shortest-path``, per nearest pair of NIC ports.
    all_ports : bool
        True: every nearest pair of NIC ports carries subflows. False: each queue pair hashes to one of them.
    seed : int
        Seed of the UDP source ports.
    """

    name: str
    queue_pairs: int
    all_ports: bool
    seed: int

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return the paths of each pair."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        near = self.nearest_ports(source, target)
        flow, source_port, target_port, key = self._subflows(source, target, near, local)
        hops = self._hops(source[flow], target[flow], source_port, target_port, key, local[flow])
        return assemble(np.bincount(flow, minlength=len(source)), hops)

    def nearest_ports(self, source: IntArray, target: IntArray) -> IntArray:
        """Return which port pairs are nearest, none where there is no way [flows, source ports, target ports]."""
        return nearest_ports(self.graph.distance, self.nic_switch[source], self.nic_switch[target])

    def _subflows(
        self, source: IntArray, target: IntArray, near: IntArray, local: IntArray
    ) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Return flow, source port, target port and hash key of every subflow, in flow order."""
        keys = queue_pair_keys(source, target, self.queue_pairs, self.seed)
        if self.all_ports:
            near = near.copy()
            near[local] = False
            near[local, 0, 0] = True
            flow, source_port, target_port = np.nonzero(near)
            rows = np.repeat(np.arange(len(flow)), np.where(local[flow], 1, self.queue_pairs))
            flow, source_port, target_port = flow[rows], source_port[rows], target_port[rows]
        else:
            routed = near.any(axis=(1, 2))
            flow = np.repeat(np.arange(len(source)), np.where(local, 1, np.where(routed, self.queue_pairs, 0)))
            source_port, target_port = np.zeros_like(flow), np.zeros_like(flow)
        first = np.searchsorted(flow, np.arange(len(source)))
        queue_pair = (np.arange(len(flow)) - first[flow]) % self.queue_pairs
        key = keys[flow * self.queue_pairs + queue_pair]
        if not self.all_ports:
            options = near.reshape(len(near), near.shape[1] * near.shape[2])
            pick = ((key >> np.uint64(40)).astype(np.int64) * options.sum(axis=1)[flow]) >> 24
            chosen = np.argmax(np.cumsum(options, axis=1)[flow] > pick[:, None], axis=1)
            source_port, target_port = np.divmod(chosen, near.shape[2])
        return flow, source_port, target_port, key

    def _hops(
        self,
        source: IntArray,
        target: IntArray,
        source_port: IntArray,
        target_port: IntArray,
        key: IntArray,
        local: IntArray,
    ) -> IntArray:
        """Return padded hop rows, NIC links included [subflows, width]."""
        away = np.flatnonzero(~local)
        start = self.nic_switch[source[away], source_port[away]]
        goal = self.nic_switch[target[away], target_port[away]]
        inner = self._between(start, goal, key[away])
        rows = np.full((len(source), inner.shape[1] + 2), -1, dtype=np.int64)
        rows[away, 0] = uplink(self.fabric, source[away], source_port[away])
        rows[away, 1:-1] = inner
        rows[away, -1] = downlink(self.fabric, target[away], target_port[away])
        rows[local, :2] = nvlink_hops(self.fabric, source[local], target[local])
        return rows

    def _between(self, start: IntArray, goal: IntArray, key: IntArray) -> IntArray:
        """Return the links from each switch to another as padded rows [walks, width]."""
        return hashed_walks(self.graph, start, goal, key)
