"""ZCube with two NIC ports per GPU: two switch groups, complete bipartite between them, no link inside a group.

Source: ATOP/ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503) for ZCube(n,2); Z.ai's article of 2026-05-21 for the general
form with ``gpus_per_switch`` = k GPUs on each of 2N/k switches. With N = k^2 the two are the same fabric.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from zcube.fabric.model import CableKind, Cables, Fabric, SwitchGroup, nvlink_cables
from zcube.fabric.spec import FabricSpec


class ZCubeSpec(FabricSpec):
    """A two-port ZCube.

    Port 0 of GPU ``g`` goes to switch ``A[g // k]`` (a segment of k consecutive GPUs), port 1 to ``B[g mod m]``, where m =
    gpus / k is the number of switches in a group. Every A-B pair has ``k / m`` parallel links, so that up- and down-link
    capacity of every switch are equal; k / m must be whole.
    """

    family: Literal["zcube"] = "zcube"
    gpus_per_switch: int | None = Field(default=None, ge=1, description="k; default: the square root of gpus")

    @property
    def segment_gpus(self) -> int:
        """GPUs per switch, k."""
        return self.gpus_per_switch or math.isqrt(self.gpus)

    @property
    def group_switches(self) -> int:
        """Switches per group, m."""
        return self.gpus // self.segment_gpus

    @model_validator(mode="after")
    def _sizes_fit(self) -> ZCubeSpec:
        k = self.segment_gpus
        if self.gpus_per_switch is None and k * k != self.gpus:
            raise ValueError(f"gpus = {self.gpus} to be a square, or gpus_per_switch to be given")
        if self.gpus % k:
            raise ValueError(f"gpus = {self.gpus} to be a multiple of gpus_per_switch = {k}")
        m = self.gpus // k
        if k % m:
            raise ValueError(
                f"gpus_per_switch^2 / gpus = {k}^2 / {self.gpus} = {k * k / self.gpus:g} parallel links per switch pair "
                "to be a whole number"
            )
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        n, k, m = self.gpus, self.segment_gpus, self.group_switches
        trunk = k // m
        model = self.switch.switch_model()
        groups = (SwitchGroup("A", n, m, model), SwitchGroup("B", n + m, m, model))
        gpu = np.arange(n)
        port0, port1 = np.zeros(n, dtype=np.int32), np.ones(n, dtype=np.int32)
        a, b, member = (axis.ravel() for axis in np.indices((m, m, trunk)))
        rate, delay = self.nic_gbps / 2, self.link_latency_s
        cables = Cables.join(
            [
                Cables.of(gpu, n + gpu // k, port0, gpu % k, gbps=rate, latency_s=delay, kind=CableKind.NIC),
                Cables.of(gpu, n + m + gpu % m, port1, gpu // m, gbps=rate, latency_s=delay, kind=CableKind.NIC),
                Cables.of(
                    n + a, n + m + b, k + b * trunk + member, k + a * trunk + member, gbps=rate, latency_s=delay,
                    kind=CableKind.SWITCH,
                ),
                nvlink_cables(n, self.gpus_per_server, n + 2 * m, gbps=self.nvlink_gbps, latency_s=self.nvlink_latency_s),
            ]
        )  # fmt: skip
        return Fabric(
            name=name,
            family=self.family,
            gpus=n,
            gpus_per_server=self.gpus_per_server,
            groups=groups,
            cables=cables,
            nic_cable=np.stack([gpu, n + gpu], axis=1),
            nvlink_cable=len(cables) - n + gpu,
            parameters=MappingProxyType(
                {**self.model_dump(), "gpus_per_switch": k, "group_switches": m, "parallel_links": trunk}
            ),
        )
