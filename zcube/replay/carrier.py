"""What carries transfers: a fabric with its routing at one fidelity, and the paths over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.memory import check_memory
from zcube.network.alone import alone_s
from zcube.network.flow_model import PATH_SPLITS, FlowModel, IdealRouting, Medium, PathSplit
from zcube.network.fluid_state import HOP_BYTES, POOL_BYTES, SUBFLOW_BYTES
from zcube.network.packet.footprint import memory_bound_bytes
from zcube.network.packet.model import PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import DEFAULT_QUEUE_PAIRS, routing_for
from zcube.routing.routes import Routes, Routing, join

if TYPE_CHECKING:
    from zcube.calibrate.apply import AppliedCalibration

Fidelity = Literal["ideal", "flow", "packet"]
FIDELITIES: tuple[Fidelity, ...] = get_args(Fidelity)

#: Pairs routed at once.
ROUTED_AT_ONCE = 1 << 17
MAX_FAULTS_LISTED = 20

#: Memory beside the fluid's own arrays, bytes: the program with its libraries; a transfer as read, with times and rates; its
#: subflows and hops as routed. Fitted to the peak memory of replays of a million flows, see docs/replay.md.
PROGRAM_BYTES, FLOW_BYTES, MORE_SUBFLOW_BYTES, MORE_HOP_BYTES = 350e6, 260, 16, 20

#: ``progress(what, done, total)``.
ReplayProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Carrier:
    """A fabric ready to carry transfers.

    Attributes
    ----------
    fabric : Fabric
        What carries them.
    fidelity, path_split : str
        How.
    routing : Routing
        Gives paths over the links of ``medium``.
    medium : Medium
        Directed links, by number.
    queue_pairs : int or None
        Of every pair of GPUs; None where that means nothing.
    seed : int
        Of the hash that chooses paths.
    quantum_s : float
        Events that follow each other within this time are solved as one; 0 is exact.
    bin_s : float
        Width of the bins of time for which links' bytes (packets: depths of queues and pauses) are kept; 0 for totals only.
    packet : PacketSettings or None
        Of the packet fidelity; None for the others.
    calibration : AppliedCalibration or None
        What of the links was measured; ``fabric`` has it already.
    """

    fabric: Fabric
    fidelity: Fidelity
    path_split: PathSplit
    routing: Routing
    medium: Medium
    queue_pairs: int | None
    seed: int
    quantum_s: float
    bin_s: float
    packet: PacketSettings | None = None
    calibration: AppliedCalibration | None = None

    def model(self) -> FlowModel | PacketModel:
        """Return an idle network."""
        return self.fluid() if self.packet is None else self.packets()

    def fluid(self) -> FlowModel:
        """Return an idle fluid over the links; of the packet fidelity, what packets are compared with."""
        return FlowModel(self.medium, self.routing, self.path_split, self.fidelity, quantum_s=self.quantum_s, bin_s=self.bin_s)

    def packets(self) -> PacketModel:
        """Return an idle packet network over the links."""
        return PacketModel(self.medium, self.routing, self.packet, self.path_split, bin_s=self.bin_s)

    def document(self) -> dict[str, Any]:
        """Return what carried, JSON-ready."""
        return {
            "fabric": self.fabric.name,
            "gpus": self.fabric.gpus,
            "fidelity": self.fidelity,
            "routing": self.routing.name,
            "path_split": self.path_split,
            "queue_pairs": self.queue_pairs,
            "seed": self.seed,
            "quantum_s": self.quantum_s,
        }

    def recorded(self) -> dict[str, Any]:
        """Return how bytes move, by the keys under which a recorded run says it."""
        moved = {key: value for key, value in self.document().items() if key not in ("fabric", "gpus")}
        return {
            **moved,
            "calibration": None if self.calibration is None else self.calibration.data_sha256,
            "packet": None if self.packet is None else self.packet.model_dump(mode="json"),
        }

    def route(
        self,
        flows: FlowTable,
        where: Callable[[Sequence[int]], list[str]],
        memory_gb: float | None,
        progress: ReplayProgress,
    ) -> tuple[Routes, FloatArray]:
        """Return the paths of transfers, and how long each would take with the network to itself, delay included [flows].

        Parameters
        ----------
        flows : FlowTable
            At least one.
        where : callable
            Gives the place of each row in what the user gave, for faults.
        memory_gb : float, optional
            Most memory the run may use, in 1e9 bytes; default: what is available.
        progress : callable
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
        progress("routes", 0, total)
        # A path has two links or more, so this is the least it can take.
        _check_room(total, total, 2 * total, memory_gb)
        for first in range(0, total, ROUTED_AT_ONCE):
            rows = slice(first, min(first + ROUTED_AT_ONCE, total))
            routes = self.routing.routes(flows.source[rows], flows.target[rows])
            subflows, hops = subflows + len(routes.share), hops + len(routes.link)
            _check_room(total, max(subflows, total), max(hops, 2 * total), memory_gb)
            lost += len(routes.unreachable)
            unreachable = (first + routes.unreachable[: MAX_FAULTS_LISTED - len(faults)]).tolist()
            for row, place in zip(unreachable, where(unreachable) if unreachable else [], strict=True):
                faults.append(Fault(place, f"GPU {flows.source[row]} to GPU {flows.target[row]}", "a pair with a path left"))
            if not lost:
                alone.append(self._alone_s(routes, flows, rows))
                blocks.append(routes)
            progress("routes", rows.stop, total)
        if lost > len(faults):
            faults.append(Fault("flows", f"{lost - len(faults)} more without a path", "none; the first ones are listed above"))
        if faults:
            raise InputError(faults)
        if self.packet is not None:
            packets = memory_bound_bytes(self.medium, self.packet, flows.size_bytes, subflows, hops)
            needed = packets + estimate_bytes(total, max(subflows, total), max(hops, 2 * total))
            check_memory(needed, memory_gb, f"a replay of {total} flows packet by packet")
        return join(blocks), np.concatenate(alone)

    def _alone_s(self, routes: Routes, flows: FlowTable, rows: slice) -> FloatArray:
        cap = None if flows.cap_bps is None else flows.cap_bps[rows]
        bits = flows.size_bytes[rows] * 8.0
        seconds = alone_s(routes, self.medium.capacity_bps, bits, cap, self.path_split == "pooled")
        started_s = self.medium.message_start_s(routes, flows.size_bytes[rows])
        return seconds + routes.latency_s(self.medium.latency_s) + started_s


