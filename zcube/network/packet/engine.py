"""The event loop."""

from __future__ import annotations

import numpy as np

from zcube.compile_cache import compiled
from zcube.network.kernels import inner
from zcube.network.linking import WholeCompiler
from zcube.network.packet.balance import shallowest, shortest_hop
from zcube.network.packet.buffers import admit, came_by
from zcube.network.packet.calendar import enter, give_back, next_time, put, take_free, take_next
from zcube.network.packet.control import tell_started
from zcube.network.packet.failures import change_link, rest_paths
from zcube.network.packet.lookahead import look_ahead
from zcube.network.packet.pauses import apply_frame, expire, refresh
from zcube.network.packet.ports import append, ends_path, payload_of, transmit
from zcube.network.packet.receivers import receive
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    net_of,
    packet_of,
    pair_of,
    path_of,
    plain_net_of,
    queue_of,
    start_of,
)
from zcube.network.packet.relays import hold
from zcube.network.packet.senders import check_progress, hear, rouse, serve, stir, take_turns, wake_at_end
from zcube.network.packet.starts import pop_start
from zcube.network.packet.state import (
    ARRIVAL,
    BROKEN,
    CHANGE,
    DROPS,
    EVERY_SWITCH,
    EXPIRY,
    GIVES_UP,
    KEY_BITS,
    LARGEST_NUMBER,
    NEEDS_BINS,
    NEEDS_MATCH,
    NEEDS_PACKETS,
    NEEDS_THAW,
    NEVER,
    NONE,
    NOWHERE,
    PAUSE,
    REACHED,
    READY,
    REFRESH,
    SPENT,
    STORM,
    TIMEOUT,
    TRIMMED,
    WAKE,
    Net,
)
from zcube.network.packet.trimming import arrive_trimmed, trim
from zcube.network.packet.watchdog import drop, end_waiting


@compiled(pipeline_class=WholeCompiler)
def advance(table: np.ndarray, to_ps: int, most_events: int) -> int:
    """Process events up to a time, and return why it stopped.

    Parameters
    ----------
    table : NET array [1]
        The network; it and its tables are changed in place.
    to_ps : int
        Events later than this stay.
    most_events : int
        Return after so many.
    """
    return _advance(net_of(table), to_ps, most_events)


@compiled(pipeline_class=WholeCompiler)
def advance_plain(table: np.ndarray, to_ps: int, most_events: int) -> int:
    """Do the same of a plain network, see :mod:`zcube.network.packet.plain`."""
    return _advance(plain_net_of(table), to_ps, most_events)


@inner
def _advance(net: Net, to_ps: int, most_events: int) -> int:
    last = net.events + most_events
    # What arrives beyond the bins of time has them made when it does.
    net.until_ps = min(to_ps, net.bins_end_ps - 1)
    while net.events < last:
        start_ps = NEVER
        if net.waiting > 0:
            start_ps = flow_of(net, start_of(net, 0).item).start_ps
        due_ps = next_time(net, min(to_ps, start_ps))
        if due_ps == NEVER and start_ps > to_ps:
            net.now_ps = max(net.now_ps, net.unseen_ps)
            return REACHED
        if min(due_ps, start_ps) >= net.bins_end_ps:
            return NEEDS_BINS
        if due_ps == NEVER:
            flow = start_of(net, 0).item
            if net.matching == 1 and start_ps > net.matched_ps:
                return NEEDS_MATCH
            if net.frozen > 0:
                net.in_way = frozen_in_way(net, flow)
                if net.in_way != NONE:
                    return NEEDS_THAW
            pairs = flow_of(net, flow).end_pair - flow_of(net, flow).first_pair
            if net.free_count < 8 + 5 * pairs:
                return NEEDS_PACKETS
            net.now_ps = start_ps
            if net.current == NONE and start_ps >> net.bucket_shift > net.bucket:
                enter(net, start_ps >> net.bucket_shift)
            net.events += 1
            pop_start(net)
            start_flow(net, flow)
            if net.spanning == 1:
                take_ready(net)
            continue
        if net.free_count < 8:
            return NEEDS_PACKETS
        net.now_ps = due_ps
        net.events += 1
        slot = take_next(net)
        if net.fetching == 1:
            look_ahead(net)
        kind = packet_of(net, slot).key >> KEY_BITS
        if kind == ARRIVAL:
            arrive(net, slot, packet_of(net, slot).key & LARGEST_NUMBER)
        else:
            other_event(net, slot, kind, packet_of(net, slot).key & LARGEST_NUMBER)
            if net.given_up != NONE:
                return GIVES_UP
        if net.spanning == 1:
            take_ready(net)
    return SPENT


@inner
def take_ready(net: Net) -> None:
    """Take at once the events of the queue pair that may send again at the present time, while they are next in order."""
    while net.ready != NONE:
        pair = net.ready
        net.ready = NONE
        key, at = (READY << KEY_BITS) | pair, net.current
        is_next = at == NONE or packet_of(net, at).time_ps > net.now_ps or packet_of(net, at).key > key
        if is_next and net.free_count >= 8:
            net.events += 1
            rouse(net, pair)
        else:
            put(net, take_free(net), net.now_ps, key)


