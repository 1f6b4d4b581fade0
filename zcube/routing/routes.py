"""The central type of the room: paths of many flows as compressed rows, and how one is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import RunError
from zcube.fabric.model import Fabric


@dataclass(frozen=True, eq=False)
class Routes:
    """Paths of flows. A subflow has one directed link or more; a flow has one subflow or more, or none if it cannot be routed.

    Attributes
    ----------
    first_subflow : int array [flows + 1]
        Flow ``f`` owns subflows ``first_subflow[f] .. first_subflow[f + 1]``.
    first_hop : int array [subflows + 1]
        Subflow ``s`` crosses ``link[first_hop[s] .. first_hop[s + 1]]`` in order.
    link : int array [hops]
        Directed links.
    share : float array [subflows]
        Part of the flow's bytes a subflow carries where bytes are split in fixed parts; sums to 1 over a flow.
    """

    first_subflow: IntArray
    first_hop: IntArray
    link: IntArray
    share: FloatArray

    @property
    def flows(self) -> int:
        """Number of flows."""
        return len(self.first_subflow) - 1

    @property
    def unreachable(self) -> IntArray:
        """Flows for which there is no path."""
        return np.flatnonzero(np.diff(self.first_subflow) == 0)

    def take(self, flows: IntArray) -> Routes:
        """Return the paths of some of the flows, in the order given."""
        subflow, per_flow = _members(self.first_subflow, flows)
        hop, per_subflow = _members(self.first_hop, subflow)
        first = [np.concatenate([[0], np.cumsum(counts)]).astype(np.int64) for counts in (per_flow, per_subflow)]
        return Routes(first[0], first[1], self.link[hop], self.share[subflow])

    def subflow_latency_s(self, link_latency_s: FloatArray) -> FloatArray:
        """Return the one-way delay along each subflow [subflows], seconds."""
        return np.add.reduceat(link_latency_s[self.link], self.first_hop[:-1]) if len(self.link) else np.zeros(0)

    def latency_s(self, link_latency_s: FloatArray) -> FloatArray:
        """Return the longest delay over each flow's subflows [flows], seconds; 0 for a flow without a path."""
        latency = np.zeros(self.flows)
        routed = np.flatnonzero(np.diff(self.first_subflow))
        if len(routed):
            latency[routed] = np.maximum.reduceat(self.subflow_latency_s(link_latency_s), self.first_subflow[routed])
        return latency


class Routing(Protocol):
    """A routing policy bound to a fabric."""

    @property
    def name(self) -> str:
        """The policy's name."""
        ...

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return the paths from GPU ``source[i]`` to ``target[i]`` as flow i, without subflows if there is no path."""
        ...


def assemble(subflows_per_flow: IntArray, hops: IntArray) -> Routes:
    """Put padded hop rows together.

    Parameters
    ----------
    subflows_per_flow : int array [flows]
        How many rows each flow owns, in order; 0 for a flow without a path.
    hops : int array [subflows, width]
        Directed links in order, -1 where there is none.
    """
    taken = hops >= 0
    first_hop = np.concatenate([[0], np.cumsum(taken.sum(axis=1))])
    first_subflow = np.concatenate([[0], np.cumsum(subflows_per_flow)])
    share = np.repeat(1.0 / np.maximum(subflows_per_flow, 1), subflows_per_flow)
    return Routes(first_subflow.astype(np.int64), first_hop.astype(np.int64), hops[taken].astype(np.int64), share)


def join(parts: Sequence[Routes]) -> Routes:
    """Return the routes of flows that follow each other, from at least one part."""
    subflow = np.cumsum([0, *(len(part.share) for part in parts)])
    hop = np.cumsum([0, *(len(part.link) for part in parts)])
    zero = np.zeros(1, dtype=np.int64)
    return Routes(
        np.concatenate([zero, *(part.first_subflow[1:] + base for part, base in zip(parts, subflow))]),
        np.concatenate([zero, *(part.first_hop[1:] + base for part, base in zip(parts, hop))]),
        np.concatenate([part.link for part in parts]),
        np.concatenate([part.share for part in parts]),
    )


def _members(first: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the members of some rows of a compressed table, one after the other, and how many each row has."""
    count = first[rows + 1] - first[rows]
    return np.repeat(first[rows] - np.cumsum(count) + count, count) + np.arange(count.sum()), count


def check_reachable(routes: Routes, source: IntArray, target: IntArray) -> None:
    """Refuse flows for which there is no path.

    Raises
    ------
    RunError
        With the first few pairs.
    """
    lost = routes.unreachable
    if len(lost):
        pairs = ", ".join(f"GPU {source[flow]} to GPU {target[flow]}" for flow in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise RunError(f"no path left from {pairs}{more}")


def nvlink_hops(fabric: Fabric, source: IntArray, target: IntArray) -> IntArray:
    """Return the two directed links between GPUs of one server [flows, 2]."""
    return np.stack([2 * fabric.nvlink_cable[source], 2 * fabric.nvlink_cable[target] + 1], axis=1)


def uplink(fabric: Fabric, gpu: IntArray, port: IntArray | int) -> IntArray:
    """Return the directed link out of a GPU's NIC port."""
    return 2 * fabric.nic_cable[gpu, port]


def downlink(fabric: Fabric, gpu: IntArray, port: IntArray | int) -> IntArray:
    """Return the directed link into a GPU's NIC port."""
    return 2 * fabric.nic_cable[gpu, port] + 1


def check_pairs(fabric: Fabric, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
    """Return both ends as arrays of one length, refused where they are no pair of distinct GPUs.

    Raises
    ------
    ValueError
        If lengths differ, a GPU is unknown, or a GPU would send to itself.
    """
    source, target = np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64)
    if source.shape != target.shape or source.ndim != 1:
        raise ValueError(f"source and target need one length each, got shapes {source.shape} and {target.shape}")
    for name, gpu in (("source", source), ("target", target)):
        if len(gpu) and (gpu.min() < 0 or gpu.max() >= fabric.gpus):
            raise ValueError(f"{name} GPUs must lie in 0..{fabric.gpus - 1}, got {gpu.min()}..{gpu.max()}")
    if np.any(source == target):
        raise ValueError(f"GPU {source[source == target][0]} would send to itself")
    return source, target
