"""BCube's paths: over the common switch where there is one, else two link-disjoint ones, each over a GPU that forwards.

A pair (a, b) -> (c, d) without a common switch uses

* level 0 to the relay (a, d), then level 1 to (c, d);
* level 1 to the relay (c, b), then level 0 to (c, d).

Where failures leave none of these, the first whole path over three switches and two relays is taken, as in BCube's source
routing (SIGCOMM 2009): levels 0, 1, 0 over (a, x) and (c, x), or levels 1, 0, 1 over (y, b) and (y, d).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.families.bcube import BCubeStructure
from zcube.fabric.model import Fabric
from zcube.routing.policy import needed_structure
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, uplink


@dataclass(frozen=True)
class BCubePaths:
    """Routing of BCube(n,2); GPUs of one server use NVLink."""

    fabric: Fabric
    name: str = "bcube-paths"

    def __post_init__(self) -> None:
        needed_structure(self.fabric, BCubeStructure, self.name)

    @property
    def _n(self) -> int:
        return needed_structure(self.fabric, BCubeStructure, self.name).n

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one or two subflows per pair, none without a way."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        rows = np.full((len(source), 2, 6), -1, dtype=np.int64)
        local = fabric.server_of(source) == fabric.server_of(target)
        rows[local, 0, :2] = nvlink_hops(fabric, source[local], target[local])
        away = np.flatnonzero(~local)
        rows[away] = self._paths(source[away], target[away])
        lost = away[rows[away, :, 0].max(axis=1, initial=-1) < 0]
        for detour in self._detours(source[lost], target[lost]):
            free = rows[lost, 0, 0] < 0
            rows[lost[free], 0] = detour[free]
            if not np.any(rows[lost, 0, 0] < 0):
                break
        used = rows[:, :, 0] >= 0
        return assemble(used.sum(axis=1), rows.reshape(-1, 6)[used.ravel()])

    def _paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Return the direct path or the two over one relay, -1 where cut or not there [flows, 2, 6]."""
        n = self._n
        (a, b), (c, d) = np.divmod(source, n), np.divmod(target, n)
        rows = np.full((len(source), 2, 6), -1, dtype=np.int64)
        rows[:, 0, :4] = self._hops(source, (0, a * n + d), (1, target))
        rows[:, 1, :4] = self._hops(source, (1, c * n + b), (0, target))
        common = (a == c) | (b == d)
        rows[common] = -1
        # With a common switch of level 0 (1) the first (second) path's first leg is all of it, and the other one stays away.
        rows[a == c, 0, :2] = self._hops(source[a == c], (0, target[a == c]))
        rows[b == d, 1, :2] = self._hops(source[b == d], (1, target[b == d]))
        rows[~self._whole(rows)] = -1
        return rows

    def _detours(self, source: IntArray, target: IntArray) -> Iterator[IntArray]:
        """Yield paths over three switches, -1 where cut or not there [flows, 6]."""
        n = self._n
        (a, b), (c, d) = np.divmod(source, n), np.divmod(target, n)
        for step in range(1, n):
            x, y = (b + step) % n, (a + step) % n
            rows = self._hops(source, (0, a * n + x), (1, c * n + x), (0, target))
            yield np.where((self._whole(rows) & (x != d) & (a != c))[:, None], rows, -1)
            rows = self._hops(source, (1, y * n + b), (0, y * n + d), (1, target))
            yield np.where((self._whole(rows) & (y != c) & (b != d))[:, None], rows, -1)

    def _hops(self, source: IntArray, *legs: tuple[int, IntArray]) -> IntArray:
        """Return the directed links from GPU to GPU, each leg over one switch of a level [flows, 2 legs]."""
        hops = []
        for level, target in legs:
            hops += [uplink(self.fabric, source, level), downlink(self.fabric, target, level)]
            source = target
        return np.stack(hops, axis=1)

    def _whole(self, rows: IntArray) -> IntArray:
        """Return whether no link of a row has failed."""
        return np.asarray((self.fabric.cable_up[rows // 2] | (rows < 0)).all(axis=-1))
