"""A cell of a matrix under one seed: a fabric, how bytes move on it, what it carries; a function of a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from zcube.calibrate.links import carrier_on
from zcube.errors import Fault
from zcube.fabric.model import Fabric
from zcube.fabric_run import FabricTask, run_fabric
from zcube.kept_runs import Done, done_by
from zcube.matrix.conditions import Conditions
from zcube.memory import NoRoomError
from zcube.network.packet.outcome import PacketOutcome
from zcube.network.settings import Network
from zcube.progress import ShareDone, share_simulated
from zcube.quantiles import spread
from zcube.replays.flows import Replay, replay
from zcube.replays.operations import replay_trace
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routes
from zcube.trace.comm_trace import CommTrace, Kind
from zcube.workload.flow_lists import FlowList

#: Pairs whose paths say how many senders a transfer has.
PAIRS_COUNTED = 4096
#: What of a serving run's metrics is kept.
SERVED = ("requests", "duration_s", "throughput", "ttft_s", "tpot_s", "e2e_s", "kv_transfer_s", "slo", "cost")


@dataclass(frozen=True, slots=True, eq=False)
class CarriedTask:
    """Listed transfers, or a trace, over a fabric.

    Attributes
    ----------
    name : str
        What is said of it while it runs.
    fabric : Fabric
        As declared.
    network : Network
        How bytes move.
    conditions : Conditions
        What the fabric suffers.
    seed : int
        Of hashes, marks and conditions.
    carried : FlowList or CommTrace
        What is carried.
    needed_bytes : float
        Estimate of its memory; 0 where a run checks that itself.
    """

    name: str
    fabric: Fabric
    network: Network
    conditions: Conditions
    seed: int
    carried: FlowList | CommTrace
    needed_bytes: float = 0.0

    @property
    def memory_gb(self) -> float | None:
        """Most that its run may use, if that was said."""
        return self.network.memory_gb

    def figures(self, told: ShareDone) -> dict[str, Any]:
        """Carry it and return how long transfers took and what packets met."""
        source, target = ends_of(self.carried)

        def paths() -> Routes:
            # Those of no column, so that one seed fails the same links in all of them.
            return routing_for(self.fabric).routes(source, target)

        fabric = self.conditions.of(self.fabric, self.seed, np.union1d(source, target), paths)
        carrier = carrier_on(fabric, self.network.model_copy(update={"load_bins": 0}), self.seed)
        progress = share_simulated(told)
        if isinstance(self.carried, FlowList):
            done = replay(carrier, self.carried, progress=progress, beside_fluid=False)
            whole_s = done.makespan_s
        else:
            traced = replay_trace(carrier, self.carried, progress=progress)
            done, whole_s = traced.transfers, float(traced.times.finish_s.max(initial=0.0))
        routes = carrier.routing.routes(source[:PAIRS_COUNTED], target[:PAIRS_COUNTED])
        narrow = carrier.narrow_spread(source, target)
        return {
            "duration_s": spread(done.duration_s, maximum=True),
            "completion_s": whole_s,
            "senders_per_transfer": _senders(routes, self.network),
            **({} if narrow is None else {"spread": {key: narrow[key] for key in ("paths", "shortest_paths")}}),
            **_packets(done),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ServedTask:
    """A scenario's requests on a fabric."""

    name: str
    task: FabricTask
    needed_bytes: float

    @property
    def memory_gb(self) -> float | None:
        """Most that its run may use, if that was said."""
        return self.task.carrier.network.memory_gb

    def figures(self, told: ShareDone) -> dict[str, Any]:
        """Serve them and return the metrics that are kept, with what packets met."""
        done = run_fabric(replace(self.task, keep=True), told)
        assert done.run is not None
        packets = {} if done.packets is None else met(done.packets, done.run.completions.finish_s - done.run.flows.start_s)
        return {**{key: done.metrics[key] for key in SERVED if key in done.metrics}, **packets}


#: What a cell's figures come from.
Task: TypeAlias = CarriedTask | ServedTask


def run_cell(task: Task, told: ShareDone) -> Done:
    """Run a cell; what goes wrong in it is kept, so that others go on.

    Raises
    ------
    NoRoomError
        If it would take more memory than was said to be allowed.
    """
    told(0.0)
    try:
        return done_by(lambda: task.figures(told), (NoRoomError,) if task.memory_gb is not None else ())
    except NoRoomError as error:
        raise NoRoomError(Fault(f"{task.name}: {one.where}", one.found, one.expected) for one in error.faults) from error


def ends_of(carried: FlowList | CommTrace) -> tuple[np.ndarray, np.ndarray]:
    """Return GPUs that send and receive, pair by pair; of a trace by rank, collectives from each rank to the next."""
    if isinstance(carried, FlowList):
        return carried.source, carried.target
    rows = carried.rows(Kind.TRANSFER)
    pairs = {(int(a), int(b)) for a, b in zip(carried.source[rows], carried.target[rows], strict=True)}
    for group in carried.groups:
        pairs |= {(a, b) for a, b in zip(group, (*group[1:], group[0]), strict=True) if a != b}
    ends = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def met(packets: PacketOutcome, duration_s: np.ndarray) -> dict[str, Any]:
    """Return what packets met, as a ``packet`` section."""
    document = packets.document(duration_s)
    return {
        "packet": {
            **asdict(packets.counts),
            "paused_ports": document["paused_ports"],
            "paused_s": document["paused_s"],
            "victims": document["victims"]["flows"],
        }
    }


def _packets(done: Replay) -> dict[str, Any]:
    return {} if done.packets is None else met(done.packets, done.duration_s)


def _senders(routes: Routes, network: Network) -> float | None:
    """Return how many queue pairs a transfer has on the mean: one a path, or one a NIC port where packets are spread."""
    if network.fidelity == "ideal" or not routes.flows:
        return None
    if network.packet.path_choice != "static" and network.fidelity != "packet":
        return None
    if network.packet.path_choice == "static":
        return float(routes.paths_per_flow.mean())
    spread = network.packet.spread_queue_pairs
    if network.packet.queue_pair_ports == "all":
        return float(spread)
    first = routes.link[routes.first_hop[:-1]]
    ports = np.unique(np.stack([routes.flow_of_path, first]), axis=1).shape[1]
    return float(spread * ports / routes.flows)
