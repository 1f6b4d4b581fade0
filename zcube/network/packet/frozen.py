"""Parts that stand still while they are advanced by rate: their events out of the calendar, and back in it.

What a part holds, packets in queues and on links and events to come, stays as it was when it froze. When it thaws, all of it
is moved on in time, its queue pairs' packets by as many numbers as have been sent meanwhile, and these are counted as sent,
carried and received.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.buffers import release
from zcube.network.packet.calendar import far_push, give_back, put
from zcube.network.packet.law import settle
from zcube.network.packet.ports import payload_of
from zcube.network.packet.receivers import complete
from zcube.network.packet.records import (
    bits_of,
    bucket_of,
    claim_of,
    far_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    packet_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    queue_of,
    span_of,
)
from zcube.network.packet.state import (
    ARRIVAL,
    BY_LAW,
    KEY_BITS,
    MOVING,
    NEVER,
    NONE,
    PAUSE,
    PERIODIC,
    WAKE,
    Net,
)

_NUMBER = (1 << KEY_BITS) - 1
_ONE = np.uint64(1)


@inner
def freeze(net: Net) -> None:
    """Take the events of parts that have just been given a kind out of the calendar."""
    for at in range(net.active):
        flow = live_of(net, at).item
        first = flow_of(net, flow).part
        if flow_of(net, flow).frozen == 0 and part_of(net, first).kind != MOVING:
            flow_of(net, flow).frozen = 1
            net.frozen += 1
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                probe_of(net, pair).told_ps = NEVER
                first_path = pair_of(net, pair).first_path
                for path in range(first_path, first_path + pair_of(net, pair).paths):
                    _set_frozen(net, path_of(net, path).item, first)
                if net.control != NONE:
                    _set_frozen(net, pair_of(net, pair).reverse, first)
    net.current = _without_frozen(net, net.current)
    for word in range(net.buckets >> 6):
        if bits_of(net, word).item != 0:
            for at in range(word << 6, (word + 1) << 6):
                _thin_bucket(net, at)
    if net.spanned > 0:
        for at in range(net.spans):
            span_of(net, at).item = _without_frozen(net, span_of(net, at).item)
            net.spanned -= net.taken
    count = net.far_count
    net.far_count = 0
    for at in range(count):
        slot = far_of(net, at).item
        if not _is_held(net, slot):
            far_push(net, slot)


@inner
def _set_frozen(net: Net, hop: int, part: int) -> None:
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim = claim_of(net, link)
        if claim.frozen == NONE:
            claim.frozen, claim.passing = part, 1.0
            claim.came = claim.last = claim.marks = claim.backlog = claim.unmarked = 0.0
            if link_of(net, link).from_switch != NONE:
                for queue in range(link << net.class_shift, (link + 1) << net.class_shift):
                    claim.backlog += queue_of(net, queue).bytes
            claim.stood = claim.backlog
        hop += 1


@inner
def _thin_bucket(net: Net, at: int) -> None:
    if bucket_of(net, at).item == NONE:
        return
    bucket_of(net, at).item = _without_frozen(net, bucket_of(net, at).item)
    net.filed -= net.taken
    if bucket_of(net, at).item == NONE:
        bits_of(net, at >> 6).item &= ~(_ONE << np.uint64(at & 63))


@inner
def _without_frozen(net: Net, slot: int) -> int:
    """Return a chain without the events of frozen parts, in its order; ``taken`` is how many these were."""
    head = last = NONE
    net.taken = 0
    while slot != NONE:
        after = packet_of(net, slot).next
        if _is_held(net, slot):
            net.taken += 1
        else:
            if head == NONE:
                head = slot
            else:
                packet_of(net, last).next = slot
            packet_of(net, slot).next = NONE
            last = slot
        slot = after
    return head


@inner
def _is_held(net: Net, slot: int) -> bool:
    """Hold an event of a frozen part; False if it is none."""
    key = packet_of(net, slot).key
    kind, number = key >> KEY_BITS, key & _NUMBER
    if kind in (ARRIVAL, WAKE):
        part = claim_of(net, number).frozen
    elif kind == PAUSE:
        part = claim_of(net, number >> net.class_shift).frozen
    else:
        flow = pair_of(net, number).flow
        part = flow_of(net, flow).part if flow_of(net, flow).frozen == 1 else NONE
    if part == NONE:
        return False
    packet_of(net, slot).next = part_of(net, part).held
    part_of(net, part).held = slot
    return True


@inner
def thaw(net: Net, first: int, now_ps: int) -> None:
    """Let a part move packet by packet again."""
    part = part_of(net, first)
    shift_ps = now_ps - part.frozen_ps
    if part.kind == PERIODIC:
        shift_ps += -shift_ps % part.period_ps
    if part.kind == BY_LAW:
        for at in range(net.active):
            flow = live_of(net, at).item
            if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
                for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                    first_path = pair_of(net, pair).first_path
                    for path in range(first_path, first_path + pair_of(net, pair).paths):
                        _lower(net, path_of(net, path).item)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                if part.kind == PERIODIC:
                    gap_ps = probe_of(net, pair).gap_ps
                    probe_of(net, pair).sent = float(shift_ps // gap_ps * net.mtu) if gap_ps > 0 else 0.0
                elif part.kind == BY_LAW:
                    settle(net, pair)
                _move_pair(net, flow, pair, shift_ps)
            flow_of(net, flow).latest_ps += shift_ps
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
            flow_of(net, flow).frozen = 0
            net.frozen -= 1
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                first_path = pair_of(net, pair).first_path
                for path in range(first_path, first_path + pair_of(net, pair).paths):
                    _move_links(net, path_of(net, path).item, shift_ps)
                if net.control != NONE:
                    _move_links(net, pair_of(net, pair).reverse, shift_ps)
    slot = part.held
    while slot != NONE:
        after = packet_of(net, slot).next
        key = packet_of(net, slot).key
        if key >> KEY_BITS == ARRIVAL:
            _move_packet(net, slot, shift_ps)
            packet_of(net, slot).time_ps -= shift_ps
        put(net, slot, packet_of(net, slot).time_ps + shift_ps, key)
        slot = after
    part.held, part.kind = NONE, MOVING
    part.look = net.looks - 1


@inner
def end_by_law(net: Net, flow: int, finish_ps: int) -> None:
    """End a flow of a part that is advanced by the law of its rates: all of it has arrived at a time."""
    first, row = flow_of(net, flow).part, flow_of(net, flow)
    sent, left = 0.0, row.unsent
    for pair in range(row.first_pair, row.end_pair):
        sent += max(probe_of(net, pair).sent, 1.0)
    for pair in range(row.first_pair, row.end_pair):
        rest = pair_of(net, pair).unsent
        if net.pooled == 1:
            rest = left if pair == row.end_pair - 1 else int(row.unsent * (max(probe_of(net, pair).sent, 1.0) / sent))
            left -= rest
        _carry_rest(net, pair, rest)
        pair_of(net, pair).unsent = 0
        for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                _take_out(net, hop_of(net, hop).item, flow)
                hop += 1
    row.unsent, row.frozen = 0, 0
    net.frozen -= 1
    slot, kept = part_of(net, first).held, NONE
    while slot != NONE:
        after = packet_of(net, slot).next
        kind, number = packet_of(net, slot).key >> KEY_BITS, packet_of(net, slot).key & _NUMBER
        if kind == ARRIVAL and pair_of(net, packet_of(net, slot).pair).flow == flow:
            packet_of(net, slot).hop += 1
            _let_arrive(net, slot)
        elif kind != ARRIVAL and kind != WAKE and pair_of(net, number).flow == flow:
            give_back(net, slot)
        else:
            packet_of(net, slot).next = kept
            kept = slot
        slot = after
    part_of(net, first).held = kept
    row.delivering = row.received = row.size
    net.now_ps = finish_ps
    complete(net, flow)
    _free_links(net, flow, first)


@inner
def _carry_rest(net: Net, pair: int, payload: int) -> None:
    """Count payload of a queue pair that has not been sent packet by packet as carried over its paths."""
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    packets = -(-payload // net.mtu_payload)
    pair_of(net, pair).sent += packets
    pair_of(net, pair).most += packets
    pair_of(net, pair).highest += packets
    for path in range(first, first + paths):
        count = packets // paths + (1 if path - first < packets % paths else 0)
        size = min(count * net.mtu_payload, payload)
        payload -= size
        hop = path_of(net, path).item
        while hop_of(net, hop).item != NONE:
            link = link_of(net, hop_of(net, hop).item >> net.class_shift)
            link.packets += count
            link.payload += size
            net.packet_hops += count
            hop += 1


@inner
def _take_out(net: Net, queue: int, flow: int) -> None:
    """Let the packets of a flow that stand in a queue arrive."""
    link = queue >> net.class_shift
    if link_of(net, link).from_switch == NONE:
        last = slot = link_of(net, link).relay_head
        link_of(net, link).relay_head = NONE
        while slot != NONE:
            after = packet_of(net, slot).next
            if pair_of(net, packet_of(net, slot).pair).flow == flow:
                _let_arrive(net, slot)
            else:
                packet_of(net, slot).next = NONE
                if link_of(net, link).relay_head == NONE:
                    link_of(net, link).relay_head = slot
                else:
                    packet_of(net, last).next = slot
                link_of(net, link).relay_tail = last = slot
            slot = after
        return
    slot = queue_of(net, queue).head
    queue_of(net, queue).head = NONE
    while slot != NONE:
        after = packet_of(net, slot).next
        if pair_of(net, packet_of(net, slot).pair).flow == flow:
            size = packet_of(net, slot).size >> 1
            queue_of(net, queue).bytes -= size
            claim_of(net, link).stood -= size
            release(net, hop_of(net, packet_of(net, slot).hop - 1).item, link_of(net, link).from_switch, size)
            _let_arrive(net, slot)
        else:
            packet_of(net, slot).next = NONE
            if queue_of(net, queue).head == NONE:
                queue_of(net, queue).head = slot
            else:
                packet_of(net, queue_of(net, queue).tail).next = slot
            queue_of(net, queue).tail = slot
        slot = after


@inner
def _free_links(net: Net, flow: int, first: int) -> None:
    """Let go the links that only a flow just ended has crossed."""
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> net.class_shift
                if link_of(net, link).active == 0:
                    claim_of(net, link).frozen = NONE
                    link_of(net, link).wakes = 0
                hop += 1
    slot, kept = part_of(net, first).held, NONE
    while slot != NONE:
        after = packet_of(net, slot).next
        kind, number = packet_of(net, slot).key >> KEY_BITS, packet_of(net, slot).key & _NUMBER
        if kind != WAKE or claim_of(net, number).frozen == first:
            packet_of(net, slot).next = kept
            kept = slot
        slot = after
    part_of(net, first).held = kept


@inner
def _lower(net: Net, hop: int) -> None:
    """Let what queues on a path hold beyond their levels arrive."""
    shift = net.class_shift
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> shift
        claim = claim_of(net, link)
        hop += 1
        if link_of(net, link).from_switch == NONE:
            continue
        for queue in range(link << shift, (link + 1) << shift):
            while claim.stood > claim.backlog and queue_of(net, queue).head != NONE and queue - (link << shift) != net.control:
                slot = queue_of(net, queue).head
                size = packet_of(net, slot).size >> 1
                queue_of(net, queue).head = packet_of(net, slot).next
                queue_of(net, queue).bytes -= size
                claim.stood -= size
                release(net, hop_of(net, packet_of(net, slot).hop - 1).item, link_of(net, link).from_switch, size)
                _let_arrive(net, slot)


@inner
def _let_arrive(net: Net, slot: int) -> None:
    payload, hop = payload_of(net, slot), packet_of(net, slot).hop
    flow = pair_of(net, packet_of(net, slot).pair).flow
    while hop_of(net, hop).item != NONE:
        link = link_of(net, hop_of(net, hop).item >> net.class_shift)
        link.packets += 1
        link.payload += payload
        net.packet_hops += 1
        hop += 1
    flow_of(net, flow).delivering += payload
    flow_of(net, flow).received += payload
    give_back(net, slot)


@inner
def _move_pair(net: Net, flow: int, pair: int, shift_ps: int) -> None:
    """Count what a queue pair has sent as whole packets, and move its times."""
    probe, row = probe_of(net, pair), pair_of(net, pair)
    left = flow_of(net, flow).unsent if net.pooled == 1 else row.unsent
    moved = max(min(int(probe.sent / net.mtu), left // net.mtu_payload - 1), 0)
    probe.sent -= moved * net.mtu
    probe.moved = moved
    payload = moved * net.mtu_payload
    row.sent += moved
    row.most += moved
    row.highest += moved
    if net.pooled == 1:
        flow_of(net, flow).unsent -= payload
    else:
        row.unsent -= payload
    flow_of(net, flow).delivering += payload
    flow_of(net, flow).received += payload
    first, paths = row.first_path, row.paths
    for path in range(first, first + paths):
        share = moved // paths + (1 if path - first < moved % paths else 0)
        hop = path_of(net, path).item
        while hop_of(net, hop).item != NONE:
            link = link_of(net, hop_of(net, hop).item >> net.class_shift)
            link.packets += share
            link.payload += share * net.mtu_payload
            net.packet_hops += share
            hop += 1
    row.since_ps += shift_ps


@inner
def _move_links(net: Net, hop: int, shift_ps: int) -> None:
    """Move the links of a path and what stands before them, each once."""
    shift = net.class_shift
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> shift
        if claim_of(net, link).frozen != NONE:
            claim_of(net, link).frozen = NONE
            link_of(net, link).busy_ps += shift_ps
            marks = int(claim_of(net, link).marks)
            queue_of(net, link << shift).marks += marks
            net.marks += marks
            for queue in range(link << shift, (link + 1) << shift):
                if link_of(net, link).from_switch != NONE or queue - (link << shift) == net.control:
                    _move_chain(net, queue_of(net, queue).head, shift_ps)
            _move_chain(net, link_of(net, link).relay_head, shift_ps)
        hop += 1


@inner
def _move_chain(net: Net, slot: int, shift_ps: int) -> None:
    while slot != NONE:
        _move_packet(net, slot, shift_ps)
        slot = packet_of(net, slot).next


@inner
def _move_packet(net: Net, slot: int, shift_ps: int) -> None:
    packet_of(net, slot).time_ps += shift_ps
    if packet_of(net, slot).number >= 0:
        packet_of(net, slot).number += probe_of(net, packet_of(net, slot).pair).moved
