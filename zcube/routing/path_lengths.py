"""Path lengths by graph search on the fabric as built: average, diameter, number of equal paths.

A length counts links, the two NIC links included; a path's switches are its links less one. GPUs do not forward, unless the
family's structure says so (``hosts_forward``: BCube).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.routes import row_starts
from zcube.routing.shortest import ShortestPaths

#: Longer than any shortest path of a fabric worth building; bounds the histogram.
MAX_LINKS = 1024


@dataclass(frozen=True)
class PathLengths:
    """Shortest paths over ordered pairs of distinct GPUs.

    Attributes
    ----------
    mean_links : float
        Average path length; nan if no pair is joined.
    mean_links_with_nvlink : float
        The same with pairs of one server counted as one link.
    diameter_switches : int
        Switches on the longest shortest path.
    pairs_by_links : dict
        Ordered pairs by length.
    unreachable_pairs : int
        Ordered pairs without a path.
    """

    mean_links: float
    mean_links_with_nvlink: float
    diameter_switches: int
    pairs_by_links: dict[int, int]
    unreachable_pairs: int


def path_lengths(fabric: Fabric) -> PathLengths:
    """Search the fabric, failures left out, and return the lengths of all shortest paths."""
    if fabric.structure.hosts_forward:
        count, inside = _count_over_hosts(*_node_rows(fabric), fabric.gpus, fabric.gpus_per_server)
    else:
        walker = ShortestPaths(fabric, "shortest-path", queue_pairs=1, all_ports=True, seed=0)
        count, inside = _count_over_switches(walker.nic_switch, walker.graph.distance, fabric.gpus_per_server)
    lengths = np.arange(len(count))
    joined = int(count.sum())
    total, saved = int((count * lengths).sum()), int((inside * (lengths - 1)).sum())
    return PathLengths(
        mean_links=total / joined if joined else float("nan"),
        mean_links_with_nvlink=(total - saved) / joined if joined else float("nan"),
        diameter_switches=int(lengths[count > 0].max(initial=1)) - 1,
        pairs_by_links={int(length): int(count[length]) for length in lengths[count > 0]},
        unreachable_pairs=fabric.gpus * (fabric.gpus - 1) - joined,
    )


@compiled()
def _count_over_switches(nic_switch: IntArray, distance: IntArray, gpus_per_server: int) -> tuple[IntArray, IntArray]:
    """Count ordered GPU pairs by path length, all of them and those inside a server."""
    gpus, ports = nic_switch.shape
    count, inside = np.zeros(MAX_LINKS, dtype=np.int64), np.zeros(MAX_LINKS, dtype=np.int64)
    for source in range(gpus):
        for target in range(source + 1, gpus):
            nearest = 32767
            for port in range(ports):
                here = nic_switch[source, port]
                if here < 0:
                    continue
                for other in range(ports):
                    there = nic_switch[target, other]
                    if there >= 0 and distance[here, there] < nearest:
                        nearest = distance[here, there]
            if nearest < MAX_LINKS - 2:
                count[nearest + 2] += 2
                if source // gpus_per_server == target // gpus_per_server:
                    inside[nearest + 2] += 2
    return count, inside


def _node_rows(fabric: Fabric) -> tuple[IntArray, IntArray]:
    """Return the neighbours of every GPU and switch in compressed rows, NVLink left out."""
    wired = np.repeat((fabric.cables.kind != CableKind.NVLINK) & fabric.cable_up, 2)
    source, target = fabric.link_source[wired], fabric.link_target[wired]
    order = np.argsort(source, kind="stable")
    return row_starts(np.bincount(source, minlength=fabric.gpus + fabric.switches)), target[order].astype(np.int64)


@compiled()
def _count_over_hosts(first: IntArray, neighbour: IntArray, gpus: int, gpus_per_server: int) -> tuple[IntArray, IntArray]:
    """As :func:`_count_over_switches`, where GPUs forward: one breadth-first search per GPU."""
    nodes = len(first) - 1
    count, inside = np.zeros(MAX_LINKS, dtype=np.int64), np.zeros(MAX_LINKS, dtype=np.int64)
    away, queue = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    for source in range(gpus):
        away[:] = -1
        away[source] = 0
        queue[0] = source
        head, tail = 0, 1
        while head < tail:
            here = queue[head]
            head += 1
            if here < gpus and here != source and away[here] < MAX_LINKS:
                count[away[here]] += 1
                if here // gpus_per_server == source // gpus_per_server:
                    inside[away[here]] += 1
            for edge in range(first[here], first[here + 1]):
                there = neighbour[edge]
                if away[there] < 0:
                    away[there] = away[here] + 1
                    queue[tail] = there
                    tail += 1
    return count, inside


@compiled()
def _shortest_path_counts(first: IntArray, neighbour: IntArray, distance: IntArray) -> np.ndarray:
    """Return how many shortest paths join each two switches, parallel links told apart [switches, switches]."""
    switches = len(first) - 1
    paths = np.zeros((switches, switches))
    for root in range(switches):
        order = np.argsort(distance[root])
        paths[root, root] = 1.0
        for here in order:
            if distance[root, here] == 32767:
                break
            for edge in range(first[here], first[here + 1]):
                if distance[root, neighbour[edge]] == distance[root, here] + 1:
                    paths[root, neighbour[edge]] += paths[root, here]
    return paths


def equal_paths(fabric: Fabric, source: IntArray, target: IntArray) -> IntArray:
    """Return how many shortest paths join each pair of GPUs through switches, ports and parallel links told apart [pairs]."""
    walker = ShortestPaths(fabric, "shortest-path", queue_pairs=1, all_ports=True, seed=0)
    graph = walker.graph
    paths = _shortest_path_counts(graph.first, graph.neighbour, graph.distance)
    near = walker.nearest_ports(source, target)
    start, goal = walker.nic_switch[source][:, :, None], walker.nic_switch[target][:, None, :]
    return np.where(near, paths[start, goal], 0.0).sum(axis=(1, 2)).astype(np.int64)
