"""What the packet fidelity adds to a replay: pauses, queues, victims, and how packets compare with the fluid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.network.packet.counts import DelayTable, PacketCounts, PauseLog, QueueTable
from zcube.network.packet.model import LATEST_START_S, MOST_PACKETS, PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.quantiles import spread
from zcube.workload.flow_lists import FlowList

#: Ports named in the summary, of those paused longest and of those with the deepest queues.
LISTED_PORTS = 10
#: A transfer counts as a victim if others' congestion has held it up for this part of its time.
VICTIM_SHARE = 0.1
#: Part of the fluid's makespan that a run simulates first before it tells its progress; wall time later steps aim at.
FIRST_STEP, STEP_TAKES_S = 1e-4, 0.2
#: Least time a step simulates.
LEAST_STEP_S = 1e-7


@dataclass(frozen=True, eq=False)
class PacketOutcome:
    """Counts and tables of one run.

    Attributes
    ----------
    settings : PacketSettings
        Parameters.
    counts : PacketCounts
        Of the whole network.
    queues : QueueTable
        Per port and priority.
    delays : DelayTable
        Per transfer, in the order posted.
    pauses : PauseLog
        Pause by pause.
    bin_s : float
        Width of the bins; 0 without.
    depth_bytes, paused_s : array [bins, queues]
        Depth of every queue and how long it was paused, per bin.
    fluid_s : float array [flows] or None
        What each transfer takes in a fluid.
    """

    settings: PacketSettings
    counts: PacketCounts
    queues: QueueTable
    delays: DelayTable
    pauses: PauseLog
    bin_s: float
    depth_bytes: IntArray
    paused_s: FloatArray
    fluid_s: FloatArray | None

    @staticmethod
    def of(model: PacketModel, fluid_s: FloatArray | None) -> PacketOutcome:
        """Take what a model has counted."""
        return PacketOutcome(
            model.settings,
            model.counts,
            model.queue_table(),
            model.delays(),
            model.pause_log(),
            model.bin_s,
            model.depth_bins(),
            model.pause_bins_s(),
            fluid_s,
        )

    def flow_columns(self, duration_s: FloatArray) -> dict[str, np.ndarray]:
        """Return what it adds to the per-flow table."""
        columns: dict[str, np.ndarray] = {
            "blocked_s": self.delays.blocked_s,
            "victim_s": self.delays.victim_s,
            "rate_cuts": self.delays.rate_cuts,
        }
        return columns if self.fluid_s is None else {**columns, "fluid_ratio": duration_s / self.fluid_s}

    def document(self, duration_s: FloatArray) -> dict[str, Any]:
        """Return the summary, JSON-ready; docs/packets.md defines every key."""
        victims = self.delays.victim_s > VICTIM_SHARE * duration_s
        document = {
            "settings": self.settings.model_dump(mode="json"),
            "counts": asdict(self.counts),
            "paused_ports": int((self.queues.pauses > 0).sum()),
            "paused_s": float(self.queues.paused_s.sum()),
            "ports": self._ports(),
            "victims": {
                "flows": int(victims.sum()),
                "blocked_s": float(self.delays.blocked_s.sum()),
                "victim_s": float(self.delays.victim_s.sum()),
            },
        }
        if self.fluid_s is not None:
            document["fluid_ratio"] = spread(duration_s / self.fluid_s, maximum=True)
        return document

    def _ports(self) -> list[dict[str, Any]]:
        """Return the ports that stood still longest, and after them those with the deepest queues."""
        table = self.queues
        longest, deepest = (np.argsort(-values, kind="stable")[:LISTED_PORTS] for values in (table.paused_s, table.peak_bytes))
        order = np.array(list(dict.fromkeys([*longest.tolist(), *deepest.tolist()])), dtype=np.int64)
        return [
            {
                "from": table.source[row],
                "to": table.target[row],
                "priority": int(table.priority[row]),
                "pauses": int(table.pauses[row]),
                "paused_s": float(table.paused_s[row]),
                "peak_bytes": int(table.peak_bytes[row]),
                "ingress_peak_bytes": int(table.ingress_peak_bytes[row]),
                "marks": int(table.marks[row]),
                "drops": int(table.drops[row]),
            }
            for row in order.tolist()
            if table.pauses[row] or table.peak_bytes[row]
        ]


def check_for_packets(flows: FlowList, start_s: FloatArray, settings: PacketSettings) -> None:
    """Refuse what a list of transfers may say and the packet model cannot simulate.

    Parameters
    ----------
    flows : FlowList
        As listed.
    start_s : float array [flows]
        Starts since the first.
    settings : PacketSettings
        Parameters.

    Raises
    ------
    InputError
        If a weight is not 1, a start is beyond the clock, or a transfer has more packets than can be numbered.
    """
    faults, most_bytes = [], MOST_PACKETS * settings.unit_payload_bytes
    large = np.flatnonzero(flows.size_bytes > most_bytes)
    late = np.flatnonzero(start_s > LATEST_START_S)
    heavy = np.flatnonzero(flows.weight != 1) if flows.weight is not None else np.zeros(0, dtype=np.int64)
    for rows, values, name, expected in (
        (large, flows.size_bytes, "bytes", f"at most {most_bytes:,} with --fidelity packet; more with a larger --cell-bytes"),
        (late, flows.start_s, "start_s", f"at most {LATEST_START_S / 86400:g} days after the first with --fidelity packet"),
        (heavy, flows.weight, "weight", "1 or no such column with --fidelity packet: a NIC serves its queue pairs in turn"),
    ):
        named = rows[:LISTED_PORTS].tolist()
        if values is not None and named:
            faults += [Fault(f"{place}: {name}", f"{values[row]:g}", expected) for row, place in zip(named, flows.where(named))]
            if len(rows) > len(named):
                faults.append(Fault(name, f"{len(rows) - len(named)} more of these", "none; the first ones are listed above"))
    if faults:
        raise InputError(faults)


def run_packets(model: PacketModel, fluid_makespan_s: float, progress: Callable[[int, int], None]) -> None:
    """Run posted transfers to their end, telling several times a second how many packets' payload of how many has arrived.

    Parameters
    ----------
    model : PacketModel
        With all transfers posted.
    fluid_makespan_s : float
        How long these take in a fluid, roughly; the first step is a small part of it.
    progress : callable
        ``progress(arrived, total)``.
    """
    total = max(1, -(-model.posted_bytes // model.settings.unit_payload_bytes))
    step_s, reached_s = max(fluid_makespan_s * FIRST_STEP, LEAST_STEP_S), 0.0
    while (next_s := model.next_event_s()) < float("inf"):
        # Between transfers nothing happens; within them steps keep to the wall clock, which changes no result.
        reached_s = (max(next_s, reached_s) if model.under_way == 0 else reached_s) + step_s
        began_s = time.monotonic()
        model.advance(reached_s)
        taken_s = time.monotonic() - began_s
        step_s = max(LEAST_STEP_S, step_s * min(2.0, max(0.1, STEP_TAKES_S / max(taken_s, 1e-9))))
        progress(min(total - 1, model.received_bytes // model.settings.unit_payload_bytes), total)
    progress(total, total)
