"""ZCube(n,3)-partial: n pods of ZCube(n,2) joined Clos-like by n^2/2 switches attached to the pods' B switches only.

Counts: ATOP/ZCube (SIGCOMM 2025, doi 10.1145/3718958.3750503): n^3 GPUs with two NIC ports, 2 n^2 + n^2/2 switches of 3n ports,
diameter 4 switches, 2 inside a pod. Which B switch meets which joining switch is not published; inferred: B switches of one
rail, one per pod, share n/2 joining switches, two links each.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec


class ZCubePodsSpec(FabricSpec):
    """ZCube(n,3)-partial with all n pods."""

    routings: ClassVar[tuple[str, ...]] = ("shortest-path", "ecmp", "hash")

    family: str = "zcube-pods"
    n: int = Field(ge=2, le=128, description="GPUs per switch, segments per pod and pods; even")

    @model_validator(mode="after")
    def _sizes_fit(self) -> ZCubePodsSpec:
        if self.n % 2:
            raise ValueError(f"n = {self.n} to be even")
        if self.gpus != self.n**3:
            raise ValueError(f"gpus = n^3 = {self.n**3}, not {self.gpus}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        n, rate = self.n, self.nic_gbps / 2
        first_a, first_b = self.gpus, self.gpus + n * n
        first_c = first_b + n * n
        gpu = np.arange(self.gpus)
        pod, rail = gpu // (n * n), gpu % n
        p, a, b = (axis.ravel() for axis in np.indices((n, n, n)))
        q, r, uplink = (axis.ravel() for axis in np.indices((n, n, n)))
        half = n // 2
        return self.assemble(
            name,
            self.groups_of({"A": n * n, "B": n * n, "C": n * half}),
            [
                self.nic_cables(0, first_a + gpu // n, ports=2, medium=CableMedium.COPPER),
                self.nic_cables(1, first_b + pod * n + rail, ports=2),
            ],
            [
                self.switch_cables(first_a + p * n + a, first_b + p * n + b, (n, n), rate),
                self.switch_cables(first_b + q * n + r, first_c + r * half + uplink % half, (2 * n, 0), rate),
            ],
        )
