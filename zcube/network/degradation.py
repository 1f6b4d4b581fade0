"""How much slower transfers between servers get by what has failed in a fabric.

The traffic: every server sends to ``partners`` others and takes from as many, by cycles over all servers drawn from the seed;
each of its GPUs sends the same bytes to the GPU of the same number over there, all at once. A transfer between two servers, as
of a KV cache or of a layer's gradients, is done when the last of its GPUs' parts is. The figure is how much longer transfers
take on the mean, in the fluid, against the same fabric with nothing failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.fabric.model import BITS_PER_GBIT, Fabric
from zcube.network.flow_model import flow_model
from zcube.network.protocol import FlowTable
from zcube.progress import Progress, ShareDone, TogetherDone, silent
from zcube.routing.catalog import routing_for
from zcube.routing.relay import FallBack, intact
from zcube.routing.routes import Routes, Routing
from zcube.seeds import stream
from zcube.side_by_side import SideBySide, jobs_for

#: Of one GPU's part of a transfer; long enough that delays do not count.
PART_BYTES = 1e8

#: About what a run takes, by the square of its GPUs.
SQUARE_GPU_S = 4e-7

#: Told the events done and the events there are.
EventsDone = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Degradation:
    """Transfers between servers with and without failures.

    Attributes
    ----------
    fabric, routing : str
        What carried them.
    transfers : int
        Between servers.
    without_path : int
        Of these, with a part that nothing carries; left out of the times.
    intact_s, broken_s : float
        Mean time of the others, with nothing failed and as it is; nan if there are none.
    worst : float
        Largest ratio of the two over single transfers.
    slower_transfers : int
        Those that take more than 1 % longer.
    rate_lost : float
        Part of the transfers without a path, and of the others the mean part of the rate that is lost; 0 where they gain, as
        they do where much traffic is gone.
    share_after : float
        Mean rate after the failure over what NICs alone would let through with nothing failed: 0 of transfers without a path,
        1 at most, as of those that gain. A fabric that was slow before has a small one, however little it loses.
    """

    fabric: str
    routing: str
    transfers: int
    without_path: int
    intact_s: float
    broken_s: float
    worst: float
    slower_transfers: int
    rate_lost: float
    share_after: float

    @property
    def slower(self) -> float:
        """By what part transfers take longer on the mean."""
        return self.broken_s / self.intact_s - 1.0

    def document(self) -> dict[str, Any]:
        """Return the figures, JSON-ready; times are null where nothing was carried."""
        carried = self.without_path < self.transfers
        return {
            "fabric": self.fabric,
            "routing": self.routing,
            "transfers": self.transfers,
            "transfers_without_path": self.without_path,
            "transfers_slower": self.slower_transfers,
            "mean_intact_s": self.intact_s if carried else None,
            "mean_s": self.broken_s if carried else None,
            "slower_mean": self.slower if carried else None,
            "slower_worst": self.worst - 1.0 if carried else None,
            "rate_lost_mean": self.rate_lost,
            "share_after_mean": self.share_after,
        }


def degradation(
    fabric: Fabric,
    route: Callable[[Fabric], Routing],
    partners: int = 8,
    seed: int = 0,
    progress: EventsDone | None = None,
    before_s: FloatArray | None = None,
) -> Degradation:
    """Return how much slower transfers between servers get by what has failed.

    Parameters
    ----------
    fabric : Fabric
        With something failed.
    route : callable
        Binds the routing policy, with its fall-back, to a fabric.
    partners : int
        Servers that each server sends to, all at once.
    seed : int
        Of the draw of partners.
    progress : callable, optional
        Told how far the run is.
    before_s : float array [transfers], optional
        What :func:`intact_times_s` gives for the same partners and seed, so that many failures of one fabric share a run.

    Raises
    ------
    InputError
        If nothing has failed, or there are too few servers for so many partners.
    """
    faults = []
    if fabric.cable_up.all():
        faults.append(Fault(f"fabric {fabric.name}", "nothing failed", "failures behind an @, e.g. @switch:A0"))
    if not 1 <= partners < fabric.servers:
        faults.append(Fault("partners", str(partners), f"1 to {fabric.servers - 1}, for {fabric.servers} servers"))
    if faults:
        raise InputError(faults)
    source, target = _traffic(fabric, partners, seed)
    routing = route(fabric)
    routes = routing.routes(source, target)
    kept = np.repeat(routes.routed.reshape(-1, fabric.gpus_per_server).all(axis=1), fabric.gpus_per_server)
    if before_s is None:
        before_s = intact_times_s(fabric, route, partners, seed, progress)
    after = _times_s(fabric, routing, routes, source, target, kept, progress)
    carried = np.isfinite(after)
    ratio = after[carried] / before_s[carried]
    return Degradation(
        fabric.name,
        routing.name,
        len(before_s),
        int((~carried).sum()),
        float(before_s[carried].mean()) if carried.any() else np.nan,
        float(after[carried].mean()) if carried.any() else np.nan,
        float(ratio.max(initial=0.0)),
        int((ratio > 1.01).sum()),
        (int((~carried).sum()) + max(0.0, float((1.0 - 1.0 / ratio).sum()))) / len(before_s),
        float(np.minimum(1.0, _nics_alone_s(fabric, partners) / after[carried]).sum()) / len(before_s),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Degrading:
    """What is asked of several fabrics: how each routes, and to how many servers each server sends."""

    queue_pairs: int
    fall_back: FallBack
    partners: int
    seed: int


def degradations(
    fabrics: Sequence[Fabric], asked: Degrading, progress: Progress = silent, jobs: int | None = 1
) -> list[Degradation]:
    """Return the :func:`degradation` of each fabric, each with its own routing.

    Parameters
    ----------
    fabrics : sequence of Fabric
        With something failed in each.
    asked : Degrading
        Routing and traffic.
    progress : Progress
        Told how far all of it is.
    jobs : int, optional
        Fabrics at a time; default: as of :func:`~zcube.side_by_side.jobs_for`.

    Raises
    ------
    InputError
        As of :func:`degradation`, of the first fabric that has a fault.
    """
    told = TogetherDone(progress, "routing and filling", len(fabrics))
    for number, fabric in enumerate(fabrics):
        told.name(number, fabric.name)
    run_s = SQUARE_GPU_S * max(fabric.gpus for fabric in fabrics) ** 2
    with SideBySide(jobs_for(jobs, len(fabrics), run_s), __name__) as beside:
        return list(beside.in_order(partial(_degraded, asked), fabrics, told))


def _degraded(asked: Degrading, fabric: Fabric, told: ShareDone) -> Degradation:
    passes, last = 0, 0

    def tell(done: int, total: int) -> None:
        # Intact, and then with the failures.
        nonlocal passes, last
        passes, last = passes + (done < last), done
        told(min(1.0, (passes + done / total) / 2) if total else 0.0)

    def route(one: Fabric) -> Routing:
        return routing_for(one, queue_pairs=asked.queue_pairs, seed=asked.seed, fall_back=asked.fall_back)

    return degradation(fabric, route, asked.partners, asked.seed, tell)


def intact_times_s(
    fabric: Fabric, route: Callable[[Fabric], Routing], partners: int = 8, seed: int = 0, progress: EventsDone | None = None
) -> FloatArray:
    """Return how long each transfer between servers takes with nothing failed; parameters as of :func:`degradation`."""
    source, target = _traffic(fabric, partners, seed)
    whole = intact(fabric)
    routing = route(whole)
    routes = routing.routes(source, target)
    return _times_s(whole, routing, routes, source, target, np.ones(len(source), dtype=bool), progress)


def _nics_alone_s(fabric: Fabric, partners: int) -> float:
    """Return how long a transfer takes where only NICs limit: each sends and takes a part of every partner's at once."""
    return partners * PART_BYTES * 8.0 / (fabric.nic_gbps * BITS_PER_GBIT)


