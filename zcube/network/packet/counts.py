"""What a run of the packet model counted: per network, per queue, per transfer, and pause by pause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.packet.state import PS
from zcube.network.packet.tables import Tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PacketCounts:
    """Counts of a run.

    Attributes
    ----------
    events : int
        Events processed: a function of the input alone.
    packet_hops : int
        Data packets (cells) transmitted over one link each.
    control_hops : int
        The same of acknowledgements and notifications, where they are packets, and of trimmed packets.
    pauses : int
        XOFF frames; a pause that lasts is refreshed by further frames, which are not counted.
    marks, notifications, rate_cuts : int
        Packets marked, congestion notifications sent, rates (or windows) cut.
    drops, repeats, timeouts : int
        Packets dropped, packets sent again, timeouts that led to this.
    late : int
        Packets of a spread queue pair that arrived behind a later one.
    lost : int
        Packets on links that went down.
    duplicates : int
        Packets that arrived once more, where they are repeated one by one.
    trims, headers_lost : int
        Packets of which switches cut the payload, and headers of such that were dropped.
    storms : int
        Pauses after which the PFC watchdog dropped what waited, or forwarded it.
    expiries : int
        Pauses that ended because no further frame came in time.
    reused : int
        Transfers that went as others had gone and were not simulated again.
    """

    events: int
    packet_hops: int
    control_hops: int
    pauses: int
    marks: int
    notifications: int
    rate_cuts: int
    drops: int
    repeats: int
    timeouts: int
    late: int
    lost: int
    duplicates: int
    trims: int
    headers_lost: int
    storms: int
    expiries: int
    reused: int

    @staticmethod
    def of(tables: Tables) -> PacketCounts:
        """Read the counts."""
        net = tables.net[0]
        names = ("events", "packet_hops", "control_hops", "pauses", "marks", "notices", "drops", "repeats", "timeouts", "late",
                 "lost", "duplicates", "trims", "headers_lost", "storms", "expiries", "reused")  # fmt: skip
        counted = {name: int(net[name]) for name in names}
        rate_cuts = int(tables["pairs"]["sender"]["cuts"].sum())
        return PacketCounts(notifications=counted.pop("notices"), rate_cuts=rate_cuts, **counted)


@dataclass(frozen=True, eq=False)
class QueueTable:
    """What happened at every priority of every link; the same rows as the model's queues.

    Attributes
    ----------
    source, target : sequence of str
        Ends of the link.
    priority : int array [queues]
        Priority; acknowledgements, where they are packets, have the highest number, and before them trimmed packets.
    pauses : int array [queues]
        Times the link's target stopped its source.
    paused_s : float array [queues]
        Time it was stopped.
    peak_bytes : int array [queues]
        Deepest the egress queue has been, on the wire; 0 at NICs, whose packets wait in memory.
    ingress_peak_bytes : int array [queues]
        Most of the target's buffer that packets from this link took, headroom included.
    headroom_bytes : int array [queues]
        Headroom kept for them.
    marks, drops, trims : int array [queues]
        Packets marked in the egress queue, dropped in front of it, or trimmed there.
    """

    source: Sequence[str]
    target: Sequence[str]
    priority: IntArray
    pauses: IntArray
    paused_s: FloatArray
    peak_bytes: IntArray
    ingress_peak_bytes: IntArray
    headroom_bytes: IntArray
    marks: IntArray
    drops: IntArray
    trims: IntArray

    @staticmethod
    def of(tables: Tables, source: Sequence[str], target: Sequence[str]) -> QueueTable:
        """Read the table; pauses that last are counted up to the present."""
        net, queues = tables.net[0], tables["queues"]
        link = np.arange(len(queues)) >> int(net["class_shift"])
        lasting = np.where(queues["paused"] == 1, net["now_ps"] - queues["paused_ps"], 0)
        return QueueTable(
            [source[at] for at in link],
            [target[at] for at in link],
            np.arange(len(queues)) - (link << int(net["class_shift"])),
            queues["pauses"].copy(),
            (queues["pause_total_ps"] + lasting) / PS,
            queues["peak"].copy(),
            queues["in_peak"].copy(),
            queues["headroom"].copy(),
            queues["marks"].copy(),
            queues["drops"].copy(),
            queues["trims"].copy(),
        )

    def frame(self) -> pd.DataFrame:
        """Return the table."""
        import pandas as pd

        names = (
            "priority",
            "pauses",
            "paused_s",
            "peak_bytes",
            "ingress_peak_bytes",
            "headroom_bytes",
            "marks",
            "drops",
            "trims",
        )
        columns = {name: getattr(self, name) for name in names}
        return pd.DataFrame({"from": list(self.source), "to": list(self.target), **columns})


@dataclass(frozen=True, eq=False)
class DelayTable:
    """How back-pressure and congestion control met each transfer.

    Attributes
    ----------
    blocked_s : float array [flows]
        Time in which some packet of it stood behind a pause.
    victim_s : float array [flows]
        The part behind pauses whose congested queue, at the end of the chain of pauses, was not on the packet's path:
        head-of-line blocking by others' congestion.
    rate_cuts, late : int array [flows]
        Rate cuts of its queue pairs, and packets that came behind a later one.
    """

    blocked_s: FloatArray
    victim_s: FloatArray
    rate_cuts: IntArray
    late: IntArray

    @staticmethod
    def of(tables: Tables, flows: int, pairs: int) -> DelayTable:
        """Read the table."""
        table, of_pair, owner = tables["flows"][:flows], tables["pairs"][:pairs], tables["owners"][:pairs]

        def total(of: IntArray) -> IntArray:
            return np.bincount(owner, of, minlength=flows).astype(np.int64)

        cuts, late = total(of_pair["sender"]["cuts"]), total(of_pair["late"])
        return DelayTable(table["blocked_ps"] / PS, table["victim_ps"] / PS, cuts, late)


@dataclass(frozen=True, eq=False)
class PauseLog:
    """Pauses that have ended, in the order of their ends.

    Attributes
    ----------
    from_s, until_s : float array [pauses]
        When the link's source stopped and went on.
    link, priority : int array [pauses]
        What was stopped.
    cause_link : int array [pauses]
        Link whose queue the packet wanted that exceeded the threshold: parent in the congestion tree.
    root_link : int array [pauses]
        Link at the end of the chain of causes, which was congested and not itself paused.
    left_out : int
        Pauses beyond the room of the log.
    """

    from_s: FloatArray
    until_s: FloatArray
    link: IntArray
    priority: IntArray
    cause_link: IntArray
    root_link: IntArray
    left_out: int

    @staticmethod
    def of(tables: Tables) -> PauseLog:
        """Read the log."""
        net, shift = tables.net[0], int(tables.net["class_shift"][0])
        kept = min(int(net["logged"]), int(net["log_room"]))
        log = tables["log"][:kept]
        log = log[np.argsort(log["until_ps"], kind="stable")]
        queue = log["queue"].astype(np.int64)
        return PauseLog(
            log["from_ps"] / PS,
            log["until_ps"] / PS,
            queue >> shift,
            queue - (queue >> shift << shift),
            log["cause"].astype(np.int64) >> shift,
            log["root"].astype(np.int64) >> shift,
            int(net["logged"]) - kept,
        )
