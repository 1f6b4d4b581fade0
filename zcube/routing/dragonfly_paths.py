"""Dragonfly's minimal path: to the switch that holds the global link, over it, to the destination's switch.

A pair has exactly one such path, so there is nothing to hash; inside a group it is the direct link. Some pairs have a path over
two global links that is shorter by one link: minimal routing does not take it, ``shortest-path`` does.

Where a failure cuts the minimal path, a shortest path over what is up is taken, chosen by hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.families.dragonfly import global_link
from zcube.fabric.model import Fabric
from zcube.routing.hashing import queue_pair_keys
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, uplink
from zcube.routing.shortest import SwitchGraph
from zcube.routing.walks import hashed_walks, reachable


@dataclass(frozen=True, eq=False)
class DragonflyPaths:
    """Minimal routing of a dragonfly; GPUs of one server use NVLink.

    Attributes
    ----------
    fabric : Fabric
        What is routed.
    seed : int
        Seed of the hash that chooses paths around failures.
    """

    fabric: Fabric
    seed: int = 0
    name: str = "dragonfly-minimal"

    def __post_init__(self) -> None:
        if self.fabric.family != "dragonfly":
            found = f"dragonfly-minimal on {self.fabric.name}, a {self.fabric.family}"
            raise InputError(Fault("routing", found, "a dragonfly, or another policy"))

    @cached_property
    def graph(self) -> SwitchGraph:
        """The fabric's switch graph, needed around failures only."""
        return SwitchGraph.of(self.fabric)

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one subflow per pair, none without a way."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        rows = np.full((len(source), 5), -1, dtype=np.int64)
        rows[local, :2] = nvlink_hops(fabric, source[local], target[local])
        rows[~local] = self._minimal(source[~local], target[~local])
        cut = np.flatnonzero(~local & ~(fabric.cable_up[rows // 2] | (rows < 0)).all(axis=1))
        if len(cut):
            detours = self._around(source[cut], target[cut])
            rows = np.pad(rows, ((0, 0), (0, max(0, detours.shape[1] - 5))), constant_values=-1)
            rows[cut] = -1
            rows[cut, : detours.shape[1]] = detours
        used = rows[:, 0] >= 0
        return assemble(used.astype(np.int64), rows[used])

    def _minimal(self, source: IntArray, target: IntArray) -> IntArray:
        """Return up, local, global, local and down link of each pair, -1 for one that is not needed [flows, 5]."""
        p, a, g = (self.fabric.parameters[key] for key in ("p", "switches_per_group", "switch_groups"))
        (here, start), (there, end) = np.divmod(source // p, a), np.divmod(target // p, a)
        away = here != there
        leave = np.where(away, global_link(here, there, g) // p, end)
        enter = np.where(away, global_link(there, here, g) // p, end)
        first_local = self.fabric.nic_cable.size
        first_global = first_local + g * (a * (a - 1) // 2)
        return np.stack(
            [
                uplink(self.fabric, source, 0),
                _between(first_local + here * (a * (a - 1) // 2), start, leave, a),
                _between(first_global, here, there, g),
                _between(first_local + there * (a * (a - 1) // 2), enter, end, a),
                downlink(self.fabric, target, 0),
            ],
            axis=1,
        )

    def _around(self, source: IntArray, target: IntArray) -> IntArray:
        """Return shortest paths over what is up, -1 without a way [flows, width]."""
        fabric = self.fabric
        cable = fabric.nic_cable[:, 0]
        nic_switch = np.where(fabric.cable_up[cable], fabric.cables.b[cable] - fabric.gpus, -1).astype(np.int64)
        start, goal = nic_switch[source], nic_switch[target]
        ways = reachable(self.graph, start, goal)
        key = queue_pair_keys(source, target, 1, self.seed)
        inner = hashed_walks(self.graph, start[ways], goal[ways], key[ways])
        rows = np.full((len(source), inner.shape[1] + 2), -1, dtype=np.int64)
        up, down = uplink(fabric, source[ways], 0)[:, None], downlink(fabric, target[ways], 0)[:, None]
        rows[ways] = np.concatenate([up, inner, down], axis=1)
        return rows


def _between(first_cable: IntArray | int, start: IntArray, end: IntArray, count: int) -> IntArray:
    """Return the directed link between two of ``count`` nodes joined pairwise, pairs in order; -1 from a node to itself."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    cable = first_cable + low * count - low * (low + 1) // 2 + high - low - 1
    return np.where(start == end, -1, 2 * cable + (start > end))
