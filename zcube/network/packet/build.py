"""The state of an idle packet network, how it grows, and what it takes."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.network.link_set import LinkSet
from zcube.network.packet.settings import QUANTUM_BYTES, WINDOW_BITS, PacketSettings
from zcube.network.packet.state import (
    CHUNK,
    DRAWN,
    DROPS,
    EVERY_SWITCH,
    FIRST_SWITCH,
    FLOWLETS,
    FORWARDS,
    IN_TURN,
    KEY_BITS,
    LINK,
    MOST_BUCKET_BITS,
    MOST_LANES,
    NEVER,
    NONE,
    NOWHERE,
    ONE_PATH,
    PAST,
    PS,
    QUEUE,
    SWITCH,
    picoseconds,
)
from zcube.network.packet.tables import Tables

#: Records of packets and events at the start, beside one per link; more are added when they run short.
FIRST_PACKETS = 4096

#: Pauses kept one by one, the first so many of a run (4 MB).
PAUSE_LOG_ROWS = 100_000

#: Buckets of the calendar per link, and least and most of them in all.
BUCKETS_PER_LINK, LEAST_BUCKETS, MOST_BUCKETS = 4, 1 << 12, 1 << 18
#: Long buckets beyond those; each covers half of them.
LONG_BUCKETS = 1 << 12

#: Buckets taken in hand at once are a power of two of at most so many bits.
MOST_REACH_BITS = 6


def switch_numbers(link_set: LinkSet) -> tuple[list[str], IntArray, IntArray]:
    """Return the names of the switches of links, and which one each link leaves and enters, NONE for a host."""
    ends = {name for name, host in zip(link_set.source, link_set.leaves_gpu) if not host}
    ends |= {name for name, host in zip(link_set.target, link_set.enters_gpu) if not host}
    names = sorted(ends)
    number = {name: at for at, name in enumerate(names)}
    source = [NONE if host else number[name] for name, host in zip(link_set.source, link_set.leaves_gpu)]
    target = [NONE if host else number[name] for name, host in zip(link_set.target, link_set.enters_gpu)]
    return names, np.array(source, dtype=np.int64), np.array(target, dtype=np.int64)


def switch_tiers(leaves: IntArray, enters: IntArray, switches: int) -> IntArray:
    """Return the tier of each switch: 1 of those with a host, and one more than the lowest next to it of others.

    Parameters
    ----------
    leaves, enters : int array [links]
        Switch that each link leaves and enters, as of :func:`switch_numbers`.
    switches : int
        How many there are.
    """
    tier = np.zeros(switches, dtype=np.int64)
    inner = (leaves >= 0) & (enters >= 0)
    tier[leaves[(leaves >= 0) & ~inner]] = tier[enters[(enters >= 0) & ~inner]] = reached = 1
    while (beyond := inner & (tier[leaves] == reached) & (tier[enters] == 0)).any():
        reached += 1
        tier[enters[beyond]] = reached
    return tier


def reverse_links(link_set: LinkSet) -> IntArray:
    """Return the link that leads back from each link's end to its start; the k-th of parallel links pairs with the k-th."""
    waiting: dict[tuple[str, str], list[int]] = {}
    for link, ends in enumerate(zip(link_set.source, link_set.target)):
        waiting.setdefault(ends, []).append(link)
    reverse = np.full(len(link_set.source), NONE, dtype=np.int64)
    for (source, target), links in waiting.items():
        for link, back in zip(links, waiting.get((target, source), [])):
            reverse[link] = back
    return reverse


def class_shift(settings: PacketSettings) -> int:
    """Return log2 of the queues per link: the priorities, one for acknowledgements as packets, one for trimmed packets."""
    classes = settings.data_queues + (settings.acknowledgements == "packets") + settings.trimming
    return (classes - 1).bit_length()


