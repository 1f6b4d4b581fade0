"""How evenly a wiring spreads what the traffic sends over the links between switches, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.fabric.model import BITS_PER_GBIT, Fabric
from zcube.fabric.recabling import recabled
from zcube.network.adversary.shares import trunk_links
from zcube.plan.rewiring.traffic import Pairs
from zcube.routing.routes import Routing

#: Fullest link, and sum of the squares of all links' loads; loads over rate, over those of the fullest NIC.
Spread = tuple[float, float]
ROUNDED = 9


@dataclass(frozen=True, eq=False)
class WiringLoads:
    """Loads of a fabric's wirings.

    Attributes
    ----------
    fabric : Fabric
        As its family builds it.
    route : callable
        Binds the routing to a fabric.
    pairs : Pairs
        What is sent.
    """

    fabric: Fabric
    route: Callable[[Fabric], Routing]
    pairs: Pairs

    def of(self, cabled_as: IntArray, among: BoolArray | None = None) -> FloatArray:
        """Return the load of each directed link in a wiring, of all pairs or those chosen [links]."""
        chosen = slice(None) if among is None else among
        wired = recabled(self.fabric, cabled_as)
        routes = self.route(wired).routes(self.pairs.source[chosen], self.pairs.target[chosen])
        weight = self.pairs.weight[chosen][routes.flow_of_path] * routes.share
        return np.asarray(np.bincount(routes.link, weights=weight[routes.path_of_hop], minlength=wired.links), dtype=np.float64)

    def after(self, load: FloatArray, before: IntArray, swapped: IntArray, gpus: tuple[int, int]) -> FloatArray:
        """Return loads after two GPUs have exchanged their cables, from those before."""
        touched = np.isin(self.pairs.source, gpus) | np.isin(self.pairs.target, gpus)
        if not touched.any():
            return load
        return load - self.of(before, touched) + self.of(swapped, touched)

    def spread(self, load: FloatArray) -> Spread:
        """Return how even loads are; lower is better, the fullest link first."""
        over = load[self._trunk] / self._gbps[self._trunk] / self._nic
        return round(float(over.max(initial=0.0)), ROUNDED), round(float((over * over).sum()), ROUNDED)

    @cached_property
    def _trunk(self) -> IntArray:
        trunk = trunk_links(self.fabric)
        return trunk[self._gbps[trunk] > 0]

    @cached_property
    def _gbps(self) -> FloatArray:
        return self.fabric.link_capacity_bps / BITS_PER_GBIT

    @cached_property
    def _nic(self) -> float:
        """Load over rate of the fullest NIC, which no wiring changes."""
        ends = (self.pairs.source, self.pairs.target)
        return float(max(np.bincount(end, weights=self.pairs.weight).max() for end in ends) / self.fabric.nic_gbps)


def blocks(fabric: Fabric) -> IntArray:
    """Return the block of each GPU, inside which GPUs may take each other's cables [gpus].

    GPUs of one switch at NIC port 0, where they have several ports: what runs to that switch stays as short as it is. GPUs of
    one server where they have one.
    """
    if fabric.nic_ports == 1:
        return np.arange(fabric.gpus) // fabric.gpus_per_server
    return np.unique(fabric.cables.b[fabric.nic_cable[:, 0]], return_inverse=True)[1].ravel()
