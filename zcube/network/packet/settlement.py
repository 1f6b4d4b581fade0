"""How a part settles that starts on idle links: simulated alone in a network of its own, and taken over by its equals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zcube.arrays import IntArray
from zcube.network.packet import steady
from zcube.network.packet.build import FIRST_PACKETS, LEAST_BUCKETS, LONG_BUCKETS, PAUSE_LOG_ROWS, idle_queues
from zcube.network.packet.described import describe_pairs
from zcube.network.packet.layout import NET, TABLES
from zcube.network.packet.patterns import Pattern
from zcube.network.packet.starts import push_starts
from zcube.network.packet.state import (
    MOST_BUCKET_BITS,
    NEEDS_PACKETS,
    NEVER,
    NONE,
    NOTICES,
    PAST,
    REACHED,
)
from zcube.network.packet.tables import Tables

#: Events after which the kernel returns, so that an interrupt is heard.
EVENTS_AT_ONCE = 2_000_000

#: What of a network's record a network of a part has of its own; the rest are settings.
OWN = (
    *(
        "now_ps",
        "bucket",
        "filed",
        "free_block",
        "blocks_used",
        "spanned",
        "far_count",
        "free_count",
        "waiting",
        "done_count",
        "events",
        "packet_hops",
    ),
    *(
        "control_hops",
        "marks",
        "notices",
        "drops",
        "repeats",
        "timeouts",
        "late",
        "pauses",
        "active",
        "looks",
        "stamp",
        "skips",
    ),
    *("frozen", "matching", "reused", "logged", "bin_ps", "ahead", "ahead_end"),
)
#: Of these, what adds up.
COUNTED = ("packet_hops", "control_hops", "marks", "notices", "drops", "repeats", "timeouts", "late", "pauses")
#: What adds up, what is kept as the largest, and what is there in the end.
SUMS = {
    "links": ("payload", "packets", "mark_draws"),
    "queues": ("marks", "pause_total_ps", "drops", "pauses", "frames", "applied"),
}
MOST = {"links": ("peak",), "queues": ("peak", "in_peak")}
ENDS = {
    "pairs": (
        *("state", "sent", "most", "turn", "short_number", "short_payload", "sender", "unsent", "acknowledged", "wanted"),
        *("highest", "arrived", "marked", "late"),
    ),
    "flows": ("unsent", "received", "delivering", "blocked_ps", "victim_ps"),
    "links": ("turn", "relay_turn"),
}


@dataclass(frozen=True, eq=False)
class Settlement:
    """What became of a part, in its own names and from its start on.

    Attributes
    ----------
    quiet_ps : int
        When all of it has come to rest.
    is_drawn : bool
        Whether packets were marked at random.
    tables : mapping
        Rows of links, queues, switches, pairs, flows and pauses as they were in the end.
    counts : NET record
        What was counted.
    """

    quiet_ps: int
    is_drawn: bool
    tables: dict[str, np.ndarray]
    counts: np.ndarray

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return sum(table.nbytes for table in self.tables.values()) + self.counts.nbytes

    @property
    def most(self) -> IntArray:
        """Bytes it holds at most of each of its switches."""
        return self.tables["switches"]["peak"]

    @property
    def is_paused(self) -> bool:
        """Whether a queue was stopped."""
        return bool(self.counts["pauses"] > 0)

    def fits(self, tables: Tables, pattern: Pattern, others: IntArray) -> bool:
        """Return whether buffers have room for a part equal to it, so that nothing is stopped whatever else they hold.

        Parameters
        ----------
        tables : Tables
            The network.
        pattern : Pattern
            The part.
        others : int array [switches]
            Bytes that others may hold at each of its switches.
        """
        net, shared = tables.net[0], tables["switches"]["shared"][pattern.switches]
        free = shared - others - self.most
        off = np.floor(net["alpha"] * free) if net["dynamic_off"] else np.full(len(free), float(net["off_bytes"]))
        queues, into = self.tables["queues"], np.repeat(self.tables["links"]["to_switch"], 1 << int(net["class_shift"]))
        inside = (into != NONE) & (queues["in_peak"] > 0)
        held = queues["in_peak"][inside] + int(net["mtu"])
        return not self.is_paused and bool((free >= 0).all() and (held <= net["near"] * off[into[inside]]).all())

    def apply(self, tables: Tables, pattern: Pattern, start_ps: int) -> None:
        """Let a part equal to it, whose flows are no longer waiting to start, go as it went."""
        net, shift = tables.net, int(tables.net["class_shift"][0])
        queues = ((pattern.links[:, None] << shift) + np.arange(1 << shift)).ravel()
        rows = {"links": pattern.links, "queues": queues, "pairs": pattern.pairs, "flows": pattern.flows}
        for name, at in rows.items():
            table, ours = tables[name], self.tables[name]
            for field in SUMS.get(name, ()):
                table[field][at] += ours[field]
            for field in MOST.get(name, ()):
                table[field][at] = np.maximum(table[field][at], ours[field])
            for field in ENDS.get(name, ()):
                table[field][at] = ours[field]
        tables["links"]["busy_ps"][pattern.links] = start_ps + self.tables["links"]["busy_ps"]
        for field in ("latest_ps", "finish_ps"):
            tables["flows"][field][pattern.flows] = start_ps + self.tables["flows"][field]
        self._log(tables, queues, start_ps)
        done = int(net["done_count"][0])
        tables["done"][done : done + len(pattern.flows)] = pattern.flows
        net["done_count"] += len(pattern.flows)
        net["reused"] += len(pattern.flows)
        for field in COUNTED:
            net[field] += self.counts[field]

    def _log(self, tables: Tables, queues: IntArray, start_ps: int) -> None:
        """Enter its pauses into the log."""
        first, room = int(tables.net["logged"][0]), int(tables.net["log_room"][0])
        kept = self.tables["log"][: max(room - first, 0)].copy()
        for field in ("from_ps", "until_ps"):
            kept[field] += start_ps
        for field in ("queue", "cause", "root"):
            kept[field] = queues[kept[field]]
        tables["log"][first : first + len(kept)] = kept
        tables.net["logged"] += self.counts["logged"]


def settle(tables: Tables, pattern: Pattern) -> Settlement | None:
    """Simulate a part alone to its end; None if it comes to none."""
    alone = _alone(tables, pattern)
    push_starts(alone.net, np.arange(len(pattern.flows)))
    while (why := steady.advance(alone.net, NEVER - 1, EVENTS_AT_ONCE)) != REACHED:
        if why == NEEDS_PACKETS:
            alone.add_packets(2 * len(alone["packets"]))
    net = alone.net[0]
    tables.net["events"] += net["events"]
    if net["done_count"] < len(pattern.flows) or net["drops"] > 0:
        return None
    kept = {name: alone[name].copy() for name in ("links", "queues", "switches", "pairs", "flows")}
    kept["switches"]["peak"] = np.maximum(kept["switches"]["peak"] - tables["switches"]["used"][pattern.switches], 0)
    kept["log"] = alone["log"][: min(int(net["logged"]), len(alone["log"]))].copy()
    quiet_ps = max(int(net["now_ps"]), int(alone["flows"]["finish_ps"].max()), int(alone["links"]["busy_ps"].max()))
    is_drawn = bool(alone["links"]["mark_draws"].any() or alone["probes"]["draws"].any())
    # Where a queue pair's packets come among others' is drawn too, wherever a queue may mark.
    is_drawn |= net["jitter"] > 0 and bool(alone["pairs"]["sender"]["cuts"].any() or alone["claims"]["marks"].any())
    return Settlement(quiet_ps, is_drawn, kept, alone.net[0].copy())


def _alone(tables: Tables, pattern: Pattern) -> Tables:
    """Return an idle network of a part's links alone, with its flows, at time 0."""
    shift = int(tables.net["class_shift"][0])
    links, pairs, flows = (tables[name][rows].copy() for name, rows in
                           (("links", pattern.links), ("pairs", pattern.pairs), ("flows", pattern.flows)))  # fmt: skip
    name = np.full(len(tables["switches"]) + 1, NONE)
    name[pattern.switches] = np.arange(len(pattern.switches))
    for end in ("from_switch", "to_switch"):
        links[end] = name[links[end]]
    for field in ("busy_ps", "payload", "packets", "active", "peak", "mark_draws"):
        links[field] = 0
    switches = tables["switches"][pattern.switches].copy()
    switches["peak"] = 0
    width = flows["end_pair"] - flows["first_pair"]
    flows["end_pair"] = np.cumsum(width)
    flows["first_pair"] = flows["end_pair"] - width
    flows["start_ps"] = 0
    owners = np.repeat(np.arange(len(flows), dtype=np.int32), width)
    pairs["queue"] = (np.searchsorted(pattern.links, pairs["queue"] >> shift) << shift) + (pairs["queue"] & ((1 << shift) - 1))
    pairs["first_path"] = np.cumsum(pairs["paths"]) - pairs["paths"]
    ends = np.flatnonzero(pattern.hops == NONE)
    paths = np.append(0, ends[:-1] + 1).astype(np.int32)
    pairs["ahead"] = paths[pairs["first_path"]]
    held = tables["queues"].reshape(-1, 1 << shift)[pattern.links]["headroom"].ravel()
    width = int(tables.net["state_bytes"][0])
    alone = Tables(
        packets=len(links),
        buckets=LEAST_BUCKETS,
        bits=LEAST_BUCKETS // 64,
        spans=np.full(LONG_BUCKETS, NONE, dtype=np.int32),
        links=links,
        queues=idle_queues(held),
        switches=switches,
        flows=flows,
        pairs=pairs,
        owners=owners,
        hops=pattern.hops.astype(np.int32),
        paths=paths,
        states=max(width * len(pairs), 1),
        parameters=tables["parameters"],
        claims=len(links),
        parts=len(flows),
        probes=len(pairs),
        reached=len(pattern.hops),
        late=(2 * len(links) + len(pairs)) * PAST,
        told=len(pairs) * NOTICES,
        listed=len(pairs),
        log=PAUSE_LOG_ROWS,
        **{table: len(flows) for table in ("starts", "done", "live")},
    )
    alone["claims"]["frozen"] = NONE
    net = alone.net
    for field in NET.names or ():
        if field not in OWN and not (field.endswith("_at") and field[:-3] in TABLES):
            net[field] = tables.net[field]
    wider = int(tables.net["buckets"][0]).bit_length() - LEAST_BUCKETS.bit_length()
    net["bucket_shift"] = min(int(net["bucket_shift"][0]) + wider, MOST_BUCKET_BITS)
    net["buckets"], net["spans"], net["queues"] = LEAST_BUCKETS, LONG_BUCKETS, len(alone["queues"])
    net["span_shift"] = LEAST_BUCKETS.bit_length() - 2
    net["span"], net["log_room"] = 2, PAUSE_LOG_ROWS
    net["current"] = net["free"] = net["ready"] = NONE
    net["look_ps"] = net["bins_end_ps"] = NEVER
    net["reach"] = net["most_reach"] = 1
    alone.add_packets(len(links) + FIRST_PACKETS)
    describe_pairs(alone, 0, len(pairs))
    return alone
