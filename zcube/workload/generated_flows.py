"""Lists of transfers that are made and not read: the KV funnel, an all-to-all, a random permutation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.inputs import Declared
from zcube.seeds import stream
from zcube.workload.flow_lists import FlowList


@dataclass(frozen=True, slots=True)
class Cluster:
    """What transfers are made for: GPUs, GPUs of a server, and the line rate of a GPU's NIC in Gb/s."""

    gpus: int
    gpus_per_server: int
    nic_gbps: float

    @property
    def servers(self) -> int:
        """Number of servers."""
        return self.gpus // self.gpus_per_server


class Pattern(Declared):
    """Transfers made from a seed; ``cell_bytes`` is what packets are merged into by default, None: they are not."""

    cell_bytes: ClassVar[int | None] = None

    def flows(self, cluster: Cluster, seed: int) -> FlowList:
        """Return the transfers of a seed.

        Raises
        ------
        InputError
            If the cluster is too small.
        """
        raise NotImplementedError


class KvFunnel(Pattern):
    """Prefill servers send KV caches from GPU 0 to decode servers, all through few NICs.

    Prefill and decode server of a transfer are drawn uniformly, arrivals are Poisson at ``load`` of what NIC 0 of the decode
    servers takes, sizes log-normal of mean ``mean_bytes``.
    """

    cell_bytes: ClassVar[int | None] = 32768

    transfers: int = Field(default=400, ge=1, le=1_000_000, description="how many")
    mean_bytes: float = Field(default=120e6, gt=0, le=1e12)
    sigma: float = Field(default=0.0, ge=0, le=3, description="standard deviation of the size's logarithm; 0: all alike")
    load: float = Field(default=0.6, gt=0, le=10)
    decode_share: float = Field(default=0.25, gt=0, lt=1, description="part of the servers that decode")
    placement: Literal["blocked", "striped"] = Field(
        default="blocked", description="decode servers are the last ones, or spread evenly among the others"
    )
    rank_map: Literal["0-0", "0-d"] = Field(default="0-0", description="to GPU 0 of the decode server, or to any of its GPUs")

    def decode_servers(self, cluster: Cluster) -> IntArray:
        """Return the servers that decode."""
        count, server = max(1, round(self.decode_share * cluster.servers)), np.arange(cluster.servers)
        if self.placement == "blocked":
            return server[-count:]
        return server[np.diff((server + 1) * count // cluster.servers, prepend=0) > 0]

    def flows(self, cluster: Cluster, seed: int) -> FlowList:
        """Return the transfers of a seed."""
        decode = self.decode_servers(cluster)
        prefill = np.setdiff1d(np.arange(cluster.servers), decode)
        if not len(prefill):
            raise InputError(
                Fault("kv-funnel", f"{cluster.servers} servers", "a server that prefills beside those that decode")
            )
        draw, count, nics = stream(seed, "packet-funnel"), self.transfers, cluster.gpus_per_server
        size = draw.lognormal(np.log(self.mean_bytes) - self.sigma**2 / 2, self.sigma, count)
        gap_s = self.mean_bytes * 8 / (self.load * len(decode) * cluster.nic_gbps * 1e9)
        source, target = draw.choice(prefill, count) * nics, draw.choice(decode, count) * nics
        local = draw.integers(0, nics, count)
        start_s = np.cumsum(draw.exponential(gap_s, count))
        return _listed(source, target + local * (self.rank_map == "0-d"), np.maximum(1.0, np.ceil(size)), start_s)


class AllToAll(Pattern):
    """Every GPU sends to every other; transfers of a server over NVLink are left out.

    Each GPU begins with its successor and goes on round the cluster, all at once from time 0.
    """

    cell_bytes: ClassVar[int | None] = 16384

    mean_bytes: float = Field(default=1 << 20, gt=0, le=1e12, description="from one GPU to one other")
    nvlink: bool = Field(default=False, description="also between GPUs of a server")

    def flows(self, cluster: Cluster, seed: int) -> FlowList:
        """Return the transfers; no seed changes them."""
        source, offset = np.divmod(np.arange(cluster.gpus * (cluster.gpus - 1)), cluster.gpus - 1)
        target = (source + 1 + offset) % cluster.gpus
        if not self.nvlink:
            between = source // cluster.gpus_per_server != target // cluster.gpus_per_server
            source, target = source[between], target[between]
        if not len(source):
            raise InputError(Fault("all-to-all", f"{cluster.servers} server", "two servers, or nvlink = true"))
        return _listed(source, target, np.full(len(source), np.ceil(self.mean_bytes)), np.zeros(len(source)))


class Permutation(Pattern):
    """Every GPU sends to one other and receives from one, drawn uniformly anew for each seed, all at time 0."""

    mean_bytes: float = Field(default=16 << 20, gt=0, le=1e12, description="from one GPU to one other")

    def flows(self, cluster: Cluster, seed: int) -> FlowList:
        """Return the transfers of a seed."""
        draw, source = stream(seed, "permutation of transfers"), np.arange(cluster.gpus)
        target = draw.permutation(cluster.gpus)
        # A GPU that met itself changes with the next such one, or with any other if it is alone.
        alone = np.flatnonzero(target == source)
        if len(alone) == 1:
            alone = np.append(alone, (alone[0] + 1) % cluster.gpus)
        target[alone] = target[np.roll(alone, 1)]
        return _listed(source, target, np.full(cluster.gpus, np.ceil(self.mean_bytes)), np.zeros(cluster.gpus))


#: Every pattern by its name.
PATTERNS: Mapping[str, type[Pattern]] = MappingProxyType(
    {"kv-funnel": KvFunnel, "all-to-all": AllToAll, "permutation": Permutation}
)


def _listed(source: IntArray, target: IntArray, size_bytes: FloatArray, start_s: FloatArray) -> FlowList:
    return FlowList(np.arange(len(source)), source, target, size_bytes, start_s)
