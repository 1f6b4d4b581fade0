"""BCube(n,2): n^2 GPUs with two NIC ports each, two levels of n switches of n ports, no cable between switches.

GPU (a, b) = a n + b has port 0 on level-0 switch a (``lower``) and port 1 on level-1 switch b (``upper``). GPUs forward:
two GPUs without a common switch meet over a third one. Source: BCube (SIGCOMM 2009), in the form in which ATOP/ZCube
(SIGCOMM 2025, doi 10.1145/3718958.3750503) compares it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import model_validator

from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import FabricSpec
from zcube.fabric.structure import Structure


@dataclass(frozen=True)
class BCubeStructure(Structure):
    """GPU ``a n + b`` is on switch a of level 0 and switch b of level 1."""

    hosts_forward: ClassVar[bool] = True
    n: int


class BCubeSpec(FabricSpec):
    """BCube with two levels, n the square root of ``gpus``; each NIC port has half of ``nic_gbps``."""

    recables: ClassVar[bool] = False
    routings: ClassVar[tuple[str, ...]] = ("bcube-paths",)

    family: str = "bcube"

    @property
    def n(self) -> int:
        """GPUs per switch and switches per level."""
        return math.isqrt(self.gpus)

    @model_validator(mode="after")
    def _sizes_fit(self) -> BCubeSpec:
        if self.n < 2 or self.n * self.n != self.gpus:
            raise ValueError(f"gpus = {self.gpus} to be a square of at least 4")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        n = self.n
        a, b = np.divmod(np.arange(self.gpus), n)
        return self.assemble(
            name,
            self.groups_of({"lower": n, "upper": n}),
            [
                # A server's ports to level 0 all go to one switch, beside which it can stand.
                self.nic_cables(0, self.gpus + a, ports=2, medium=CableMedium.COPPER),
                self.nic_cables(1, self.gpus + n + b, ports=2),
            ],
            [],
            BCubeStructure(n),
        )
