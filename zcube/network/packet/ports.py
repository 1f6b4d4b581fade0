"""Links and the queues in front of them: who transmits next, and when the packet is at the other end."""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inlined, inner
from zcube.network.packet.arrivals import put_on_last
from zcube.network.packet.buffers import release
from zcube.network.packet.calendar import put, put_after
from zcube.network.packet.pauses import note_blocked
from zcube.network.packet.records import depth_of, hop_of, link_of, packet_of, pair_of, queue_of
from zcube.network.packet.state import ARRIVAL, KEY_BITS, NONE, TRIMMED, WAKE, Net
from zcube.network.packet.telemetry import take_reading
from zcube.network.packet.wire import wire_ps
from zcube.routing.hashing import ODD, mix

#: Packets of a class in a row are counted so far; weights are less.
LONGEST_RUN = 1 << 30


@inner
def ends_path(net: Net, link: int, hop: int) -> bool:
    """Return whether a path, on which a link has some place in hops, ends with it."""
    return link_of(net, link).to_switch == NONE and (net.relaying == 0 or hop_of(net, hop + 1).item == NONE)


@inlined
def transmit(net: Net, link: int, slot: int, payload: int) -> None:
    """Put a packet on an idle link."""
    now_ps = net.now_ps
    size = packet_of(net, slot).size >> 1
    if net.telemetry_ps > 0:
        take_reading(net, link, slot, size)
    taken_ps = wire_ps(net, link, size)
    link_of(net, link).busy_ps = now_ps + taken_ps
    due_ps = now_ps + taken_ps + link_of(net, link).latency_ps
    is_last = ends_path(net, link, packet_of(net, slot).hop)
    if net.cut_through == 1 and not is_last:
        due_ps -= _ahead_ps(net, link, slot, size, taken_ps)
    link_of(net, link).packets += 1
    link_of(net, link).payload += payload
    if is_last and payload > 0:
        put_on_last(net, link, slot, payload, due_ps)
        return
    lane = link_of(net, link).arrival_lane if taken_ps == link_of(net, link).full_ps else NONE
    put_after(net, lane, slot, due_ps, (ARRIVAL << KEY_BITS) | link)


@inner
def _ahead_ps(net: Net, link: int, slot: int, size: int, taken_ps: int) -> int:
    """Return how long before a packet's end a cut-through switch can begin to send it on."""
    after = hop_of(net, packet_of(net, slot).hop + 1).item
    onward_ps = wire_ps(net, after >> net.class_shift, size)
    # The header must be in, and a faster link must not run dry.
    return min(taken_ps - wire_ps(net, link, min(size, net.header)), onward_ps)


@inner
def note_depth(net: Net, queue: int, depth: int) -> None:
    """Enter the depth a queue has had since it last changed into the bins of time, and its new one into the present bin."""
    now, held = net.now_ps // net.bin_ps, queue_of(net, queue).bytes
    if held > 0:
        for number in range(queue_of(net, queue).noted_bin, now + 1):
            at = number * net.queues + queue
            depth_of(net, at).item = max(depth_of(net, at).item, held)
    at = now * net.queues + queue
    depth_of(net, at).item = max(depth_of(net, at).item, depth)
    queue_of(net, queue).noted_bin = now


@inner
def append(net: Net, queue: int, slot: int) -> None:
    """Put a packet at the end of a queue."""
    packet_of(net, slot).next = NONE
    packet_of(net, slot).time_ps = net.now_ps
    if queue_of(net, queue).head == NONE:
        queue_of(net, queue).head = slot
    else:
        packet_of(net, queue_of(net, queue).tail).next = slot
    queue_of(net, queue).tail = slot
    depth = queue_of(net, queue).bytes + (packet_of(net, slot).size >> 1)
    if net.bin_ps > 0:
        note_depth(net, queue, depth)
    queue_of(net, queue).bytes = depth
    if depth > queue_of(net, queue).peak:
        queue_of(net, queue).peak = depth


@inner
def wake_at_end(net: Net, link: int) -> None:
    """Look at a link again when it has sent what it is sending."""
    if link_of(net, link).wakes == 0:
        link_of(net, link).wakes = 1
        busy_ps = link_of(net, link).busy_ps
        lane = link_of(net, link).end_lane if busy_ps - net.now_ps == link_of(net, link).full_ps else NONE
        put_after(net, lane, link, busy_ps, (WAKE << KEY_BITS) | link)


@inner
def next_queue(net: Net, link: int) -> int:
    """Return the queue a link serves next, NONE if all are empty or paused.

    Control goes first, then what has been trimmed, so many in a row at most, then priorities in turn.
    """
    shift = net.class_shift
    if shift == 0:
        return link if queue_of(net, link).head != NONE and queue_of(net, link).paused == 0 else NONE
    first, control = link << shift, net.control
    if control != NONE and queue_of(net, first + control).head != NONE:
        return first + control
    headers = NONE
    if net.headers != NONE and queue_of(net, first + net.headers).head != NONE:
        headers = first + net.headers
        if link_of(net, link).header_run < net.trim_run:
            return headers
    queue = _next_of_two(net, link, first) if net.second_class > 0 else _next_between(net, link, first, 0, net.classes)
    return headers if queue == NONE else queue


