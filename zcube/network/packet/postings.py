"""Transfers and their routes as rows of the packet model's tables."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray, distinct
from zcube.errors import Fault, InputError
from zcube.network.link_set import LinkSet
from zcube.network.packet.build import class_shift, reverse_links
from zcube.network.packet.described import describe_pairs
from zcube.network.packet.settings import WINDOW_BITS, PacketSettings
from zcube.network.packet.state import EVERY_SWITCH, FLOW, NEVER, NONE, NOTICES, PAIR, PAST, PS, READINGS
from zcube.network.packet.tables import Tables
from zcube.network.protocol import FlowTable, PathSplit
from zcube.routing.routes import Routes

#: Tables whose rows events read in no order, and how many bytes of them do not lie in a processor's own caches.
READ_ANYWHERE, FETCHED_FROM_BYTES = ("links", "queues", "pairs", "flows"), 1 << 20


class Postings:
    """Adds transfers to tables.

    Parameters
    ----------
    tables : Tables
        Changed in place.
    link_set : LinkSet
        Links.
    settings : PacketSettings
        Parameters.
    path_split : {"pooled", "fixed"}
        Whether all queue pairs of a transfer draw from one pool of bytes, or each carries its share.
    """

    def __init__(self, tables: Tables, link_set: LinkSet, settings: PacketSettings, path_split: PathSplit):
        self.flows = self.pairs = 0
        self._tables, self._link_set, self._settings, self._split = tables, link_set, settings, path_split
        self._paths = self._hops = 0
        self._shift = class_shift(settings)
        self._inner = (tables["links"]["from_switch"] >= 0) & (tables["links"]["to_switch"] >= 0)
        self._reverse = reverse_links(link_set) if settings.acknowledgements == "packets" else None

    def add(self, routes: Routes, flows: FlowTable) -> None:
        """Append flows, their queue pairs and paths; every flow has a path.

        Raises
        ------
        ValueError
            If acknowledgements are packets and a path has no way back.
        """
        tables = self._tables
        subflows, count = routes.subflows, routes.flows
        flow, port = routes.flow_of_path, routes.first_link
        order, first_path = self._grouped(flow, port)
        pairs, paths = len(first_path) - 1, len(order)
        # What switches have reported of a path stands by its place in hops, so that queue pairs with the same paths need places
        # of their own.
        copies = self._settings.spread_queue_pairs if tables.net["telemetry_ps"][0] else 1
        first, length = self._hops, len(routes.link) + subflows
        last = first + copies * length
        back = self._back_rows(routes, order[first_path[:-1]])
        wanted = {
            "flows": self.flows + count,
            "pairs": self.pairs + pairs,
            "owners": self.pairs + pairs,
            "paths": self._paths + paths,
        }
        for name in ("starts", "done", "live"):
            wanted[name] = self.flows + count
        if tables.net["resting"][0]:
            wanted["rests"] = self._paths + paths
        if self._settings.skip.mode != "off":
            links = len(tables["links"])
            wanted |= {"parts": self.flows + count, "probes": self.pairs + pairs, "listed": self.pairs + pairs}
            wanted |= {"late": (2 * links + self.pairs + pairs) * PAST, "told": (self.pairs + pairs) * NOTICES}
        rows = self._settings.window_packets // WINDOW_BITS
        if rows:
            wanted["windows"] = (self.pairs + pairs) * rows
        if self._settings.recovery == "selective":
            wanted |= {"recoveries": self.pairs + pairs, "windows": (self.pairs + pairs) * rows}
            if tables.net["recalling"][0]:
                wanted["gone_by"] = (self.pairs + pairs) * self._settings.selective_window_packets
        if self._settings.skip.mode != "off":
            wanted["reached"] = last + len(back)
        for name, size in (wanted | {"hops": last + len(back)}).items():
            tables.grow(name, size)
        if tables.net["telemetry_ps"][0]:
            _check_readings(routes)
            tables.grow("known", last + len(back))
        tables.grow("states", (self.pairs + pairs) * int(tables.net["state_bytes"][0]))
        classes = self._classes(flows)
        tables["hops"][first:last] = np.tile(self._rows(routes, classes), copies)
        tables["hops"][last : last + len(back)] = back
        if tables.net["adaptive"][0] == EVERY_SWITCH:
            tables.grow("ways", last)
            tables["ways"][first:last] = (ways_on(routes) + first + length * np.arange(copies)[:, None]).ravel()
        tables.net["relaying"] |= self._link_set.enters_gpu[routes.link[routes.followed]].any()
        place = first + length * np.repeat(np.arange(pairs) % copies, np.diff(first_path))
        tables["paths"][self._paths : self._paths + paths] = place + (routes.first_hop[:-1] + np.arange(subflows))[order]
        self._fill_pairs(tables["pairs"][self.pairs : self.pairs + pairs], routes, flows, flow, port, order, first_path, last)
        tables["pairs"]["ahead"][self.pairs : self.pairs + pairs] = tables["paths"][self._paths + first_path[:-1]]
        tables["owners"][self.pairs : self.pairs + pairs] = self.flows + flow[order[first_path[:-1]]]
        new = tables["flows"][self.flows : self.flows + count]
        pair_end = self.pairs + np.searchsorted(flow[order][first_path[:-1]], np.arange(count), side="right")
        new["end_pair"] = pair_end
        new["first_pair"][0], new["first_pair"][1:] = self.pairs, pair_end[:-1]
        self._fill_flows(new, routes, flows, flow)
        tables["pairs"]["queue"][self.pairs : self.pairs + pairs] += (classes * self._settings.priorities)[
            flow[order[first_path[:-1]]]
        ]
        describe_pairs(tables, self.pairs, self.pairs + pairs)
        tables.net["fetching"] = sum(tables[name].nbytes for name in READ_ANYWHERE) >= FETCHED_FROM_BYTES
        self.flows, self.pairs, self._paths, self._hops = wanted["flows"], wanted["pairs"], wanted["paths"], last + len(back)

    def _grouped(self, flow: IntArray, port: IntArray) -> tuple[IntArray, IntArray]:
        """Return subflows in the order of queue pairs, and where in it each pair begins [pairs + 1]."""
        if self._settings.path_choice == "static":
            return np.arange(len(flow)), np.arange(len(flow) + 1)
        apart = port if self._settings.queue_pair_ports == "one" else np.zeros_like(port)
        order = np.lexsort((apart, flow))
        new = np.ones(len(flow), dtype=bool)
        new[1:] = (np.diff(flow[order]) != 0) | (np.diff(apart[order]) != 0)
        first = np.flatnonzero(new)
        count = np.diff(np.append(first, len(flow)))
        first, count = (np.repeat(column, self._settings.spread_queue_pairs) for column in (first, count))
        end = np.cumsum(count)
        return order[np.repeat(first - end + count, count) + np.arange(count.sum())], np.append(0, end)

    def _classes(self, flows: FlowTable) -> IntArray:
        """Return the traffic class of every flow."""
        if flows.traffic_class is None or self._settings.traffic_classes == 1:
            return np.zeros(len(flows), dtype=np.int64)
        return flows.traffic_class

    def _queues(self, routes: Routes, classes: IntArray) -> IntArray:
        """Return the queue of every hop: a packet's priority is the number of links between switches it has crossed."""
        inner = self._inner[routes.link].astype(np.int64)
        before = np.cumsum(inner) - inner
        crossed = before - before[routes.first_hop[routes.path_of_hop]]
        of_class = (classes * self._settings.priorities)[routes.flow_of_path[routes.path_of_hop]]
        return (routes.link << self._shift) + of_class + np.minimum(crossed, self._settings.priorities - 1)

    def _rows(self, routes: Routes, classes: IntArray) -> IntArray:
        """Return the queues of every path, NONE behind each."""
        hops = len(routes.link)
        rows = np.full(hops + routes.subflows, NONE, dtype=np.int32)
        rows[np.arange(hops) + routes.path_of_hop] = self._queues(routes, classes)
        return rows

    def _back_rows(self, routes: Routes, chosen: IntArray) -> IntArray:
        """Return the control queues of the ways back along some paths, NONE behind each; none where nothing goes back."""
        if self._reverse is None:
            return np.zeros(0, dtype=np.int32)
        control = (1 << self._shift) - 1
        rows: list[int] = []
        for subflow in chosen:
            back = self._reverse[routes.link[routes.first_hop[subflow] : routes.first_hop[subflow + 1]][::-1]]
            if (back < 0).any():
                raise ValueError("acknowledgements as packets need a link back for every link")
            rows += [*((back << self._shift) + control).tolist(), NONE]
        return np.array(rows, dtype=np.int32)

    def _fill_pairs(
        self, pairs: np.ndarray, routes: Routes, flows: FlowTable, flow: IntArray, port: IntArray, order: IntArray,
        first_path: IntArray, first_back: int,
    ) -> None:  # fmt: skip
        pairs[:] = np.zeros(1, PAIR)
        lead, width = order[first_path[:-1]], np.diff(first_path)
        pairs["queue"] = port[lead] << self._shift
        pairs["first_path"], pairs["paths"] = self._paths + first_path[:-1], width
        spread = 1 if self._settings.path_choice == "static" else self._settings.spread_queue_pairs
        share = np.add.reduceat(routes.share[order], first_path[:-1]) / spread
        line = self._lines_bps(port[order], np.repeat(np.arange(len(pairs)), width))
        cap = np.full(len(pairs), np.inf) if flows.cap_bps is None else flows.cap_bps[flow[lead]] * share
        sender = pairs["sender"]
        sender["capped"] = sender["paced"] = cap < line
        sender["line"] = sender["rate"] = np.minimum(cap, line) / 8 / PS
        sender["window_bytes"] = sender["alarm_ps"] = pairs["alarm_due_ps"] = NEVER
        sender["told_path"] = NONE
        # A receiver that sends no notifications waits for ever with the first.
        pairs["notice_ps"] = NEVER if self._tables.net["notice_ps"][0] == NEVER else 0
        for name in ("short_number", "asked", "next"):
            pairs[name] = NONE
        latency_ps = np.round(routes.subflow_latency_s(self._link_set.latency_s) * PS).astype(np.int64)
        pairs["reverse_ps"] = np.maximum.reduceat(latency_ps[order], first_path[:-1])
        if self._split == "fixed":
            # Cumulated shares are rounded, so that the parts add up to the whole.
            size = np.ceil(flows.size_bytes)[flow[lead]]
            until = _cumulated(share, flow[lead])
            before = np.where(np.append(True, np.diff(flow[lead]) != 0), 0.0, np.append(0.0, until[:-1]))
            pairs["unsent"] = np.round(until * size) - np.round(before * size)
        if self._reverse is not None:
            hops = routes.hops_per_path[lead] + 1
            pairs["reverse"] = first_back + np.cumsum(hops) - hops

    def _lines_bps(self, port: IntArray, pair: IntArray) -> FloatArray:
        """Return the rate of all the NIC ports of each queue pair [pairs], from those of its paths and whose these are."""
        links = len(self._link_set.capacity_bps)
        owner, link = np.divmod(distinct(pair * links + port), links)
        return np.bincount(owner, self._link_set.capacity_bps[link]).astype(np.float64)

    def _fill_flows(self, new: np.ndarray, routes: Routes, flows: FlowTable, flow: IntArray) -> None:
        first_pair, end_pair = new["first_pair"].copy(), new["end_pair"].copy()
        new[:] = np.zeros(1, FLOW)
        new["first_pair"], new["end_pair"] = first_pair, end_pair
        new["size"] = new["unsent"] = np.ceil(flows.size_bytes)
        new["start_ps"] = np.round(flows.start_s * PS)
        new["finish_ps"] = NEVER
        last = routes.last_link
        ends = distinct(flow * len(self._link_set.capacity_bps) + last)
        at, link = np.divmod(ends, len(self._link_set.capacity_bps))
        new["drain"] = np.bincount(at, self._link_set.capacity_bps[link], minlength=len(new)) / 8 / PS
        new["tail_ps"] = routes.per_flow(np.round(self._link_set.latency_s[last] * PS), np.minimum)


