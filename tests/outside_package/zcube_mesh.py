"""A package that is no part of zcube: a family ``mesh`` with a routing of its own, ``mesh-xy``, and a policy for dragonflies.

Switches stand in a grid and are joined to their neighbours in the row and in the column. A path goes along the row first, then
along the column (dimension order), which is free of deadlock (Dally and Seitz, 1987).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.families.dragonfly import DragonflyStructure
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec
from zcube.fabric.structure import Structure
from zcube.routing.policy import RoutingPolicy, needed_structure
from zcube.routing.routes import Routes, Routing, assemble, check_pairs, downlink, nvlink_hops, uplink
from zcube.routing.shortest import ShortestPaths


@dataclass(frozen=True)
class MeshStructure(Structure):
    """Switch ``row columns + column``; cables along rows come first, then those along columns, by left or upper end."""

    rows: int
    columns: int
    gpus_per_switch: int


class MeshSpec(FabricSpec):
    """A grid of switches; GPUs fill them in order."""

    routings: ClassVar[tuple[str, ...]] = ("mesh-xy", "shortest-path", "ecmp")

    family: str = "mesh"
    rows: int = Field(ge=1, le=64)
    columns: int = Field(ge=1, le=64)
    gpus_per_switch: int = Field(default=8, ge=1, le=64)

    @model_validator(mode="after")
    def _sizes_fit(self) -> MeshSpec:
        if self.gpus > self.rows * self.columns * self.gpus_per_switch:
            raise ValueError(f"gpus = {self.gpus} of at most {self.rows * self.columns * self.gpus_per_switch}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        p = self.gpus_per_switch
        switch = self.gpus + np.arange(self.rows * self.columns).reshape(self.rows, self.columns)
        return self.assemble(
            name,
            self.groups_of({"sw": switch.size}),
            [self.nic_cables(0, self.gpus + np.arange(self.gpus) // p, medium=CableMedium.COPPER)],
            [
                self.switch_cables(switch[:, :-1].ravel(), switch[:, 1:].ravel(), (p, p), self.nic_gbps),
                self.switch_cables(switch[:-1].ravel(), switch[1:].ravel(), (p + 2, p + 2), self.nic_gbps),
            ],
            MeshStructure(self.rows, self.columns, p),
        )


@dataclass(frozen=True)
class MeshPaths:
    """Dimension-order routing."""

    fabric: Fabric
    name: str = "mesh-xy"

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one path per pair, none where a cable on it has failed."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        mesh = needed_structure(fabric, MeshStructure, self.name)
        rows = np.full((len(source), mesh.rows + mesh.columns), -1, dtype=np.int64)
        local = fabric.server_of(source) == fabric.server_of(target)
        rows[local, :2] = nvlink_hops(fabric, source[local], target[local])
        (here, x), (there, goal) = (np.divmod(gpu // mesh.gpus_per_switch, mesh.columns) for gpu in (source, target))
        first = fabric.gpus
        for step in range(mesh.columns - 1):
            along = np.where(x <= goal, x + step, x - step - 1)
            cable = first + here * (mesh.columns - 1) + along
            rows[:, 1 + step] = np.where((step < abs(goal - x)) & ~local, 2 * cable + (x > goal), rows[:, 1 + step])
        first += mesh.rows * (mesh.columns - 1)
        for step in range(mesh.rows - 1):
            along = np.where(here <= there, here + step, here - step - 1)
            cable = first + along * mesh.columns + goal
            at = mesh.columns + step
            rows[:, at] = np.where((step < abs(there - here)) & ~local, 2 * cable + (here > there), rows[:, at])
        rows[~local, 0] = uplink(fabric, source[~local], 0)
        rows[~local, -1] = downlink(fabric, target[~local], 0)
        whole = (fabric.cable_up[rows // 2] | (rows < 0)).all(axis=1)
        return assemble(whole.astype(np.int64), rows[whole])


def _mesh_xy(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return MeshPaths(fabric)


def _one_queue_pair(fabric: Fabric, queue_pairs: int, seed: int) -> Routing:
    return ShortestPaths(fabric, "one-queue-pair", queue_pairs=1, all_ports=False, seed=seed)


MESH_XY = RoutingPolicy(_mesh_xy)
ONE_QUEUE_PAIR = RoutingPolicy(_one_queue_pair, families=("slim-fly",), structures=(DragonflyStructure,))
