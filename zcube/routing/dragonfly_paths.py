"""Dragonfly's minimal path: to the switch that holds the global link, over it, to the destination's switch.

Inside a group it is the direct link. A pair of a whole machine has exactly one such path; where several global links join two
groups, the source's switch picks one that is up by the hash of (source, destination). Some pairs have a path over two global
links that is shorter by one link: minimal routing does not take it, ``shortest-path`` does.

Where a failure cuts the minimal path, a shortest path over what is up is taken, chosen by hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.families.dragonfly import DragonflyStructure
from zcube.routing.hashing import choices, queue_pair_keys
from zcube.routing.policy import needed_structure
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, uplink
from zcube.routing.shortest import hashed_walks
from zcube.routing.switch_graph import OverSwitches, reachable


@dataclass(frozen=True, eq=False)
class DragonflyPaths(OverSwitches):
    """Minimal routing of a dragonfly; GPUs of one server use NVLink.

    Attributes
    ----------
    seed : int
        Seed of the hash that chooses among global links, and paths around failures.
    """

    seed: int = 0
    name: str = "dragonfly-minimal"

    def __post_init__(self) -> None:
        needed_structure(self.fabric, DragonflyStructure, self.name)

    @cached_property
    def structure(self) -> DragonflyStructure:
        """Sizes of the machine."""
        return needed_structure(self.fabric, DragonflyStructure, self.name)

    @cached_property
    def global_links(self) -> tuple[IntArray, IntArray]:
        """Directed links between groups that are up, by pair of groups, and that pair's number, ``here g + there`` [links]."""
        fabric, a, g = self.fabric, self.structure.switches_per_group, self.structure.groups
        first = fabric.nic_cable.size + g * (a * (a - 1) // 2)
        cable = np.arange(first, len(fabric.cables) - fabric.gpus)
        link = np.repeat(2 * cable[fabric.cable_up[cable]], 2)
        link[1::2] += 1
        pair = self._group(fabric.link_source[link]) * g + self._group(fabric.link_target[link])
        order = np.argsort(pair, kind="stable")
        return link[order], pair[order]

    def _group(self, node: IntArray) -> IntArray:
        """Return the group of each switch."""
        return (node.astype(np.int64) - self.fabric.gpus) // self.structure.switches_per_group

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one subflow per pair, none without a way."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        rows = np.full((len(source), 5), -1, dtype=np.int64)
        rows[local, :2] = nvlink_hops(fabric, source[local], target[local])
        rows[~local] = self._minimal(source[~local], target[~local])
        cut = np.flatnonzero(~local & ((rows[:, 0] < 0) | ~(fabric.cable_up[rows // 2] | (rows < 0)).all(axis=1)))
        if len(cut):
            detours = self._around(source[cut], target[cut])
            rows = np.pad(rows, ((0, 0), (0, max(0, detours.shape[1] - 5))), constant_values=-1)
            rows[cut] = -1
            rows[cut, : detours.shape[1]] = detours
        used = rows[:, 0] >= 0
        return assemble(used.astype(np.int64), rows[used])

    def _minimal(self, source: IntArray, target: IntArray) -> IntArray:
        """Return up, local, global, local and down link of each pair, -1 for one that is not needed [flows, 5].

        Where no global link between the groups is up, the row is -1 throughout.
        """
        p, a = self.structure.p, self.structure.switches_per_group
        (here, start), (there, end) = np.divmod(source // p, a), np.divmod(target // p, a)
        between = self._between_groups(source, target, here, there)
        away = between >= 0
        leave = np.where(away, (self.fabric.link_source[between] - self.fabric.gpus) % a, end)
        enter = np.where(away, (self.fabric.link_target[between] - self.fabric.gpus) % a, end)
        first_local = self.fabric.nic_cable.size
        rows = np.stack(
            [
                uplink(self.fabric, source, 0),
                _between(first_local + here * (a * (a - 1) // 2), start, leave, a),
                between,
                _between(first_local + there * (a * (a - 1) // 2), enter, end, a),
                downlink(self.fabric, target, 0),
            ],
            axis=1,
        )
        rows[(here != there) & ~away] = -1
        return rows

    def _between_groups(self, source: IntArray, target: IntArray, here: IntArray, there: IntArray) -> IntArray:
        """Return the global link of each pair, -1 inside a group and where none is up [flows]."""
        link, pair = self.global_links
        wanted = here * self.structure.groups + there
        first, end = np.searchsorted(pair, wanted), np.searchsorted(pair, wanted, side="right")
        found = np.full(len(source), -1)
        away = np.flatnonzero(end > first)
        key = queue_pair_keys(source[away], target[away], 1, self.seed)
        switch = source[away] // self.structure.p + self.fabric.gpus
        found[away] = link[first[away] + choices(key, switch, (end - first)[away])]
        return found

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
