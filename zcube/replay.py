"""Listed transfers carried over one fabric: when each ended, what bounded it, and what every link carried."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from zcube.errors import Fault, InputError
from zcube.fabric.model import Fabric, FloatArray, IntArray
from zcube.memory import check_memory
from zcube.network.alone import alone_s
from zcube.network.flow_model import PATH_SPLITS, FlowModel, IdealRouting, Medium, PathSplit
from zcube.network.fluid_state import HOP_BYTES, POOL_BYTES, SUBFLOW_BYTES
from zcube.network.protocol import CompletionTable, FlowTable, LinkTable
from zcube.routing.catalog import DEFAULT_QUEUE_PAIRS, routing_for
from zcube.routing.routes import Routes, Routing, join
from zcube.workload.flow_lists import FlowList

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

Fidelity = Literal["ideal", "flow"]
FIDELITIES: tuple[Fidelity, ...] = get_args(Fidelity)

#: Pairs routed at once.
ROUTED_AT_ONCE = 1 << 17
#: Hot links and slowest coflows named in the summary.
HOT_LINKS, LISTED_COFLOWS = 10, 100
MAX_FAULTS_LISTED = 20

#: Memory beside the fluid's own arrays, bytes: the program with its libraries; a transfer as read, with times and rates; its
#: subflows and hops as routed. Fitted to the peak memory of replays of a million flows, see docs/replay.md.
PROGRAM_BYTES, FLOW_BYTES, MORE_SUBFLOW_BYTES, MORE_HOP_BYTES = 350e6, 260, 16, 20

_GPU_NAME = re.compile(r"s(0|[1-9][0-9]{0,8})g(0|[1-9][0-9]{0,8})", re.ASCII)
_GPU_NUMBER = re.compile(r"[0-9]{1,10}(\.0)?", re.ASCII)

#: ``progress(what, done, total)``.
ReplayProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class BinnedBytes:
    """Bytes per directed link and bin of time.

    Attributes
    ----------
    origin_s : float
        Start of bin 0.
    bin_s : float
        Width of a bin; 0 where none were asked for.
    size_bytes : float array [bins, links]
        Bytes carried.
    """

    origin_s: float
    bin_s: float
    size_bytes: FloatArray


@dataclass(frozen=True, eq=False)
class Replay:
    """Transfers and what became of them; times are the list's own.

    Attributes
    ----------
    fabric : Fabric
        What carried them.
    fidelity, path_split : str
        How.
    routing : Routing
        Their paths over the links of ``medium``.
    medium : Medium
        Directed links, by number.
    flows : FlowList
        What was asked for.
    completions : CompletionTable
        What became of each, in the list's order.
    duration_s : float array [flows]
        Start to arrival of the last byte; finer than the difference of times where these are large.
    makespan_s : float
        First start to last arrival.
    alone_s : float array [flows]
        Time each would have taken with the network to itself, delay included.
    link_table : LinkTable
        What every link carried.
    bins : BinnedBytes
        What every link carried per bin of time, if bins were asked for.
    settings : dict
        Queue pairs, seed, quantum and events solved, for the summary.
    """

    fabric: Fabric
    fidelity: Fidelity
    path_split: PathSplit
    routing: Routing
    medium: Medium
    flows: FlowList
    completions: CompletionTable
    duration_s: FloatArray
    makespan_s: float
    alone_s: FloatArray
    link_table: LinkTable
    bins: BinnedBytes
    settings: dict[str, Any]

    def flow_columns(self) -> dict[str, np.ndarray]:
        """Return the per-flow table as columns; ``bound_link`` is a link's number, -1 for none."""
        return {
            "id": self.flows.flow_id,
            "src": self.flows.source,
            "dst": self.flows.target,
            "bytes": self.flows.size_bytes,
            "start_s": self.flows.start_s,
            "finish_s": self.completions.finish_s,
            "duration_s": self.duration_s,
            "mean_rate_gbps": self.completions.mean_rate_bps / 1e9,
            "slowdown": self.duration_s / self.alone_s,
            "bound_link": self.completions.bound_link,
        }

    def link_names(self) -> list[str]:
        """Return ``from>to`` of every link."""
        return [f"{source}>{target}" for source, target in zip(self.medium.source, self.medium.target, strict=True)]

    def flow_frame(self) -> pd.DataFrame:
        """Return the per-flow table, ``bound_link`` by name, empty for none."""
        import pandas as pd

        columns = self.flow_columns()
        names = np.array([*self.link_names(), ""], dtype=object)
        return pd.DataFrame({**columns, "bound_link": names[columns["bound_link"]]})

    def link_frame(self) -> pd.DataFrame:
        """Return the per-link table, utilisation over the makespan; a row's number is the link's."""
        return self.link_table.frame(self.makespan_s)

    def document(self) -> dict[str, Any]:
        """Return the summary, JSON-ready; docs/replay.md defines every key."""
        links, slowdown = self.link_table, self.duration_s / self.alone_s
        document = {
            "schema_version": SCHEMA_VERSION,
            "fabric": self.fabric.name,
            "gpus": self.fabric.gpus,
            "fidelity": self.fidelity,
            "routing": self.routing.name,
            "path_split": self.path_split,
            **self.settings,
            "flows": len(self.flows),
            "bytes": {
                "payload": round(self.flows.size_bytes.sum()),
                "sent": round(links.size_bytes[links.leaves_gpu].sum()),
                "received": round(links.size_bytes[links.enters_gpu].sum()),
            },
            "makespan_s": self.makespan_s,
            "throughput_gbps": float(self.flows.size_bytes.sum()) * 8e-9 / self.makespan_s,
            "duration_s": _quantiles(self.duration_s),
            "slowdown": _quantiles(slowdown),
            **self._hot_links(),
        }
        return document if self.flows.coflow is None else {**document, "coflows": self._coflows(self.flows.coflow)}

    def _hot_links(self) -> dict[str, Any]:
        links, used = self.link_table, self.link_table.utilisation(self.makespan_s)
        hottest = np.argsort(-used, kind="stable")[:HOT_LINKS]
        rows = [
            {
                "link": int(link),
                "from": links.source[link],
                "to": links.target[link],
                "utilisation": float(used[link]),
                "bytes": float(links.size_bytes[link]),
                "peak_flows": int(links.peak_flows[link]),
            }
            for link in hottest
            if used[link] > 0
        ]
        return {"max_link_utilisation": float(used.max(initial=0.0)), "hot_links": rows}

    def _coflows(self, coflow: IntArray) -> dict[str, Any]:
        inside, count = coflow >= 0, len(self.flows.coflow_names)
        if not count:
            return {"count": 0, "duration_s": None, "slowest": []}
        start, finish = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(start, coflow[inside], self.flows.start_s[inside])
        np.maximum.at(finish, coflow[inside], self.completions.finish_s[inside])
        members = np.bincount(coflow[inside], minlength=count)
        slowest = [
            {
                "coflow": self.flows.coflow_names[group],
                "flows": int(members[group]),
                "start_s": float(start[group]),
                "finish_s": float(finish[group]),
                "duration_s": float(finish[group] - start[group]),
            }
            for group in np.argsort(start - finish, kind="stable")[:LISTED_COFLOWS]
        ]
        return {"count": count, "duration_s": _quantiles(finish - start), "slowest": slowest}


