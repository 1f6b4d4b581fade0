"""PXN: a transfer to another rail first goes over NVLink to the local GPU of that rail, then up that GPU's NIC.

This is what NCCL calls PXN, and what a fabric of independent rails needs. Queue pairs are hashed inside the plane as under
``ecmp``, with the keys of the two GPUs that talk: the relay opens queue pairs of its own for each of them.

Where failures cut that way, the next local GPU of the source's server that reaches the destination is the relay; where none
does, both servers relay, on the first rail that joins them. The second relay is not part of NCCL's PXN: it is how a fabric of
rails stays connected when a leaf is down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.families.planes import PlanesStructure
from zcube.fabric.model import Fabric
from zcube.routing.hashing import queue_pair_keys
from zcube.routing.routes import Routes, assemble, check_pairs, downlink, nvlink_hops, row_starts, uplink
from zcube.routing.shortest import hashed_walks
from zcube.routing.switch_graph import SwitchGraph, reachable


@dataclass(frozen=True, eq=False)
class PxnPaths:
    """Routing over the destination's rail; GPUs of one server use NVLink.

    Attributes
    ----------
    fabric : Fabric
        What is routed; one NIC port per GPU.
    queue_pairs : int
        Queue pairs per transfer.
    seed : int
        Seed of the UDP source ports.
    """

    fabric: Fabric
    queue_pairs: int = 1
    seed: int = 0
    name: str = "pxn"

    def __post_init__(self) -> None:
        if self.fabric.nic_ports != 1:
            found = f"pxn on {self.fabric.name}, whose GPUs have {self.fabric.nic_ports} NIC ports"
            raise InputError(Fault("routing", found, "a fabric with one NIC port per GPU, or another policy"))

    @cached_property
    def graph(self) -> SwitchGraph:
        """The fabric's switch graph."""
        return SwitchGraph.of(self.fabric)

    @cached_property
    def nic_switch(self) -> IntArray:
        """Switch behind each GPU's NIC, numbered from 0, -1 where the NIC is down [gpus]."""
        cable = self.fabric.nic_cable[:, 0]
        switch = (self.fabric.cables.b[cable] - self.fabric.gpus).astype(np.int64)
        return np.where(self.fabric.cable_up[cable], switch, -1)

    @property
    def rails(self) -> int:
        """Local GPU j is on rail ``j mod rails``."""
        structure, rails = self.fabric.structure, self.fabric.parameters.get("rails")
        if isinstance(structure, PlanesStructure):
            return structure.planes
        return rails if isinstance(rails, int) else self.fabric.gpus_per_server

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return ``queue_pairs`` subflows per pair, one over NVLink inside a server, none without a way."""
        fabric = self.fabric
        source, target = check_pairs(fabric, source, target)
        local = fabric.server_of(source) == fabric.server_of(target)
        sender, receiver = self.relays(source, target)
        subflows = np.where(local, 1, np.where(sender >= 0, self.queue_pairs, 0))
        flow = np.repeat(np.arange(len(source)), subflows)
        queue_pair = np.arange(len(flow)) - row_starts(subflows)[flow]
        key = queue_pair_keys(source, target, self.queue_pairs, self.seed)[flow * self.queue_pairs + queue_pair]
        away = ~local[flow]
        between = self._between_servers(source, target, sender, receiver, flow[away], key[away])
        rows = np.full((len(flow), between.shape[1]), -1, dtype=np.int64)
        rows[away] = between
        rows[~away, :2] = nvlink_hops(fabric, source[flow[~away]], target[flow[~away]])
        return assemble(subflows, rows)

    def relays(self, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray]:
        """Return the GPUs whose NICs send and receive for each pair [flows], -1 without a way or inside a server."""
        server = self.fabric.server_of(source), self.fabric.server_of(target)
        sender, receiver = np.full(len(source), -1), np.full(len(source), -1)
        left = np.flatnonzero(server[0] != server[1])
        for send, receive in self._options(source, target):
            if not len(left):
                break
            ways = reachable(self.graph, self.nic_switch[send[left]], self.nic_switch[receive[left]])
            taken, left = left[ways], left[~ways]
            sender[taken], receiver[taken] = send[taken], receive[taken]
        return sender, receiver

    def _options(self, source: IntArray, target: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield sender and receiver of each pair [flows], best first."""
        size = self.fabric.gpus_per_server
        local = target % size
        at_source, at_target = source - source % size, target - local
        same_rail = source % size % self.rails == local % self.rails
        yield np.where(same_rail, source, at_source + local), target
        for step in range(size):
            yield at_source + (local + step) % size, target
        for step in range(1, size):
            other = (local + step) % size
            yield at_source + other, at_target + other

    def _between_servers(
        self, source: IntArray, target: IntArray, sender: IntArray, receiver: IntArray, flow: IntArray, key: IntArray
    ) -> IntArray:
        """Return padded hop rows of subflows that leave their server [subflows, width]."""
        fabric = self.fabric
        send, receive = sender[flow], receiver[flow]
        inner = hashed_walks(self.graph, self.nic_switch[send], self.nic_switch[receive], key)
        before = np.where((send != source[flow])[:, None], nvlink_hops(fabric, source[flow], send), -1)
        after = np.where((receive != target[flow])[:, None], nvlink_hops(fabric, receive, target[flow]), -1)
        up, down = uplink(fabric, send, 0)[:, None], downlink(fabric, receive, 0)[:, None]
        return np.concatenate([before, up, inner, down, after], axis=1)
