"""Listed transfers carried over one fabric: when each ended, what bounded it, and what every link carried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.network.carrier import Carrier
from zcube.network.flow_model import FlowModel
from zcube.network.load_over_time import LoadOverTime
from zcube.network.protocol import CompletionTable, FlowTable, LinkTable
from zcube.progress import Progress, silent
from zcube.quantiles import spread
from zcube.replays.calibration_band import CalibrationBand
from zcube.replays.packets import check_for_packets, run_packets
from zcube.workload.flow_lists import FlowList

if TYPE_CHECKING:
    import pandas as pd

    from zcube.network.packet.model import PacketModel
    from zcube.network.packet.outcome import PacketOutcome

SCHEMA_VERSION = 2

#: Hot links and slowest coflows named in the summary.
LISTED_COFLOWS = 100


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
    carrier : Carrier
        What carried them.
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
    events : int
        Events solved.
    packets : PacketOutcome or None
        What the packet fidelity counted.
    band : CalibrationBand or None
        What a calibration's intervals leave open.
    load : LoadOverTime or None
        How full switches and links were, since the first start; None where that was not to be kept, and without switches.
    """

    carrier: Carrier
    flows: FlowList
    completions: CompletionTable
    duration_s: FloatArray
    makespan_s: float
    alone_s: FloatArray
    link_table: LinkTable
    bins: BinnedBytes
    events: int
    packets: PacketOutcome | None = None
    band: CalibrationBand | None = None
    load: LoadOverTime | None = None

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
            **(self.band.columns(self.band.duration_s, "duration_s") if self.band else {}),
            **(self.packets.flow_columns(self.duration_s) if self.packets else {}),
        }

    def table(self) -> pd.DataFrame:
        """Return the per-flow table; links by name, empty for none."""
        import pandas as pd

        columns = self.flow_columns()
        names = np.array([*self.link_names(), ""], dtype=object)
        return pd.DataFrame({**columns, "bound_link": names[columns["bound_link"]]})

    def links(self) -> pd.DataFrame:
        """Return what every directed link carried, with its utilisation over the makespan."""
        return self.link_table.frame(self.makespan_s)

    def link_names(self) -> list[str]:
        """Return ``from>to`` of every link."""
        link_set = self.carrier.link_set
        return [f"{source}>{target}" for source, target in zip(link_set.source, link_set.target, strict=True)]

    def document(self) -> dict[str, Any]:
        """Return the summary, JSON-ready; docs/replay.md defines every key."""
        links, slowdown = self.link_table, self.duration_s / self.alone_s
        document = {
            "schema_version": SCHEMA_VERSION,
            "fabric": self.carrier.fabric.name,
            "gpus": self.carrier.fabric.gpus,
            **self.carrier.document(),
            "events": self.events,
            "flows": len(self.flows),
            "bytes": {
                "payload": round(self.flows.size_bytes.sum()),
                "sent": round(links.size_bytes[links.leaves_gpu].sum()),
                "received": round(links.size_bytes[links.enters_gpu].sum()),
            },
            "makespan_s": self.makespan_s,
            "throughput_gbps": float(self.flows.size_bytes.sum()) * 8e-9 / self.makespan_s,
            "duration_s": spread(self.duration_s, maximum=True),
            "slowdown": spread(slowdown, maximum=True),
            **links.hottest(self.makespan_s),
        }
        if self.carrier.measured is not None:
            ends = self.flows.source, self.flows.target, self.flows.size_bytes
            said = self.carrier.measured.document(self.carrier.fabric, *ends)
            document["calibration"] = said | ({"band": self.band.document()} if self.band else {})
        if self.packets:
            spread_over = self.carrier.narrow_spread(self.flows.source, self.flows.target)
            document["packet"] = self.packets.document(self.duration_s, spread_over)
        return document if self.flows.coflow is None else {**document, "coflows": self._coflows(self.flows.coflow)}

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
        return {"count": count, "duration_s": spread(finish - start, maximum=True), "slowest": slowest}