@inner
def _next_between(net: Net, link: int, first: int, low: int, high: int) -> int:
    """Return the queue whose turn it is among some of a link's, NONE if none of them may send."""
    classes = 1 << net.class_shift
    for step in range(classes):
        place = (link_of(net, link).turn + step) & (classes - 1)
        if low <= place < high and queue_of(net, first + place).head != NONE and queue_of(net, first + place).paused == 0:
            return first + place
    return NONE


@inner
def _next_of_two(net: Net, link: int, first: int) -> int:
    """Return the queue a link serves next where there are two traffic classes."""
    one = _next_between(net, link, first, 0, net.second_class)
    two = _next_between(net, link, first, net.second_class, net.classes)
    if one == NONE or two == NONE:
        return two if one == NONE else one
    run = link_of(net, link).class_run
    if net.strict == 1 or 0 < run < net.second_weight or run <= -net.first_weight:
        return two
    return one


@inner
def note_class(net: Net, link: int, place: int) -> None:
    """Count packets of one traffic class in a row."""
    run = link_of(net, link).class_run
    if place >= net.second_class:
        link_of(net, link).class_run = min(max(run, 0) + 1, LONGEST_RUN)
    else:
        link_of(net, link).class_run = max(min(run, 0) - 1, -LONGEST_RUN)


@inner
def send_packet(net: Net, link: int, queue: int) -> None:
    """Transmit the first packet of a queue; its buffer is free from here on, as a switch frees cells while it sends."""
    slot = queue_of(net, queue).head
    queue_of(net, queue).head = packet_of(net, slot).next
    size, depth = packet_of(net, slot).size >> 1, queue_of(net, queue).bytes
    if net.bin_ps > 0:
        note_depth(net, queue, depth - size)
    queue_of(net, queue).bytes = depth - size
    place = queue - (link << net.class_shift)
    if link_of(net, link).from_switch != NONE and place < net.classes:
        if net.marking == 1 and depth > link_of(net, link).kmin and packet_of(net, slot).size & 1 == 0:
            _mark(net, link, queue, slot, depth)
        hop = packet_of(net, slot).hop
        if queue_of(net, queue).resumed_ps > packet_of(net, slot).time_ps:
            note_blocked(net, queue, packet_of(net, slot).pair, hop, packet_of(net, slot).time_ps)
        release(net, slot, link_of(net, link).from_switch, size)
        net.packet_hops += 1
        if net.headers != NONE:
            link_of(net, link).header_run = 0
        transmit(net, link, slot, payload_of(net, slot))
    else:
        net.control_hops += 1
        if place == net.headers:
            _transmit_header(net, link, slot)
        else:
            transmit(net, link, slot, 0)


@inner
def _transmit_header(net: Net, link: int, slot: int) -> None:
    """Put what is left of a trimmed packet on an idle link."""
    size = packet_of(net, slot).size >> 1
    if net.telemetry_ps > 0:
        take_reading(net, link, slot, size)
    link_of(net, link).busy_ps = net.now_ps + wire_ps(net, link, size)
    link_of(net, link).packets += 1
    link_of(net, link).header_run += 1
    put(net, slot, link_of(net, link).busy_ps + link_of(net, link).latency_ps, (TRIMMED << KEY_BITS) | link)


@inner
def payload_of(net: Net, slot: int) -> int:
    """Return the payload of a data packet."""
    # Most are full; that needs no look at the queue pair's record.
    if packet_of(net, slot).size >> 1 == net.mtu:
        return net.mtu_payload
    return pair_of(net, packet_of(net, slot).pair).short_payload


@inner
def _mark(net: Net, link: int, queue: int, slot: int, depth: int) -> None:
    """Mark a packet with the probability that its queue's depth asks for."""
    kmin, kmax = link_of(net, link).kmin, link_of(net, link).kmax
    if depth < kmax:
        chance = link_of(net, link).pmax * (depth - kmin) / (kmax - kmin)
        packets = net.mtu_payload // net.packet_payload
        if packets > 1:
            chance = 1.0 - _power(1.0 - chance, packets)
        draw = mix(net.seed + np.uint64(link + 1) * ODD)
        draw = mix(draw + np.uint64(link_of(net, link).mark_draws) * ODD)
        link_of(net, link).mark_draws += 1
        if np.float64(draw >> np.uint64(11)) * (1.0 / 9007199254740992.0) >= chance:
            return
    packet_of(net, slot).size |= 1
    queue_of(net, queue).marks += 1
    net.marks += 1


@inner
def _power(base: float, times: int) -> float:
    """Return a power by repeated squares, whose last bit does not depend on who runs this."""
    result = 1.0
    while times > 0:
        if times & 1:
            result *= base
        base *= base
        times >>= 1
    return result
