"""Three workloads of flows built from a seed, one path per flow, on fabrics without delay.

W1 and W2 are all-to-all among all GPUs of a fabric, all flows at time 0; W3 is Poisson KV transfers from the first half of
the GPUs (prefill) to the second (decode). Delays are 0 because SimGrid's CM02 makes a flow's share depend on its delay: only
without delay do both programs solve the same problem. Sizes are whole bytes, as SimGrid's are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.protocol import FlowTable
from zcube.routing.shortest import ShortestPaths
from zcube.seeds import stream

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class AllToAll:
    """One flow per ordered pair of GPUs, all at time 0, pairs inside a server included.

    Attributes
    ----------
    size_bytes : int
        Size of every flow.
    fabrics : tuple of str
        Fabrics it runs on.
    servers : int or None
        Take part: that many servers spread evenly over the fabric; all of them if None.
    """

    size_bytes: int
    fabrics: tuple[str, ...]
    servers: int | None = None

    def flows(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the flows; nothing is drawn."""
        server = np.arange(self.servers or fabric.servers) * (fabric.servers // (self.servers or fabric.servers))
        gpu = (server[:, None] * fabric.gpus_per_server + np.arange(fabric.gpus_per_server)).ravel()
        source, target = (gpu[axis.ravel()] for axis in np.indices((len(gpu), len(gpu))))
        pairs = source != target
        flows = int(pairs.sum())
        return FlowTable(source[pairs], target[pairs], np.full(flows, float(self.size_bytes)), np.zeros(flows))


@dataclass(frozen=True)
class KvTransfers:
    """Poisson transfers of log-normal size from the first half of the GPUs to the second, both ends uniform.

    Attributes
    ----------
    transfers : int
        Number of transfers.
    fabrics : tuple of str
        Fabrics it runs on.
    mean_bytes, sigma : float
        Mean of the size, and standard deviation of its logarithm.
    load : float
        Offered load as a part of the senders' NIC capacity.
    """

    transfers: int
    fabrics: tuple[str, ...]
    mean_bytes: float = 50e6
    sigma: float = 1.5
    load: float = 0.6

    def flows(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the flows of a seed."""
        draw, half, count = stream(seed, "kv-transfers"), fabric.gpus // 2, self.transfers
        size = draw.lognormal(np.log(self.mean_bytes) - self.sigma**2 / 2, self.sigma, count)
        source, target = draw.integers(0, half, count), half + draw.integers(0, half, count)
        gap_s = self.mean_bytes * 8 / (self.load * half * fabric.nic_gbps * 1e9)
        start_s = np.cumsum(draw.exponential(gap_s, count))
        return FlowTable(source, target, np.maximum(np.rint(size), 1.0), start_s)


Workload = AllToAll | KvTransfers

FULL: Mapping[str, Workload] = MappingProxyType(
    {
        "W1": AllToAll(1 * MIB, ("roft-256", "zcube-n16")),
        "W2": AllToAll(64 * KIB, ("roft-1024", "zcube-n32")),
        "W3": KvTransfers(100_000, ("roft-1024", "zcube-n32")),
    }
)

#: The same kinds, small enough for a test.
SMALL: Mapping[str, Workload] = MappingProxyType(
    {
        "W1": AllToAll(1 * MIB, ("roft-256", "zcube-n16"), servers=4),
        "W2": AllToAll(64 * KIB, ("roft-1024", "zcube-n32"), servers=8),
        "W3": KvTransfers(2_000, ("roft-1024", "zcube-n32")),
    }
)


def undelayed_fabric(name: str) -> Fabric:
    """Return a bundled fabric with the delay of every cable set to 0."""
    fabric = load_fabric(name)
    return replace(fabric, cables=replace(fabric.cables, latency_s=np.zeros(len(fabric.cables))))


def one_path_routing(fabric: Fabric, seed: int) -> ShortestPaths:
    """Return shortest paths with one queue pair per transfer: one path per flow, a function of its two ends."""
    return ShortestPaths(fabric, "hash", queue_pairs=1, all_ports=False, seed=seed)


def event_count(start_s: np.ndarray, finish_s: np.ndarray, apart_s: float = 1e-9) -> int:
    """Return how many distinct moments see a flow start or finish: the re-solves that an event-driven fluid needs.

    Parameters
    ----------
    start_s, finish_s : float array [flows]
        Times of every flow.
    apart_s : float
        Moments no further apart than this are one, as in SimGrid at the precision it is run with.
    """
    moments = np.sort(np.concatenate([start_s, finish_s]))
    return 1 + int((np.diff(moments) > apart_s).sum()) if len(moments) else 0


def path_rows(fabric: Fabric, routing: ShortestPaths, source: IntArray, target: IntArray) -> dict[str, np.ndarray]:
    """Return the directed links that each flow takes as columns ``flow, hop, from, to, link, capacity_bps``."""
    routes = routing.routes(source, target)
    hops = np.diff(routes.first_hop)
    names = np.array([fabric.node_name(node) for node in range(fabric.nodes)])
    return {
        "flow": np.repeat(np.arange(routes.flows), hops),
        "hop": np.arange(len(routes.link)) - np.repeat(routes.first_hop[:-1], hops),
        "from": names[fabric.link_source[routes.link]],
        "to": names[fabric.link_target[routes.link]],
        "link": routes.link,
        "capacity_bps": fabric.link_capacity_bps[routes.link],
    }
