"""Spine-leaf in two or three tiers, rail-optimised (ROFT) or not, any radix, any oversubscription at the leaf.

Rail-optimised: the servers of one scalable unit (as many as a leaf has down ports) connect local GPU j to the unit's leaf j.
Not rail-optimised: a leaf takes whole servers. Counting follows NVIDIA's DGX H100 SuperPOD reference architecture
(RA-11333-001): the number of spines is the smallest that carries all uplinks and over which a leaf's uplinks split evenly.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec


class Sizes(NamedTuple):
    """How many switches and links each tier has."""

    down: int
    up: int
    leaves: int
    leaves_per_pod: int
    pods: int
    spines_per_pod: int
    plane_spines: int
    plane_cores: int
    cores: int


class SpineLeafSpec(FabricSpec):
    """A Clos of leaves, spines and, with three tiers, cores. One NIC port per GPU."""

    routings: ClassVar[tuple[str, ...]] = ("ecmp", "shortest-path", "pxn", "hash")

    family: str = "spine-leaf"
    tiers: Literal[2, 3] = 2
    rail_optimised: bool = True
    oversubscription: float = Field(default=1.0, ge=1.0, le=64.0, description="down capacity / up capacity of a leaf")
    leaves_per_pod: int | None = Field(default=None, ge=1, description="three tiers only; default: half the radix")

    @model_validator(mode="after")
    def _sizes_fit(self) -> SpineLeafSpec:
        if self.radix < 2:
            raise ValueError(f"switch ports of at least nic_gbps = {self.nic_gbps:g}")
        if self.tiers == 2 and self.leaves_per_pod is not None:
            raise ValueError("leaves_per_pod only where tiers = 3")
        down = self._leaf_ports()[0]
        if not self.rail_optimised and down < self.gpus_per_server:
            raise ValueError(
                f"leaves with down ports for a whole server of {self.gpus_per_server} GPUs, not {down}, or rail_optimised"
            )
        sizes = self.sizes()
        if self.tiers == 2 and sizes.leaves > 1 and not sizes.spines_per_pod:
            raise ValueError(
                f"at most {self.radix} leaves in two tiers of radix {self.radix}; gpus = {self.gpus} needs {sizes.leaves} "
                f"leaves of {sizes.down} down ports (use tiers = 3 or a larger switch)"
            )
        if self.tiers == 3 and sizes.leaves > 1 and not sizes.cores:
            raise ValueError(f"{sizes.pods} pods of {sizes.spines_per_pod} spines to fit cores of radix {self.radix}")
        return self

    @property
    def radix(self) -> int:
        """Switch ports at the NIC rate."""
        return self.switch.switch_model().split_ports(self.nic_gbps)

    def sizes(self) -> Sizes:
        """Return the tier sizes; zero spines or cores where none fit."""
        radix = self.radix
        down, up = self._leaf_ports()
        servers = self.gpus // self.gpus_per_server
        if self.rail_optimised:
            leaves = -(-servers // down) * self.gpus_per_server
        else:
            leaves = -(-servers // max(1, down // self.gpus_per_server))
        if leaves == 1:
            return Sizes(down, 0, 1, 1, 1, 0, 0, 0, 0)
        if self.tiers == 2:
            return Sizes(down, up, leaves, leaves, 1, spread_evenly(leaves * up, radix, up), 0, 0, 0)
        leaves_per_pod = self.leaves_per_pod or radix // 2
        pods = -(-leaves // leaves_per_pod)
        spines = spread_evenly(min(leaves, leaves_per_pod) * up, radix - radix // 2, up)
        plane_spines, plane_cores = core_planes(pods, spines, radix // 2, radix)
        cores = plane_cores * (spines // plane_spines) if plane_spines else 0
        return Sizes(down, up, leaves, leaves_per_pod, pods, spines, plane_spines, plane_cores, cores)

    def _leaf_ports(self) -> tuple[int, int]:
        """Down and up ports of a leaf; whole servers where a leaf takes servers."""
        return leaf_ports(self.radix, self.oversubscription, 1 if self.rail_optimised else self.gpus_per_server)

    def leaf_of(self, gpu: IntArray) -> IntArray:
        """Return the leaf of each GPU."""
        down = self.sizes().down
        server, local = gpu // self.gpus_per_server, gpu % self.gpus_per_server
        if self.rail_optimised:
            return server // down * self.gpus_per_server + local
        return server // max(1, down // self.gpus_per_server)

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        sizes = self.sizes()
        groups = self.groups_of({"leaf": sizes.leaves, "spine": sizes.pods * sizes.spines_per_pod, "core": sizes.cores})
        first_leaf, up = self.gpus, self.radix // 2
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
        )


def leaf_ports(radix: int, oversubscription: float, whole: int = 1) -> tuple[int, int]:
    """Return down and up ports of a leaf: as many down ports as the ratio allows.

    Parameters
    ----------
    radix : int
        Ports of the leaf.
    oversubscription : float
        Down capacity / up capacity, at least 1.
    whole : int
        Down ports are a multiple of this where they suffice for one.
    """
    down = max(1, int(radix * oversubscription / (1 + oversubscription)))
    if down >= whole:
        down -= down % whole
    up = max(1, min(radix - down, int(np.ceil(down / oversubscription - 1e-9))))
    return down, up


def spread_evenly(uplinks: int, ports: int, uplinks_per_switch: int) -> int:
    """Return the fewest upper switches that take all uplinks and split each lower switch's uplinks evenly.

    Parameters
    ----------
    uplinks : int
        Links to be taken, all lower switches together.
    ports : int
        Ports an upper switch offers downwards.
    uplinks_per_switch : int
        Uplinks of one lower switch.

    Returns
    -------
    int
        The count, or 0 if no count does.
    """
    fewest = -(-uplinks // ports)
    return next((count for count in range(fewest, uplinks_per_switch + 1) if uplinks_per_switch % count == 0), 0)


def core_planes(pods: int, spines_per_pod: int, spine_up: int, radix: int) -> tuple[int, int]:
    """Return spines of a pod that share a core plane, and cores of a plane, for the fewest cores.

    Every spine of a plane has ``spine_up / cores`` parallel links to each core of its plane. ``(0, 0)`` if nothing fits.
    """
    best = (0, 0)
    fewest = None
    for plane in (count for count in range(1, spines_per_pod + 1) if spines_per_pod % count == 0):
        cores = spread_evenly(plane * pods * spine_up, radix, spine_up)
        total = cores * (spines_per_pod // plane)
        if cores and (fewest is None or total < fewest):
            best, fewest = (plane, cores), total
    return best


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