@inner
def arrive(net: Net, slot: int, number: int) -> None:
    """Take a packet at the end of a link by its number: into a host, on to the next link, or into its queue."""
    if net.failing == 1 and link_of(net, number).down & BROKEN != 0:
        net.lost += 1
        give_back(net, slot)
        return
    hop = packet_of(net, slot).hop
    if ends_path(net, number, hop):
        receive(net, slot)
        return
    wanted = hop_of(net, hop + 1).item
    if net.adaptive != NOWHERE and packet_of(net, slot).number >= 0:
        pair = packet_of(net, slot).pair
        if net.adaptive == EVERY_SWITCH:
            if link_of(net, wanted >> net.class_shift).from_switch != NONE:
                hop = shallowest(net, pair, hop + 1) - 1
                wanted = hop_of(net, hop + 1).item
        elif pair_of(net, pair).paths > 1 and (hop == 0 or hop_of(net, hop - 1).item == NONE):
            hop = shortest_hop(net, pair)
            wanted = hop_of(net, hop + 1).item
    packet_of(net, slot).hop = hop + 1
    shift = net.class_shift
    link = wanted >> shift
    if packet_of(net, slot).number < 0 and net.control != NONE:
        append(net, wanted, slot)
        stir(net, link)
        return
    idle = link_of(net, link).busy_ps <= net.now_ps and link_of(net, link).wakes == 0
    if idle and queue_of(net, wanted).head == NONE and queue_of(net, wanted).paused == 0:
        # A packet that need not wait is never counted as buffered.
        net.packet_hops += 1
        transmit(net, link, slot, payload_of(net, slot))
        return
    if link_of(net, link).from_switch == NONE:
        hold(net, link, slot)
        stir(net, link)
        return
    size = packet_of(net, slot).size >> 1
    if queue_of(net, wanted).storm == DROPS:
        drop(net, slot, wanted)
    elif admit(net, came_by(net, slot), wanted, link_of(net, link).from_switch, size):
        append(net, wanted, slot)
        stir(net, link)
    elif net.headers != NONE:
        trim(net, slot, wanted)
    else:
        drop(net, slot, wanted)


@inner
def other_event(net: Net, slot: int, kind: int, number: int) -> None:
    """Take an event other than an arrival."""
    if kind == PAUSE:
        stop, frame = packet_of(net, slot).hop, packet_of(net, slot).number
        give_back(net, slot)
        if net.failing == 1 and link_of(net, number >> net.class_shift).down & BROKEN != 0:
            return
        if apply_frame(net, number, stop, frame):
            stir(net, number >> net.class_shift)
    elif kind == TRIMMED and net.headers != NONE:
        arrive_trimmed(net, slot, number)
    elif kind == READY:
        queue = packet_of(net, slot).hop
        give_back(net, slot)
        if net.spanning == 1:
            rouse(net, number)
        else:
            # The queue pair's own record may be far away, and is not yet read.
            take_turns(net, number, queue)
    elif kind == TIMEOUT and net.repeating == 1:
        give_back(net, slot)
        check_progress(net, number)
    elif kind == STORM and net.storm_ps > 0:
        give_back(net, slot)
        if end_waiting(net, number):
            stir(net, number >> net.class_shift)
    elif kind == EXPIRY and net.hold_bytes > 0:
        give_back(net, slot)
        if expire(net, number):
            stir(net, number >> net.class_shift)
    elif kind == REFRESH and net.refresh > 0:
        give_back(net, slot)
        refresh(net, number)
    elif kind == CHANGE and net.failing == 1:
        stage = packet_of(net, slot).number
        give_back(net, slot)
        change_link(net, number, stage)
    elif kind != WAKE:
        hear(net, number, slot, kind)
    else:
        link_of(net, number).wakes = 0
        if link_of(net, number).busy_ps > net.now_ps:
            wake_at_end(net, number)
        else:
            serve(net, number)


@inner
def start_flow(net: Net, flow: int) -> None:
    """Let a flow's queue pairs send."""
    admit_flow(net, flow)
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        rouse(net, pair)


@inner
def admit_flow(net: Net, flow: int) -> None:
    """Count a flow as under way, and tell its queue pairs' control of it."""
    shift = net.class_shift
    live_of(net, net.active).item = flow
    flow_of(net, flow).place = net.active
    flow_of(net, flow).part = flow
    net.active += 1
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> shift
                link_of(net, link).active += 1
                link_of(net, link).peak = max(link_of(net, link).peak, link_of(net, link).active)
                hop += 1
        tell_started(net, pair)
    if net.avoided > 0:
        rest_paths(net, flow)


@inner
def frozen_in_way(net: Net, flow: int) -> int:
    """Return a part advanced by rate that a flow about to start would share a link with, NONE if there is none."""
    shift = net.class_shift
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                part = claim_of(net, hop_of(net, hop).item >> shift).frozen
                if part != NONE:
                    return part
                hop += 1
        if net.control != NONE:
            hop = pair_of(net, pair).reverse
            while hop_of(net, hop).item != NONE:
                part = claim_of(net, hop_of(net, hop).item >> shift).frozen
                if part != NONE:
                    return part
                hop += 1
    return NONE
