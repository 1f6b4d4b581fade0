"""What carries transfers: a fabric with its routing and links, ready for one run after another, and the paths over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.measured import MeasuredLinks
from zcube.fabric.model import Fabric
from zcube.memory import check_memory
from zcube.network.alone import alone_s
from zcube.network.flow_model import FlowModel
from zcube.network.fluid_state import HOP_BYTES, MAX_MIN, POOL_BYTES, SUBFLOW_BYTES
from zcube.network.link_set import IdealRouting, LinkSet
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.progress import Progress
from zcube.routing.catalog import routing_for
from zcube.routing.equal_paths import EqualPaths
from zcube.routing.routes import Routes, Routing, join
from zcube.seeds import stream

if TYPE_CHECKING:
    # Of no use to a fluid, and its kernels take a while to import.
    from zcube.network.packet.model import PacketModel
    from zcube.network.settings import Network

#: Pairs routed at once.
ROUTED_AT_ONCE = 1 << 17
MAX_FAULTS_LISTED = 20
#: Pairs whose paths stand for those that are not known yet.
PAIRS_SAMPLED = 4096

#: Memory beside the fluid's own arrays, bytes: the program with its libraries; a transfer as read, with times and rates; its
#: subflows and hops as routed. Fitted to the peak memory of replays of a million flows, see docs/replay.md.
PROGRAM_BYTES, FLOW_BYTES, MORE_SUBFLOW_BYTES, MORE_HOP_BYTES = 350e6, 236, 16, 20


@dataclass(frozen=True, eq=False)
class Carrier:
    """A fabric ready to carry transfers; made by :meth:`zcube.network.settings.Network.on`.

    Attributes
    ----------
    network : Network
        How bytes move.
    declared : Fabric
        What was asked for: its counts and its bill.
    fabric : Fabric
        The same with the network's NIC cap and measured links, which transfers meet.
    routing : Routing
        Gives paths over the links of ``link_set``.
    link_set : LinkSet
        Directed links, by number.
    seed : int
        Of the hash that chooses paths, and of the marks that packets draw.
    measured : MeasuredLinks or None
        What of the links was measured; ``fabric`` has it already.
    """

    network: Network
    declared: Fabric
    fabric: Fabric
    routing: Routing
    link_set: LinkSet
    seed: int
    measured: MeasuredLinks | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Make it anew in another process: policies of other packages need not be such as can be sent."""
        return Carrier.of, (self.network, self.declared, self.seed, self.measured)

    @staticmethod
    def of(network: Network, declared: Fabric, seed: int, measured: MeasuredLinks | None) -> Carrier:
        """Put a fabric's links and routing together."""
        fabric = declared if network.nic_gbps is None else declared.with_nic_rate(network.nic_gbps)
        fabric = fabric if measured is None else fabric.with_measured_links(measured)
        if network.fidelity == "ideal":
            return Carrier(network, declared, fabric, IdealRouting(fabric), LinkSet.of_ideal_core(fabric), seed, measured)
        routing = routing_for(
            fabric, network.routing, queue_pairs=network.queue_pairs, seed=seed, fall_back=network.fall_back,
            most_paths=network.most_paths,
        )  # fmt: skip
        return Carrier(network, declared, fabric, routing, LinkSet.of_fabric(fabric), seed, measured)

    @property
    def packet(self) -> PacketSettings | None:
        """Settings of the packet fidelity with the run's seed; None of the others."""
        network = self.network
        return network.packet.model_copy(update={"seed": self.seed}) if network.fidelity == "packet" else None

    def model(self) -> FlowModel | PacketModel:
        """Return an idle network."""
        return self.fluid() if self.network.fidelity != "packet" else self.packets()

    def fluid(self) -> FlowModel:
        """Return an idle fluid over the links; of the packet fidelity, what packets are compared with."""
        network = self.network
        return FlowModel(
            self.link_set,
            self.routing,
            network.path_split,
            network.fidelity,
            quantum_s=network.quantum_s,
            bin_s=network.bin_s,
            isolation=network.isolation if network.fidelity == "lossless" else MAX_MIN,
        )

    def packets(self) -> PacketModel:
        """Return an idle packet network over the links."""
        from zcube.network.packet.model import PacketModel

        network = self.network
        return PacketModel(self.link_set, self.routing, self.packet, network.path_split, bin_s=network.bin_s)

    def watch_load(self, model: FlowModel | PacketModel, expected_s: float) -> None:
        """Let an idle network's links be read while it runs, unless no load over time is kept or the links are no fabric's."""
        if self.network.load_bins and expected_s > 0.0 and self.network.fidelity != "ideal":
            model.watch_load(self.network.load_bins, expected_s)

    def document(self) -> dict[str, Any]:
        """Return how bytes move, JSON-ready."""
        network = self.network
        return {
            "fidelity": network.fidelity,
            "routing": self.routing.name,
            # Without failures it means nothing.
            "fall_back": None if network.fidelity == "ideal" or self.fabric.cable_up.all() else network.fall_back,
            "path_split": network.path_split,
            "queue_pairs": None if network.fidelity == "ideal" else network.queue_pairs,
            "nic_gbps": network.nic_gbps,
            "seed": self.seed,
            "quantum_s": network.quantum_s,
            "isolation": network.isolation if network.fidelity == "lossless" else None,
        }

    def settings_document(self) -> dict[str, Any]:
        """Return the same with the settings of the packet fidelity, which a replay has with what it counted."""
        return {**self.document(), "packet": None if self.packet is None else self.packet.model_dump(mode="json")}

    def recorded(self) -> dict[str, Any]:
        """Return how bytes move, by the keys under which a recorded run says it."""
        listed = {"most_paths": self.network.most_paths} if self.routing.name == EqualPaths.name else {}
        return {**self.settings_document(), **listed, "calibration": None if self.measured is None else self.measured.applied()}

    def narrow_spread(self, source: IntArray, target: IntArray) -> dict[str, Any] | None:
        """Return over how many paths packets are spread, where a path choice is set and the routing lists fewer than there are.

        Parameters
        ----------
        source, target : int array [pairs]
            GPUs; of many the first ones are looked at.

        Returns
        -------
        dict or None
            Means over the pairs of different servers: ``paths`` that the routing lists and ``shortest_paths`` that there are;
            ``routing`` and ``path_choice``.
        """
        every_path = (EqualPaths.name, "zcube-all-links")
        if self.packet is None or self.packet.path_choice == "static" or self.routing.name in every_path:
            return None
        source, target = source[:PAIRS_SAMPLED], target[:PAIRS_SAMPLED]
        apart = self.fabric.server_of(source) != self.fabric.server_of(target)
        if not apart.any():
            return None
        ends = source[apart], target[apart]
        every = routing_for(self.fabric, EqualPaths.name, seed=self.seed, most_paths=self.network.most_paths)
        paths, shortest = (float(routing.routes(*ends).paths_per_flow.mean()) for routing in (self.routing, every))
        if paths >= shortest:
            return None
        choice = self.packet.path_choice
        return {"paths": paths, "shortest_paths": shortest, "routing": self.routing.name, "path_choice": choice}

    def route(
        self,
        flows: FlowTable,
        where: Callable[[Sequence[int]], list[str]],
        progress: Progress,
    ) -> tuple[Routes, FloatArray]:
        """Return the paths of transfers, and how long each would take with the network to itself, delay included [flows].

        Parameters
        ----------
        flows : FlowTable
            At least one.
        where : callable
            Gives the place of each row in what the user gave, for faults.
        progress : Progress
            Told how many pairs have been routed.

        Raises
        ------
        InputError
            If a pair has no path, or the run would not fit in memory.
        """
        total, blocks, alone = len(flows), [], []
        subflows = hops = 0
        faults: list[Fault] = []
        lost = 0
        progress("routing", 0, total, "pairs")
        # A path has two links or more, so this is the least it can take.
        self._check_room(total, total, 2 * total)
        for first in range(0, total, ROUTED_AT_ONCE):
            rows = slice(first, min(first + ROUTED_AT_ONCE, total))
            routes = self.routing.routes(flows.source[rows], flows.target[rows])
            subflows, hops = subflows + len(routes.share), hops + len(routes.link)
            self._check_room(total, max(subflows, total), max(hops, 2 * total))
            lost += len(routes.unreachable)
            unreachable = (first + routes.unreachable[: MAX_FAULTS_LISTED - len(faults)]).tolist()
            for row, place in zip(unreachable, where(unreachable) if unreachable else [], strict=True):
                faults.append(Fault(place, f"GPU {flows.source[row]} to GPU {flows.target[row]}", "a pair with a path left"))
            if not lost:
                alone.append(self._alone_s(routes, flows, rows))
                blocks.append(routes)
            progress("routing", rows.stop, total, "pairs")
        if lost > len(faults):
            faults.append(Fault("flows", f"{lost - len(faults)} more without a path", "none; the first ones are listed above"))
        if faults:
            raise InputError(faults)
        if self.packet is not None:
            from zcube.network.packet.footprint import memory_bound_bytes

            packets = memory_bound_bytes(self.link_set, self.packet, flows.size_bytes, subflows, hops)
            needed = packets + estimate_bytes(total, max(subflows, total), max(hops, 2 * total))
            check_memory(needed, self.network.memory_gb, f"a replay of {total} flows packet by packet")
        return join(blocks), np.concatenate(alone)

    def _alone_s(self, routes: Routes, flows: FlowTable, rows: slice) -> FloatArray:
        cap = None if flows.cap_bps is None else flows.cap_bps[rows]
        bits = flows.size_bytes[rows] * 8.0
        seconds = alone_s(routes, self.link_set.capacity_bps, bits, cap, self.network.path_split == "pooled")
        known_s = None if flows.message_start_s is None else flows.message_start_s[rows]
        started_s = self.link_set.message_start_s(routes, flows.size_bytes[rows], known_s)
        return seconds + routes.latency_s(self.link_set.latency_s) + started_s

    def check_room(self, flows: int, what: str) -> float:
        """Return about how much memory as many transfers take with their twins on an ideal core, bytes; refuse too much.

        Their paths are taken to be as many and as long as those of a sample of pairs.

        Raises
        ------
        InputError
            With the estimate and the limit.
        """
        pairs = stream(self.seed, "pairs sampled for memory").integers(0, self.fabric.gpus, (2, PAIRS_SAMPLED))
        routes = self.routing.routes(*pairs[:, pairs[0] != pairs[1]])
        per_flow = flows / max(1, routes.flows)
        subflows, hops = round(len(routes.share) * per_flow), round(len(routes.link) * per_flow)
        needed = estimate_bytes(flows, subflows, hops) + estimate_bytes(flows, flows, 2 * flows) - PROGRAM_BYTES
        check_memory(needed, self.network.memory_gb, what)
        if self.packet is not None:
            from zcube.network.packet.footprint import memory_bound_bytes

            # Sizes are not known, so that buffers and links alone bound the packets under way.
            needed += memory_bound_bytes(self.link_set, self.packet, np.full(flows, np.inf), subflows, hops)
            check_memory(needed, self.network.memory_gb, f"{what} packet by packet")
        return needed

    def _check_room(self, flows: int, subflows: int, hops: int) -> None:
        what = f"a replay of {flows} flows over {subflows} subflows and {hops} hops or more"
        check_memory(estimate_bytes(flows, subflows, hops), self.network.memory_gb, what)


def estimate_bytes(flows: int, subflows: int, hops: int) -> float:
    """Return about how much memory a replay takes, bytes."""
    return (
        PROGRAM_BYTES
        + flows * FLOW_BYTES
        # Where bytes are split in fixed parts, every subflow is a pool of its own.
        + subflows * (POOL_BYTES + SUBFLOW_BYTES + MORE_SUBFLOW_BYTES)
        + hops * (HOP_BYTES + MORE_HOP_BYTES)
    )
