"""Spine-leaf in two or three tiers, rail-optimised (ROFT) or not, any radix, any oversubscription at the leaf.

Rail-optimised: the servers of one scalable unit (as many as a leaf has down ports) connect local GPU j to the unit's leaf j.
With fewer ``rails`` than a server has GPUs, GPU j goes to leaf j modulo ``rails``, and a server takes several ports of a leaf.
Not rail-optimised: a leaf takes whole servers. How many ports a leaf has down and up, and how many spines and cores there
are, is the cheapest arrangement that meets the oversubscription, see :mod:`zcube.fabric.families.arrangement`; so it has the
counts of NVIDIA's DGX H100 SuperPOD reference architecture (RA-11333-001).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.families.arrangement import ClosStructure, Demand, Sizes, cheapest, faults, what_would_fit
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec, SwitchSpec


class SpineLeafSpec(FabricSpec):
    """A Clos of leaves, spines and, with three tiers, cores. One NIC port per GPU."""

    routings: ClassVar[tuple[str, ...]] = ("ecmp", "shortest-path", "pxn", "hash")

    family: str = "spine-leaf"
    tiers: Literal[2, 3] = Field(default=2, description="leaves and spines, or cores above them")
    rail_optimised: bool = Field(
        default=True, description="GPU j of every server of a unit on its leaf j, or whole servers on a leaf"
    )
    rails: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="rail_optimised: leaves of a unit, GPU j on leaf j modulo rails; default: one for each GPU of a server",
    )
    oversubscription: float = Field(
        default=1.0,
        ge=1.0,
        le=64.0,
        description="most down capacity / up capacity of a leaf; not given: that of down_ports and up_ports where both are set",
    )
    down_ports: int | None = Field(default=None, ge=1, le=1 << 20, description="of a leaf; default: the cheapest that fits")
    up_ports: int | None = Field(default=None, ge=1, le=1 << 20, description="of a leaf; default: the cheapest that fits")
    spines: int | None = Field(
        default=None, ge=1, le=1 << 20, description="with three tiers of a pod; default: the cheapest that fits"
    )
    leaves_per_pod: int | None = Field(default=None, ge=1, description="three tiers only; default: the cheapest that fits")
    spine_switch: SwitchSpec | None = Field(default=None, description="two tiers only; default: as the leaves, `switch`")

    @model_validator(mode="after")
    def _sizes_fit(self) -> SpineLeafSpec:
        if self.radix < 2:
            raise ValueError(f"switch ports of at least nic_gbps = {self.nic_gbps:g}")
        if self.tiers == 2 and self.leaves_per_pod is not None:
            raise ValueError("leaves_per_pod only where tiers = 3")
        if self.tiers == 3 and self.spine_switch is not None:
            raise ValueError("spine_switch only where tiers = 2")
        if self.rails is not None and (not self.rail_optimised or self.gpus_per_server % self.rails):
            raise ValueError(
                f"rails that divide gpus_per_server = {self.gpus_per_server}, with rail_optimised, not {self.rails}"
            )
        if self.spine_radix < 1:
            raise ValueError(f"spine_switch ports of at least nic_gbps = {self.nic_gbps:g}")
        demand = self.demand()
        given = {"down_ports": self.down_ports, "up_ports": self.up_ports, "spines": self.spines}
        chosen = ", ".join(f"{key} = {value}" for key, value in given.items() if value is not None)
        wrong = faults(demand)
        if not wrong and cheapest(demand, self.tiers, self.leaves_per_pod) is None:
            wrong = [f"{chosen} to fit" if chosen else self._unfit(demand)]
        if wrong and chosen:
            wrong.append(what_would_fit(demand, self.tiers, self.leaves_per_pod))
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _unfit(self, demand: Demand) -> str:
        """Return why nothing meets the demand, where no ports were set."""
        down = demand.most_down()
        if not down:
            whole = f"a whole server of {demand.whole} GPUs" if demand.whole > 1 else "a GPU"
            return f"leaves with down ports for {whole} beside uplinks, among {self.radix} ports, or rail_optimised"
        needed = f"radix {self.radix}; gpus = {self.gpus} needs {demand.leaves(down)} leaves of {down} down ports"
        if self.tiers == 2:
            return f"at most {self.spine_radix} leaves in two tiers of {needed} (use tiers = 3 or a larger switch)"
        return f"leaves in pods of at most {self.radix // 2}, their spines to fit cores of {needed}"

    @property
    def radix(self) -> int:
        """Switch ports at the NIC rate."""
        return self.switch.switch_model().split_ports(self.nic_gbps)

    def demand(self) -> Demand:
        """Return what the leaves have to take, with what was set about them."""
        ratio = self.oversubscription
        if self.down_ports and self.up_ports and "oversubscription" not in self.model_fields_set:
            ratio = self.down_ports / self.up_ports
        return Demand(
            ports=self.gpus // self.rail_count if self.rail_optimised else self.gpus,
            rails=self.rail_count if self.rail_optimised else 1,
            whole=1 if self.rail_optimised else self.gpus_per_server,
            radix=self.radix,
            oversubscription=ratio,
            down=self.down_ports,
            up=self.up_ports,
            spines=self.spines,
            spine_radix=None if self.spine_switch is None else self.spine_radix,
        )

    @property
    def rail_count(self) -> int:
        """Leaves of a rail-optimised unit."""
        return self.rails or self.gpus_per_server

    def sizes(self) -> Sizes:
        """Return how many switches and links each tier has."""
        sizes = cheapest(self.demand(), self.tiers, self.leaves_per_pod)
        assert sizes is not None  # else refused when it was declared
        return sizes

    @property
    def spine_radix(self) -> int:
        """Ports of a spine at the NIC rate."""
        spine = self.spine_switch or self.switch
        return spine.switch_model().split_ports(self.nic_gbps)

    def leaf_of(self, gpu: IntArray) -> IntArray:
        """Return the leaf of each GPU."""
        down = self.sizes().down
        server, local = gpu // self.gpus_per_server, gpu % self.gpus_per_server
        if self.rail_optimised:
            port = server * (self.gpus_per_server // self.rail_count) + local // self.rail_count
            return port // down * self.rail_count + local % self.rail_count
        return server // max(1, down // self.gpus_per_server)

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        sizes = self.sizes()
        groups = self.groups_of({"leaf": sizes.leaves, "spine": sizes.pods * sizes.spines_per_pod, "core": sizes.cores})
        if self.spine_switch is not None:
            model = self.spine_switch.switch_model()
            groups = tuple(replace(group, model=model) if group.name == "spine" else group for group in groups)
        first_leaf, up = self.gpus, sizes.spine_up
        first_spine = first_leaf + sizes.leaves
        first_core = first_spine + sizes.pods * sizes.spines_per_pod
        leaf = self.leaf_of(np.arange(self.gpus))
        shared = CableMedium.FIBRE if self.rail_optimised else CableMedium.COPPER
        return self.assemble(
            name,
            groups,
            [self.nic_cables(0, first_leaf + leaf, medium=shared)],
            [
                self.switch_cables(*leaf_uplinks(sizes, first_leaf, first_spine), (sizes.down, 0), self.nic_gbps),
                self.switch_cables(*_spine_uplinks(sizes, up, first_spine, first_core), (self.radix - up, 0), self.nic_gbps),
            ],
            ClosStructure(sizes),
        )


Ends = tuple[IntArray, IntArray]


def leaf_uplinks(sizes: Sizes, first_leaf: int, first_spine: int) -> Ends:
    """Return both ends of the leaf-spine cables; uplink u of a leaf goes to spine ``u mod spines_per_pod`` of its pod.

    Pods share no spine: families of independent planes have one pod per plane and no core.

    Parameters
    ----------
    sizes : Sizes
        The tiers; leaves and spines are numbered pod by pod.
    first_leaf, first_spine : int
        Node of leaf 0 and of spine 0.
    """
    if not sizes.spines_per_pod:
        return _no_ends()
    leaf, uplink = (axis.ravel() for axis in np.indices((sizes.leaves, sizes.up)))
    spine = leaf // sizes.leaves_per_pod * sizes.spines_per_pod + uplink % sizes.spines_per_pod
    return first_leaf + leaf, first_spine + spine


def _spine_uplinks(sizes: Sizes, up: int, first_spine: int, first_core: int) -> Ends:
    """Return both ends of the spine-core cables; uplink u of a spine goes to core ``u mod plane_cores`` of its plane."""
    if not sizes.cores:
        return _no_ends()
    spine, uplink = (axis.ravel() for axis in np.indices((sizes.pods * sizes.spines_per_pod, up)))
    plane = spine % sizes.spines_per_pod // sizes.plane_spines
    return first_spine + spine, first_core + plane * sizes.plane_cores + uplink % sizes.plane_cores


def _no_ends() -> Ends:
    none = np.zeros(0, dtype=np.int32)
    return none, none
