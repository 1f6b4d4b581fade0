"""The flow fidelity: max-min fair fluid over the routes of a fabric; and ``ideal``, the same with only NIC links kept.

A transfer claims its links from when its first byte may leave until its last byte has left; that byte arrives the delay of its
longest path later. See :class:`~zcube.network.protocol.CompletionTable`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import RunError
from zcube.fabric.model import Fabric
from zcube.network import fluid
from zcube.network.fluid_state import UNBOUND, empty_state, grown, with_room
from zcube.network.link_set import IdealRouting, LinkSet
from zcube.network.protocol import CompletionTable, FlowTable, LinkTable, PathSplit
from zcube.routing.routes import Routes, Routing, check_reachable

#: Bins of time times links beyond which a run is refused (800 MB).
MOST_BIN_ENTRIES = 100_000_000

#: No bound on the events of one call.
ALL_EVENTS = int(np.iinfo(np.int64).max)


class FlowModel:
    """Max-min fair fluid; implements :class:`~zcube.network.protocol.NetworkModel`.

    Parameters
    ----------
    link_set : LinkSet
        Links.
    routing : Routing
        Gives each transfer its paths over these links.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    fidelity : str
        Name in results.
    quantum_s : float
        Events that follow each other within this time are solved as one; 0, the default, is exact. See docs/models.md.
    bin_s : float
        Width of the bins of time in which links' bytes are kept beside their totals; 0 keeps totals only.
    """

    def __init__(
        self,
        link_set: LinkSet,
        routing: Routing,
        path_split: PathSplit = "pooled",
        fidelity: str = "flow",
        *,
        quantum_s: float = 0.0,
        bin_s: float = 0.0,
    ):
        self.fidelity = fidelity
        self.link_set = link_set
        self.routing = routing
        self.path_split = path_split
        self._now_s = 0.0
        self._hops = self._subflows = self._pools = self._flows = 0
        self._flow_of_pool: IntArray = np.zeros(16, dtype=np.int64)
        self._open_pools: IntArray = np.zeros(16, dtype=np.int64)
        self._finish_s: FloatArray = np.zeros(16)
        self._start_s: FloatArray = np.zeros(16)
        self._message_start_s: FloatArray = np.zeros(16)
        self._latency_s: FloatArray = np.zeros(16)
        self._size_bits: FloatArray = np.zeros(16)
        self._undelivered: IntArray = np.zeros(0, dtype=np.int64)
        #: The next start or last byte sent, while it is known.
        self._drain_s: float | None = None
        self._state = empty_state(link_set.capacity_bps, quantum_s, bin_s)

    @property
    def events(self) -> int:
        """Events solved so far; ties count once."""
        return int(self._state.events[0])

    def send(self, flows: FlowTable, routes: Routes | None = None) -> IntArray:
        """Post transfers.

        Parameters
        ----------
        flows : FlowTable
            At least one.
        routes : Routes, optional
            Their paths over these links; default: what the routing says.

        Raises
        ------
        ValueError
            If a size is not positive and finite, a start lies before the present, a GPU is unknown, or a cap or weight is
            out of range.
        RunError
            If failures leave a transfer without a path.
        """
        flows.check(self._now_s)
        routes = self.routing.routes(flows.source, flows.target) if routes is None else routes
        check_reachable(routes, flows.source, flows.target)
        first, last = self._flows, self._flows + routes.flows
        self._finish_s, self._start_s = grown(self._finish_s, last), grown(self._start_s, last)
        self._latency_s, self._size_bits = grown(self._latency_s, last), grown(self._size_bits, last)
        self._message_start_s = grown(self._message_start_s, last)
        self._finish_s[first:last] = np.nan
        self._start_s[first:last] = flows.start_s
        self._message_start_s[first:last] = self.link_set.message_start_s(routes, flows.size_bytes)
        self._latency_s[first:last] = routes.latency_s(self.link_set.latency_s)
        self._size_bits[first:last] = flows.size_bytes * 8.0
        self._add(routes, flows)
        return np.arange(first, last)

    def next_event_s(self) -> float:
        """Return the next start, last byte sent or arrived; infinity when idle."""
        return min(self._next_drain_s(), float(self._finish_s[self._undelivered].min(initial=np.inf)))

    def _next_drain_s(self) -> float:
        if self._drain_s is None:
            # Asked for several times between two changes, and handing the state to a kernel takes longer than the answer.
            self._drain_s = float(fluid.next_event_s(self._state))
        return self._drain_s

    def advance(self, to_s: float) -> IntArray:
        """Run up to a time and return completed transfers."""
        while self._next_drain_s() <= to_s and self._next_drain_s() < float("inf"):
            self._some_events(to_s, ALL_EVENTS)
        delivered = self._deliver(to_s)
        last_s = float(self._finish_s[delivered].max(initial=self._state.clock_s[0]))
        self._now_s = max(self._now_s, to_s if np.isfinite(to_s) else last_s)
        return delivered

    def _deliver(self, to_s: float) -> IntArray:
        """Take the transfers whose last byte has arrived by a time, in order of arrival."""
        if not len(self._undelivered):
            return self._undelivered
        finish_s = self._finish_s[self._undelivered]
        order = np.lexsort((self._undelivered, finish_s))
        count = int(np.searchsorted(finish_s[order], to_s, side="right"))
        waiting = self._undelivered[order]
        self._undelivered = waiting[count:]
        return waiting[:count]

    def run(self, progress: Callable[[int, int], None], events_at_once: int = 2000) -> None:
        """Run to the end.

        Parameters
        ----------
        progress : callable
            ``progress(finished, total)`` transfers, after every ``events_at_once`` events.
        """
        while self._next_drain_s() < float("inf"):
            self._some_events(float("inf"), events_at_once)
            progress(self._flows - int(np.isnan(self._finish_s[: self._flows]).sum()), self._flows)
        self.advance(float("inf"))

    def change_capacity(self, links: IntArray, capacity_bps: FloatArray, at_s: float) -> IntArray:
        """Run up to a time, then give links another capacity: a failure (0), a repair, another rate.

        Returns
        -------
        int array
            Transfers completed by then.

        Raises
        ------
        ValueError
            If the time lies before the present, a link is unknown, or a capacity is negative or not finite.
        """
        links, capacity_bps = np.asarray(links, dtype=np.int64), np.asarray(capacity_bps, dtype=float)
        if at_s < self._now_s or not np.isfinite(at_s):
            raise ValueError(f"capacities can change at or after {self._now_s} s, not at {at_s}")
        if len(links) and not (links.min() >= 0 and links.max() < len(self.link_set.capacity_bps)):
            raise ValueError(f"links must lie in 0..{len(self.link_set.capacity_bps) - 1}")
        if links.shape != capacity_bps.shape or not np.all(np.isfinite(capacity_bps)) or np.any(capacity_bps < 0):
            raise ValueError("capacities must be finite and at least 0, one per link")
        completed = self.advance(at_s)
        self._cover_bins(at_s)
        is_less = capacity_bps < self._state.links["capacity_bps"][links]
        fluid.change_capacity(self._state, links, capacity_bps, is_less, at_s)
        self._drain_s = None
        return completed

    def completions(self) -> CompletionTable:
        """Return what became of every transfer."""
        flows, state = self._flows, self._state
        hops, subflows = state.hops[: self._hops], state.subflows[: self._subflows]
        flow_of_hop = self._flow_of_pool[subflows["pool"]][hops["subflow"]]
        order = np.lexsort((hops["bound_s"], flow_of_hop))
        longest = order[np.searchsorted(flow_of_hop[order], np.arange(flows), side="right") - 1]
        bound = np.where(hops["bound_s"][longest] > 0, hops["link"][longest], -1)
        finish_s, started_s, latency_s = (
            column[:flows].copy() for column in (self._finish_s, self._message_start_s, self._latency_s)
        )
        done = CompletionTable(finish_s, started_s, latency_s, np.full(flows, np.nan), bound.astype(np.int64))
        with np.errstate(invalid="ignore"):
            return replace(done, mean_rate_bps=self._size_bits[:flows] / done.sending_s(self._start_s[:flows]))

    def rates_bps(self) -> FloatArray:
        """Return the present rate of every transfer, bits per second [flows]."""
        pools = slice(0, self._pools)
        rates = np.zeros(self._flows)
        np.add.at(rates, self._flow_of_pool[pools], self._state.pools["rate_bps"][pools])
        return rates

    def link_table(self) -> LinkTable:
        """Return what every link has carried up to the time last advanced to."""
        self._settle()
        link_set, state = self.link_set, self._state
        return LinkTable(
            link_set.source,
            link_set.target,
            link_set.kind,
            link_set.capacity_bps,
            state.links["bits"] / 8.0,
            state.links["peak"].astype(np.int64),
            link_set.leaves_gpu,
            link_set.enters_gpu,
        )

    def binned_bytes(self) -> FloatArray:
        """Return bytes carried per bin of time [bins, links]; no bins where ``bin_s`` is 0."""
        self._settle()
        return self._state.bin_bits.reshape(-1, len(self.link_set.capacity_bps)) / 8.0

    def _settle(self) -> None:
        """Credit links with what active transfers have sent up to the present."""
        self._cover_bins(self._now_s)
        fluid.settle_active(self._state, self._pools, self._now_s)

    def _some_events(self, to_s: float, most_events: int) -> None:
        """Process up to so many events up to a time, bins permitting; note transfers whose last byte has left."""
        reach_s = min(to_s, self._next_drain_s())
        to_s = min(to_s, self._cover_bins(reach_s if np.isfinite(reach_s) else self._now_s))
        state = self._state
        self._drain_s = None
        done = np.empty(int(state.start_size[0] + state.finish_size[0]), dtype=np.int64)
        count = fluid.advance(state, to_s, most_events, done)
        if not count:
            return
        closed = fluid.close_flows(state, done[:count], self._flow_of_pool, self._open_pools, self._finish_s)
        if len(closed):
            self._finish_s[closed] += self._latency_s[closed]
            self._undelivered = np.concatenate([self._undelivered, closed])

    def _cover_bins(self, time_s: float) -> float:
        """Make room for bins up to a time; return up to when there is room, infinity without bins."""
        bin_s, links = float(self._state.settings[1]), len(self.link_set.capacity_bps)
        if bin_s <= 0:
            return float("inf")
        bins, room = int(min(time_s / bin_s, MOST_BIN_ENTRIES)) + 2, len(self._state.bin_bits) // links
        if bins * links > MOST_BIN_ENTRIES:
            most = MOST_BIN_ENTRIES // links
            raise RunError(f"{time_s:g} s in bins of {bin_s:g} s are too many for {links} links; at most {most} bins")
        if bins > room:
            room = min(max(bins, 2 * room), MOST_BIN_ENTRIES // links)
            self._state = self._state._replace(bin_bits=grown(self._state.bin_bits, room * links)[: room * links])
        return room * bin_s

    def _add(self, routes: Routes, flows: FlowTable) -> None:
        self._drain_s = None
        count = routes.flows
        bits = self._size_bits[self._flows : self._flows + count]
        flow_of_subflow = routes.flow_of_path
        subflows_per_pool: IntArray
        flow_of_pool: IntArray
        if self.path_split == "pooled":
            subflows_per_pool, flow_of_pool = routes.paths_per_flow, np.arange(count)
            pool_bits = bits
        else:
            subflows_per_pool, flow_of_pool = np.ones(routes.subflows, dtype=np.int64), flow_of_subflow
            pool_bits = bits[flow_of_pool] * routes.share
        pools, subflows, hops = len(flow_of_pool), routes.subflows, len(routes.link)
        p, s, h = self._pools, self._subflows, self._hops
        self._state = state = with_room(self._state, p + pools, s + subflows, h + hops)
        new_hops, new_subflows, new_pools = (
            state.hops[h : h + hops],
            state.subflows[s : s + subflows],
            state.pools[p : p + pools],
        )
        new_hops["link"] = routes.link
        new_hops["subflow"] = s + routes.path_of_hop
        new_subflows["first_hop"], new_subflows["end_hop"] = h + routes.first_hop[:-1], h + routes.first_hop[1:]
        new_subflows["pool"] = p + np.repeat(np.arange(pools), subflows_per_pool)
        new_subflows["bound"] = UNBOUND
        new_subflows["weight"] = 1.0 if flows.weight is None else flows.weight[flow_of_subflow]
        new_subflows["cap_bps"] = np.inf if flows.cap_bps is None else flows.cap_bps[flow_of_subflow] * routes.share
        new_pools["end_subflow"] = s + np.cumsum(subflows_per_pool)
        new_pools["first_subflow"] = new_pools["end_subflow"] - subflows_per_pool
        new_pools["remaining_bits"] = pool_bits
        new_pools["finish_s"] = np.nan
        state.event_place[p : p + pools] = -1
        state.cap_place[s : s + subflows] = -1
        leaves_s = flows.start_s + self._message_start_s[self._flows : self._flows + count]
        fluid.schedule(state, p, leaves_s[flow_of_pool])
        self._flow_of_pool = grown(self._flow_of_pool, p + pools)
        self._flow_of_pool[p : p + pools] = self._flows + flow_of_pool
        self._open_pools = grown(self._open_pools, self._flows + count)
        self._open_pools[self._flows : self._flows + count] = np.bincount(flow_of_pool, minlength=count)
        self._pools, self._subflows, self._hops = p + pools, s + subflows, h + hops
        self._flows += count


def flow_model(
    fabric: Fabric, routing: Routing, path_split: PathSplit = "pooled", *, quantum_s: float = 0.0, bin_s: float = 0.0
) -> FlowModel:
    """Return the fluid model of a fabric under a routing policy."""
    return FlowModel(LinkSet.of_fabric(fabric), routing, path_split, quantum_s=quantum_s, bin_s=bin_s)


def ideal_model(fabric: Fabric) -> FlowModel:
    """Return the fluid model of an ideal non-blocking core, in which only NIC links limit."""
    return FlowModel(LinkSet.of_ideal_core(fabric), IdealRouting(fabric), fidelity="ideal")


def run_flows(model: FlowModel, flows: FlowTable) -> CompletionTable:
    """Run transfers to their end on an idle model and return what became of them."""
    model.send(flows)
    model.advance(float("inf"))
    return model.completions()
