"""What a wiring is looked for: a funnel of KV transfers, declared, or transfers as listed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.inputs import Declared
from zcube.network.protocol import FlowTable
from zcube.replays.gpus import gpu_numbers, known_gpus
from zcube.seeds import stream
from zcube.workload.flow_lists import read_flows

#: Transfers a wiring is judged by at most; packets of every one are simulated several times.
MOST_TRANSFERS = 200_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """What pairs of GPUs send on the mean, each pair once.

    Attributes
    ----------
    source, target : int array [pairs]
        GPUs.
    weight : float array [pairs]
        Part of all bytes.
    """

    source: IntArray
    target: IntArray
    weight: FloatArray


class Traffic(Protocol):
    """What a wiring is looked for."""

    @property
    def warm_up(self) -> int:
        """Return how many of the first transfers are left out of quantiles."""

    def pairs(self, fabric: Fabric) -> Pairs:
        """Return what pairs of GPUs send on the mean."""

    def sample(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return transfers."""


class Funnel(Declared):
    """KV that leaves prefill servers by one GPU for one, or any, GPU of decode servers.

    Defaults are the funnel of the packet benchmark (benchmarks/packet_funnel.py): sizes log-normal, arrivals Poisson, prefill
    and decode server of a transfer uniform and independent; a quarter of the servers decode, the last ones.
    """

    prefill_servers: int | None = Field(default=None, ge=1, le=1 << 20, description="default: all that do not decode")
    decode_servers: int | None = Field(default=None, ge=1, le=1 << 20, description="default: a quarter, or all but prefill")
    placement: Literal["blocked", "striped"] = Field(
        default="blocked", description="decode servers: the last ones, or spread evenly"
    )
    source_gpu: int = Field(default=0, ge=0, le=255, description="GPU of a prefill server that sends")
    target_gpu: int | Literal["any"] = Field(default=0, description="GPU of a decode server that receives, or any, uniformly")
    load: float = Field(default=0.6, gt=0, lt=1, description="part of what the NICs that receive can take, or those that send")
    mean_bytes: float = Field(default=0.42e9, gt=0, le=1e15, description="mean size of a transfer")
    sigma: float = Field(default=0.7, ge=0, le=3, description="standard deviation of the size's logarithm")
    transfers: int = Field(default=1500, ge=10, le=MOST_TRANSFERS, description="how many a sample has")
    warm_up: int = Field(default=100, ge=0, le=MOST_TRANSFERS, description="first ones left out")

    def checked(self, fabric: Fabric, where: str) -> Funnel:
        """Return the funnel with servers counted on a fabric.

        Raises
        ------
        InputError
            If the fabric has too few servers or GPUs in one; all faults at once.
        """
        servers, size, faults = fabric.servers, fabric.gpus_per_server, []
        decode = self.decode_servers
        if decode is None:
            decode = max(1, servers // 4) if self.prefill_servers is None else servers - self.prefill_servers
        prefill = servers - decode if self.prefill_servers is None else self.prefill_servers
        if prefill < 1 or decode < 1 or prefill + decode > servers:
            found = f"{prefill} prefill and {decode} decode servers"
            faults.append(Fault(f"{where}.prefill_servers", found, f"at least 1 of each, {servers} of {fabric.name} in all"))
        for key in ("source_gpu", "target_gpu"):
            value = getattr(self, key)
            if value != "any" and not 0 <= value < size:
                faults.append(Fault(f"{where}.{key}", str(value), f"0 to {size - 1}, GPUs of a server of {fabric.name}"))
        if self.warm_up >= self.transfers:
            faults.append(Fault(f"{where}.warm_up", str(self.warm_up), f"fewer than transfers = {self.transfers}"))
        if faults:
            raise InputError(faults)
        return self.model_copy(update={"prefill_servers": prefill, "decode_servers": decode})

    def pairs(self, fabric: Fabric) -> Pairs:
        """Return every prefill GPU with every decode GPU, equally."""
        prefill, decode = self._ends(fabric)
        size = fabric.gpus_per_server
        local = np.arange(size) if self.target_gpu == "any" else np.array([self.target_gpu])
        source, target = prefill * size + self.source_gpu, (decode[:, None] * size + local).ravel()
        count = len(source) * len(target)
        return Pairs(np.repeat(source, len(target)), np.tile(target, len(source)), np.full(count, 1 / count))

    def sample(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the transfers of a seed, the same on every wiring."""
        prefill, decode = self._ends(fabric)
        draw, count, size = stream(seed, "wiring funnel"), self.transfers, fabric.gpus_per_server
        sizes: FloatArray = np.ceil(draw.lognormal(np.log(self.mean_bytes) - self.sigma**2 / 2, self.sigma, count))
        receiving = len(decode) * (size if self.target_gpu == "any" else 1)
        per_s = self.load * min(receiving, len(prefill)) * fabric.nic_gbps * 1e9 / (8 * self.mean_bytes)
        source = prefill[draw.integers(len(prefill), size=count)] * size + self.source_gpu
        server, local = decode[draw.integers(len(decode), size=count)] * size, draw.integers(size, size=count)
        target = server + (local if self.target_gpu == "any" else self.target_gpu)
        return FlowTable(source, target, sizes, np.cumsum(draw.exponential(1 / per_s, count)))

    def _ends(self, fabric: Fabric) -> tuple[IntArray, IntArray]:
        """Return prefill and decode servers."""
        sized = self.checked(fabric, "funnel")
        assert sized.prefill_servers is not None and sized.decode_servers is not None
        total = sized.prefill_servers + sized.decode_servers
        server = np.arange(total)
        is_decode = server >= sized.prefill_servers
        if self.placement == "striped":
            is_decode = (server + 1) * sized.decode_servers // total > server * sized.decode_servers // total
        return server[~is_decode], server[is_decode]


@dataclass(frozen=True, eq=False)
class ListedTransfers:
    """Transfers of a file, as ``zcube replay`` reads them.

    Attributes
    ----------
    flows : FlowTable
        The transfers, times from the first one's start.
    """

    flows: FlowTable
    warm_up: int = 0

    @staticmethod
    def read(path: Path, fabric: Fabric) -> ListedTransfers:
        """Read a list of transfers.

        Raises
        ------
        InputError
            With the faults of its rows, or if none crosses from one server to another.
        """
        listed = read_flows(
            path, lambda names: gpu_numbers(fabric, names), known_gpus=known_gpus(fabric), max_flows=MOST_TRANSFERS
        )
        if not (fabric.server_of(listed.source) != fabric.server_of(listed.target)).any():
            raise InputError(Fault(str(path), "transfers inside servers alone", "some from one server to another"))
        start_s = listed.start_s - listed.start_s.min()
        return ListedTransfers(FlowTable(listed.source, listed.target, np.ceil(listed.size_bytes), start_s, listed.cap_bps))

    def pairs(self, fabric: Fabric) -> Pairs:
        """Return the bytes of every pair."""
        ends = np.stack([self.flows.source, self.flows.target], axis=1)
        pairs, place = np.unique(ends, axis=0, return_inverse=True)
        size = np.bincount(place.ravel(), weights=self.flows.size_bytes)
        return Pairs(pairs[:, 0], pairs[:, 1], size / size.sum())

    def sample(self, fabric: Fabric, seed: int) -> FlowTable:
        """Return the transfers, whatever the seed."""
        return self.flows
