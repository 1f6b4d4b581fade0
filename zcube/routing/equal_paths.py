"""Every shortest path of a pair, each once: what packets that are sprayed or steered by queue depth have to choose among.

Between the switches of its NIC ports that are nearest, a pair has as many shortest paths as there are walks that come nearer
with every link, parallel links counted each. They are numbered as they branch, so that paths which begin alike follow each
other. A pair with more than ``most_paths`` gets so many of them, evenly apart in that order from a place that the hash of
(source, target) gives: they then spread over the first links alike.

Paths are listed from a place that this hash gives, each about 0.618 of their number after the one before: packets that take
them in turn then part at the first switch, and those of different pairs do not go in step.

GPUs of one server use NVLink; in a fabric of independent rails a transfer first goes to the local GPU of the target's rail, as
under ``pxn``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.fabric.families.planes import PlanesStructure
from zcube.routing.hashing import queue_pair_keys
from zcube.routing.pxn import PxnPaths
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, row_starts, uplink
from zcube.routing.switch_graph import OverSwitches, nearest_ports

#: Paths listed of a pair, unless said otherwise.
DEFAULT_MOST_PATHS = 256
#: Part of a pair's paths from one that is listed to the next: multiples of it keep apart.
GOLDEN = (5**0.5 - 1) / 2
#: Bits of the hash that say which path is the first.
LOW = np.uint64((1 << 20) - 1)
#: More paths than this between two switches count as so many.
MANY = 1 << 40


@compiled()
def _ways_to(
    first: IntArray, neighbour: IntArray, distance: IntArray, start: IntArray, end: int, walks: IntArray
) -> IntArray:  # fmt: skip
    """Return how many shortest paths lead to a switch from each that lies on one from ``start`` of some walks [switches]."""
    ways = np.zeros(len(first) - 1, dtype=np.int64)
    ways[end] = 1
    stack = np.empty(len(first), dtype=np.int64)
    for walk in walks:
        stack[0], top = start[walk], 1
        while top > 0:
            here = stack[top - 1]
            total, missing = 0, -1
            if ways[here] == 0:
                for edge in range(first[here], first[here + 1]):
                    after = neighbour[edge]
                    if distance[after, end] == distance[here, end] - 1:
                        total = min(total + ways[after], MANY)
                        if ways[after] == 0:
                            missing = after
                            break
            if missing >= 0:
                stack[top] = missing
                top += 1
            else:
                ways[here] = max(ways[here], total)
                top -= 1
    return ways


@compiled()
def list_paths(
    first: IntArray, link: IntArray, neighbour: IntArray, distance: IntArray, start: IntArray, goal: IntArray,
    number: IntArray, order: IntArray, hops: IntArray,
) -> IntArray:  # fmt: skip
    """Fill ``hops[i]`` with the links of a shortest path from ``start[i]`` to ``goal[i]``, and return how many there are.

    Parameters
    ----------
    first, link, neighbour, distance : int array
        The switch graph.
    start, goal : int array [walks]
        Switches; each goal can be reached.
    number : int array [walks]
        Which of the paths, as they branch.
    order : int array [walks]
        The walks of one goal together.
    hops : int array [walks, width]
        Filled in place; of no width where the number alone is asked for.

    Returns
    -------
    int array [walks]
        Paths from start to goal, :data:`MANY` at most.
    """
    found = np.empty(len(start), dtype=np.int64)
    at = 0
    while at < len(order):
        end, until = goal[order[at]], at + 1
        while until < len(order) and goal[order[until]] == end:
            until += 1
        ways = _ways_to(first, neighbour, distance, start, end, order[at:until])
        for walk in order[at:until]:
            here, left, step = start[walk], number[walk], 0
            found[walk] = ways[here]
            while hops.shape[1] > 0 and here != end:
                for edge in range(first[here], first[here + 1]):
                    after = neighbour[edge]
                    if distance[after, end] == distance[here, end] - 1:
                        if left < ways[after]:
                            hops[walk, step] = link[edge]
                            here = after
                            step += 1
                            break
                        left -= ways[after]
        at = until
    return found


@dataclass(frozen=True, eq=False)
class EqualPaths(OverSwitches):
    """All shortest paths of a pair, or as many as there may be.

    Attributes
    ----------
    most_paths : int
        Paths of a pair at most.
    seed : int
        Seed of the hash that says which paths of more are listed.
    """

    most_paths: int = DEFAULT_MOST_PATHS
    seed: int = 0
    name: str = "equal-paths"

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return the paths of each pair, one over NVLink inside a server."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        sender, receiver = self._relays(source, target)
        near = nearest_ports(self.graph.distance, self.nic_switch[sender], self.nic_switch[receiver])
        near[local | (sender < 0)] = False
        flow, out, into = np.nonzero(near)
        start, goal = self.nic_switch[sender[flow], out], self.nic_switch[receiver[flow], into]
        chosen, number = self._listed(flow, self._walks(start, goal), source, target)
        flow, out, into = flow[chosen], out[chosen], into[chosen]
        inner = self._walks(start[chosen], goal[chosen], number)
        send, receive = sender[flow], receiver[flow]
        before = np.where((send != source[flow])[:, None], nvlink_hops(fabric, source[flow], send), -1)
        after = np.where((receive != target[flow])[:, None], nvlink_hops(fabric, receive, target[flow]), -1)
        up, down = uplink(fabric, send, out)[:, None], downlink(fabric, receive, into)[:, None]
        rows = np.concatenate([before, up, inner, down, after], axis=1)
        inside = np.flatnonzero(local)
        everything = np.full((len(rows) + len(inside), rows.shape[1]), -1, dtype=np.int64)
        owner = np.concatenate([flow, inside])
        everything[: len(rows)] = rows
        everything[len(rows) :, :2] = nvlink_hops(fabric, source[inside], target[inside])
        return assemble(np.bincount(owner, minlength=len(source)), everything[np.argsort(owner, kind="stable")])

    def _relays(self, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
        """Return the GPUs whose NICs send and receive for each pair; -1 without a way between independent rails [flows]."""
        structure = self.fabric.structure
        if isinstance(structure, PlanesStructure) and structure.ports_per_gpu == 1:
            return PxnPaths(self.fabric).relays(source, target)
        return source, target

    def _walks(self, start: IntArray, goal: IntArray, number: IntArray | None = None) -> IntArray:
        """Return the links of numbered paths between switches [walks, width], or how many there are [walks]."""
        graph = self.graph
        width = 0 if number is None else int(graph.distance[start, goal].max(initial=0))
        rows = np.full((len(start), width), -1, dtype=np.int64)
        wanted = np.zeros(len(start), dtype=np.int64) if number is None else number
        order = np.argsort(goal, kind="stable")
        found = list_paths(graph.first, graph.link, graph.neighbour, graph.distance, start, goal, wanted, order, rows)
        return found if number is None else rows

    def _listed(self, flow: IntArray, ways: IntArray, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
        """Return the pair of ports and the number between its switches of every path listed, in order of the flows.

        Parameters
        ----------
        flow, ways : int array [pairs of ports]
            Whose they are, ascending, and how many paths each has.
        source, target : int array [flows]
            GPUs.
        """
        first = row_starts(np.bincount(flow, minlength=len(source)))
        before = np.concatenate([[0], np.cumsum(ways)])
        total = before[first[1:]] - before[first[:-1]]
        count = np.minimum(total, self.most_paths)
        owner = np.repeat(np.arange(len(source)), count)
        hashed = queue_pair_keys(source, target, 1, self.seed)
        rank = np.arange(len(owner)) - row_starts(count)[owner]
        rank = ((hashed & LOW).astype(np.int64)[owner] + rank * _strides(count)[owner]) % count[owner]
        # The distance between two listed paths is total / count; all are listed where that is 1.
        key = (hashed >> np.uint64(24)).astype(np.float64) / 2.0**40
        apart, shift = total / np.maximum(count, 1), np.where(total > count, key, 0.0)
        place = np.floor((rank + shift[owner]) * apart[owner]).astype(np.int64)
        place = np.minimum(place, total[owner] - 1) + before[first[:-1]][owner]
        chosen = np.searchsorted(before, place, side="right") - 1
        return chosen, place - before[chosen]


def _strides(count: IntArray) -> IntArray:
    """Return, of each number of paths, the number nearest above its golden section that shares no factor with it [flows]."""
    found = {int(paths): 1 for paths in np.unique(count)}
    for paths in found:
        stride = max(1, round(paths * GOLDEN))
        while gcd(stride, paths) > 1:
            stride += 1
        found[paths] = stride
    return np.array([found[int(paths)] for paths in count.tolist()], dtype=np.int64)