def carrier(
    fabric: Fabric,
    *,
    fidelity: Fidelity = "flow",
    routing: str = "default",
    queue_pairs: int = DEFAULT_QUEUE_PAIRS,
    path_split: PathSplit = "pooled",
    seed: int = 0,
    quantum_s: float = 0.0,
    bin_s: float = 0.0,
    packet: PacketSettings | None = None,
    calibration: AppliedCalibration | None = None,
) -> Carrier:
    """Make a fabric ready to carry transfers.

    Parameters
    ----------
    fabric : Fabric
        What carries them.
    fidelity : {"ideal", "flow", "packet"}
        Only NIC links limit (``routing`` and ``queue_pairs`` then mean nothing); max-min fluid; RoCE packet by packet.
    routing, queue_pairs, seed
        As in :func:`~zcube.routing.catalog.routing_for`.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    quantum_s, bin_s : float
        As in :class:`Carrier`.
    packet : PacketSettings, optional
        Of the packet fidelity; default: published values. Its seed is the run's.
    calibration : AppliedCalibration, optional
        Measured rates and latencies of links in place of line rates.

    Raises
    ------
    InputError
        If a choice is unknown.
    """
    choices = (("--fidelity", fidelity, FIDELITIES), ("--path-split", path_split, PATH_SPLITS))
    faults = [Fault(where, repr(found), "one of " + ", ".join(known)) for where, found, known in choices if found not in known]
    if packet is not None and fidelity != "packet":
        faults.append(Fault("packet settings", f"with --fidelity {fidelity}", "--fidelity packet"))
    if faults:
        raise InputError(faults)
    if calibration is not None:
        from zcube.calibrate.links import calibrated

        fabric = calibrated(fabric, calibration)
    ideal = fidelity == "ideal"
    medium = Medium.of_ideal_core(fabric) if ideal else Medium.of_fabric(fabric)
    policy = IdealRouting(fabric) if ideal else routing_for(fabric, routing, queue_pairs=queue_pairs, seed=seed)
    pairs = None if ideal else queue_pairs
    if fidelity == "packet":
        packet = (packet or PacketSettings()).model_copy(update={"seed": seed})
    return Carrier(fabric, fidelity, path_split, policy, medium, pairs, seed, quantum_s, bin_s, packet, calibration)


def estimate_bytes(flows: int, subflows: int, hops: int) -> float:
    """Return about how much memory a replay takes, bytes."""
    return (
        PROGRAM_BYTES
        + flows * FLOW_BYTES
        # Where bytes are split in fixed parts, every subflow is a pool of its own.
        + subflows * (POOL_BYTES + SUBFLOW_BYTES + MORE_SUBFLOW_BYTES)
        + hops * (HOP_BYTES + MORE_HOP_BYTES)
    )


def _check_room(flows: int, subflows: int, hops: int, memory_gb: float | None) -> None:
    what = f"a replay of {flows} flows over {subflows} subflows and {hops} hops or more"
    check_memory(estimate_bytes(flows, subflows, hops), memory_gb, what)
