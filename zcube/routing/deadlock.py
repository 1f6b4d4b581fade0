"""Deadlock under lossless back-pressure: cycles among the channel dependencies of a routing.

A channel is a directed link; channel u depends on v when some path crosses u and then v. A routing cannot deadlock if this
relation has no cycle (Dally and Seitz, IEEE Transactions on Computers, 1987).
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zcube.arrays import IntArray, distinct
from zcube.fabric.model import Fabric
from zcube.routing.routes import Routes, Routing

#: Ordered pairs routed at once.
BLOCK = 500_000
#: Links from which a short ring is searched as a witness.
STARTS = 64


@dataclass(frozen=True)
class Dependencies:
    """Channel dependencies of a routing.

    Attributes
    ----------
    channels : int
        Links that carry a path.
    dependencies : int
        Pairs of links that follow each other on a path.
    cycle : tuple of int
        Links that depend on each other in a ring; empty if there is no cycle.
    """

    channels: int
    dependencies: int
    cycle: tuple[int, ...]


def dependencies_of(fabric: Fabric, routing: Routing, source: IntArray, target: IntArray) -> Dependencies:
    """Return the channel dependencies that the paths of given pairs make."""
    links = fabric.links
    found = np.zeros(0, dtype=np.int64)
    for begin in range(0, len(source), BLOCK):
        routes = routing.routes(source[begin : begin + BLOCK], target[begin : begin + BLOCK])
        found = np.union1d(found, _follow(routes, links))
    before, after = np.divmod(found, links)
    return Dependencies(len(np.union1d(before, after)), len(found), _cycle(before, after, links))


def _follow(routes: Routes, links: int) -> IntArray:
    """Return which link follows which on a path, as one number each, without repetition."""
    at = routes.followed
    return distinct(routes.link[at] * links + routes.link[at + 1])


def _cycle(before: IntArray, after: IntArray, links: int) -> tuple[int, ...]:
    relation = coo_array((np.ones(len(before), dtype=np.int8), (before, after)), shape=(links, links))
    _, component = connected_components(relation, connection="strong")
    inside = component[before] == component[after]
    if not inside.any():
        return ()
    ring = component[before[inside][0]]
    members = inside & (component[before] == ring)
    graph = nx.DiGraph(zip(before[members].tolist(), after[members].tolist(), strict=True))
    return min((_ring_through(graph, int(link)) for link in sorted(graph)[:STARTS]), key=lambda ring: len(ring))


def _ring_through(graph: nx.DiGraph, link: int) -> tuple[int, ...]:
    """Return a shortest ring through a link of a strongly connected graph."""
    paths: dict[int, list[int]] = nx.single_source_shortest_path(graph, link)
    shortest: list[int] = min((paths[last] for last in graph.predecessors(link)), key=len)
    return tuple(shortest)