def _traffic(fabric: Fabric, partners: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return sources and targets, the GPUs of one transfer between servers together."""
    draw = stream(seed, "partners")
    out, into = [], []
    for _ in range(partners):
        cycle = draw.permutation(fabric.servers)
        out.append(cycle)
        into.append(np.roll(cycle, -1))
    local = np.arange(fabric.gpus_per_server)
    source, target = (np.concatenate(part)[:, None] * fabric.gpus_per_server + local for part in (out, into))
    return source.ravel(), target.ravel()


def _times_s(
    fabric: Fabric,
    routing: Routing,
    routes: Routes,
    source: IntArray,
    target: IntArray,
    kept: BoolArray,
    progress: EventsDone | None,
) -> FloatArray:
    """Return how long each transfer between servers takes, nan where it is not kept [transfers]."""
    seconds = np.full(len(source), np.nan)
    if kept.any():
        model = flow_model(fabric, routing)
        count = int(kept.sum())
        flows = FlowTable(source[kept], target[kept], np.full(count, PART_BYTES), np.zeros(count))
        model.send(flows, routes if kept.all() else routes.take(np.flatnonzero(kept)))
        model.run(progress or (lambda done, total: None), 50)
        seconds[kept] = model.completions().finish_s
    return np.asarray(seconds.reshape(-1, fabric.gpus_per_server).max(axis=1))
