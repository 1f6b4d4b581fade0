"""Independent planes: every NIC port belongs to one of several two-tier networks that share no switch.

Rail-only (arXiv 2307.12169): one plane per rail; GPUs of different rails meet over NVLink only. Multi-plane, as in the
multi-plane fat tree of DeepSeek-V3 (ISCA 2025): a chosen number of planes, with one NIC port per GPU in one plane, or with one
NIC port of every GPU in each plane. A plane that fits on one switch is one switch, else a Clos of leaves and spines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.fabric.families.arrangement import ClosStructure, Demand, Sizes, cheapest
from zcube.fabric.families.spine_leaf import leaf_uplinks
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import MAX_CABLES, FabricSpec


@dataclass(frozen=True)
class PlanesStructure(ClosStructure):
    """Local GPU j is on plane ``j mod planes``, or has a NIC port in each plane."""

    planes: int
    ports_per_gpu: int


class PlanesSpec(FabricSpec):
    """Keys and construction shared by families of independent planes."""

    routings: ClassVar[tuple[str, ...]] = ("pxn",)
    recables: ClassVar[bool] = False

    oversubscription: float = Field(default=1.0, ge=1.0, le=64.0, description="down capacity / up capacity of a leaf")

    def plane_count(self) -> int:
        """Return how many planes there are."""
        raise TypeError(f"{type(self).__name__} declares no planes")

    def port_count(self) -> int:
        """Return how many NIC ports a GPU has: one, or one per plane."""
        return 1

    @model_validator(mode="after")
    def _sizes_fit(self) -> PlanesSpec:
        planes, ports = self.plane_count(), self.port_count()
        if ports not in (1, planes):
            raise ValueError(f"ports_per_gpu of 1 or planes = {planes}, not {ports}")
        if ports == 1 and self.gpus_per_server % planes:
            raise ValueError(f"gpus_per_server = {self.gpus_per_server} to be a multiple of planes = {planes}")
        if self.gpus * (2 * ports + 1) > MAX_CABLES:
            raise ValueError(f"at most {MAX_CABLES} cables, not about {self.gpus * (2 * ports + 1)}")
        if self.radix < 2:
            raise ValueError(f"switch ports of at least nic_gbps / ports_per_gpu = {self.nic_gbps / ports:g}")
        demand = self.demand()
        if cheapest(demand) is None:
            down = demand.most_down()
            raise ValueError(
                f"at most {self.radix} leaves in a two-tier plane of radix {self.radix}; {demand.ports} NIC ports a plane need "
                f"{demand.leaves(down)} leaves of {down} down ports (use a larger switch)"
            )
        return self

    @property
    def radix(self) -> int:
        """Switch ports at the rate of a NIC port."""
        return self.switch.switch_model().split_ports(self.nic_gbps / self.port_count())

    @property
    def server_ports(self) -> int:
        """NIC ports a server has in one plane."""
        return self.gpus_per_server * self.port_count() // self.plane_count()

    def demand(self) -> Demand:
        """Return what the leaves of one plane have to take, whole servers together where a leaf has room for one."""
        ports = self.gpus // self.gpus_per_server * self.server_ports
        return Demand(ports, 1, self.server_ports, self.radix, self.oversubscription, divisible=True)

    def sizes(self) -> Sizes:
        """Return the tier sizes, a plane being a pod; no spines where one leaf is enough."""
        planes, plane = self.plane_count(), cheapest(self.demand())
        assert plane is not None  # else refused when it was declared
        return plane._replace(leaves=planes * plane.leaves, pods=planes)

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        sizes, planes, ports = self.sizes(), self.plane_count(), self.port_count()
        first_spine = self.gpus + sizes.leaves
        server, local = np.divmod(np.arange(self.gpus), self.gpus_per_server)
        nic = []
        for port in range(ports):
            # GPUs of one plane are taken in order, server by server.
            plane = local % planes if ports == 1 else np.full(self.gpus, port)
            place = server * self.server_ports + (local // planes if ports == 1 else local)
            leaf = plane * sizes.leaves_per_pod + place // sizes.down
            # A server's ports of one number all go to one leaf, beside which it can stand.
            together = 1 < self.server_ports == self.gpus_per_server <= sizes.down
            medium = CableMedium.COPPER if together else CableMedium.FIBRE
            nic.append(self.nic_cables(port, self.gpus + leaf, ports=ports, medium=medium))
        uplinks = leaf_uplinks(sizes, self.gpus, first_spine)
        trunks = self.switch_cables(*uplinks, (sizes.down, 0), self.nic_gbps / ports)
        groups = self.groups_of({"leaf": sizes.leaves, "spine": planes * sizes.spines_per_pod})
        return self.assemble(name, groups, nic, [trunks], PlanesStructure(sizes, planes, ports))


class RailOnlySpec(PlanesSpec):
    """One plane per rail: GPU j of every server is on plane j."""

    family: str = "rail-only"

    def plane_count(self) -> int:
        """Return one plane per local GPU."""
        return self.gpus_per_server


class MultiPlaneSpec(PlanesSpec):
    """A chosen number of planes: GPU j on plane ``j mod planes``, or every GPU on all of them."""

    family: str = "multi-plane"
    planes: int = Field(ge=1, le=256, description="independent planes")
    ports_per_gpu: int = Field(default=1, ge=1, le=256, description="1, or planes: a port in each, nic_gbps split evenly")

    def plane_count(self) -> int:
        """Return the declared number."""
        return self.planes

    def port_count(self) -> int:
        """Return the declared number."""
        return self.ports_per_gpu

    def build(self, name: str) -> Fabric:
        """Return the fabric; GPUs with a port in every plane need no relay between planes."""
        fabric = super().build(name)
        if self.planes == self.ports_per_gpu:
            return replace(fabric, routings=("dual-plane", "ecmp", "shortest-path", "hash"))
        return fabric
