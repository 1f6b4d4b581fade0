"""Alibaba HPN: every GPU has two NIC ports, one in each of two planes that share no switch.

Inside a segment (as many servers as a top-of-rack switch has down ports) there is one such switch per rail and plane; a
plane's aggregation switches join all its top-of-rack switches. Sources: Alibaba HPN (SIGCOMM 2024) for the rule and the
deployed pod, ATOP/ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503) for the form without oversubscription.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.fabric.families.arrangement import Sizes, spread_evenly
from zcube.fabric.families.spine_leaf import leaf_uplinks
from zcube.fabric.model import Fabric
from zcube.fabric.port_numbers import first_free_port
from zcube.fabric.spec import LEAST_GBPS, MAX_CABLES, FabricSpec
from zcube.fabric.structure import Structure

PLANES = 2


@dataclass(frozen=True)
class HpnStructure(Structure):
    """Planes, and segments of each plane."""

    planes: int
    segments: int


class HpnSpec(FabricSpec):
    """One pod of HPN. NIC ports and down ports have half of ``nic_gbps``; the last segment may be begun only."""

    routings: ClassVar[tuple[str, ...]] = ("dual-plane", "ecmp", "shortest-path", "hash")

    family: str = "hpn"
    tor_down_ports: int | None = Field(
        default=None, ge=1, le=4096, description="servers per segment; default: half of the ports at the NIC ports' rate"
    )
    tor_uplinks: int | None = Field(
        default=None, ge=1, le=4096, description="per top-of-rack switch; default: as much capacity up as down"
    )
    uplink_gbps: float = Field(default=400.0, ge=LEAST_GBPS, le=1e6, description="rate of a link to the aggregation, Gb/s")
    aggs_per_plane: int | None = Field(
        default=None, ge=1, le=4096, description="default: the fewest over which tor_uplinks split evenly"
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> HpnSpec:
        if self.port_radix < 2:
            raise ValueError(f"switch ports of at least nic_gbps / 2 = {self.nic_gbps / PLANES:g}")
        if not self.uplink_radix:
            raise ValueError(f"switch ports of at least uplink_gbps = {self.uplink_gbps:g}")
        sizes = self.sizes()
        if sizes.down > self.port_radix:
            raise ValueError(f"tor_down_ports = {sizes.down} of at most {self.port_radix} ports")
        if sizes.leaves_per_pod == 1:
            return self
        if self.first_up_port(sizes.down) + sizes.up > self.uplink_radix:
            raise ValueError(
                f"tor_uplinks = {sizes.up} beside tor_down_ports = {sizes.down} on {self.switch.ports} native ports, "
                f"split evenly into ports of {self.nic_gbps / PLANES:g}G and {self.uplink_gbps:g}G"
            )
        if not sizes.spines_per_pod:
            raise ValueError(
                f"{sizes.leaves_per_pod} top-of-rack switches a plane with tor_uplinks = {sizes.up} each to split evenly over "
                f"aggregation switches of {self.uplink_radix} ports (use fewer gpus, more tor_down_ports or a larger switch)"
            )
        if sizes.up % sizes.spines_per_pod:
            raise ValueError(f"tor_uplinks = {sizes.up} to be a multiple of aggs_per_plane = {sizes.spines_per_pod}")
        need = sizes.leaves_per_pod * sizes.up // sizes.spines_per_pod
        if need > self.uplink_radix:
            raise ValueError(f"aggregation switches of {need} ports of {self.uplink_gbps:g}G, not {self.uplink_radix}")
        if PLANES * self.gpus + sizes.leaves * sizes.up > MAX_CABLES:
            raise ValueError(f"at most {MAX_CABLES} cables")
        return self

    @property
    def port_radix(self) -> int:
        """Switch ports at the rate of a NIC port."""
        return self.switch.switch_model().split_ports(self.nic_gbps / PLANES)

    @property
    def uplink_radix(self) -> int:
        """Switch ports at the rate of an uplink."""
        return self.switch.switch_model().split_ports(self.uplink_gbps)

    def first_up_port(self, down: int) -> int:
        """Return the first uplink port, counted at the uplinks' rate, on native ports that the down ports leave free."""
        return first_free_port(down, self.nic_gbps / PLANES, self.uplink_gbps, self.switch.port_gbps)

    def sizes(self) -> Sizes:
        """Return the tier sizes, a plane being a pod; zero aggregation switches where none fit."""
        down = self.tor_down_ports or self.port_radix // 2
        servers = self.gpus // self.gpus_per_server
        tors = -(-servers // down) * self.gpus_per_server
        if tors == 1:
            return Sizes(down, 0, PLANES, 1, PLANES, 0, 0, 0, 0)
        up = self.tor_uplinks or math.ceil(down * self.nic_gbps / PLANES / self.uplink_gbps - 1e-9)
        aggs = self.aggs_per_plane or spread_evenly(tors * up, self.uplink_radix, up)
        return Sizes(down, up, PLANES * tors, tors, PLANES, aggs, 0, 0, 0)

    def build(self, name: str) -> Fabric:
        """Return the fabric; top-of-rack switches are numbered by plane, then segment, then rail."""
        sizes = self.sizes()
        server, rail = np.divmod(np.arange(self.gpus), self.gpus_per_server)
        tor = server // sizes.down * self.gpus_per_server + rail
        first_agg = self.gpus + sizes.leaves
        uplinks = leaf_uplinks(sizes, self.gpus, first_agg)
        return self.assemble(
            name,
            self.groups_of({"tor": sizes.leaves, "agg": PLANES * sizes.spines_per_pod}),
            [self.nic_cables(plane, self.gpus + plane * sizes.leaves_per_pod + tor, ports=PLANES) for plane in range(PLANES)],
            [self.switch_cables(*uplinks, (self.first_up_port(sizes.down), 0), self.uplink_gbps)],
            HpnStructure(PLANES, sizes.leaves_per_pod // self.gpus_per_server),
        )
