"""What came of a run of the packet fidelity: pauses, queues and victims, in full and summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.packet.counts import DelayTable, PacketCounts, PauseLog, QueueTable
from zcube.network.packet.model import PacketModel
from zcube.network.packet.settings import PacketSettings
from zcube.quantiles import spread

#: Ports named in the summary, of those paused longest and of those with the deepest queues.
LISTED_PORTS = 10
#: A transfer counts as a victim if others' congestion has held it up for this part of its time.
VICTIM_SHARE = 0.1


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

    def document(self, duration_s: FloatArray, narrow_spread: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the summary, JSON-ready; docs/packets.md defines every key.

        Parameters
        ----------
        duration_s : float array [flows]
            Of each transfer.
        narrow_spread : mapping, optional
            What :meth:`~zcube.network.carrier.Carrier.narrow_spread` says.
        """
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
        if narrow_spread is not None:
            document["narrow_spread"] = dict(narrow_spread)
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
                "trims": int(table.trims[row]),
            }
            for row in order.tolist()
            if table.pauses[row] or table.peak_bytes[row]
        ]