def gpu_numbers(fabric: Fabric, names: Sequence[str]) -> IntArray:
    """Return the GPU of each name, a number or like ``s3g5`` (server 3, GPU 5); -1 where there is none."""
    return np.array([_gpu_number(fabric, name) for name in names], dtype=np.int64)


def known_gpus(fabric: Fabric) -> str:
    """Return which names of GPUs there are."""
    last = fabric.gpus - 1
    return f"a GPU of {fabric.name}: 0 to {last}, or {fabric.node_name(0)} to {fabric.node_name(last)}"


def estimate_bytes(flows: int, subflows: int, hops: int) -> float:
    """Return about how much memory a replay takes, bytes."""
    return (
        PROGRAM_BYTES
        + flows * FLOW_BYTES
        # Where bytes are split in fixed parts, every subflow is a pool of its own.
        + subflows * (POOL_BYTES + SUBFLOW_BYTES + MORE_SUBFLOW_BYTES)
        + hops * (HOP_BYTES + MORE_HOP_BYTES)
    )


def replay(
    fabric: Fabric,
    flows: FlowList,
    *,
    fidelity: Fidelity = "flow",
    routing: str = "default",
    queue_pairs: int = DEFAULT_QUEUE_PAIRS,
    path_split: PathSplit = "pooled",
    seed: int = 0,
    memory_gb: float | None = None,
    quantum_s: float = 0.0,
    bin_s: float = 0.0,
    progress: ReplayProgress = lambda what, done, total: None,
) -> Replay:
    """Carry listed transfers to their end.

    Parameters
    ----------
    fabric : Fabric
        What carries them.
    flows : FlowList
        At least one.
    fidelity : {"ideal", "flow"}
        Only NIC links limit (``routing`` and ``queue_pairs`` then mean nothing), or max-min fluid over the fabric.
    routing, queue_pairs, seed
        As in :func:`~zcube.routing.catalog.routing_for`.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    memory_gb : float, optional
        Most memory to be used, in 1e9 bytes; default: what is available.
    quantum_s : float
        Events that follow each other within this time are solved as one; 0 is exact.
    bin_s : float
        Width of the bins of time for which links' bytes are kept; 0 for totals only.
    progress : callable
        Told what is under way and how much of it is done.

    Raises
    ------
    InputError
        If the settings are unknown, a pair has no path, or the run would not fit in memory; before it starts.
    """
    _check_choices(fidelity, path_split)
    ideal = fidelity == "ideal"
    medium = Medium.of_ideal_core(fabric) if ideal else Medium.of_fabric(fabric)
    policy = IdealRouting(fabric) if ideal else routing_for(fabric, routing, queue_pairs=queue_pairs, seed=seed)
    # Times since the first start: a list in seconds since 1970 would leave them a resolution of a quarter microsecond.
    origin_s = float(flows.start_s.min())
    routes, alone = _routed(policy, medium, flows, path_split, memory_gb, progress)
    alone += routes.latency_s(medium.latency_s)
    model = FlowModel(medium, _Found(routes), path_split, fidelity, quantum_s=quantum_s, bin_s=bin_s)
    del routes
    start_s = flows.start_s - origin_s
    model.send(FlowTable(flows.source, flows.target, flows.size_bytes, start_s, flows.cap_bps, flows.weight, flows.coflow))
    # The callback comes after so many events; where many transfers start together, an event is that much more work.
    at_once = max(1, 2000 * len(np.unique(start_s)) // len(flows))
    progress("flows", 0, len(flows))
    model.run(lambda done, total: progress("flows", done, total), at_once)
    done, links = model.completions(), model.link_table()
    duration_s, makespan_s = done.finish_s - start_s, float(done.finish_s.max())
    done = replace(done, finish_s=done.finish_s + origin_s)
    settings = {"queue_pairs": None if ideal else queue_pairs, "seed": seed, "quantum_s": quantum_s, "events": model.events}
    bins = BinnedBytes(origin_s, bin_s, model.binned_bytes())
    return Replay(
        fabric, fidelity, path_split, policy, medium, flows, done, duration_s, makespan_s, alone, links, bins, settings
    )  # fmt: skip


class _Found:
    """A routing that hands over paths found beforehand, once, and keeps none of them."""

    name = "found"

    def __init__(self, routes: Routes):
        self._routes: list[Routes] = [routes]

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return the paths."""
        return self._routes.pop()


def _routed(
    policy: Routing, medium: Medium, flows: FlowList, path_split: PathSplit, memory_gb: float | None, progress: ReplayProgress
) -> tuple[Routes, FloatArray]:
    """Return the paths of all transfers, and how long each takes alone without the delay of its paths."""
    total, blocks, alone = len(flows), [], []
    subflows = hops = 0
    faults: list[Fault] = []
    lost = 0
    progress("routes", 0, total)
    # A path has two links or more, so this is the least it can take.
    _check_room(total, total, 2 * total, memory_gb)
    for first in range(0, total, ROUTED_AT_ONCE):
        rows = slice(first, min(first + ROUTED_AT_ONCE, total))
        routes = policy.routes(flows.source[rows], flows.target[rows])
        subflows, hops = subflows + len(routes.share), hops + len(routes.link)
        _check_room(total, max(subflows, total), max(hops, 2 * total), memory_gb)
        lost += len(routes.unreachable)
        unreachable = (first + routes.unreachable[: MAX_FAULTS_LISTED - len(faults)]).tolist()
        for row, where in zip(unreachable, flows.where(unreachable) if unreachable else [], strict=True):
            faults.append(Fault(where, f"GPU {flows.source[row]} to GPU {flows.target[row]}", "a pair with a path left"))
        if not lost:
            cap = None if flows.cap_bps is None else flows.cap_bps[rows]
            alone.append(alone_s(routes, medium.capacity_bps, flows.size_bytes[rows] * 8.0, cap, path_split == "pooled"))
            blocks.append(routes)
        progress("routes", rows.stop, total)
    if lost > len(faults):
        faults.append(Fault("flows", f"{lost - len(faults)} more without a path", "none; the first ones are listed above"))
    if faults:
        raise InputError(faults)
    return join(blocks), np.concatenate(alone)


def _check_room(flows: int, subflows: int, hops: int, memory_gb: float | None) -> None:
    what = f"a replay of {flows} flows over {subflows} subflows and {hops} hops or more"
    check_memory(estimate_bytes(flows, subflows, hops), memory_gb, what)


def _check_choices(fidelity: str, path_split: str) -> None:
    choices = (("--fidelity", fidelity, FIDELITIES), ("--path-split", path_split, PATH_SPLITS))
    faults = [Fault(where, repr(found), "one of " + ", ".join(known)) for where, found, known in choices if found not in known]
    if faults:
        raise InputError(faults)


def _gpu_number(fabric: Fabric, name: str) -> int:
    if _GPU_NUMBER.fullmatch(name):
        number = int(name.removesuffix(".0"))
    elif match := _GPU_NAME.fullmatch(name):
        server, local = map(int, match.groups())
        number = server * fabric.gpus_per_server + local if local < fabric.gpus_per_server else -1
    else:
        return -1
    return number if number < fabric.gpus else -1


def _quantiles(values: FloatArray) -> dict[str, float]:
    p50, p90, p99 = np.quantile(values, (0.5, 0.9, 0.99))
    return {"mean": float(values.mean()), "p50": float(p50), "p90": float(p90), "p99": float(p99), "max": float(values.max())}
