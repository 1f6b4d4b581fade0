"""The flow fidelity: max-min fair fluid over the routes of a fabric; and ``ideal``, the same with only NIC links kept.

A transfer's bytes reach its links after the delay of its longest path (as in SimGrid's CM02 model without correction
factors), so one transfer alone takes ``latency + bytes / rate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from zcube.errors import RunError
from zcube.fabric.model import BoolArray, CableKind, Fabric, FloatArray, IntArray
from zcube.network import fluid
from zcube.network.protocol import CompletionTable, FlowTable, LinkTable
from zcube.routing.routes import Routes, Routing, assemble, check_pairs

PathSplit = Literal["pooled", "fixed"]

#: ``pooled``: all paths of a transfer draw from one pool of bytes, as an engine does that posts small slices to whichever
#: queue is free. ``fixed``: each path gets its share in advance and the slowest decides.
PATH_SPLITS: tuple[PathSplit, ...] = get_args(PathSplit)

#: What each array of the fluid's state is indexed by, and its type.
_WHOLE, _REAL = np.dtype(np.int64), np.dtype(np.float64)
_ARRAYS: dict[str, dict[str, np.dtype[Any]]] = {
    "links": dict.fromkeys(("link_first", "link_subflows", "link_peak", "unfixed", "share_heap"), _WHOLE)
    | dict.fromkeys(("share_place", "link_stamp", "component_link"), _WHOLE)
    | dict.fromkeys(("capacity_bps", "link_bits", "residual_bps", "share_bps"), _REAL),
    "hops": dict.fromkeys(("hop_link", "hop_subflow", "hop_next", "hop_previous"), _WHOLE),
    "subflows": dict.fromkeys(("subflow_pool", "subflow_stamp", "component_subflow"), _WHOLE)
    | dict.fromkeys(("subflow_rate_bps", "new_rate_bps"), _REAL),
    "subflow rows": {"subflow_first_hop": _WHOLE},
    "pools": dict.fromkeys(("event_heap", "event_place"), _WHOLE)
    | dict.fromkeys(("pool_remaining_bits", "pool_rate_bps", "pool_settled_s", "pool_finish_s", "event_s"), _REAL)
    | {"pool_phase": np.dtype(np.int8)},
    "pool rows": {"pool_first_subflow": _WHOLE},
    "counters": dict.fromkeys(("event_size", "share_size", "stamp"), _WHOLE) | {"clock_s": _REAL},
}


@dataclass(frozen=True, eq=False)
class Medium:
    """The links a fluid runs on.

    Attributes
    ----------
    source, target, kind : list of str
        Names of the ends and kind of each link, for results.
    capacity_bps, latency_s : float array [links]
        Rate and delay of each directed link.
    leaves_gpu, enters_gpu : bool array [links]
        Whether the link starts or ends at a GPU.
    """

    source: list[str]
    target: list[str]
    kind: list[str]
    capacity_bps: FloatArray
    latency_s: FloatArray
    leaves_gpu: BoolArray
    enters_gpu: BoolArray

    @staticmethod
    def of_fabric(fabric: Fabric) -> Medium:
        """Return every directed link of a fabric."""
        names = [fabric.node_name(node) for node in range(fabric.nodes)]
        kinds = [CableKind(kind).name.lower() for kind in fabric.cables.kind]
        return Medium(
            [names[node] for node in fabric.link_source],
            [names[node] for node in fabric.link_target],
            [kind for kind in kinds for _ in range(2)],
            fabric.link_capacity_bps,
            fabric.link_latency_s,
            fabric.link_source < fabric.gpus,
            fabric.link_target < fabric.gpus,
        )

    @staticmethod
    def of_ideal_core(fabric: Fabric) -> Medium:
        """Return an ideal core: per GPU its NIC out and in (all ports as one), then its NVLink out and in."""
        gpu = [fabric.node_name(node) for node in range(fabric.gpus)]
        core, nvswitch = ["core"] * fabric.gpus, ["nvswitch"] * fabric.gpus
        outward = np.arange(4 * fabric.gpus) // fabric.gpus % 2 == 0
        nic = np.full(2 * fabric.gpus, 1e9) * fabric.nic_gbps
        nvlink = np.tile(fabric.cables.gbps[fabric.nvlink_cable] * 1e9, 2)
        nic_latency = np.tile(fabric.cables.latency_s[fabric.nic_cable[:, 0]], 2)
        nvlink_latency = np.tile(fabric.cables.latency_s[fabric.nvlink_cable], 2)
        return Medium(
            [*gpu, *core, *gpu, *nvswitch],
            [*core, *gpu, *nvswitch, *gpu],
            ["nic"] * (2 * fabric.gpus) + ["nvlink"] * (2 * fabric.gpus),
            np.concatenate([nic, nvlink]),
            np.concatenate([nic_latency, nvlink_latency]),
            outward,
            ~outward,
        )


@dataclass(frozen=True)
class IdealRouting:
    """Routes over an ideal core: out of the source's NIC, into the target's; NVLink inside a server."""

    fabric: Fabric
    name: str = "ideal"

    def routes(self, source: IntArray, target: IntArray) -> Routes:
        """Return one subflow of two links per pair."""
        source, target = check_pairs(self.fabric, source, target)
        gpus = self.fabric.gpus
        inside = np.where(self.fabric.server_of(source) == self.fabric.server_of(target), 2 * gpus, 0)
        hops = np.stack([inside + source, inside + gpus + target], axis=1)
        return assemble(np.ones(len(source), dtype=np.int64), hops)


class FlowModel:
    """Max-min fair fluid; implements :class:`~zcube.network.protocol.NetworkModel`.

    Parameters
    ----------
    medium : Medium
        Links.
    routing : Routing
        Gives each transfer its paths over these links.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    fidelity : str
        Name in results.
    """

    def __init__(self, medium: Medium, routing: Routing, path_split: PathSplit = "pooled", fidelity: str = "flow"):
        self.fidelity = fidelity
        self.medium = medium
        self.routing = routing
        self.path_split = path_split
        self._now_s = 0.0
        self._hops = self._subflows = self._pools = self._flows = 0
        self._flow_of_pool: IntArray = np.zeros(16, dtype=np.int64)
        self._open_pools: IntArray = np.zeros(16, dtype=np.int64)
        self._finish_s: FloatArray = np.zeros(16)
        self._latency_s: FloatArray = np.zeros(16)
        self._state = _empty_state(medium.capacity_bps)

    def send(self, flows: FlowTable) -> IntArray:
        """Post transfers.

        Raises
        ------
        ValueError
            If a size is not positive and finite, a start lies before the present, or a GPU is unknown.
        RunError
            If failures leave a transfer without a path.
        """
        size, start = np.asarray(flows.size_bytes, dtype=float), np.asarray(flows.start_s, dtype=float)
        if not np.all(np.isfinite(size)) or np.any(size <= 0):
            raise ValueError("transfer sizes must be positive and finite")
        if not np.all(np.isfinite(start)) or np.any(start < self._now_s):
            raise ValueError(f"transfers must start at or after {self._now_s} s")
        routes = self.routing.routes(flows.source, flows.target)
        if len(routes.unreachable):
            lost = routes.unreachable
            pairs = ", ".join(f"GPU {flows.source[flow]} to GPU {flows.target[flow]}" for flow in lost[:5])
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            raise RunError(f"no path left from {pairs}{more}")
        latency = routes.latency_s(self.medium.latency_s)
        first = self._flows
        self._add(routes, size * 8.0, start + latency)
        self._finish_s = _grown(self._finish_s, self._flows + 1)
        self._latency_s = _grown(self._latency_s, self._flows + 1)
        self._finish_s[first : self._flows] = np.nan
        self._latency_s[first : self._flows] = latency
        return np.arange(first, self._flows)

    def next_event_s(self) -> float:
        """Return the next start, finish or rate change; infinity when idle."""
        state = self._state
        return float(state.event_s[state.event_heap[0]]) if state.event_size[0] else float("inf")

    def advance(self, to_s: float) -> IntArray:
        """Run up to a time and return completed transfers."""
        done = np.empty(int(self._state.event_size[0]), dtype=np.int64)
        count = fluid.advance(self._state, to_s, done)
        self._now_s = max(self._now_s, to_s if np.isfinite(to_s) else float(self._state.clock_s[0]))
        return fluid.close_flows(self._state, done[:count], self._flow_of_pool, self._open_pools, self._finish_s)

    def completions(self) -> CompletionTable:
        """Return finish times and delays of every transfer."""
        return CompletionTable(self._finish_s[: self._flows].copy(), self._latency_s[: self._flows].copy())

    def rates_bps(self) -> FloatArray:
        """Return the present rate of every transfer, bits per second [flows]."""
        pools = slice(0, self._pools)
        rates = np.zeros(self._flows)
        np.add.at(rates, self._flow_of_pool[pools], self._state.pool_rate_bps[pools])
        return rates

    def link_table(self) -> LinkTable:
        """Return what every link has carried up to the time last advanced to."""
        for pool in np.flatnonzero(self._state.pool_phase[: self._pools] == fluid.ACTIVE):
            fluid.settle(self._state, int(pool), self._now_s)
        medium, state = self.medium, self._state
        return LinkTable(
            medium.source,
            medium.target,
            medium.kind,
            medium.capacity_bps,
            state.link_bits / 8.0,
            state.link_peak.copy(),
            medium.leaves_gpu,
            medium.enters_gpu,
        )

    def _add(self, routes: Routes, bits: FloatArray, active_s: FloatArray) -> None:
        subflows_per_flow = np.diff(routes.first_subflow)
        if self.path_split == "pooled":
            pool_of_subflow = np.repeat(np.arange(routes.flows), subflows_per_flow)
            flow_of_pool = np.arange(routes.flows)
            pool_bits, pool_start = bits, active_s
        else:
            pool_of_subflow = np.arange(len(routes.share))
            flow_of_pool = np.repeat(np.arange(routes.flows), subflows_per_flow)
            pool_bits, pool_start = bits[flow_of_pool] * routes.share, active_s[flow_of_pool]
        pools, subflows, hops = len(flow_of_pool), len(routes.share), len(routes.link)
        p, s, h = self._pools, self._subflows, self._hops
        self._state = state = _with_room(self._state, p + pools, s + subflows, h + hops)
        state.hop_link[h : h + hops] = routes.link
        state.hop_subflow[h : h + hops] = s + np.repeat(np.arange(subflows), np.diff(routes.first_hop))
        state.subflow_first_hop[s + 1 : s + subflows + 1] = h + routes.first_hop[1:]
        state.subflow_pool[s : s + subflows] = p + pool_of_subflow
        state.subflow_rate_bps[s : s + subflows] = 0.0
        state.subflow_stamp[s : s + subflows] = 0
        per_pool = np.bincount(pool_of_subflow, minlength=pools)
        state.pool_first_subflow[p + 1 : p + pools + 1] = s + np.cumsum(per_pool)
        state.pool_remaining_bits[p : p + pools] = pool_bits
        state.pool_rate_bps[p : p + pools] = 0.0
        state.pool_finish_s[p : p + pools] = np.nan
        state.pool_phase[p : p + pools] = fluid.PENDING
        state.event_place[p : p + pools] = -1
        fluid.schedule(state, p, pool_start)
        self._flow_of_pool = _grown(self._flow_of_pool, p + pools)
        self._flow_of_pool[p : p + pools] = self._flows + flow_of_pool
        self._open_pools = _grown(self._open_pools, self._flows + routes.flows)
        self._open_pools[self._flows : self._flows + routes.flows] = np.bincount(flow_of_pool, minlength=routes.flows)
        self._pools, self._subflows, self._hops = p + pools, s + subflows, h + hops
        self._flows += routes.flows


def flow_model(fabric: Fabric, routing: Routing, path_split: PathSplit = "pooled") -> FlowModel:
    """Return the fluid model of a fabric under a routing policy."""
    return FlowModel(Medium.of_fabric(fabric), routing, path_split)


def ideal_model(fabric: Fabric) -> FlowModel:
    """Return the fluid model of an ideal non-blocking core, in which only NIC links limit."""
    return FlowModel(Medium.of_ideal_core(fabric), IdealRouting(fabric), fidelity="ideal")


def run_flows(model: FlowModel, flows: FlowTable) -> CompletionTable:
    """Run transfers to their end on an idle model and return what became of them."""
    model.send(flows)
    model.advance(float("inf"))
    return model.completions()


def _grown(array: IntArray | FloatArray, size: int) -> np.ndarray:
    if size <= len(array):
        return array
    larger = np.zeros(max(size, 2 * len(array)), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def _with_room(state: fluid.FluidState, pools: int, subflows: int, hops: int) -> fluid.FluidState:
    sizes = {"hops": hops, "subflows": subflows, "subflow rows": subflows + 1, "pools": pools, "pool rows": pools + 1}
    small = {
        name: _grown(getattr(state, name), size)
        for index, size in sizes.items()
        for name in _ARRAYS[index]
        if len(getattr(state, name)) < size
    }
    return state._replace(**small) if small else state


def _empty_state(capacity_bps: FloatArray) -> fluid.FluidState:
    sizes = {"links": len(capacity_bps), "counters": 1}
    arrays = {name: np.zeros(sizes.get(index, 16), dtype) for index, names in _ARRAYS.items() for name, dtype in names.items()}
    arrays["capacity_bps"][:] = capacity_bps
    arrays["link_first"][:] = -1
    arrays["share_place"][:] = -1
    return fluid.FluidState(**arrays)
