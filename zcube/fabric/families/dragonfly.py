"""Dragonfly: groups of switches, each group a complete graph, exactly one global link between every two groups.

Balanced form of Kim, Dally, Scott and Abts (ISCA 2008): p GPUs, a - 1 = 2p - 1 local and h = p global links per switch, so
g = a h + 1 groups. Which switch holds which global link is the relative arrangement: link j of group q, on switch j div h,
leads to group (q + j + 1) mod g. The published mean path lengths (ATOP/ZCube, SIGCOMM 2025, doi 10.1145/3718958.3750503)
come out with it and not with the absolute one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import MAX_CABLES, FabricSpec


class DragonflySpec(FabricSpec):
    """A balanced dragonfly. All switches are there; GPUs fill them in order."""

    routings: ClassVar[tuple[str, ...]] = ("dragonfly-minimal", "shortest-path", "ecmp", "hash")

    family: Literal["dragonfly"] = "dragonfly"
    gpus_per_switch: int | None = Field(default=None, ge=1, le=64, description="p; default: the smallest that has room")

    @property
    def p(self) -> int:
        """GPUs and global links per switch."""
        return self.gpus_per_switch or next(p for p in range(1, self.gpus + 1) if capacity_gpus(p) >= self.gpus)

    @model_validator(mode="after")
    def _sizes_fit(self) -> DragonflySpec:
        p = self.p
        if self.gpus > capacity_gpus(p):
            raise ValueError(f"gpus = {self.gpus} of at most {capacity_gpus(p)} with gpus_per_switch = {p}")
        a, g = 2 * p, 2 * p * p + 1
        cables = 2 * self.gpus + g * a * (a - 1) // 2 + g * (g - 1) // 2
        if cables > MAX_CABLES:
            raise ValueError(f"at most {MAX_CABLES} cables; gpus_per_switch = {p} needs {cables}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric; cables inside groups come before global ones, each by group, then by lower end."""
        p, a, g = self.p, 2 * self.p, 2 * self.p * self.p + 1
        gpu = np.arange(self.gpus)
        low, high = np.triu_indices(a, 1)
        group = np.repeat(np.arange(g), len(low))
        first = self.gpus + group * a
        low, high = np.tile(low, g), np.tile(high, g)
        # Ports: GPUs, then the other switches of the group in order, then global links.
        inside = (first + low, first + high, p + high - 1, p + low)
        one, other = np.triu_indices(g, 1)
        out, back = global_link(one, other, g), global_link(other, one, g)
        ends = (self.gpus + one * a + out // p, self.gpus + other * a + back // p)
        between = (*ends, p + a - 1 + out % p, p + a - 1 + back % p)
        return self.assemble(
            name,
            self.groups_of({"sw": g * a}),
            [self.nic_cables(0, self.gpus + gpu // p, gpu % p, medium=CableMedium.COPPER)],
            [
                self.switch_cables(inside, self.nic_gbps, medium=CableMedium.COPPER),
                self.switch_cables(between, self.nic_gbps),
            ],
            {"p": p, "switches_per_group": a, "switch_groups": g},
        )


def capacity_gpus(p: int) -> int:
    """Return the GPUs of the full machine, g a p."""
    return (2 * p * p + 1) * 2 * p * p


def global_link(group: IntArray, other: IntArray, groups: int) -> IntArray:
    """Return which of a group's global links leads to another group, 0 .. groups - 2."""
    return (other - group - 1) % groups
