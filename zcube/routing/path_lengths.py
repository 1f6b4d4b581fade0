"""Path lengths by graph search on the fabric as built: average, diameter, number of equal paths.

A length counts links, the two NIC links included; a path's switches are its links less one. GPUs do not forward, unless the
family's structure says so (``hosts_forward``: BCube).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.model import CableKind, Fabric
from zcube.routing.routes import row_starts
from zcube.routing.switch_graph import UNREACHABLE, SwitchGraph, hop_distances, nearest_ports, nic_switches

#: Longer than any shortest path of a fabric worth building; bounds the histogram.
MAX_LINKS = 1024

#: Hops that no path has, for a port that is down.
_FARTHEST = int(UNREACHABLE)

#: Up to so many switches a matrix with all its zeros is multiplied before a library for others is imported.
_DENSE_SWITCHES = 256

#: Pairs that are looked at together (4 million).
_PAIRS_AT_ONCE = 1 << 22


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
        count, inside = _count_over_switches(nic_switches(fabric), SwitchGraph.of(fabric).distance, fabric.gpus_per_server)
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


def _count_over_switches(nic_switch: IntArray, distance: IntArray, gpus_per_server: int) -> tuple[IntArray, IntArray]:
    """Count ordered GPU pairs by path length, all of them and those inside a server."""
    gpus = len(nic_switch)
    # GPUs behind the same switches are alike.
    ports, kind, many = np.unique(nic_switch, axis=0, return_inverse=True, return_counts=True)
    kind = kind.ravel()
    # Hops from every switch, and in the last row from a port that is down, to the nearest port of every kind of GPU.
    known = np.minimum(distance, _FARTHEST).astype(np.uint16)
    known = np.pad(known, (0, 1), constant_values=_FARTHEST)
    to_kind = known[:, ports].min(axis=2)
    if known[known < _FARTHEST].max(initial=0) < 255:
        # Bytes are counted fastest.
        to_kind = np.minimum(to_kind, 255).astype(np.uint8)
    count, inside = np.zeros(MAX_LINKS, dtype=np.int64), np.zeros(MAX_LINKS, dtype=np.int64)
    found = [hops for hops in np.unique(to_kind).tolist() if hops < MAX_LINKS - 2 and hops < np.iinfo(to_kind.dtype).max]
    weights = None if (many == 1).all() else many.astype(float)
    at_once = max(1, _PAIRS_AT_ONCE // len(ports))
    for at in range(0, len(ports), at_once):
        apart = to_kind[ports[at : at + at_once, 0]]
        for port in range(1, ports.shape[1]):
            np.minimum(apart, to_kind[ports[at : at + at_once, port]], out=apart)
        for hops in found:
            if weights is None:
                count[hops + 2] += np.count_nonzero(apart == hops)
            else:
                count[hops + 2] += round(float(weights[at : at + at_once] @ ((apart == hops) @ weights)))
    server = np.arange(gpus) // gpus_per_server
    for step in range(1, gpus_per_server):
        near = np.flatnonzero(server[:-step] == server[step:])
        apart = to_kind[ports[kind[near]], kind[near + step][:, None]].min(axis=1)
        for hops in found:
            inside[hops + 2] += 2 * np.count_nonzero(apart == hops)
    # A GPU with a port is no hops away from itself, and no pair.
    count[2] -= np.count_nonzero((nic_switch >= 0).any(axis=1))
    return count, inside


def _node_rows(fabric: Fabric) -> tuple[IntArray, IntArray]:
    """Return the neighbours of every GPU and switch in compressed rows, NVLink left out."""
    wired = np.repeat((fabric.cables.kind != CableKind.NVLINK) & fabric.cable_up, 2)
    source, target = fabric.link_source[wired], fabric.link_target[wired]
    order = np.argsort(source, kind="stable")
    return row_starts(np.bincount(source, minlength=fabric.gpus + fabric.switches)), target[order].astype(np.int64)


def _count_over_hosts(first: IntArray, neighbour: IntArray, gpus: int, gpus_per_server: int) -> tuple[IntArray, IntArray]:
    """As :func:`_count_over_switches`, where GPUs forward."""
    count, inside = np.zeros(MAX_LINKS, dtype=np.int64), np.zeros(MAX_LINKS, dtype=np.int64)
    at_once = max(1, _PAIRS_AT_ONCE // len(first))
    for at in range(0, gpus, at_once):
        roots = np.arange(at, min(at + at_once, gpus))
        away = hop_distances(first, neighbour, roots)[:gpus]
        near = np.arange(gpus)[:, None] // gpus_per_server == roots // gpus_per_server
        for into, rows in ((count, away), (inside, away[near])):
            into += np.bincount(rows[(rows > 0) & (rows < MAX_LINKS)], minlength=MAX_LINKS)
    return count, inside


def _shortest_path_counts(first: IntArray, neighbour: IntArray, distance: IntArray, roots: IntArray) -> np.ndarray:
    """Return how many shortest paths join some switches with each, parallel links told apart [roots, switches]."""
    switches = len(first) - 1
    onward = _links(np.repeat(np.arange(switches), np.diff(first)), neighbour, switches)
    paths = np.zeros((len(roots), switches))
    at_once = max(1, _PAIRS_AT_ONCE // max(1, switches))
    for at in range(0, len(roots), at_once):
        rows = slice(at, at + at_once)
        away = distance[roots[rows]]
        paths[rows] = away == 0
        for hops in range(1, int(away[away < UNREACHABLE].max(initial=0)) + 1):
            reached = np.where(away == hops - 1, paths[rows], 0.0) @ onward
            paths[rows] += np.where(away == hops, reached, 0.0)
    return paths


def _links(source: IntArray, target: IntArray, switches: int) -> Any:
    """Return how many links lead from each switch to each, as a matrix [switches, switches]."""
    if switches <= _DENSE_SWITCHES:
        return np.bincount(source * switches + target, minlength=switches**2).reshape(switches, switches).astype(float)
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(source)), (source, target)), (switches, switches)).tocsr()


def equal_paths(fabric: Fabric, source: IntArray, target: IntArray) -> IntArray:
    """Return how many shortest paths join each pair of GPUs through switches, ports and parallel links told apart [pairs]."""
    graph, nic_switch = SwitchGraph.of(fabric), nic_switches(fabric)
    start, goal = nic_switch[source], nic_switch[target]
    roots, root = np.unique(start, return_inverse=True)
    paths = _shortest_path_counts(graph.first, graph.neighbour, graph.distance, roots)
    near = nearest_ports(graph.distance, start, goal)
    joining = paths[root.reshape(start.shape)[:, :, None], goal[:, None, :]]
    return np.where(near, joining, 0.0).sum(axis=(1, 2)).astype(np.int64)
