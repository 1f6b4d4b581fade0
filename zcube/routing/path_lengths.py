"""Path lengths by graph search on the fabric as built: average, diameter, number of equal paths.

A length counts links, the two NIC links included; a path's switches are its links less one. GPUs do not forward, unless the
family's structure says so (``hosts_forward``: BCube).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zcube.arrays import BoolArray, IntArray, distinct
from zcube.fabric.cages import distinct_rows
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

#: Bits that are looked at together stay in a processor's cache (256 KiB).
_BYTES_AT_ONCE = 1 << 18

_ONES_OF_BYTE = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)
#: How many bits of each byte are set; NumPy counts them itself since 2.0.
_ones: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = getattr(np, "bitwise_count", _ONES_OF_BYTE.take)


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
    first, kind = distinct_rows(nic_switch)
    ports, many = nic_switch[first], np.bincount(kind)
    # Hops from every switch, and in the last row from a port that is down, to the nearest port of every kind of GPU.
    known = np.minimum(distance, _FARTHEST).astype(np.uint16)
    known = np.pad(known, (0, 1), constant_values=_FARTHEST)
    to_kind = known[:, ports[:, 0]]
    for port in range(1, ports.shape[1]):
        np.minimum(to_kind, known[:, ports[:, port]], out=to_kind)
    count, inside = np.zeros(MAX_LINKS, dtype=np.int64), np.zeros(MAX_LINKS, dtype=np.int64)
    found = [hops for hops in distinct(known).tolist() if hops < MAX_LINKS - 2]
    near_by = 0
    for hops in found:
        nearer, near_by = near_by, _pairs_within(to_kind <= hops, ports, many)
        count[hops + 2] = near_by - nearer
    server = np.arange(gpus) // gpus_per_server
    for step in range(1, gpus_per_server):
        near = np.flatnonzero(server[:-step] == server[step:])
        apart = to_kind[nic_switch[near], kind[near + step][:, None]].min(axis=1)
        for hops in found:
            inside[hops + 2] += 2 * np.count_nonzero(apart == hops)
    # A GPU with a port is no hops away from itself, and no pair.
    count[2] -= np.count_nonzero((nic_switch >= 0).any(axis=1))
    return count, inside


def _pairs_within(near: BoolArray, ports: IntArray, many: IntArray) -> int:
    """Return how many ordered pairs of GPUs have two ports that are near.

    Parameters
    ----------
    near : bool array [switches + 1, kinds]
        Whether a GPU of a kind is near a switch; the last row stands for a port that is down.
    ports : int array [kinds, ports]
        Switches of a kind's ports, -1 where one is down.
    many : int array [kinds]
        GPUs of each kind.
    """
    pairs, at_once = 0, max(64, _PAIRS_AT_ONCE // len(near))
    for times in distinct(many).tolist():
        alike = np.flatnonzero(many == times)
        for at in range(0, len(alike), at_once):
            # A row of bits says which of these kinds are near a switch; those of a GPU's switches together, which are near it.
            bits = np.packbits(near[:, alike[at : at + at_once]], axis=1)
            pairs += times * int(many @ _ones_of_rows(bits, ports))
    return pairs


def _ones_of_rows(bits: NDArray[np.uint8], ports: IntArray) -> IntArray:
    """Return how many bits are set in any of the rows of each kind's ports [kinds]."""
    ones = np.empty(len(ports), dtype=np.int64)
    at_once = max(1, _BYTES_AT_ONCE // bits.shape[1])
    for at in range(0, len(ports), at_once):
        some = ports[at : at + at_once]
        either = bits[some[:, 0]]
        for port in range(1, some.shape[1]):
            either |= bits[some[:, port]]
        ones[at : at + at_once] = _ones(either).sum(axis=1, dtype=np.int64)
    return ones


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
    roots = distinct(start)
    paths = _shortest_path_counts(graph.first, graph.neighbour, graph.distance, roots)
    near = nearest_ports(graph.distance, start, goal)
    joining = paths[np.searchsorted(roots, start)[:, :, None], goal[:, None, :]]
    return np.where(near, joining, 0.0).sum(axis=(1, 2)).astype(np.int64)
