"""The switches of a fabric as a graph: links that are up, and how far apart switches are. Whole arrays, nothing to compile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.model import CableKind, Fabric
from zcube.memory import check_memory
from zcube.routing.routes import row_starts

UNREACHABLE = np.int16(32767)

#: Words of 64 switches that one step of a search takes at once (32 MB).
_WORDS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class SwitchGraph:
    """Inter-switch links that are up, in compressed rows, and hop distances between switches.

    Attributes
    ----------
    first : int array [switches + 1]
        Switch ``u`` sends on ``link[first[u] .. first[u + 1]]``.
    link, neighbour : int array [links]
        Directed link and the switch it leads to.
    distance : int array [switches, switches]
        Hops between switches, :data:`UNREACHABLE` where there is no way.
    """

    first: IntArray
    link: IntArray
    neighbour: IntArray
    distance: IntArray

    @staticmethod
    def of(fabric: Fabric) -> SwitchGraph:
        """Return the switch graph of a fabric.

        Raises
        ------
        InputError
            If distances between so many switches do not fit in memory.
        """
        check_memory(2.0 * fabric.switches**2, None, f"hop distances between the {fabric.switches} switches of {fabric.name}")
        trunk = np.flatnonzero(np.repeat((fabric.cables.kind == CableKind.SWITCH) & fabric.cable_up, 2))
        source = fabric.link_source[trunk] - fabric.gpus
        order = np.lexsort((trunk, source))
        link = trunk[order]
        first = row_starts(np.bincount(source, minlength=fabric.switches))
        neighbour = (fabric.link_target[link] - fabric.gpus).astype(np.int64)
        return SwitchGraph(first, link, neighbour, hop_distances(first, neighbour))


@dataclass(frozen=True, eq=False)
class OverSwitches:
    """A fabric in which a policy seeks paths from switch to switch; what it needs of them is found when it first asks.

    Attributes
    ----------
    fabric : Fabric
        What is routed.
    """

    fabric: Fabric

    @cached_property
    def graph(self) -> SwitchGraph:
        """The fabric's switch graph."""
        return SwitchGraph.of(self.fabric)

    @cached_property
    def nic_switch(self) -> IntArray:
        """Switch behind each NIC port, numbered from 0, -1 where the port is down [gpus, ports]."""
        return nic_switches(self.fabric)


def hop_distances(first: IntArray, neighbour: IntArray, roots: IntArray | None = None) -> IntArray:
    """Return hops between every node of a graph and some [nodes, roots], searched breadth first from all of these at once.

    Of every node a row of bits says which roots are so many hops away or fewer; one hop more adds those of its neighbours.

    Parameters
    ----------
    first, neighbour : int array
        Neighbours of each node in compressed rows; who is whose neighbour is mutual.
    roots : int array, optional
        Nodes; default: all.

    Returns
    -------
    int16 array [nodes, roots]
        Hops, :data:`UNREACHABLE` where there is no way.
    """
    nodes = len(first) - 1
    roots = np.arange(nodes) if roots is None else roots
    words = -(-len(roots) // 64)
    distance = np.full((nodes, len(roots)), UNREACHABLE, dtype=np.int16)
    distance[roots, np.arange(len(roots))] = 0
    bits = np.zeros((nodes, 64 * words), dtype=bool)
    bits[:, : len(roots)] = distance == 0
    seen = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    joined = np.flatnonzero(np.diff(first))
    at_once = max(1, _WORDS_AT_ONCE // max(1, words * int(np.diff(first).max(initial=0))))
    hops, grows = 0, len(joined) > 0
    while grows:
        hops += 1
        further = seen.copy()
        for at in range(0, len(joined), at_once):
            some = joined[at : at + at_once]
            edges = slice(first[some[0]], first[some[-1] + 1])
            further[some] |= np.bitwise_or.reduceat(seen[neighbour[edges]], first[some] - first[some[0]], axis=0)
        fresh = np.unpackbits((further & ~seen).view(np.uint8), axis=1, count=len(roots), bitorder="little").view(bool)
        distance[fresh] = hops
        seen, grows = further, bool(fresh.any())
    return distance


def nic_switches(fabric: Fabric) -> IntArray:
    """Return the switch behind each NIC port, numbered from 0, -1 where the port is down [gpus, ports]."""
    switch = (fabric.cables.b[fabric.nic_cable] - fabric.gpus).astype(np.int64)
    return np.where(fabric.cable_up[fabric.nic_cable], switch, -1)


def nearest_ports(distance: IntArray, start: IntArray, goal: IntArray) -> IntArray:
    """Return which port pairs are nearest, none where there is no way [flows, source ports, target ports].

    Parameters
    ----------
    distance : int array [switches, switches]
        Hops.
    start, goal : int array [flows, ports]
        Switches behind the NIC ports of each flow's two GPUs, -1 where a port is down.
    """
    start, goal = start[:, :, None], goal[:, None, :]
    apart = np.where((start < 0) | (goal < 0), UNREACHABLE, distance[start, goal])
    nearest = apart.min(axis=(1, 2), initial=UNREACHABLE)
    return np.asarray((apart == nearest[:, None, None]) & (apart < UNREACHABLE))


def reachable(graph: SwitchGraph, start: IntArray, goal: IntArray) -> IntArray:
    """Return whether there is a way between each pair of switches; -1 stands for a NIC port that is down."""
    return np.asarray((start >= 0) & (goal >= 0) & (graph.distance[start, goal] < UNREACHABLE))