def idle_network(link_set: LinkSet, settings: PacketSettings, bin_s: float) -> Tables:
    """Return an idle network.

    Raises
    ------
    InputError
        If there are too many links.
    """
    count = len(link_set.capacity_bps)
    shift = class_shift(settings)
    if count << shift >= 1 << KEY_BITS:
        raise InputError(Fault("links", str(count), f"fewer than {(1 << KEY_BITS) >> shift} links in the packet model"))
    names, leaves, enters = switch_numbers(link_set)
    buckets = 1 << int(np.ceil(np.log2(np.clip(BUCKETS_PER_LINK * count, LEAST_BUCKETS, MOST_BUCKETS))))
    links, queues = _links(link_set, settings, leaves, enters), _queues(link_set, settings, shift)
    lanes, chunks = (0, 1) if settings.skip.mode != "off" else _lay_lanes(links)
    tables = Tables(
        packets=count,
        buckets=buckets,
        bits=buckets // 64,
        log=PAUSE_LOG_ROWS,
        spans=np.full(LONG_BUCKETS, NONE, dtype=np.int32),
        lanes=lanes,
        laned=chunks * CHUNK,
        links=links,
        queues=queues,
        switches=_switches(settings, switch_tiers(leaves, enters, len(names)), enters, queues, shift),
    )
    net = tables.net
    _set(net, settings, shift, bin_s)
    net["buckets"], net["spans"], net["queues"] = buckets, LONG_BUCKETS, len(queues)
    net["lanes"], net["lane_ps"] = lanes, NEVER
    tables["lanes"]["next_ps"] = NEVER
    # Chunk 0 is none.
    tables["laned"]["slot"][CHUNK:-CHUNK:CHUNK] = np.arange(2, chunks) * CHUNK
    net["free_chunk"] = CHUNK if chunks > 1 else 0
    net["span_shift"] = buckets.bit_length() - 2
    net["span"] = 2
    net["bucket_shift"] = shift = _bucket_shift(link_set, settings, buckets)
    net["reach"], net["most_reach"] = 1, _most_reach(links, shift)
    if settings.pause_quanta is not None:
        tables.grow("timed", len(queues))
    if settings.skip.mode != "off":
        tables.grow("claims", count)
        tables.grow("late", 2 * count * PAST)
        tables["claims"]["frozen"] = NONE
    net["look_ps"] = NEVER
    net["window_ps"] = _window_ps(link_set, settings)
    net["past_shift"] = _past_shift(links, int(net["window_ps"][0]) // settings.skip.steps)
    net["steps"], net["joining"] = settings.skip.steps, settings.skip.joins
    net["calm"], net["kept"], net["near"] = settings.skip.calm_windows, settings.skip.kept_windows, settings.skip.near
    net["jitter"] = settings.skip.jitter_packets
    net["rates_apart"] = settings.skip.rates_apart
    net["log_room"] = PAUSE_LOG_ROWS
    net["current"] = net["free"] = net["ready"] = NONE
    tables.add_packets(count + FIRST_PACKETS)
    return tables


def _set(net: np.ndarray, settings: PacketSettings, shift: int, bin_s: float) -> None:
    values = {
        "mtu_payload": settings.unit_payload_bytes,
        "mtu": settings.unit_bytes,
        "packet_payload": settings.packet_payload_bytes,
        "header": settings.header_bytes,
        "class_shift": shift,
        "classes": settings.data_queues,
        "second_class": settings.priorities if settings.traffic_classes == 2 else 0,
        "strict": settings.class_service == "strict",
        "first_weight": settings.class_weights[0],
        "second_weight": settings.class_weights[1],
        "control": (1 << shift) - 1 if settings.acknowledgements == "packets" else NONE,
        "headers": (1 << shift) - 1 - (settings.acknowledgements == "packets") if settings.trimming else NONE,
        "trim_bytes": settings.trim_bytes,
        "trim_room": settings.trim_queue_bytes,
        "trim_run": settings.trim_run,
        "lossless": settings.pfc,
        "storm_ps": max(picoseconds(settings.pfc_watchdog_s or 0.0), settings.pfc_watchdog_s is not None),
        "storm_action": FORWARDS if settings.pfc_watchdog_action == "forward" else DROPS,
        "hold_bytes": (settings.pause_quanta or 0) * QUANTUM_BYTES,
        "refresh": (settings.pause_refresh or 0.0) if settings.pause_quanta is not None else 0.0,
        "ordered": settings.ordered,
        "selective": settings.recovery == "selective",
        "repeating": settings.ordered or settings.recovery == "selective",
        "window": max(settings.window_packets, WINDOW_BITS),
        "holds": settings.reorder_buffer_packets if settings.reorder == "buffer" else 1,
        "gap": NEVER if settings.reorder_gap_packets is None else settings.reorder_gap_packets,
        "failing": len(settings.link_failures) > 0,
        "retry_limit": settings.retry_limit,
        "given_up": NONE,
        "cut_through": settings.forwarding == "cut-through",
        "dynamic_off": settings.pfc_threshold == "dynamic",
        "off_bytes": max(settings.xoff_bytes, settings.least_threshold_bytes if settings.cell_bytes else 0),
        "on_gap": max(settings.xon_gap_bytes, settings.unit_bytes if settings.cell_bytes else 0),
        "alpha": settings.pfc_alpha if settings.pfc else settings.drop_alpha,
        "pause_bytes": settings.pause_frame_bytes,
        "pause_ps": picoseconds(settings.pause_reaction_s),
        "ack_bytes": settings.ack_bytes,
        "ack_every": settings.ack_every_packets,
        "choice": {"static": ONE_PATH, "spray-random": DRAWN, "flowlet": FLOWLETS}.get(settings.path_choice, IN_TURN),
        "adaptive": {"adaptive": FIRST_SWITCH, "adaptive-every-switch": EVERY_SWITCH}.get(settings.path_choice, NOWHERE),
        "spanning": settings.queue_pair_ports == "all",
        "flowlet_ps": picoseconds(settings.flowlet_gap_s),
        "path_seed": settings.path_seed,
        "reorder_ps": picoseconds(settings.reorder_cost_s),
        "seed": settings.seed,
        "timeout_ps": picoseconds(settings.retransmit_timeout_s),
        "bin_ps": picoseconds(bin_s),
        "bins_end_ps": 0 if bin_s > 0 else NEVER,
    }
    for name, value in values.items():
        net[name] = value


def _kbps(link_set: LinkSet) -> IntArray:
    """Return rates in kilobits per second, at least one, also for a failed link, which no path crosses."""
    return np.maximum(np.round(link_set.capacity_bps / 1e3), 1).astype(np.int64)


def _bucket_shift(link_set: LinkSet, settings: PacketSettings, buckets: int) -> int:
    """Return log2 of a bucket's picoseconds: the calendar covers a packet's way over any link twice."""
    up = link_set.capacity_bps > 0
    if not up.any():
        return 0
    longest_s = (settings.unit_bytes * 8 / link_set.capacity_bps[up] + link_set.latency_s[up]).max()
    return min(max(0, int(np.ceil(np.log2(2 * longest_s * PS / buckets)))), MOST_BUCKET_BITS)


def _most_reach(links: np.ndarray, shift: int) -> int:
    """Return how many buckets may be taken in hand at once: a quarter of a packet's time, within which few events follow."""
    shortest_ps = int(links["full_ps"].min(initial=NEVER)) >> 2
    most = 1 << min(MOST_BUCKET_BITS - shift, MOST_REACH_BITS)
    return 1 << max(min(shortest_ps >> shift, most).bit_length() - 1, 0)


def _past_shift(links: np.ndarray, step_ps: int) -> int:
    """Return the power of two of the time between rates that are kept of late: they last twice as long as a queue of KMAX."""
    marking = (links["kmax"] < NEVER) & (links["kbps"] > 0)
    deepest_ps = (links["kmax"][marking] * 8e9 / links["kbps"][marking]).max(initial=0.0)
    return max(step_ps, int(4 * deepest_ps) // PAST, 1).bit_length() - 1


def _window_ps(link_set: LinkSet, settings: PacketSettings) -> int:
    """Return the time between looks at what is steady: that of so many packets of a port, twice the longest way at least."""
    nics = link_set.leaves_gpu & (link_set.capacity_bps > 0)
    if not nics.any():
        return 1
    packets_s = settings.skip.window_packets * settings.unit_bytes * 8 / link_set.capacity_bps[nics].min()
    up = link_set.capacity_bps > 0
    hop_s = (settings.unit_bytes * 8 / link_set.capacity_bps[up] + link_set.latency_s[up]).max()
    return max(1, picoseconds(max(packets_s, 8 * hop_s)))


def _links(link_set: LinkSet, settings: PacketSettings, leaves: IntArray, enters: IntArray) -> np.ndarray:
    links = np.zeros(len(leaves), LINK)
    kbps = _kbps(link_set)
    links["kbps"] = kbps
    links["full_ps"] = (settings.unit_bytes * 8_000_000_000 + kbps // 2) // kbps
    links["latency_ps"] = np.round(link_set.latency_s * PS)
    links["kmin"], links["kmax"], links["pmax"] = settings.marking_of(link_set.capacity_bps)
    links["from_switch"], links["to_switch"] = leaves, enters
    links["relay_head"] = links["relay_tail"] = links["end_lane"] = links["arrival_lane"] = NONE
    return links


def _lay_lanes(links: np.ndarray) -> tuple[int, int]:
    """Give the ends of full packets and their arrivals lanes, those of most links if not all; return lanes and their chunks."""
    waits_ps = np.concatenate([links["full_ps"], links["full_ps"] + links["latency_ps"]])
    wait_ps, of, count = np.unique(waits_ps, return_inverse=True, return_counts=True)
    chosen = np.argsort(-count, kind="stable")[:MOST_LANES]
    lane = np.full(len(wait_ps), NONE)
    lane[chosen] = np.arange(len(chosen))
    links["end_lane"], links["arrival_lane"] = lane[of].reshape(2, -1)
    # On a link there are as many full packets as its latency has room for, one that has begun and one that ends; what finds no
    # room in a lane is filed elsewhere.
    events = np.minimum(links["latency_ps"] // np.maximum(links["full_ps"], 1) + 3, CHUNK).sum()
    return len(chosen), 1 + 2 * len(chosen) + int(events) // (CHUNK - 1)


def _queues(link_set: LinkSet, settings: PacketSettings, shift: int) -> np.ndarray:
    return idle_queues(np.repeat(settings.headroom_of(link_set.capacity_bps, link_set.latency_s), 1 << shift))


def idle_queues(headroom: FloatArray | IntArray) -> np.ndarray:
    """Return idle queues with so much headroom."""
    queues = np.zeros(len(headroom), QUEUE)
    for name in ("head", "tail", "root", "cause"):
        queues[name] = NONE
    queues["paused_ps"] = queues["resumed_ps"] = -1
    queues["headroom"] = headroom
    return queues


def _switches(settings: PacketSettings, tiers: IntArray, enters: IntArray, queues: np.ndarray, shift: int) -> np.ndarray:
    """Return switches whose shared buffer is what headroom leaves of it, half of it at least.

    Headroom is counted as for packets, so that cells leave the shared part as it is.
    """
    switches, memory = np.zeros(len(tiers), SWITCH), settings.memory_of(tiers)
    into = enters >= 0
    headroom = queues["headroom"][:: 1 << shift] - (0 if settings.headroom_bytes is not None else 3 * settings.unit_bytes)
    packet = 0 if settings.headroom_bytes is not None else 3 * settings.wire_bytes(settings.packet_payload_bytes)
    taken = np.bincount(enters[into], (headroom[into] + packet) * settings.data_queues, minlength=len(tiers))
    least = memory / 2
    if settings.cell_bytes:
        least = np.maximum(least, settings.least_threshold_bytes / min(settings.pfc_alpha, 1.0))
    switches["headroom"] = np.bincount(enters[into], queues["headroom"][:: 1 << shift][into] * settings.data_queues, len(tiers))
    switches["shared"] = np.maximum(memory - (taken if settings.pfc else 0), least)
    return switches
