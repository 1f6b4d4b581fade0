"""Valiant routing: over a switch drawn by hash, so that any pattern loads a symmetric network like a random one.

Each queue pair goes by a shortest path to a switch other than those of its two NICs, and from there by a shortest path to its
target (Valiant, SIAM J. Computing, 1982; for Dragonfly Kim et al., ISCA 2008; for Slim Fly Besta and Hoefler, SC 2014). The
switch is drawn by the hash of source, target, queue pair and seed, see :mod:`zcube.routing.hashing`; the links of both walks
are then hashed as under ``ecmp``. GPUs of one switch meet there. A switch that failures cut off is replaced by the next one
that is not; where there is none, the shortest path is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.routing.hashing import choices
from zcube.routing.shortest import ShortestPaths, hashed_walks
from zcube.routing.switch_graph import reachable


@dataclass(frozen=True, eq=False)
class ValiantPaths(ShortestPaths):
    """Shortest paths by way of a switch that a hash draws; attributes as there."""

    def _between(self, start: IntArray, goal: IntArray, key: IntArray) -> IntArray:
        middle = self._middle(start, goal, key)
        out, on = (hashed_walks(self.graph, *ends, key) for ends in ((start, middle), (middle, goal)))
        return np.concatenate([out, on], axis=1)

    def _middle(self, start: IntArray, goal: IntArray, key: IntArray) -> IntArray:
        """Return the switch by way of which each walk goes, its start where it goes straight [walks]."""
        switches = self.fabric.switches
        middle = start.copy()
        open_walks = np.flatnonzero(start != goal)
        # No switch has this number, so no choice of a link on the way is made with the same salt.
        salt = np.full(len(open_walks), switches + self.fabric.gpus)
        drawn = choices(key[open_walks], salt, np.full(len(open_walks), switches))
        for step in range(switches):
            if not len(open_walks):
                break
            over = (drawn + step) % switches
            here, there = start[open_walks], goal[open_walks]
            fits = (over != here) & (over != there) & reachable(self.graph, here, over) & reachable(self.graph, over, there)
            middle[open_walks[fits]] = over[fits]
            open_walks, drawn = open_walks[~fits], drawn[~fits]
        return middle
