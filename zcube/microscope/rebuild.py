"""A window of a run carried anew, by packets and by the fluids beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import InputError, NetworkStoppedError
from zcube.microscope.sent import Sent
from zcube.network.carrier import Carrier
from zcube.network.packet.outcome import VICTIM_SHARE
from zcube.network.packet.settings import PacketSettings
from zcube.progress import Progress
from zcube.quantiles import spread
from zcube.replays.flows import Replay, replay
from zcube.routing.routes import Routes
from zcube.workload.flow_lists import FlowList

#: Largest cell that packets are merged into: four of them fit below every threshold of the default buffer.
LARGEST_CELL_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A window and what packets made of it.

    Attributes
    ----------
    document : dict
        JSON-ready; docs/microscope.md defines every key.
    number : int array [transfers]
        Which transfers of the run were in it.
    left_bytes : float array [transfers]
        What of each was to be carried.
    duration_s : dict of float array [transfers]
        By model, how long each took from the window's start, or its own if that is later; empty where no packets ran.
    victim_s, blocked_s : float array [transfers]
        Time behind pauses for others' congestion, and behind any; empty likewise.
    """

    document: dict[str, Any]
    number: IntArray
    left_bytes: FloatArray
    duration_s: dict[str, FloatArray]
    victim_s: FloatArray
    blocked_s: FloatArray


def rebuild(
    carrier: Carrier,
    sent: Sent,
    span_s: tuple[float, float],
    left: tuple[IntArray, FloatArray],
    most_hops: float,
    told: Progress,
) -> Rebuilt:
    """Carry what was under way at a window's start, with what was left of it, and what starts in it, to the end of all.

    Parameters
    ----------
    carrier : Carrier
        As the run had it, ``flow`` or ``lossless``.
    sent : Sent
        The run's transfers.
    span_s : pair of float
        Start and end of the window.
    left : pair of array
        Transfers under way at its start, and what of each is left.
    most_hops : float
        Packet-hops beyond which packets are merged into larger cells, and, where that is not enough, not simulated.
    told : Progress
        Told what is under way.
    """
    flows = sent.flows
    starting = np.arange(*(int(np.searchsorted(flows.start_s, edge_s, side="left")) for edge_s in span_s))
    number = np.concatenate([left[0], starting])
    size_bytes = np.concatenate([np.ceil(left[1]), flows.size_bytes[starting]])
    document = {
        "start_s": span_s[0],
        "end_s": span_s[1],
        "under_way": len(left[0]),
        "under_way_bytes": float(size_bytes[: len(left[0])].sum()),
        "starting": len(starting),
        "starting_bytes": float(flows.size_bytes[starting].sum()),
    }
    routes = carrier.routing.routes(flows.source[number], flows.target[number])
    # What has begun to send has its message start behind it.
    begun = flows.start_s[number] < span_s[0]
    message_start_s = carrier.link_set.message_start_s(routes, size_bytes)
    waiting = begun & (sent.begin_s[number] > span_s[0])
    start_s = np.where(begun & ~waiting, span_s[0] - message_start_s, flows.start_s[number])
    listed = FlowList(
        number, flows.source[number], flows.target[number], size_bytes, start_s,
        None if flows.cap_bps is None else flows.cap_bps[number],
    )  # fmt: skip
    none = np.zeros(0)
    cells = _cells(carrier.network.packet, routes, size_bytes, most_hops)
    if cells is None:
        largest = max(LARGEST_CELL_BYTES, carrier.network.packet.unit_payload_bytes)
        least = packet_hops(routes, size_bytes, largest)
        why = f"{least:,} packet-hops even in cells of {largest:,} bytes, more than {most_hops:,.0f}"
        return Rebuilt({**document, "why_not": why}, number, size_bytes, {}, none, none)
    packet, hops = cells
    try:
        done = _carried(carrier, "packet", packet, listed, told)
        fluids = {"lossless": _carried(carrier, "lossless", packet, listed, told)} if _is_lossless(carrier) else {}
    except (InputError, NetworkStoppedError) as error:
        return Rebuilt({**document, "why_not": str(error)}, number, size_bytes, {}, none, none)
    assert done.packets is not None and done.packets.fluid_s is not None
    # Before the window's start a transfer only had its message start.
    ahead_s = np.maximum(span_s[0] - start_s, 0.0)
    durations = {
        "flow": done.packets.fluid_s,
        **{name: one.duration_s for name, one in fluids.items()},
        "packet": done.duration_s,
    }
    durations = {name: seconds - ahead_s for name, seconds in durations.items()}
    document |= _findings(done, durations, hops)
    return Rebuilt(document, number, size_bytes, durations, done.packets.delays.victim_s, done.packets.delays.blocked_s)


def _is_lossless(carrier: Carrier) -> bool:
    return carrier.network.fidelity == "lossless"


def packet_hops(routes: Routes, size_bytes: FloatArray, unit_bytes: int) -> int:
    """Return over how many links packets go altogether, a transfer's spread evenly over its paths."""
    paths = routes.paths_per_flow
    mean_hops = np.add.reduceat(routes.hops_per_path, routes.first_subflow[:-1]) / paths
    return int(np.ceil((np.ceil(size_bytes / unit_bytes) * mean_hops).sum()))


def _cells(
    settings: PacketSettings, routes: Routes, size_bytes: FloatArray, most_hops: float
) -> tuple[PacketSettings, int] | None:
    """Return settings whose cells are the least that keep within so many packet-hops, and these; None if none do."""
    unit = settings.unit_payload_bytes
    while (hops := packet_hops(routes, size_bytes, unit)) > most_hops:
        unit *= 2
        if unit > LARGEST_CELL_BYTES:
            return None
    same = unit == settings.unit_payload_bytes
    return settings if same else settings.model_copy(update={"cell_bytes": unit}), hops


def _carried(carrier: Carrier, fidelity: str, packet: PacketSettings, flows: FlowList, told: Progress) -> Replay:
    network = carrier.network.model_copy(update={"fidelity": fidelity, "packet": packet, "load_bins": 0})
    return replay(replace(carrier, network=network), flows, progress=told)


def _findings(done: Replay, durations: dict[str, FloatArray], hops: int) -> dict[str, Any]:
    """Return what packets showed, JSON-ready."""
    assert done.packets is not None
    counted = done.packets.document(done.duration_s)
    settings = done.packets.settings
    victims = done.packets.delays.victim_s > VICTIM_SHARE * done.duration_s
    ratio = durations["packet"] / durations["flow"]
    return {
        "why_not": None,
        "unit_bytes": settings.unit_payload_bytes,
        "packet_hops_expected": hops,
        "packet_hops": counted["counts"]["packet_hops"],
        "events": counted["counts"]["events"],
        "pauses": counted["counts"]["pauses"],
        "paused_ports": counted["paused_ports"],
        "paused_s": counted["paused_s"],
        "ports": counted["ports"],
        "victims": {**counted["victims"], "ratio": spread(ratio[victims])},
        "ratio": spread(ratio, maximum=True),
        "transfer_p99_s": {name: spread(seconds)["p99"] for name, seconds in durations.items()},
    }
