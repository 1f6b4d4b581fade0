"""Flows that end while their part is advanced by the law of its rates."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buffers import release
from zcube.network.packet.calendar import give_back
from zcube.network.packet.frozen import carry, count_marks, let_arrive
from zcube.network.packet.receivers import complete
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    owner_of,
    packet_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    queue_of,
)
from zcube.network.packet.state import ARRIVAL, KEY_BITS, LARGEST_NUMBER, NONE, WAKE, Net
from zcube.network.packet.tightness import leave_behind


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
        carry(net, pair, rest)
        leave_behind(net, pair, max(rest * (net.mtu / net.mtu_payload) - probe_of(net, pair).sent, 0.0))
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
        kind, number = packet_of(net, slot).key >> KEY_BITS, packet_of(net, slot).key & LARGEST_NUMBER
        if kind == ARRIVAL and owner_of(net, packet_of(net, slot).pair).item == flow:
            packet_of(net, slot).hop += 1
            let_arrive(net, slot)
        elif kind != ARRIVAL and kind != WAKE and owner_of(net, number).item == flow:
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
def _take_out(net: Net, queue: int, flow: int) -> None:
    """Let the packets of a flow that stand in a queue arrive."""
    link = queue >> net.class_shift
    if link_of(net, link).from_switch == NONE:
        last = slot = link_of(net, link).relay_head
        link_of(net, link).relay_head = NONE
        while slot != NONE:
            after = packet_of(net, slot).next
            if owner_of(net, packet_of(net, slot).pair).item == flow:
                let_arrive(net, slot)
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
        if owner_of(net, packet_of(net, slot).pair).item == flow:
            size = packet_of(net, slot).size >> 1
            queue_of(net, queue).bytes -= size
            claim_of(net, link).stood -= size
            release(net, slot, link_of(net, link).from_switch, size)
            let_arrive(net, slot)
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
                if link_of(net, link).active == 0 and claim_of(net, link).frozen != NONE:
                    count_marks(net, link)
                    claim_of(net, link).frozen = NONE
                    link_of(net, link).wakes = 0
                hop += 1
    slot, kept = part_of(net, first).held, NONE
    while slot != NONE:
        after = packet_of(net, slot).next
        kind, number = packet_of(net, slot).key >> KEY_BITS, packet_of(net, slot).key & LARGEST_NUMBER
        if kind != WAKE or claim_of(net, number).frozen == first:
            packet_of(net, slot).next = kept
            kept = slot
        slot = after
    part_of(net, first).held = kept