def replay(
    carrier: Carrier,
    flows: FlowList,
    *,
    progress: Progress = silent,
    beside_fluid: bool = True,
) -> Replay:
    """Carry listed transfers to their end.

    Parameters
    ----------
    carrier : Carrier
        What carries them.
    flows : FlowList
        At least one.
    progress : Progress
        Told what is under way and how much of it is done.
    beside_fluid : bool
        Whether packets are held against the fluid, which is run before them.

    Raises
    ------
    InputError
        If a pair has no path, the packet model cannot simulate what a transfer asks for, or the run would not fit in memory;
        before it starts.
    """
    # Times since the first start: a list in seconds since 1970 would leave them a resolution of a quarter microsecond.
    origin_s = float(flows.start_s.min())
    start_s = flows.start_s - origin_s
    if carrier.packet is not None:
        check_for_packets(flows, start_s, carrier.packet)
    posted = FlowTable(flows.source, flows.target, flows.size_bytes, start_s, flows.cap_bps, flows.weight)
    routes, alone_s = carrier.route(posted, flows.where, progress)
    fluid_s = None
    if beside_fluid or carrier.packet is None:
        fluid = carrier.fluid()
        if carrier.packet is None:
            carrier.watch_load(fluid, float((start_s + alone_s).max()))
        fluid.send(posted, routes)
        # The callback comes after so many events; where many transfers start together, an event is that much more work.
        at_once = max(1, 2000 * len(np.unique(start_s)) // len(flows))
        progress("simulating", 0, len(flows), "flows")
        fluid.run(lambda done, total: progress("simulating", done, total, "flows"), at_once)
        if carrier.packet is None:
            return outcome(carrier, fluid, flows, start_s, alone_s, origin_s)
        fluid_s = fluid.completions().finish_s - start_s
    model = carrier.packets()
    carrier.watch_load(model, float((start_s + alone_s).max()))
    model.send(posted, routes)
    longest_s = float((alone_s if fluid_s is None else fluid_s).max())
    run_packets(model, longest_s, lambda done, total: progress("simulating packets", done, total, "packets"))
    return outcome(carrier, model, flows, start_s, alone_s, origin_s, fluid_s)


def outcome(
    carrier: Carrier,
    model: FlowModel | PacketModel,
    flows: FlowList,
    start_s: FloatArray,
    alone_s: FloatArray,
    origin_s: float,
    fluid_s: FloatArray | None = None,
) -> Replay:
    """Return what became of transfers that a model has carried to their end.

    Parameters
    ----------
    carrier, model : Carrier, FlowModel or PacketModel
        What carried them.
    flows : FlowList
        The transfers, in the order in which they were posted.
    start_s, alone_s : float array [flows]
        When they were posted on the model's clock, and what each would take alone.
    origin_s : float
        Time of the list at which the model's clock was 0.
    fluid_s : float array [flows], optional
        What each takes in a fluid, of a packet model.
    """
    done = model.completions()
    duration_s, makespan_s = done.finish_s - start_s, float(done.finish_s.max())
    done, links, watch = replace(done, finish_s=done.finish_s + origin_s), model.link_table(), model.load_watch()
    load, none = None, np.zeros(len(links.size_bytes))
    if watch is not None:
        load = LoadOverTime.of(carrier.fabric, watch, (0.0, makespan_s), none, links.size_bytes)
    packets = None
    if not isinstance(model, FlowModel):
        from zcube.network.packet.outcome import PacketOutcome

        packets = PacketOutcome.of(model, fluid_s)
        bins, events = BinnedBytes(origin_s, 0.0, np.zeros((0, 0))), packets.counts.events
    else:
        bins, events = BinnedBytes(origin_s, carrier.network.bin_s, model.binned_bytes()), model.events
    return Replay(carrier, flows, done, duration_s, makespan_s, alone_s, links, bins, events, packets, load=load)
