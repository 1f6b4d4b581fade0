"""The central type of the room: paths of many flows as compressed rows, and how one is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.errors import NetworkStoppedError
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
    def subflows(self) -> int:
        """Number of subflows."""
        return len(self.share)

    @property
    def paths_per_flow(self) -> IntArray:
        """Subflows of each flow [flows]."""
        return np.diff(self.first_subflow)

    @property
    def hops_per_path(self) -> IntArray:
        """Links of each subflow [subflows]."""
        return np.diff(self.first_hop)

    @property
    def flow_of_path(self) -> IntArray:
        """Flow of each subflow [subflows]."""
        return np.repeat(np.arange(self.flows), self.paths_per_flow)

    @property
    def path_of_hop(self) -> IntArray:
        """Subflow of each hop [hops]."""
        return np.repeat(np.arange(self.subflows), self.hops_per_path)

    @property
    def flow_of_hop(self) -> IntArray:
        """Flow of each hop [hops]."""
        return self.flow_of_path[self.path_of_hop]

    @property
    def place_of_path(self) -> IntArray:
        """Which of its flow's subflows each one is, from 0 [subflows]."""
        return np.arange(self.subflows) - self.first_subflow[self.flow_of_path]

    @property
    def place_of_hop(self) -> IntArray:
        """Links crossed before each hop on its path [hops]."""
        return np.arange(len(self.link)) - self.first_hop[self.path_of_hop]

    @property
    def first_link(self) -> IntArray:
        """Link by which each subflow leaves its source [subflows]."""
        return self.link[self.first_hop[:-1]]

    @property
    def last_link(self) -> IntArray:
        """Link by which each subflow enters its target [subflows]."""
        return self.link[self.first_hop[1:] - 1]

    @property
    def followed(self) -> IntArray:
        """Hops that another one follows on the same path: hop h is followed by hop h + 1 [turns]."""
        inner = np.ones(len(self.link), dtype=bool)
        inner[self.first_hop[1:] - 1] = False
        return np.flatnonzero(inner)

    @property
    def routed(self) -> BoolArray:
        """Whether there is a path [flows]."""
        return self.paths_per_flow > 0

    @property
    def unreachable(self) -> IntArray:
        """Flows for which there is no path."""
        return np.flatnonzero(~self.routed)

    def take(self, flows: IntArray) -> Routes:
        """Return the paths of some of the flows, in the order given."""
        subflow, per_flow = _members(self.first_subflow, flows)
        hop, per_subflow = _members(self.first_hop, subflow)
        return Routes(row_starts(per_flow), row_starts(per_subflow), self.link[hop], self.share[subflow])

    def rows(self, width: int) -> IntArray:
        """Return subflows as rows of links, -1 behind their end [subflows, width]."""
        rows = np.full((self.subflows, width), -1, dtype=np.int64)
        rows[np.arange(width) < self.hops_per_path[:, None]] = self.link
        return rows

    def per_flow(self, of_path: FloatArray, reduce: np.ufunc) -> FloatArray:
        """Return what a ufunc makes of the values of each flow's subflows [flows]; 0 for a flow without a path."""
        found, routed = np.zeros(self.flows), self.routed
        if self.subflows:
            found[routed] = reduce.reduceat(of_path, self.first_subflow[:-1][routed])
        return found

    def subflow_latency_s(self, link_latency_s: FloatArray) -> FloatArray:
        """Return the one-way delay along each subflow [subflows], seconds."""
        return np.add.reduceat(link_latency_s[self.link], self.first_hop[:-1]) if len(self.link) else np.zeros(0)

    def latency_s(self, link_latency_s: FloatArray) -> FloatArray:
        """Return the longest delay over each flow's subflows [flows], seconds; 0 for a flow without a path."""
        return self.per_flow(self.subflow_latency_s(link_latency_s), np.maximum)


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
    share = np.repeat(1.0 / np.maximum(subflows_per_flow, 1), subflows_per_flow)
    return Routes(row_starts(subflows_per_flow), row_starts(taken.sum(axis=1)), hops[taken].astype(np.int64), share)


def join(parts: Sequence[Routes]) -> Routes:
    """Return the routes of flows that follow each other, from at least one part."""
    return Routes(
        row_starts(np.concatenate([part.paths_per_flow for part in parts])),
        row_starts(np.concatenate([part.hops_per_path for part in parts])),
        np.concatenate([part.link for part in parts]),
        np.concatenate([part.share for part in parts]),
    )


def merged(routes: Routes, flows: IntArray, others: Routes) -> Routes:
    """Return routes in which some flows have further paths, behind those they have.

    Parameters
    ----------
    routes : Routes
        Of all flows.
    flows : int array
        Flows that get further paths.
    others : Routes
        The further paths of these, in their order.
    """
    width = max(int(table.hops_per_path.max(initial=0)) for table in (routes, others))
    flow = np.concatenate([routes.flow_of_path, flows[others.flow_of_path]])
    rows = np.concatenate([routes.rows(width), others.rows(width)])
    return assemble(np.bincount(flow, minlength=routes.flows), rows[np.argsort(flow, kind="stable")])


def row_starts(count: IntArray) -> IntArray:
    """Return where each row of a compressed table begins, and the end of the last [rows + 1], from the members of each."""
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64)


def _members(first: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the members of some rows of a compressed table, one after the other, and how many each row has."""
    count = first[rows + 1] - first[rows]
    return np.repeat(first[rows] - np.cumsum(count) + count, count) + np.arange(count.sum()), count


def check_reachable(routes: Routes, source: IntArray, target: IntArray) -> None:
    """Refuse flows for which there is no path.

    Raises
    ------
    NetworkStoppedError
        With the first few pairs.
    """
    lost = routes.unreachable
    if len(lost):
        pairs = ", ".join(f"GPU {source[flow]} to GPU {target[flow]}" for flow in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise NetworkStoppedError(f"no path left from {pairs}{more}")


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
