"""The packet fidelity as a network model: transfers in, completions and counts out."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.as_written import as_written, kernels_compiled, runs_as_written
from zcube.errors import NetworkStoppedError, RunError
from zcube.fabric.model import Fabric
from zcube.network.flow_groups import FlowGroups
from zcube.network.flow_model import MOST_BIN_ENTRIES
from zcube.network.fluid_state import grown
from zcube.network.link_set import IdealRouting, LinkSet
from zcube.network.load_watch import LoadWatch
from zcube.network.packet import bounds, engine, steady
from zcube.network.packet.arrivals import may_be_unseen
from zcube.network.packet.build import idle_network
from zcube.network.packet.control import link_control, place_handlers
from zcube.network.packet.counts import DelayTable, PacketCounts, PauseLog, QueueTable
from zcube.network.packet.failure_schedule import schedule_failures
from zcube.network.packet.plain import is_plain
from zcube.network.packet.postings import Postings
from zcube.network.packet.reuse import Reuse
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.starts import push_starts
from zcube.network.packet.state import GIVES_UP, NEEDS_BINS, NEEDS_MATCH, NEEDS_PACKETS, NEVER, PS, REACHED, picoseconds
from zcube.network.packet.stuck import find_deadlock
from zcube.network.path_table import PathTable
from zcube.network.protocol import NO_COLUMN, CompletionTable, FlowTable, LinkTable, PathSplit
from zcube.routing.routes import Routes, Routing, check_reachable

#: A buffer that no run fills.
UNLIMITED_BYTES = 1 << 50

#: What the clock of integer picoseconds leaves room for, with as much again for the run.
LATEST_START_S = 25 * 86400.0

#: Packets of a transfer, which their numbers can tell apart.
MOST_PACKETS = (1 << 31) - 2

#: Events after which a kernel returns, so that an interrupt is heard and the watchdog looks.
EVENTS_AT_ONCE = 2_000_000

#: Events after which a model that began as written is compiled after all: about ten seconds.
EVENTS_AS_WRITTEN = 400_000


class PacketModel:
    """RoCE with PFC, ECN and congestion control, packet by packet; implements :class:`~zcube.network.protocol.NetworkModel`.

    Parameters
    ----------
    link_set : LinkSet
        Links.
    routing : Routing
        Gives each transfer its paths over these links.
    settings : PacketSettings, optional
        Parameters; published defaults.
    path_split : {"pooled", "fixed"}
        How a transfer uses its paths.
    fidelity : str
        Name in results.
    bin_s : float
        Width of the bins of time in which queue depths and pauses are kept; 0 keeps totals only.
    watchdog_s : float
        A pause that has lasted so long makes the watchdog look for a deadlock.
    """

    ahead = False

    def __init__(
        self,
        link_set: LinkSet,
        routing: Routing,
        settings: PacketSettings | None = None,
        path_split: PathSplit = "pooled",
        fidelity: str = "packet",
        *,
        bin_s: float = 0.0,
        watchdog_s: float = 1e-3,
    ):
        self.fidelity = fidelity
        self.link_set = link_set
        self.routing = routing
        self.path_split = path_split
        self.settings = settings or PacketSettings()
        self._watchdog_ps = max(1, picoseconds(watchdog_s))
        self._tables = idle_network(link_set, self.settings, bin_s)
        schedule_failures(self._tables, link_set, self.settings)
        link_control(self._tables, self.settings.control)
        self._tables.net["pooled"] = path_split == "pooled"
        self._reuse = Reuse(self._tables, self.settings.skip)
        self._tables.net["matching"] = self.settings.skip.mode == "reuse"
        self._tables.net["matched_ps"] = -1
        moving = engine.advance_plain if is_plain(self._tables.net) else engine.advance
        self._engine = moving if self.settings.skip.mode == "off" else steady.advance
        self._tables.net["unseen"] = may_be_unseen(self._tables.net, self.settings.skip.mode != "off")
        self._written = self._engine is moving and runs_as_written(moving)
        place_handlers(self._tables, self.settings.control, self._written)
        self._postings = Postings(self._tables, link_set, self.settings, path_split)
        self._paths = PathTable(routing, link_set, path_split)
        self._groups = FlowGroups()
        self._reached_ps = self._watched_events = 0
        self._now_s = 0.0
        self._watch: LoadWatch | None = None
        self._message_start_s: FloatArray = np.zeros(16)
        self._latency_s: FloatArray = np.zeros(16)
        self._undelivered: IntArray = np.zeros(0, dtype=np.int64)

    @property
    def counts(self) -> PacketCounts:
        """What has been counted so far."""
        return PacketCounts.of(self._tables)

    @property
    def now_s(self) -> float:
        """The time last advanced to."""
        return self._now_s

    @property
    def bin_s(self) -> float:
        """Width of the bins of time; 0 without."""
        return self._bin_ps / PS

    @property
    def memory_bytes(self) -> int:
        """Memory the tables take now."""
        return self._tables.bytes + self._reuse.bytes

    @property
    def under_way(self) -> int:
        """Transfers that have started and not completed."""
        return int(self._tables.net["active"][0])

    @property
    def posted_bytes(self) -> int:
        """Payload of all transfers posted."""
        return int(self._tables["flows"]["size"][: self._postings.flows].sum())

    @property
    def received_bytes(self) -> int:
        """Payload that has arrived where it was to."""
        return int(self._tables["flows"]["received"][: self._postings.flows].sum())

    def set_shared_buffer(self, size_bytes: int) -> None:
        """Give every switch a shared buffer beside its headroom; before the first transfer."""
        self._tables["switches"]["shared"] = size_bytes

    def send(self, flows: FlowTable, routes: Routes | None = None) -> IntArray:
        """Post transfers; sizes are rounded up to whole bytes, times to picoseconds.

        Parameters
        ----------
        flows : FlowTable
            At least one.
        routes : Routes, optional
            Their paths over these links; default: what the routing says.

        Raises
        ------
        ValueError
            If a size is not positive and finite or has too many packets, a start lies before the present or beyond the clock, a
            GPU is unknown, a cap is out of range, or a weight is not 1: a NIC serves its queue pairs in turn.
        RunError
            If failures leave a transfer without a path.
        """
        flows.check(self._now_s)
        if np.any(flows.start_s > LATEST_START_S):
            raise ValueError(f"transfers of the packet model start within {LATEST_START_S / 86400:g} days")
        if np.any(flows.size_bytes > MOST_PACKETS * self.settings.unit_payload_bytes):
            raise ValueError(f"a transfer may have {MOST_PACKETS} packets or cells at most")
        if flows.weight is not None and np.any(flows.weight != 1):
            raise ValueError("weights other than 1 have no meaning in the packet model")
        first = self._postings.flows
        if not len(flows):
            return np.arange(first, first)
        routes = self.routing.routes(flows.source, flows.target) if routes is None else routes
        check_reachable(routes, flows.source, flows.target)
        self._latency_s = grown(self._latency_s, first + routes.flows)
        self._latency_s[first : first + routes.flows] = routes.latency_s(self.link_set.latency_s)
        started_s = self.link_set.message_start_s(routes, flows.size_bytes, flows.message_start_s)
        self._message_start_s = grown(self._message_start_s, first + routes.flows)
        self._message_start_s[first : first + routes.flows] = started_s
        # Its first byte leaves once the message has been started.
        self._postings.add(routes, replace(flows, start_s=flows.start_s + started_s))
        numbers = np.arange(first, first + routes.flows)
        push_starts(self._tables.net, numbers)
        return numbers

    def paths(self, source: IntArray, target: IntArray) -> IntArray:
        """Find the paths of pairs of GPUs once and for all, and return their numbers, for :meth:`post` [pairs]."""
        return self._paths.add(source, target)

    def open_group(self) -> int:
        """Return the number of a new group of transfers that are waited for together."""
        return self._groups.open()

    def post(
        self, group: int, paths: IntArray, size_bytes: FloatArray, start_s: FloatArray, is_last: bool,
        cap_bps: FloatArray = NO_COLUMN, traffic_class: int = 0,
    ) -> None:  # fmt: skip
        """Post transfers of a group over paths found before, complete with them or not; otherwise as :meth:`send`.

        Raises
        ------
        ValueError
            If a group is completed by no transfer: its last may have arrived before.
        """
        if is_last and not len(paths):
            raise ValueError("a group is completed by no transfer")
        caps = cap_bps if len(cap_bps) else None
        flows = FlowTable(*self._paths.ends(paths), size_bytes, start_s, caps)
        if self.settings.traffic_classes == 2:
            flows = replace(flows, traffic_class=np.full(len(paths), traffic_class))
        self._groups.add(group, self.send(flows, self._paths.routes(paths)), is_last)

    def next_group_s(self) -> float:
        """Return a time before which no complete group arrives, see :meth:`next_event_s`."""
        return self.next_event_s()

    def advance_groups(self, to_s: float, unposted_s: float = 0.0) -> list[int]:
        """Run up to a time, not beyond, and return the groups that have arrived, in order of arrival.

        Raises as :meth:`advance`.
        """
        return self._groups.arrive(self.advance(to_s))

    def next_event_s(self) -> float:
        """Return a time before which no transfer starts or completes; infinity when idle.

        It is the next completion's where all its packets are on their last link, and else a bound on it, so that a driver that
        advances from bound to bound takes a few steps per transfer and not one per packet.

        Raises
        ------
        NetworkStoppedError
            If transfers are under way and nothing can move.
        """
        bound_ps = int(bounds.earliest(self._tables.net, self._reached_ps))
        if bound_ps == -1:
            self._report_stuck()
        waiting_ps = self._tables["flows"]["finish_ps"][self._undelivered].min(initial=NEVER)
        found_ps = min(bound_ps, int(waiting_ps))
        return float("inf") if found_ps >= NEVER else max(found_ps, self._reached_ps) / PS

    def advance(self, to_s: float) -> IntArray:
        """Run up to a time and return completed transfers.

        Raises
        ------
        NetworkStoppedError
            If the watchdog finds a deadlock; its text names the ring of ports.
        """
        to_ps = picoseconds(to_s) if np.isfinite(to_s) else NEVER - 1
        self._read_load(to_ps)
        self._run_to(to_ps)
        if to_ps == NEVER - 1 and self._tables.net["active"][0] > 0:
            self._report_stuck()
        delivered = self._deliver(to_ps)
        self._advance_clock(to_s)
        return delivered

    def watch_load(self, bins: int, expected_s: float) -> None:
        """Read from now on what links have carried, see :class:`~zcube.network.load_watch.LoadWatch`; changes no result.

        Nothing is read where stretches are skipped, which an engine that stops for readings would cut shorter.
        """
        if self.settings.skip.mode == "off":
            self._watch = LoadWatch(len(self.link_set.capacity_bps), bins, expected_s)

    def load_watch(self) -> LoadWatch | None:
        """Return what has been read up to the time last advanced to, None where nothing was to be."""
        return self._watch

    def _read_load(self, to_ps: int) -> None:
        """Run from reading to reading up to a time, as long as anything is under way."""
        watch, net = self._watch, self._tables.net
        while watch is not None and (due_ps := picoseconds(watch.due_s)) <= to_ps:
            if to_ps == NEVER - 1 and int(bounds.earliest(net, self._reached_ps)) in (-1, NEVER):
                break
            self._run_to(due_ps)
            watch.note(self._tables["links"]["payload"].astype(float))

    def _run_to(self, to_ps: int) -> None:
        """Run all that happens up to a time."""
        net = self._tables.net
        while True:
            until_ps = min(to_ps, self._reuse.rest_ps)
            why = self._run_engine(until_ps)
            if why == REACHED and until_ps == to_ps:
                break
            if why == REACHED:
                self._reuse.release(until_ps)
            elif why == NEEDS_PACKETS:
                self._tables.add_packets(2 * len(self._tables["packets"]))
            elif why == NEEDS_BINS:
                self._cover_bins()
            elif why == NEEDS_MATCH:
                self._reuse.match(to_ps)
            elif why == GIVES_UP:
                self._report_given_up()
            else:
                self._look_for_deadlock()
        # Short steps never use up their events, so these are counted over all of them.
        if int(net["events"][0]) - self._watched_events >= EVENTS_AT_ONCE:
            self._look_for_deadlock()

    def _report_given_up(self) -> NoReturn:
        net = self._tables.net[0]
        flow, now_s = int(self._tables["owners"][net["given_up"]]), int(net["now_ps"]) / PS
        tries = int(net["retry_limit"]) + 1
        raise NetworkStoppedError(
            f"transfer {flow} gives up at {now_s:g} s: nothing has arrived in {tries} timeouts in a row; its paths cross links "
            "that are down, or retransmit_timeout_s or retry_limit is too small"
        )

    def _run_engine(self, to_ps: int) -> int:
        """Run up to a time and return why it stopped; as written until more has happened than is worth it."""
        net = self._tables.net
        if not self._written:
            return int(self._engine(net, to_ps, EVENTS_AT_ONCE))
        left = EVENTS_AS_WRITTEN - int(net["events"][0])
        if left > 0:
            return int(as_written(self._engine)(net, to_ps, left))
        self._written = False
        with kernels_compiled():
            place_handlers(self._tables, self.settings.control, self._written)
            return self._run_engine(to_ps)

    def _look_for_deadlock(self) -> None:
        self._watched_events = int(self._tables.net["events"][0])
        if self.settings.pfc_watchdog_s is None and self.deadlock(self._watchdog_ps / PS):
            self._report_stuck()

    def deadlock(self, lasting_s: float = 0.0) -> tuple[str, ...]:
        """Return the ports that wait for each other in a ring, as ``from->to``; empty if none do.

        Parameters
        ----------
        lasting_s : float
            Look only if some pause has lasted so long.
        """
        queues, now_ps = self._tables["queues"], int(self._tables.net["now_ps"][0])
        paused = queues["paused"] == 1
        if not (paused & (now_ps - queues["paused_ps"] >= picoseconds(lasting_s))).any():
            return ()
        return tuple(f"{self.link_set.source[link]}->{self.link_set.target[link]}" for link in find_deadlock(self._tables))

    def completions(self) -> CompletionTable:
        """Return what became of every transfer; no link is named as the one that bounded it."""
        flows = self._tables["flows"][: self._postings.flows]
        message_start_s, latency_s = (column[: len(flows)].copy() for column in (self._message_start_s, self._latency_s))
        finish_s = np.where(flows["finish_ps"] < NEVER, flows["finish_ps"] / PS, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = flows["size"] * 8.0 / (finish_s - flows["start_ps"] / PS - latency_s)
        return CompletionTable(finish_s, message_start_s, latency_s, rate, np.full(len(flows), -1))

    def link_table(self) -> LinkTable:
        """Return the payload every link has carried; ``peak_flows`` counts paths of transfers under way."""
        link_set, links = self.link_set, self._tables["links"]
        return LinkTable(
            link_set.source,
            link_set.target,
            link_set.kind,
            link_set.capacity_bps,
            links["payload"].astype(float),
            links["peak"].astype(np.int64),
            link_set.leaves_gpu,
            link_set.enters_gpu,
        )

    def queue_table(self) -> QueueTable:
        """Return pauses, depths, marks and drops of every priority of every link."""
        return QueueTable.of(self._tables, self.link_set.source, self.link_set.target)

    def delays(self) -> DelayTable:
        """Return how pauses and rate cuts met every transfer."""
        return DelayTable.of(self._tables, self._postings.flows, self._postings.pairs)

    def pause_log(self) -> PauseLog:
        """Return the pauses that have ended, with causes and roots."""
        return PauseLog.of(self._tables)

    def depth_bins(self) -> IntArray:
        """Return how deep packets that joined each queue in a bin of time made it, bytes [bins, queues].

        A queue that only drains in a bin, or stands still, shows 0 there. There are no bins where ``bin_s`` is 0.
        """
        return self._binned("depth_bins")

    def pause_bins_s(self) -> FloatArray:
        """Return how long each queue was paused in each bin of time [bins, queues], pauses that last left out."""
        return self._binned("pause_bins") / PS

    def _binned(self, name: str) -> IntArray:
        if not self._bin_ps:
            return np.zeros((0, 0), dtype=np.int64)
        queues, bins = len(self._tables["queues"]), int(self._tables.net["bins_end_ps"][0]) // self._bin_ps
        return self._tables[name][: bins * queues].reshape(bins, queues)

    @property
    def _bin_ps(self) -> int:
        return int(self._tables.net["bin_ps"][0])

    def _cover_bins(self) -> None:
        """Double the bins."""
        queues = len(self._tables["queues"])
        have = int(self._tables.net["bins_end_ps"][0]) // self._bin_ps
        bins = min(max(64, 2 * have), MOST_BIN_ENTRIES // (2 * queues))
        if bins <= have:
            raise RunError(f"bins of {self._bin_ps / PS:g} s are too many for {queues} queues; at most {have} bins")
        for name in ("depth_bins", "pause_bins"):
            larger = np.zeros(bins * queues, dtype=np.int64)
            larger[: have * queues] = self._tables[name][: have * queues]
            self._tables[name] = larger
        self._tables.net["bins_end_ps"] = bins * self._bin_ps

    def _deliver(self, to_ps: int) -> IntArray:
        """Take the transfers that completed by a time, in order of completion."""
        net, finish_ps = self._tables.net, self._tables["flows"]["finish_ps"]
        count = int(net["done_count"][0])
        waiting = np.concatenate([self._undelivered, self._tables["done"][:count].astype(np.int64)])
        net["done_count"] = 0
        waiting = waiting[np.lexsort((waiting, finish_ps[waiting]))]
        ready = int(np.searchsorted(finish_ps[waiting], to_ps, side="right"))
        self._undelivered = waiting[ready:]
        if to_ps == NEVER - 1:
            to_ps = max(int(net["now_ps"][0]), int(finish_ps[waiting].max(initial=0)))
        self._reached_ps = max(self._reached_ps, to_ps)
        return waiting[:ready]

    def _advance_clock(self, to_s: float) -> None:
        """Note the time reached as the caller gave it, so that what starts just then does not lie before it by rounding."""
        self._now_s = max(self._now_s, to_s if np.isfinite(to_s) else self._reached_ps / PS)

    def _report_stuck(self) -> NoReturn:
        ring, active = self.deadlock(), int(self._tables.net["active"][0])
        if ring:
            raise NetworkStoppedError(
                f"deadlock of {active} transfers, ports that wait for each other: {', '.join(ring)}, {ring[0]}"
            )
        lost = self.counts.drops if self.settings.pfc else 0
        why = f"; {lost} packets were dropped in spite of PFC: headroom_bytes is too small" if lost else ""
        raise NetworkStoppedError(f"{active} transfers under way and nothing can move{why}")


def packet_model(
    fabric: Fabric,
    routing: Routing,
    settings: PacketSettings | None = None,
    path_split: PathSplit = "pooled",
    *,
    bin_s: float = 0.0,
) -> PacketModel:
    """Return the packet model of a fabric under a routing policy."""
    return PacketModel(LinkSet.of_fabric(fabric), routing, settings, path_split, bin_s=bin_s)


def ideal_packet_model(fabric: Fabric, settings: PacketSettings | None = None) -> PacketModel:
    """Return the packet model of an ideal core: one switch that joins all NICs, one per server that joins its GPUs.

    These have no limit of memory for queues that wait for a receiver, so nothing a sender has for one receiver holds up what it
    has for another.
    """
    link_set, settings = LinkSet.of_ideal_core(fabric), settings or PacketSettings()
    # It has none of the fabric's links that fail.
    settings = settings.model_copy(update={"link_failures": ()})
    model = PacketModel(link_set, IdealRouting(fabric), settings, fidelity="ideal-packet")
    model.set_shared_buffer(UNLIMITED_BYTES)
    return model
