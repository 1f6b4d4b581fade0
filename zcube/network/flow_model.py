"""Fluids over the routes of a fabric: ``flow``, max-min fair; ``ideal``, with only NIC links kept; ``lossless``, back-pressed.

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
from zcube.network.fluid_posting import PathArrays, drop_done, post
from zcube.network.fluid_state import ACTIVE, DONE, LEAST_ROOM, MAX_MIN, NONE, UNTOLD, FluidState, empty_state, grown, with_room
from zcube.network.frames import frame_of
from zcube.network.link_set import IdealRouting, LinkSet
from zcube.network.load_watch import LoadWatch
from zcube.network.path_table import PathTable
from zcube.network.protocol import NO_COLUMN, CompletionTable, FlowTable, LinkTable, PathSplit
from zcube.routing.routes import Routes, Routing, check_reachable

#: Bins of time times links beyond which a run is refused (800 MB).
MOST_BIN_ENTRIES = 100_000_000

#: No bound on the events of one call.
ALL_EVENTS = int(np.iinfo(np.int64).max)

#: Transfers posted at once where many are posted in order of their starts: what they take stays in a processor's cache.
POSTED_AT_ONCE = 2048

#: No transfer.
NOBODY: IntArray = np.zeros(0, dtype=np.int64)


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
    isolation : float
        Below 1, links press back: how far, from 0 (nothing but pauses holds senders back) to 1 (all are held to their max-min
        rates), congestion control spares who does not use the congested link. See docs/lossless.md.
    """

    ahead = True

    def __init__(
        self,
        link_set: LinkSet,
        routing: Routing,
        path_split: PathSplit = "pooled",
        fidelity: str = "flow",
        *,
        quantum_s: float = 0.0,
        bin_s: float = 0.0,
        isolation: float = MAX_MIN,
    ):
        self.fidelity = fidelity
        self.link_set = link_set
        self.routing = routing
        self.path_split = path_split
        self._now_s = 0.0
        self._flows = 0
        #: The next start or last byte sent, and the next arrival of a last byte that has been sent.
        self._change_s = self._arrival_s = float("inf")
        #: Bounds on the arrival of groups: while nothing else is posted, and in any case.
        self._group_s = self._soonest_s = float("inf")
        self._groups = 0
        self._free_groups: list[int] = []
        self._arrived_groups: list[int] = []
        self._keep(empty_state(link_set.capacity_bps, quantum_s, bin_s, isolation))
        self._bins = bin_s > 0
        self._watch: LoadWatch | None = None
        self._table = PathTable(routing, link_set, path_split)
        #: Transfers over paths of the table for which there is certainly room.
        self._room = 0

    @property
    def now_s(self) -> float:
        """The time last advanced to."""
        return self._now_s

    @property
    def events(self) -> int:
        """Events solved so far; ties count once."""
        return int(self._state.events[0])

    @property
    def memory_bytes(self) -> int:
        """Memory that the arrays take now."""
        return sum(array.nbytes for array in self._state)

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
        latency_s = routes.latency_s(self.link_set.latency_s)
        columns = routes.first_subflow, routes.first_hop, routes.link
        paths = PathArrays(
            *(np.ascontiguousarray(column, np.int64) for column in columns),
            *(np.ascontiguousarray(column, np.float64) for column in (routes.share, latency_s, NO_COLUMN)),
        )
        self._make_room(routes.flows, routes.subflows, len(routes.link))
        self._room = 0
        self._post(
            frame_of(paths),
            np.arange(routes.flows),
            np.array(flows.start_s, dtype=np.float64),
            np.array(flows.size_bytes, dtype=np.float64),
            self.link_set.message_start_s(routes, flows.size_bytes, flows.message_start_s),
            NONE,
            False,
            NO_COLUMN if flows.cap_bps is None else np.array(flows.cap_bps, dtype=np.float64),
            NO_COLUMN if flows.weight is None else np.array(flows.weight, dtype=np.float64),
        )
        return np.arange(self._flows - routes.flows, self._flows)

    def paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths of pairs of GPUs once and for all, and return their numbers, for :meth:`post` [pairs]."""
        table = self._table
        most = table.most_subflows, table.most_hops
        found = table.add(source, target)
        if most != (table.most_subflows, table.most_hops):
            # Room was made for shorter paths than transfers may have from now on.
            self._room = 0
        return found

    def open_group(self) -> int:
        """Return the number of a new group of transfers that are waited for together; it is free again when it has arrived."""
        if self._free_groups:
            return self._free_groups.pop()
        self._groups += 1
        state = self._state
        if len(state.groups) < self._groups:
            groups, arrived = grown(state.groups, self._groups), grown(state.arrived, self._groups)
            self._keep(state._replace(groups=groups, arrived=arrived))
        return self._groups - 1

    def post(
        self, group: int, paths: IntArray, size_bytes: FloatArray, start_s: FloatArray, is_last: bool,
        cap_bps: FloatArray = NO_COLUMN, traffic_class: int = 0,
    ) -> None:  # fmt: skip
        """Post transfers of a group over paths found before; a fluid knows no classes of traffic.

        Parameters
        ----------
        group : int
            Number of :meth:`open_group`.
        paths : int array [flows]
            Numbers of :meth:`paths`.
        size_bytes, start_s : float array [flows]
            Payload, and when they are posted, at present or later.
        is_last : bool
            Whether the group is complete with them, of which there is one at least.
        cap_bps : float array [flows], optional
            Rate that each never exceeds; default: none has a cap.

        Raises
        ------
        ValueError, RunError
            As :meth:`send`, and if a group is completed by no transfer: its last byte may have left before.
        """
        table, count = self._table, len(paths)
        if not count and is_last:
            raise ValueError("a group is completed by no transfer")
        if self._room < count:
            ahead = max(count, LEAST_ROOM)
            self._make_room(ahead, ahead * table.most_subflows, ahead * table.most_hops)
            self._room = self._room_left()
        message_start_s = NO_COLUMN if table.starts_at_once else table.message_start_s(paths, size_bytes)
        if not self._post(table.frame, paths, start_s, size_bytes, message_start_s, group, is_last, cap_bps):
            flows = FlowTable(*table.ends(paths), size_bytes, start_s)
            flows.check(self._now_s)
            check_reachable(table.routes(paths), flows.source, flows.target)
        self._room -= count

    def _keep(self, state: FluidState) -> None:
        """Take a state, some arrays of which are others than before."""
        self._state, self._frame = state, frame_of(state)

    def _make_room(self, flows: int, subflows: int, hops: int) -> None:
        """Make room for further transfers; what has ended gives way where it is the larger part."""
        pools = flows if self.path_split == "pooled" else subflows
        state = self._state
        _, used_pools, used_subflows, used_hops, _ = state.used.tolist()
        small = used_pools + pools > len(state.pools) or used_subflows + subflows > len(state.subflows)
        if small or used_hops + hops > len(state.hops):
            kept = np.count_nonzero(state.pools["phase"][:used_pools] != DONE)
            if 2 * kept <= used_pools:
                drop_done(self._frame)
                _, used_pools, used_subflows, used_hops, _ = state.used.tolist()
        larger = with_room(state, self._flows + flows, used_pools + pools, used_subflows + subflows, used_hops + hops)
        if larger is not state:
            self._keep(larger)

    def _room_left(self) -> int:
        """Return for how many transfers over paths of the table there is room, whichever these are."""
        state, table = self._state, self._table
        flows, pools, subflows, hops, _ = state.used.tolist()
        pools_left = len(state.pools) - pools
        return min(
            len(state.flows) - flows,
            pools_left if self.path_split == "pooled" else pools_left // table.most_subflows,
            (len(state.subflows) - subflows) // table.most_subflows,
            (len(state.hops) - hops) // table.most_hops,
        )

    def _post(
        self, known: IntArray, path: IntArray, start_s: FloatArray, size_bytes: FloatArray, message_start_s: FloatArray,
        group: int, is_last: bool, cap_bps: FloatArray = NO_COLUMN, weight: FloatArray = NO_COLUMN,
    ) -> bool:  # fmt: skip
        """Post transfers for which there is room, over paths of a frame; return whether they could be."""
        first_s, arrival_s = post(
            self._frame, known, path, start_s, size_bytes, message_start_s, cap_bps, weight,
            self.path_split == "pooled", group, is_last, self._now_s,
        )  # fmt: skip
        if first_s < 0.0:
            return False
        self._flows += len(path)
        if first_s < self._change_s:
            self._change_s = first_s
        # Another transfer's start may let one that shares links become faster.
        faster_s = first_s if first_s > self._soonest_s else self._soonest_s
        soonest_s = arrival_s if arrival_s < faster_s else faster_s
        if soonest_s < self._group_s:
            self._group_s = soonest_s
        return True

    def next_group_s(self) -> float:
        """Return a time before which no complete group arrives; infinity if there is none.

        It is the arrival itself of a group whose transfers have all the rate they can have, and else a bound on it.
        """
        return self._group_s

    def next_event_s(self) -> float:
        """Return the next start, last byte sent or arrived; infinity when idle."""
        return min(self._change_s, self._arrival_s)

    def advance(self, to_s: float) -> IntArray:
        """Run up to a time and return completed transfers, those of groups left out."""
        arrived = NOBODY
        while self.next_event_s() <= to_s and self.next_event_s() < float("inf"):
            count, _ = self._some_events(to_s, ALL_EVENTS)
            arrived = np.concatenate([arrived, self._state.changed[:count]])
        if np.isfinite(to_s):
            self._now_s = max(self._now_s, to_s)
        else:
            # Some may never end: theirs are nan.
            last_s = np.fmax.reduce(self._state.flows["finish_s"][: self._flows], initial=self._state.clock_s[0])
            self._now_s = max(self._now_s, float(last_s))
        return arrived

    def advance_groups(self, to_s: float, unposted_s: float = 0.0) -> list[int]:
        """Run up to a time and return the groups that have arrived since this was last asked, in order of arrival.

        Where none has by then, run on to the first arrival, but not to the time before which nothing is to be posted.
        """
        while self._change_s <= to_s or self._arrival_s <= to_s:
            _, to_s = self._some_events(to_s, ALL_EVENTS, unposted_s=0.0 if self._arrived_groups else unposted_s)
        self._now_s = max(self._now_s, to_s)
        arrived, self._arrived_groups = self._arrived_groups, []
        self._free_groups += arrived
        return arrived

    def run_in_turn(
        self, paths: IntArray, size_bytes: FloatArray, start_s: FloatArray, cap_bps: FloatArray = NO_COLUMN
    ) -> None:
        """Post transfers over paths found before, in order of their starts, and run to the end of all.

        They are posted some at a time, so that those that have ended leave the room of those that come; times are those of all
        posted at once. Raises what :meth:`post` does.
        """
        self._keep(with_room(self._state, self._flows + len(paths), 0, 0, 0))
        for first in range(0, len(paths), POSTED_AT_ONCE):
            some = slice(first, first + POSTED_AT_ONCE)
            self.post(UNTOLD, paths[some], size_bytes[some], start_s[some], False, cap_bps[some])
            # So far before the last start that none of what ties is yet to be posted.
            last_s = float(start_s[some][-1])
            tie_s = max(fluid.TIE_S + fluid.TIE_RELATIVE * last_s, float(self._state.settings[0]))
            self._some_events(float("inf"), ALL_EVENTS, last_s - 2.0 * tie_s)
        self.advance(float("inf"))

    def run(self, progress: Callable[[int, int], None], events_at_once: int = 2000) -> None:
        """Run to the end.

        Parameters
        ----------
        progress : callable
            ``progress(finished, total)`` transfers, after every ``events_at_once`` events.
        """
        while self._change_s < float("inf"):
            self._some_events(float("inf"), events_at_once)
            progress(self._flows - int(np.isnan(self._state.flows["finish_s"][: self._flows]).sum()), self._flows)
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
        self._read_load(at_s)
        is_less = capacity_bps < self._state.links["capacity_bps"][links]
        self._change_s = fluid.change_capacity(self._frame, links, capacity_bps, is_less, at_s)
        return completed

    def completions(self) -> CompletionTable:
        """Return what became of every transfer."""
        fluid.note_bounds(self._frame)
        flows = self._state.flows[: self._flows]
        finish_s, started_s, latency_s = (flows[name].copy() for name in ("finish_s", "message_start_s", "latency_s"))
        done = CompletionTable(
            finish_s, started_s, latency_s, np.full(len(flows), np.nan), flows["bound_link"].astype(np.int64)
        )
        with np.errstate(invalid="ignore"):
            return replace(done, mean_rate_bps=flows["size_bits"] / done.sending_s(flows["start_s"]))

    def rates_bps(self) -> FloatArray:
        """Return the present rate of every transfer, bits per second [flows]."""
        pools = self._state.pools[: self._state.used[1]]
        rates: FloatArray = np.bincount(pools["flow"], pools["rate_bps"], self._flows).astype(np.float64)
        return rates

    def left_bytes(self) -> FloatArray:
        """Return what of every transfer has not left its sender at the time last advanced to [flows]."""
        self._settle()
        pools = self._state.pools[: self._state.used[1]]
        left: FloatArray = np.bincount(pools["flow"], pools["remaining_bits"], self._flows).astype(np.float64)
        return left / 8.0

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

    def watch_load(self, bins: int, expected_s: float) -> None:
        """Read from now on what links have carried, see :class:`~zcube.network.load_watch.LoadWatch`; changes no result."""
        self._watch = LoadWatch(len(self.link_set.capacity_bps), bins, expected_s)

    def load_watch(self) -> LoadWatch | None:
        """Return what has been read up to the time last advanced to, None where nothing was to be."""
        self._read_load(self._now_s)
        return self._watch

    def _read_load(self, until_s: float) -> float:
        """Read what is due before a time up to which rates are the present ones; return when the next reading is due."""
        watch, state = self._watch, self._state
        if watch is None:
            return float("inf")
        if watch.due_s < until_s:
            _, pools, subflows, hops, _ = state.used.tolist()
            pool, subflow, carried_bits = state.subflows["pool"][:subflows], state.hops["subflow"][:hops], state.links["bits"]
            # Mostly nothing is under way when a reading is due, or little of what is still in the arrays.
            crossed = np.flatnonzero((state.pools["phase"][:pools] == ACTIVE)[pool][subflow])
            link, subflow = state.hops["link"][:hops][crossed], subflow[crossed]
            rate_bps, settled_s = state.subflows["rate_bps"][subflow], state.pools["settled_s"][pool[subflow]]
            while watch.due_s < until_s:
                sent_bits = rate_bps * (watch.due_s - settled_s)
                watch.note((carried_bits + np.bincount(link, sent_bits, len(carried_bits))) / 8.0)
        return watch.due_s

    def _settle(self) -> None:
        """Credit links with what active transfers have sent up to the present."""
        self._cover_bins(self._now_s)
        active = np.flatnonzero(self._state.pools["phase"][: self._state.used[1]] == ACTIVE)
        # In the order of their starts, so that rounding does not depend on how long before these they were posted.
        start_s = self._state.flows["start_s"][self._state.pools["flow"][active]]
        fluid.settle_pools(self._frame, active[np.argsort(start_s, kind="stable")], self._now_s)

    def _some_events(
        self, to_s: float, most_events: int, before_s: float = float("inf"), unposted_s: float = 0.0
    ) -> tuple[int, float]:
        """Process events, see :func:`zcube.network.fluid.advance`, bins permitting.

        Return how many transfers have arrived, which stand first in ``changed``, and up to when events have been processed, or
        are to be.
        """
        wanted_s = to_s
        if self._bins:
            reach_s = min(to_s, self.next_event_s())
            to_s = min(to_s, self._cover_bins(reach_s if np.isfinite(reach_s) else self._now_s))
            unposted_s = 0.0
        read_s = float("inf") if self._watch is None else self._watch.due_s
        while (found := fluid.advance(self._frame, to_s, most_events, before_s, unposted_s, read_s))[0] < 0:
            to_s, read_s = found[2], self._read_load(found[3])
        arrived, groups, reached_s, self._change_s, self._arrival_s, self._group_s, self._soonest_s = found
        if groups == 1:
            self._arrived_groups.append(self._state.arrived.item(0))
        elif groups:
            self._arrived_groups += self._state.arrived[:groups].tolist()
        return arrived, max(wanted_s, reached_s)

    def _cover_bins(self, time_s: float) -> float:
        """Make room for bins up to a time; return up to when there is room, infinity without bins."""
        bin_s, links = float(self._state.settings[1]), len(self.link_set.capacity_bps)
        if not self._bins:
            return float("inf")
        bins, room = int(min(time_s / bin_s, MOST_BIN_ENTRIES)) + 2, len(self._state.bin_bits) // links
        if bins * links > MOST_BIN_ENTRIES:
            most = MOST_BIN_ENTRIES // links
            raise RunError(f"{time_s:g} s in bins of {bin_s:g} s are too many for {links} links; at most {most} bins")
        if bins > room:
            room = min(max(bins, 2 * room), MOST_BIN_ENTRIES // links)
            self._keep(self._state._replace(bin_bits=grown(self._state.bin_bits, room * links)[: room * links]))
        return room * bin_s


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
