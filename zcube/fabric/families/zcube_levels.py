"""ZCube(n,k) by its recursive definition: n^k GPUs, k levels of n^(k-1) switches, k NIC ports per GPU.

ZCube(n,1) is one switch with n GPUs. ZCube(n,k+1) is n copies of ZCube(n,k) and n^k switches of level k: GPU i of copy j goes
to level-k switch i, port j; switch i of level k-1 of every copy goes to level-k switches i n .. (i+1) n - 1. Source: ATOP/ZCube
(SIGCOMM 2025, doi 10.1145/3718958.3750503).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import MAX_GPUS, FabricSpec


class ZCubeLevelsSpec(FabricSpec):
    """ZCube(n,k). ``nic_gbps`` is the rate of all k NIC ports together; every link has the rate of one."""

    routings: ClassVar[tuple[str, ...]] = ("shortest-path", "ecmp", "hash")

    family: str = "zcube-levels"
    n: int = Field(ge=2, le=1024, description="GPUs per switch and copies per level")
    levels: int = Field(ge=1, le=8, description="k")

    @model_validator(mode="after")
    def _sizes_fit(self) -> ZCubeLevelsSpec:
        if self.n**self.levels != self.gpus or self.gpus > MAX_GPUS:
            raise ValueError(f"gpus = n^levels = {self.n}^{self.levels} = {self.n**self.levels}, not {self.gpus}")
        return self

    def cable_estimate(self) -> int:
        """Return NIC, inter-switch and NVLink cables."""
        return 2 * self.levels * self.gpus

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        n, k = self.n, self.levels
        per_level = n ** (k - 1)
        gpu = np.arange(self.gpus)
        nic, trunks = [], []
        for level in range(k):
            block, inside = np.divmod(gpu, n ** (level + 1))
            switch = self.gpus + level * per_level + block * n**level + inside % n**level
            medium = CableMedium.COPPER if level == 0 else CableMedium.FIBRE
            nic.append(self.nic_cables(level, switch, ports=k, medium=medium))
            if level:
                # GPUs come first, then the level below, then the level above.
                first = (n if level == 1 else 2 * n, n)
                trunks.append(self.switch_cables(*self._between(level), first, self.nic_gbps / k))
        return self.assemble(name, self.groups_of({f"L{level}": per_level for level in range(k)}), nic, trunks)

    def _between(self, level: int) -> tuple[IntArray, IntArray]:
        """Return both ends of the cables between levels ``level - 1`` and ``level``."""
        n, per_level = self.n, self.n ** (self.levels - 1)
        blocks, lower = n ** (self.levels - level - 1), n ** (level - 1)
        block, copy, i, step = (axis.ravel() for axis in np.indices((blocks, n, lower, n)))
        below = self.gpus + (level - 1) * per_level + (block * n + copy) * lower + i
        above = self.gpus + level * per_level + block * n**level + i * n + step
        return below, above
