"""Hashed walks between switches as padded rows, for policies that add hops of their own before and after."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.routing.shortest import UNREACHABLE, SwitchGraph, walk


def hashed_walks(graph: SwitchGraph, start: IntArray, goal: IntArray, key: IntArray) -> IntArray:
    """Return the inter-switch links from each switch to another, chosen among the nearest ways by hash.

    Parameters
    ----------
    graph : SwitchGraph
        Where to walk.
    start, goal : int array [walks]
        Switches, numbered from 0; each goal must be reachable, see :func:`reachable`.
    key : uint64 array [walks]
        Hash keys, see :func:`zcube.routing.hashing.queue_pair_keys`.

    Returns
    -------
    int array [walks, width]
        Directed links in order, -1 after the last.
    """
    farthest = int(graph.distance[start, goal].max(initial=0))
    rows = np.full((len(start), farthest), -1, dtype=np.int64)
    walk(graph.first, graph.link, graph.neighbour, graph.distance, start, goal, key, rows)
    return rows


def reachable(graph: SwitchGraph, start: IntArray, goal: IntArray) -> IntArray:
    """Return whether there is a way between each pair of switches; -1 stands for a NIC port that is down."""
    return np.asarray((start >= 0) & (goal >= 0) & (graph.distance[start, goal] < UNREACHABLE))
