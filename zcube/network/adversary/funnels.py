"""Funnels: KV traffic that leaves every server through one NIC, as engines send it whose ranks all hold the same cache.

An engine that ships latent KV with tensor-parallel prefill sends from one rank only (SGLang disaggregation source), and some
decode engines receive on one rank only. A demand here is what many requests come to on average: every pair of GPUs that the
engine may pick, weighted equally. What the fullest inter-switch link then carries, against what it would if all links shared
the load by their rates, is how far the fabric itself narrows the funnel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.fabric.model import BITS_PER_GBIT, CableKind, Fabric
from zcube.network.adversary.shares import crossing, link_loads, link_name, trunk_links
from zcube.routing.routes import Routing
from zcube.seeds import stream

Pairs = tuple[IntArray, IntArray]

#: Prefill servers per decode server where several send to one.
PREFILL_PER_DECODE = 3
#: Pairs beyond which a uniform demand is drawn at random instead of taken whole; the fullest link then carries some chance.
MOST_PAIRS = 4_000_000

_PAIRS_AT_ONCE = 1 << 18


def to_another(servers: int, gpus_per_server: int, local: int = 0, seed: int = 0) -> Pairs:
    """One transfer a server: GPU i of every server to GPU i of another, servers in one random cycle."""
    order = stream(seed, "adversary derangement").permutation(servers)
    return order * gpus_per_server + local, np.roll(order, -1) * gpus_per_server + local


def to_same(servers: int, gpus_per_server: int, local: int = 0, seed: int = 0) -> Pairs:
    """GPU i of every server to GPU i of every other server, equally."""
    gpu = np.arange(servers) * gpus_per_server + local
    return _all_pairs(gpu, gpu, seed)


def to_any(servers: int, gpus_per_server: int, local: int = 0, seed: int = 0) -> Pairs:
    """GPU i of every server to every GPU of the other servers, equally."""
    gpu = np.arange(servers) * gpus_per_server + local
    return _all_pairs(gpu, np.arange(servers * gpus_per_server), seed)


def several_to_one(servers: int, gpus_per_server: int, local: int = 0, seed: int = 0) -> Pairs:
    """Three prefill servers per decode server, decode servers last: GPU i of every prefill to GPU i of every decode server."""
    decode = max(1, servers // (PREFILL_PER_DECODE + 1))
    gpu = np.arange(servers) * gpus_per_server + local
    return _all_pairs(gpu[:-decode], gpu[-decode:], seed)


#: Every funnel by the name it has in reports. Each takes (servers, GPUs per server, local GPU, seed).
FUNNELS: Mapping[str, Callable[[int, int, int, int], Pairs]] = MappingProxyType(
    {"to-another": to_another, "to-same": to_same, "to-any": to_any, "several-to-one": several_to_one}
)


@dataclass(frozen=True, slots=True)
class FunnelLoad:
    """How a funnel loads the links between switches.

    Attributes
    ----------
    pairs : int
        Transfers, one for every pair of GPUs in different servers.
    unreachable : int
        Pairs for which failures leave no path.
    link : str
        The fullest inter-switch link, load over rate.
    transfers : float
        Transfers on it, each counted with the part that crosses it.
    ideal_transfers : float
        The same if all inter-switch links shared the present load by their rates.
    over_nic : float
        Load over rate of the fullest inter-switch link, over that of the fullest NIC; up to 1 the NICs alone limit. Where GPUs
        forward, links to NICs count among those between switches. Unlike ``concentration`` it can be compared between fabrics.
    """

    pairs: int
    unreachable: int
    link: str
    transfers: float
    ideal_transfers: float
    over_nic: float

    @property
    def concentration(self) -> float:
        """Load of the fullest link over the ideal spread; 1 is best, nan where nothing crosses."""
        return self.transfers / self.ideal_transfers if self.ideal_transfers > 0 else float("nan")

    def document(self) -> dict[str, Any]:
        """Return the load as JSON-ready data."""
        return {
            "pairs": self.pairs,
            "unreachable_pairs": self.unreachable,
            "fullest_link": self.link,
            "transfers_on_fullest_link": self.transfers,
            "transfers_if_spread_ideally": self.ideal_transfers,
            "fullest_over_ideal": self.concentration if self.ideal_transfers > 0 else None,
            "fullest_over_fullest_nic": self.over_nic,
        }


def funnel_load(fabric: Fabric, routing: Routing, source: IntArray, target: IntArray) -> FunnelLoad:
    """Return how equal transfers between pairs of GPUs load the links between switches.

    Parameters
    ----------
    fabric : Fabric
        What carries them.
    routing : Routing
        A policy bound to the fabric; each transfer is split over its paths in the routing's fixed parts.
    source, target : int array [pairs]
        GPUs. Pairs inside a server are left out.
    """
    source, target = crossing(fabric, source, target)
    load, unreachable = np.zeros(fabric.links), 0
    for first in range(0, len(source), _PAIRS_AT_ONCE):
        part = slice(first, first + _PAIRS_AT_ONCE)
        routes = routing.routes(source[part], target[part])
        load += link_loads(fabric, routes)
        unreachable += len(routes.unreachable)
    trunk = trunk_links(fabric)
    gbps = fabric.link_capacity_bps / BITS_PER_GBIT
    rate = gbps[trunk]
    trunk, rate = trunk[rate > 0], rate[rate > 0]
    over_nic = _over_nic(fabric, load, gbps, source, target)
    if not load[trunk].any():
        return FunnelLoad(len(source), unreachable, "none", 0.0, 0.0, over_nic)
    place = int(np.argmax(load[trunk] / rate))
    ideal = float(load[trunk].sum() * rate[place] / rate.sum())
    name = link_name(fabric, int(trunk[place]))
    return FunnelLoad(len(source), unreachable, name, float(load[trunk[place]]), ideal, over_nic)


def _over_nic(fabric: Fabric, load: FloatArray, gbps: FloatArray, source: IntArray, target: IntArray) -> float:
    """Return load over rate of the fullest link that is no sender's and no receiver's own, over that of the fullest NIC."""
    if not len(source):
        return 0.0
    shared = trunk_links(fabric)
    if fabric.structure.hosts_forward:
        shared = np.flatnonzero(np.repeat(fabric.cables.kind != CableKind.NVLINK, 2))
    shared = shared[gbps[shared] > 0]
    nic = max(np.bincount(source).max(), np.bincount(target).max()) / fabric.nic_gbps
    return float((load[shared] / gbps[shared]).max(initial=0.0) / nic)


def _all_pairs(source: IntArray, target: IntArray, seed: int) -> Pairs:
    if len(source) * len(target) <= MOST_PAIRS:
        return np.repeat(source, len(target)), np.tile(target, len(source))
    rng = stream(seed, "adversary funnel")
    return rng.choice(source, MOST_PAIRS), rng.choice(target, MOST_PAIRS)
