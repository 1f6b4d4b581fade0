"""Transfers and their routes as rows of the packet model's tables."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.network.link_set import LinkSet
from zcube.network.packet.build import class_shift, reverse_links
from zcube.network.packet.described import describe_pairs
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.state import FLOW, NEVER, NONE, PAIR, PS
from zcube.network.packet.tables import Tables
from zcube.network.protocol import FlowTable, PathSplit
from zcube.routing.routes import Routes


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
        pairs = len(first_path) - 1
        first, last = self._hops, self._hops + len(routes.link) + subflows
        back = self._back_rows(routes, order[first_path[:-1]])
        wanted = {"flows": self.flows + count, "pairs": self.pairs + pairs, "paths": self._paths + subflows}
        for name in ("starts", "done", "live"):
            wanted[name] = self.flows + count
        if self._settings.skip.mode != "off":
            wanted |= {"parts": self.flows + count, "probes": self.pairs + pairs}
        for name, size in (wanted | {"hops": last + len(back)}).items():
            tables.grow(name, size)
        tables.grow("states", (self.pairs + pairs) * int(tables.net["state_bytes"][0]))
        tables["hops"][first:last] = self._rows(routes)
        tables["hops"][last : last + len(back)] = back
        tables["paths"][self._paths : self._paths + subflows] = (first + routes.first_hop[:-1] + np.arange(subflows))[order]
        self._fill_pairs(tables["pairs"][self.pairs : self.pairs + pairs], routes, flows, flow, port, order, first_path, last)
        new = tables["flows"][self.flows : self.flows + count]
        pair_end = self.pairs + np.searchsorted(flow[order][first_path[:-1]], np.arange(count), side="right")
        new["end_pair"] = pair_end
        new["first_pair"][0], new["first_pair"][1:] = self.pairs, pair_end[:-1]
        self._fill_flows(new, routes, flows, flow)
        describe_pairs(tables, self.pairs, self.pairs + pairs)
        self.flows, self.pairs, self._paths, self._hops = wanted["flows"], wanted["pairs"], wanted["paths"], last + len(back)

    def _grouped(self, flow: IntArray, port: IntArray) -> tuple[IntArray, IntArray]:
        """Return subflows in the order of queue pairs, and where in it each pair begins [pairs + 1]."""
        if self._settings.path_choice == "static":
            return np.arange(len(flow)), np.arange(len(flow) + 1)
        order = np.lexsort((port, flow))
        new = np.ones(len(flow), dtype=bool)
        new[1:] = (np.diff(flow[order]) != 0) | (np.diff(port[order]) != 0)
        return order, np.append(np.flatnonzero(new), len(flow))

    def _queues(self, routes: Routes) -> IntArray:
        """Return the queue of every hop: a packet's priority is the number of links between switches it has crossed."""
        inner = self._inner[routes.link].astype(np.int64)
        before = np.cumsum(inner) - inner
        crossed = before - before[routes.first_hop[routes.path_of_hop]]
        return (routes.link << self._shift) + np.minimum(crossed, self._settings.priorities - 1)

    def _rows(self, routes: Routes) -> IntArray:
        """Return the queues of every path, NONE behind each."""
        hops = len(routes.link)
        rows = np.full(hops + routes.subflows, NONE, dtype=np.int32)
        rows[np.arange(hops) + routes.path_of_hop] = self._queues(routes)
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
        pairs["flow"], pairs["queue"] = self.flows + flow[lead], port[lead] << self._shift
        pairs["first_path"], pairs["paths"] = self._paths + first_path[:-1], width
        share = np.add.reduceat(routes.share[order], first_path[:-1])
        line = self._link_set.capacity_bps[port[lead]]
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
            total = np.cumsum(share)
            before = total - share - (flow[lead] - flow[lead[0]])
            pairs["unsent"] = np.round((before + share) * size) - np.round(before * size)
        if self._reverse is not None:
            hops = routes.hops_per_path[lead] + 1
            pairs["reverse"] = first_back + np.cumsum(hops) - hops

    def _fill_flows(self, new: np.ndarray, routes: Routes, flows: FlowTable, flow: IntArray) -> None:
        first_pair, end_pair = new["first_pair"].copy(), new["end_pair"].copy()
        new[:] = np.zeros(1, FLOW)
        new["first_pair"], new["end_pair"] = first_pair, end_pair
        new["size"] = new["unsent"] = np.ceil(flows.size_bytes)
        new["start_ps"] = np.round(flows.start_s * PS)
        new["finish_ps"] = NEVER
        last = routes.last_link
        ends = np.unique(flow * len(self._link_set.capacity_bps) + last)
        at, link = np.divmod(ends, len(self._link_set.capacity_bps))
        new["drain"] = np.bincount(at, self._link_set.capacity_bps[link], minlength=len(new)) / 8 / PS
        new["tail_ps"] = routes.per_flow(np.round(self._link_set.latency_s[last] * PS), np.minimum)
