"""Parts that stand still while they are advanced by rate: their events out of the calendar.

What a part holds, packets in queues and on links and events to come, stays as it was when it froze.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buckets import file_event, unfile
from zcube.network.packet.calendar import far_push, forget_ahead, give_back
from zcube.network.packet.notices import be_told, forget_all, note_sent_on
from zcube.network.packet.past import begin_carrying, remember_came, remember_sent
from zcube.network.packet.ports import payload_of
from zcube.network.packet.records import (
    bits_of,
    bucket_of,
    claim_of,
    far_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    owner_of,
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
    LARGEST_NUMBER,
    MOVING,
    NONE,
    NOTICE,
    PAUSE,
    READY,
    WAKE,
    Net,
)


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
                forget_all(net, pair)
                probe_of(net, pair).due_ps, probe_of(net, pair).done_ps = net.now_ps, 0
                probe_of(net, pair).pace = 0.0
                remember_sent(net, pair, flow_of(net, flow).start_ps, probe_of(net, pair).rate)
                first_path = pair_of(net, pair).first_path
                for path in range(first_path, first_path + pair_of(net, pair).paths):
                    set_frozen(net, path_of(net, path).item, first)
                if net.control != NONE:
                    set_frozen(net, pair_of(net, pair).reverse, first)
    _take_events(net)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and part_of(net, flow_of(net, flow).part).frozen_ps == net.now_ps:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                note_sent_on(net, pair)
                first_path = pair_of(net, pair).first_path
                for path in range(first_path, first_path + pair_of(net, pair).paths):
                    begin_carrying(net, pair, path, net.now_ps)


@inner
def _take_events(net: Net) -> None:
    """Take the events of frozen parts out of the calendar, packets under way in the order in which they arrive.

    Which of marked ones are told of depends on those before them.
    """
    net.current = _without_frozen(net, net.current)
    forget_ahead(net)
    bucket = net.bucket + 1
    while bucket < net.bucket + net.buckets:
        at = bucket & (net.buckets - 1)
        if at & 63 == 0 and bits_of(net, at >> 6).item == 0:
            bucket += 64
        else:
            _thin_bucket(net, at)
            bucket += 1
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
def set_frozen(net: Net, hop: int, part: int) -> None:
    """Let the links of a path stand still with a part, each once."""
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim = claim_of(net, link)
        if claim.frozen == NONE:
            claim.frozen = part
            claim.came = claim.marks = claim.backlog = claim.unmarked = 0.0
            if link_of(net, link).from_switch != NONE:
                for queue in range(link << net.class_shift, (link + 1) << net.class_shift):
                    claim.backlog += queue_of(net, queue).bytes
            claim.stood, claim.ended = claim.backlog, 0.0
            remember_came(net, link, claim.carried)
        hop += 1


@inner
def _thin_bucket(net: Net, at: int) -> None:
    kept = NONE
    while bucket_of(net, at).count > 0:
        slot = unfile(net, at)
        if not _is_held(net, slot):
            packet_of(net, slot).next = kept
            kept = slot
    while kept != NONE:
        slot, kept = kept, packet_of(net, kept).next
        file_event(net, slot, at)


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
    kind, number = key >> KEY_BITS, key & LARGEST_NUMBER
    if kind in (ARRIVAL, WAKE):
        part = claim_of(net, number).frozen
    elif kind == PAUSE:
        part = claim_of(net, number >> net.class_shift).frozen
    else:
        flow = owner_of(net, number).item
        part = flow_of(net, flow).part if flow_of(net, flow).frozen == 1 else NONE
        if kind == READY:
            probe_of(net, number).due_ps = packet_of(net, slot).time_ps
    if part == NONE:
        return False
    if part_of(net, part).kind == BY_LAW and net.control == NONE:
        if kind == NOTICE:
            be_told(net, number, packet_of(net, slot).time_ps)
            give_back(net, slot)
            return True
        if kind == ARRIVAL:
            _note_marked(net, slot)
    packet_of(net, slot).next = part_of(net, part).held
    part_of(net, part).held = slot
    return True


@inner
def _note_marked(net: Net, slot: int) -> None:
    """Let the notification that a marked packet under way calls for be on its way."""
    packet = packet_of(net, slot)
    if packet.size & 1 == 1:
        packet.size -= 1
        if packet.time_ps >= pair_of(net, packet.pair).notice_ps:
            be_told(net, packet.pair, packet.time_ps + pair_of(net, packet.pair).reverse_ps)


@inner
def let_arrive(net: Net, slot: int) -> None:
    """Let a packet that stands still cross the rest of its path."""
    payload, hop = payload_of(net, slot), packet_of(net, slot).hop
    flow = owner_of(net, packet_of(net, slot).pair).item
    while hop_of(net, hop).item != NONE:
        cross(net, hop, 1, payload)
        hop += 1
    flow_of(net, flow).delivering += payload
    flow_of(net, flow).received += payload
    give_back(net, slot)


@inner
def count_marks(net: Net, link: int) -> None:
    """Count the packets that a link has marked while it stood still."""
    marks = int(claim_of(net, link).marks)
    queue_of(net, link << net.class_shift).marks += marks
    net.marks += marks


@inner
def carry(net: Net, pair: int, payload: int) -> None:
    """Count payload of a queue pair that is not sent packet by packet as sent and carried over its paths."""
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
            cross(net, hop, count, size)
            hop += 1


@inner
def cross(net: Net, hop: int, packets: int, payload: int) -> None:
    """Count packets as carried by the link of a hop."""
    link = link_of(net, hop_of(net, hop).item >> net.class_shift)
    link.packets += packets
    link.payload += payload
    net.packet_hops += packets


@inner
def move_links(net: Net, hop: int, part: int, into: int, shift_ps: int) -> None:
    """Give those links of a path that a part holds to another part, NONE to none, and move what stands before them in time."""
    shift = net.class_shift
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> shift
        if claim_of(net, link).frozen == part:
            claim_of(net, link).frozen = into
            link_of(net, link).busy_ps += shift_ps
            for queue in range(link << shift, (link + 1) << shift):
                if link_of(net, link).from_switch != NONE or queue - (link << shift) == net.control:
                    _move_chain(net, queue_of(net, queue).head, shift_ps)
            _move_chain(net, link_of(net, link).relay_head, shift_ps)
            if into == NONE:
                count_marks(net, link)
        hop += 1


@inner
def _move_chain(net: Net, slot: int, shift_ps: int) -> None:
    while slot != NONE:
        packet_of(net, slot).time_ps += shift_ps
        move_number(net, slot)
        slot = packet_of(net, slot).next


@inner
def move_number(net: Net, slot: int) -> None:
    """Move a packet's number on by what its queue pair has just been advanced by."""
    if packet_of(net, slot).number >= 0:
        packet_of(net, slot).number += probe_of(net, packet_of(net, slot).pair).moved
