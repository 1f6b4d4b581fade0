"""Dragonfly: groups of switches, each group a complete graph, every two groups joined by one global link or more.

Kim, Dally, Scott and Abts (ISCA 2008): p GPUs, a - 1 local and h global links per switch. With one link between every two
groups there are g = a h + 1 of these; p = h, a = 2 p is the balanced machine. A machine of fewer groups spreads the a h global
links of each evenly over the others.

Which switch holds which global link is the relative arrangement: link j of group q, on switch j div h, leads to group
(q + j + 1) mod g. The published mean path lengths (ATOP/ZCube, SIGCOMM 2025, doi 10.1145/3718958.3750503) come out with it and
not with the absolute one. With fewer groups it goes on in the same way (*inferred*: the paper names such machines and no
arrangement): link j leads to group (q + 1 + j mod (g - 1)) mod g, round after round while whole rounds of g - 1 links last.
What is left leads to the groups at distances 1 and -1, 2 and -2, and so on; where one link is left over, to that at distance
g / 2 if g is even, nowhere if it is odd. So every two groups have equally many links or one more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from zcube.arrays import IntArray
from zcube.fabric.model import CableMedium, Fabric
from zcube.fabric.spec import MAX_CABLES, FabricSpec
from zcube.fabric.structure import Structure


@dataclass(frozen=True)
class DragonflyStructure(Structure):
    """Switch ``s`` of group ``q`` is switch ``q switches_per_group + s``; GPUs fill switches in order.

    Cables between switches are those inside groups, by group, then by lower end, then by higher end; then the global ones.
    """

    p: int
    switches_per_group: int
    global_links_per_switch: int
    groups: int


class DragonflySpec(FabricSpec):
    """A dragonfly, balanced and whole by default. All switches are there; GPUs fill them in order."""

    recables: ClassVar[bool] = False
    routings: ClassVar[tuple[str, ...]] = ("dragonfly-minimal", "valiant", "shortest-path", "ecmp", "hash")

    family: str = "dragonfly"
    gpus_per_switch: int | None = Field(default=None, ge=1, le=64, description="p; default: the smallest that has room")
    switches_per_group: int | None = Field(default=None, ge=1, le=4096, description="a; default: 2 p")
    global_links_per_switch: int | None = Field(default=None, ge=1, le=4096, description="h; default: p")
    groups: int | None = Field(default=None, ge=1, description="g, at most a h + 1; default: a h + 1")

    @property
    def structure(self) -> DragonflyStructure:
        """The machine with its defaults filled in."""
        if self.gpus_per_switch:
            return self._of(self.gpus_per_switch)
        return next(one for p in range(1, self.gpus + 1) if _room(one := self._of(p)) >= self.gpus)

    def _of(self, p: int) -> DragonflyStructure:
        a, h = self.switches_per_group or 2 * p, self.global_links_per_switch or p
        return DragonflyStructure(p, a, h, self.groups or a * h + 1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> DragonflySpec:
        machine = self.structure
        p, a, h, g = machine.p, machine.switches_per_group, machine.global_links_per_switch, machine.groups
        if self.gpus > _room(machine):
            sizes = f"gpus_per_switch = {p}, switches_per_group = {a} and groups = {g}"
            raise ValueError(f"gpus = {self.gpus} of at most {_room(machine)} with {sizes}")
        if g > a * h + 1:
            reach = f"switches_per_group * global_links_per_switch + 1 = {a} * {h} + 1 = {a * h + 1}"
            raise ValueError(f"groups = {g} of at most {reach}, so that every two groups have a link")
        cables = 2 * self.gpus + g * a * (a - 1) // 2 + g * a * h // 2
        if cables > MAX_CABLES:
            raise ValueError(f"at most {MAX_CABLES} cables; gpus_per_switch = {p} needs {cables}")
        return self

    def build(self, name: str) -> Fabric:
        """Return the fabric."""
        machine = self.structure
        p, a, h, g = machine.p, machine.switches_per_group, machine.global_links_per_switch, machine.groups
        low, high = np.triu_indices(a, 1)
        first = self.gpus + np.repeat(np.arange(g), len(low)) * a
        one, other, out, back = _global_links(a * h, g)
        ends = (self.gpus + one * a + out // h, self.gpus + other * a + back // h)
        return self.assemble(
            name,
            self.groups_of({"sw": g * a}),
            [self.nic_cables(0, self.gpus + np.arange(self.gpus) // p, medium=CableMedium.COPPER)],
            [
                self.switch_cables(
                    first + np.tile(low, g), first + np.tile(high, g), (p, p), self.nic_gbps, medium=CableMedium.COPPER
                ),
                self.switch_cables(*ends, (p + a - 1, p + a - 1), self.nic_gbps, order=(out, back)),
            ],
            machine,
        )


def capacity_gpus(p: int) -> int:
    """Return the GPUs of the full balanced machine, g a p."""
    return (2 * p * p + 1) * 2 * p * p


def _room(machine: DragonflyStructure) -> int:
    return machine.p * machine.switches_per_group * machine.groups


def _global_links(per_group: int, groups: int) -> IntArray:
    """Return group, other group and the link's number in each [4, links]: round by round, then by group."""
    one, other = np.triu_indices(groups, 1)
    rounds, left = divmod(per_group, max(1, groups - 1))
    distance = np.stack([other - one, one - other + groups])
    # Distances of the last round, in order; each is there with its opposite, so that both groups count the same links.
    steps = np.arange(1, groups // 2 + 1)[: left // 2]
    last = np.union1d(steps, groups - steps)
    if left % 2 and groups % 2 == 0:
        last = np.union1d(last, groups // 2)
    parts = [np.stack([one, other, *(distance - 1 + done * (groups - 1))]) for done in range(rounds)]
    some = np.isin(distance[0], last)
    parts.append(np.stack([one[some], other[some], *(np.searchsorted(last, distance[:, some]) + rounds * (groups - 1))]))
    return np.concatenate(parts, axis=1)
