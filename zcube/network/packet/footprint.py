"""How much memory a run of the packet model may take, known before it starts."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray
from zcube.network.link_set import LinkSet
from zcube.network.packet.build import FIRST_PACKETS, class_shift, idle_network
from zcube.network.packet.control import state_bytes
from zcube.network.packet.settings import QUANTUM_BYTES, WINDOW_BITS, PacketSettings
from zcube.network.packet.state import (
    BLOCK,
    ECHO,
    FLOW,
    NOTICES,
    PACKET,
    PAIR,
    PART,
    PAST,
    PROBE,
    PS,
    READING,
    READINGS,
    RECOVERY,
    WINDOW,
)

#: Tables at most double when they run short.
GROWTH = 2
#: Events besides packets: in flight per queue (frames, watchdog), and per queue pair (pace, timeout, notification, request to
#: repeat, alarm).
EVENTS_PER_QUEUE, EVENTS_PER_PAIR = 5, 5
#: Records of whole numbers per flow (start, done, live) and hop, bytes.
FLOW_WORDS_BYTES, HOP_BYTES = 12, 4
#: A queue pair's transfer, or its number.
OWNER_BYTES = 4
#: Of a rate of late that is kept.
RATE_BYTES = 4
#: When a notification arrives, or until when a path rests.
TIME_BYTES = 8


def memory_bound_bytes(
    link_set: LinkSet, settings: PacketSettings, flow_bytes: FloatArray, subflows: int, hops: int, bins: int = 0
) -> float:
    """Return a bound on the tables of a run.

    Packets are bounded by what the transfers hold, and by what switches can hold and links carry; of packets that are not full
    there is one per queue pair.

    Parameters
    ----------
    link_set : LinkSet
        Links.
    settings : PacketSettings
        Parameters.
    flow_bytes : float array [flows]
        Payload of all transfers that will be posted.
    subflows, hops : int
        Paths of all of them, and links on these paths.
    bins : int
        Bins of time kept.
    """
    idle = idle_network(link_set, settings, 0.0)
    links, queues = idle["links"], len(link_set.capacity_bps) << class_shift(settings)
    buffers = idle["switches"]["shared"].astype(float).sum() + idle["switches"]["headroom"].astype(float).sum()
    under_way = (links["latency_ps"] / np.maximum(links["full_ps"], 1) + 2)[link_set.capacity_bps > 0].sum()
    network = buffers / settings.unit_bytes + under_way
    if settings.trimming:
        network += len(links) * settings.trim_queue_bytes / settings.trim_bytes
    control = settings.control
    whole = np.ceil(flow_bytes / settings.unit_payload_bytes).sum()
    selective = settings.recovery == "selective"
    answers = 3 if selective else 2 if control.acknowledged or settings.acknowledgements == "packets" else 1
    pairs = _queue_pairs(link_set, settings, len(flow_bytes), subflows)
    timed = _timed_events(link_set, settings)
    records = (
        min(network, whole) * answers + pairs * (1 + EVENTS_PER_PAIR) + queues * (EVENTS_PER_QUEUE + timed) + FIRST_PACKETS
    )
    per_flow = (FLOW.itemsize + FLOW_WORDS_BYTES) * len(flow_bytes)
    pair_bytes = PAIR.itemsize + OWNER_BYTES + state_bytes(control.handlers())
    path_bytes = HOP_BYTES + TIME_BYTES * control.rests
    per_path = pair_bytes * pairs + path_bytes * max(pairs, subflows * settings.spread_queue_pairs)
    ways = settings.path_choice == "adaptive-every-switch"
    places = (hops + subflows) * (settings.spread_queue_pairs if control.telemetry_s is not None else 1)
    per_path += HOP_BYTES * (places * (1 + ways) + (hops + subflows) * (class_shift(settings) > 0))
    if settings.skip.mode != "off":
        per_flow += PART.itemsize * len(flow_bytes)
        per_path += (PROBE.itemsize + OWNER_BYTES + RATE_BYTES * PAST + TIME_BYTES * NOTICES) * subflows
    window_bytes = WINDOW.itemsize * settings.window_packets // WINDOW_BITS
    if selective and control.rests:
        window_bytes += HOP_BYTES * settings.selective_window_packets
    per_path += (RECOVERY.itemsize * selective + window_bytes) * pairs
    echo_bytes = ECHO.itemsize if control.acknowledged or selective else 0
    if control.telemetry_s is not None:
        echo_bytes += READING.itemsize * READINGS
        per_path += READING.itemsize * (places + (hops + subflows) * (class_shift(settings) > 0)) + HOP_BYTES * 2 * len(links)
    tables = (
        (PACKET.itemsize + HOP_BYTES + BLOCK * HOP_BYTES // 2 + echo_bytes) * records
        + echo_bytes * len(links)
        + per_flow
        + per_path
    )
    # A part settles in a network of its own.
    networks, known = (2, settings.skip.reuse_bytes) if settings.skip.mode == "reuse" else (1, 0)
    return float(networks * (idle.bytes + GROWTH * tables) + known + 16.0 * bins * queues)


def _timed_events(link_set: LinkSet, settings: PacketSettings) -> float:
    """Return a bound on events of a queue where pauses expire: frames sent again that are under way, an expiry, a refresh."""
    if settings.pause_quanta is None:
        return 0.0
    up = link_set.capacity_bps > 0
    hold_s = settings.pause_quanta * QUANTUM_BYTES * 8 / link_set.capacity_bps[up]
    under_way_s = (
        link_set.latency_s[up] + settings.pause_reaction_s + settings.pause_frame_bytes * 8 / link_set.capacity_bps[up]
    )
    apart_s = np.maximum((settings.pause_refresh or 1.0) * hold_s, 1 / PS)
    return 3.0 + float((under_way_s / apart_s).max(initial=0.0))


def _queue_pairs(link_set: LinkSet, settings: PacketSettings, flows: int, subflows: int) -> int:
    """Return a bound on queue pairs: one a path, or where paths are shared some for each way out of the GPU."""
    if settings.path_choice == "static":
        return subflows
    _, ways = np.unique(np.array(link_set.source)[link_set.leaves_gpu], return_counts=True)
    return settings.spread_queue_pairs * min(subflows, flows * int(ways.max(initial=1)))
