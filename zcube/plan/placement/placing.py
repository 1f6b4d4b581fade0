"""Contiguous, striped, or found by search: three ways to seat prefill and decode nodes, told apart by the same transfers.

The search exchanges the seats of a prefill and a decode node, or moves a node to a free server, both drawn from the seed, and
keeps what makes the transfers of a sample shorter on the mean in the max-min fluid. It starts from the better of the other two
and never ends with a worse one. It finds nothing that the sample does not hold: every placement is judged by another sample,
drawn from the next seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric
from zcube.llm.rankmap import rank_map
from zcube.network.flow_model import flow_model
from zcube.network.protocol import FlowTable
from zcube.plan.placement.kv_sample import KvLoad, KvSample, kv_sample
from zcube.progress import Progress, silent
from zcube.quantiles import spread
from zcube.routing.routes import Routing
from zcube.seeds import stream
from zcube.serving.placement import Placed, seats

if TYPE_CHECKING:
    import pandas as pd

#: Placements tried by the search.
TRIALS = 200
MAX_TRIALS = 100_000


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """One placement and what transfers take on it.

    Attributes
    ----------
    name : str
        ``contiguous``, ``striped`` or ``traffic-aware``.
    placed : Placed
        Servers by role.
    transfer_s : dict
        Mean and quantiles of the time of a request's KV transfer, seconds, over the sample that judges.
    """

    name: str
    placed: Placed
    transfer_s: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return the row as JSON-ready data."""
        return {
            "placement": self.name,
            "transfer_s": dict(self.transfer_s),
            "prefill_servers": list(self.placed.prefill),
            "decode_servers": list(self.placed.decode),
        }


@dataclass(frozen=True, slots=True)
class PlacementReport:
    """Placements of one load on one fabric, shortest mean transfer first; of equals in the order of their names."""

    fabric: str
    routing: str
    load: KvLoad
    seed: int
    trials: int
    kept: int
    rows: tuple[PlacementRow, ...]

    @property
    def best(self) -> PlacementRow:
        """The one with the shortest mean transfer."""
        return self.rows[0]

    def table(self) -> pd.DataFrame:
        """Return one row per placement."""
        import pandas as pd

        return pd.DataFrame([{"placement": r.name, **{f"{k}_s": v for k, v in r.transfer_s.items()}} for r in self.rows])

    def document(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "fabric": self.fabric,
            "routing": self.routing,
            "load": self.load.model_dump(mode="json"),
            "seed": self.seed,
            "trials": self.trials,
            "trials_kept": self.kept,
            "placements": [row.document() for row in self.rows],
        }


def placement_report(
    fabric: Fabric,
    route: Callable[[Fabric], Routing],
    load: KvLoad,
    *,
    trials: int = TRIALS,
    seed: int = 0,
    progress: Progress = silent,
) -> PlacementReport:
    """Seat prefill and decode nodes on a fabric.

    Parameters
    ----------
    fabric : Fabric
        The fabric.
    route : callable
        Binds the routing policy to a fabric.
    load : KvLoad
        Nodes of both pools and what they send.
    trials : int
        Placements that the search tries.
    seed : int
        Of samples and search.
    progress : Progress, optional
        Told how far the search is.

    Raises
    ------
    InputError
        If servers are too few or no nodes that the rank map fits, or numbers are out of range; with every such fault.
    """
    _check(fabric, load, trials)
    routing = route(fabric)
    tried, judging = (kv_sample(load, fabric.nic_gbps, number, fabric.gpus_per_server) for number in (seed, seed + 1))
    pools = load.prefill_nodes, load.decode_nodes
    plain = {"contiguous": seats("blocked", *pools), "striped": seats("striped", *pools)}
    found, kept = _searched(fabric, routing, tried, list(plain.values()), trials, seed, progress)
    rows = [
        PlacementRow(name, placed, spread(_times_s(fabric, routing, judging, placed)))
        for name, placed in (*plain.items(), ("traffic-aware", found))
    ]
    rows.sort(key=lambda row: row.transfer_s["mean"])
    return PlacementReport(fabric.name, routing.name, load, seed, trials, kept, tuple(rows))


def _searched(
    fabric: Fabric, routing: Routing, sample: KvSample, starts: list[Placed], trials: int, seed: int, progress: Progress
) -> tuple[Placed, int]:
    """Return the best placement found, and how many steps led to it."""
    mean_s = [float(_times_s(fabric, routing, sample, one).mean()) for one in starts]
    best, length = starts[int(np.argmin(mean_s))], min(mean_s)
    draw, prefill, kept = stream(seed, "placement"), len(best.prefill), 0
    for trial in range(trials):
        progress("seating nodes", trial, trials, "placements")
        seat = np.array([*best.prefill, *best.decode])
        free = np.setdiff1d(np.arange(fabric.servers), seat)
        one = int(draw.integers(len(seat)))
        # What it may change with: nodes of the other pool, and servers without a node.
        others = np.arange(prefill, len(seat)) if one < prefill else np.arange(prefill)
        chosen = int(draw.integers(len(others) + len(free)))
        if chosen < len(others):
            seat[[one, others[chosen]]] = seat[[others[chosen], one]]
        else:
            seat[one] = free[chosen - len(others)]
        placed = Placed(tuple(seat[:prefill].tolist()), tuple(seat[prefill:].tolist()))
        took = float(_times_s(fabric, routing, sample, placed).mean())
        if took < length:
            best, length, kept = placed, took, kept + 1
    return best, kept


def _times_s(fabric: Fabric, routing: Routing, sample: KvSample, placed: Placed) -> FloatArray:
    """Return how long each request's transfer takes [requests]."""
    source = np.array(placed.prefill)[sample.prefill] * fabric.gpus_per_server + sample.source_rank
    target = np.array(placed.decode)[sample.decode] * fabric.gpus_per_server + sample.target_rank
    model = flow_model(fabric, routing)
    model.send(FlowTable(source, target, sample.size_bytes, sample.start_s))
    model.run(lambda done, total: None, 50)
    took = np.zeros(int(sample.request[-1]) + 1)
    np.maximum.at(took, sample.request, model.completions().finish_s - sample.start_s)
    return took


def _check(fabric: Fabric, load: KvLoad, trials: int) -> None:
    size, faults = fabric.gpus_per_server, []
    try:
        rank_map(load.rank_map, prefill_gpus=size, decode_gpus=size)
    except InputError as error:
        faults += [Fault(f"fabric {fabric.name}: {fault.where}", fault.found, fault.expected) for fault in error.faults]
    if fabric.servers < load.prefill_nodes + load.decode_nodes:
        found = f"{fabric.servers} servers"
        faults.append(Fault(f"fabric {fabric.name}", found, f"at least {load.prefill_nodes} + {load.decode_nodes}"))
    if not 0 <= trials <= MAX_TRIALS:
        faults.append(Fault("trials", str(trials), f"0 to {MAX_TRIALS}"))
    if faults:
        raise InputError(faults)