def _cumulated(share: FloatArray, flow: IntArray) -> FloatArray:
    """Return the sum of each flow's shares up to each one, added one after the other; the flows ascend."""
    until = share.copy()
    first = np.flatnonzero(np.append(True, np.diff(flow) != 0))
    count = np.diff(np.append(first, len(flow)))
    for rank in range(1, int(count.max())):
        at = first[count > rank] + rank
        until[at] += until[at - 1]
    return until


def ways_on(routes: Routes) -> IntArray:
    """Return, for each place of paths that end with a place of no link, the next place on which equal paths go on from there.

    Paths of a flow that begin alike part into groups by the link that comes next. From a path of one group it leads to that of
    the next group with the same rank in it, from the last group to the first; where all have the same next link, to itself.

    Returns
    -------
    int array [hops + subflows]
        Places, counted as the rows of :class:`~zcube.network.packet.state.PAIR`'s paths lie behind each other.
    """
    width = int(routes.hops_per_path.max(initial=0)) + 1
    rows, flow = routes.rows(width), routes.flow_of_path
    order = np.lexsort((*rows.T[::-1], flow))
    rows, place = rows[order], (routes.first_hop[:-1] + np.arange(routes.subflows))[order]
    ways = np.arange(len(routes.link) + routes.subflows)
    at = np.arange(len(order))
    new_prefix = np.append(True, np.diff(flow[order]) != 0)[: len(order)]
    for hop in range(width):
        new_group = new_prefix | np.append(True, np.diff(rows[:, hop]) != 0)[: len(order)]
        first = np.flatnonzero(new_group)
        size, group = np.diff(np.append(first, len(order))), np.cumsum(new_group) - 1
        head = np.maximum.accumulate(np.where(new_prefix, at, 0))
        after = group + 1
        ends = (after == len(first)) | new_prefix[first[np.minimum(after, len(first) - 1)]]
        after = np.where(ends, group[head], after)
        other = first[after] + (at - first[group]) % size[after]
        there = rows[:, hop] >= 0
        ways[place[there] + hop] = place[other[there]] + hop
        new_prefix = new_group
    return ways


def _check_readings(routes: Routes) -> None:
    """Refuse paths with more switches than packets have room for what these write."""
    switches = int(routes.hops_per_path.max(initial=0)) - 1
    if switches >= READINGS:
        raise InputError(
            Fault(
                "packet.congestion_control", f"a path over {switches} switches", f"at most {READINGS - 1} that write telemetry"
            )
        )
