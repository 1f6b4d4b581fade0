"""Paths of pairs of GPUs found once and kept in arrays, so that a transfer over one of them costs no routing."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.alone import alone_bps
from zcube.network.fluid_posting import PathArrays
from zcube.network.fluid_state import grown
from zcube.network.frames import frame_of
from zcube.network.link_set import LinkSet
from zcube.network.protocol import PathSplit
from zcube.routing.routes import Routes, Routing


class PathTable:
    """Paths by number, as they were asked for.

    Attributes
    ----------
    most_subflows, most_hops : int
        Most that a pair has.
    starts_at_once : bool
        Whether messages take no time beside their bytes.
    frame : int array
        The arrays' frame, as kernels take it.

    Parameters
    ----------
    routing : Routing
        Gives a pair the same paths whenever it is asked.
    link_set : LinkSet
        What the paths lead over.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    """

    def __init__(self, routing: Routing, link_set: LinkSet, path_split: PathSplit):
        self._routing, self._link_set, self._pooled = routing, link_set, path_split == "pooled"
        self.starts_at_once = not (link_set.nic_start.size_bytes or link_set.nvlink_start.size_bytes)
        self._pairs = self._subflows = self._hops = 0
        self.most_subflows = self.most_hops = 1
        self._source: IntArray = np.zeros(0, dtype=np.int64)
        self._target: IntArray = np.zeros(0, dtype=np.int64)
        whole: IntArray = np.zeros(1, dtype=np.int64)
        self.arrays = PathArrays(whole, whole.copy(), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
        self.frame = frame_of(self.arrays)

    def add(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths of some pairs and return their numbers [pairs]."""
        routes = self._routing.routes(source, target)
        first, subflow, hop = self._pairs, self._subflows, self._hops
        pairs, subflows, hops = first + routes.flows, subflow + routes.subflows, hop + len(routes.link)
        old = self.arrays
        self._source, self._target = grown(self._source, pairs), grown(self._target, pairs)
        self._source[first:pairs], self._target[first:pairs] = source, target
        self.arrays = new = PathArrays(
            grown(old.first_subflow, pairs + 1),
            grown(old.first_hop, subflows + 1),
            grown(old.link, hops),
            grown(old.share, subflows),
            grown(old.latency_s, pairs),
            grown(old.alone_bps, pairs),
        )
        self.frame = frame_of(new)
        new.first_subflow[first : pairs + 1] = subflow + routes.first_subflow
        new.first_hop[subflow : subflows + 1] = hop + routes.first_hop
        new.link[hop:hops], new.share[subflow:subflows] = routes.link, routes.share
        new.latency_s[first:pairs] = routes.latency_s(self._link_set.latency_s)
        new.alone_bps[first:pairs] = alone_bps(routes, self._link_set.capacity_bps, self._pooled)
        self._pairs, self._subflows, self._hops = pairs, subflows, hops
        self.most_subflows = max(self.most_subflows, int(routes.paths_per_flow.max(initial=0)))
        self.most_hops = max(self.most_hops, int(np.diff(routes.first_hop[routes.first_subflow]).max(initial=0)))
        return np.arange(first, pairs)

    def ends(self, paths: IntArray) -> tuple[IntArray, IntArray]:
        """Return source and target of some pairs by number [pairs]."""
        return self._source[paths], self._target[paths]

    def routes(self, paths: IntArray) -> Routes:
        """Return the paths of some pairs by number."""
        arrays = self.arrays
        table = Routes(
            arrays.first_subflow[: self._pairs + 1],
            arrays.first_hop[: self._subflows + 1],
            arrays.link[: self._hops],
            arrays.share[: self._subflows],
        )
        return table.take(paths)

    def message_start_s(self, paths: IntArray, size_bytes: FloatArray) -> FloatArray:
        """Return what messages over some pairs take beside their bytes [flows]."""
        return self._link_set.message_start_s(self.routes(paths), size_bytes)
