"""Parts that move packet by packet again after they have been advanced by rate.

All that a part holds is moved on in time, its packets by as many numbers as have been sent meanwhile, and these are
counted as sent, carried and received. Queues hold what they would: where the law let them rise, packets are put into them, and
where it let them fall, their first packets arrive.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buffers import admit, off_threshold, release
from zcube.network.packet.calendar import put, take_free
from zcube.network.packet.frozen import carry, cross, let_arrive, move_links, move_number
from zcube.network.packet.law import next_due_ps, settle
from zcube.network.packet.ports import append
from zcube.network.packet.records import (
    claim_of,
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
    switch_of,
)
from zcube.network.packet.senders import rouse, stir
from zcube.network.packet.state import ARRIVAL, BY_LAW, IDLE, KEY_BITS, LARGEST_NUMBER, MOVING, NONE, PERIODIC, READY, Net

#: Records of packets that a thaw leaves free.
SPARE_PACKETS = 64


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
                    move_links(net, path_of(net, path).item, first, NONE, shift_ps)
                if net.control != NONE:
                    move_links(net, pair_of(net, pair).reverse, first, NONE, shift_ps)
    slot = part.held
    while slot != NONE:
        after = packet_of(net, slot).next
        key = packet_of(net, slot).key
        if key >> KEY_BITS == ARRIVAL:
            move_number(net, slot)
        due_ps = packet_of(net, slot).time_ps + shift_ps
        if part.kind == BY_LAW and key >> KEY_BITS == READY:
            sender = pair_of(net, key & LARGEST_NUMBER).sender
            due_ps = next_due_ps(net, key & LARGEST_NUMBER, sender.rate, now_ps) if sender.paced == 1 else now_ps
        put(net, slot, due_ps, key)
        slot = after
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                probe_of(net, pair).moved = 0
    law, part.held, part.kind = part.kind == BY_LAW, NONE, MOVING
    part.look = net.looks - 1
    net.now_ps = now_ps
    if law:
        _restore(net, first)


@inner
def _restore(net: Net, first: int) -> None:
    """Put packets into the queues of a part that has thawed, up to their levels, and let flows send that have not yet."""
    number = 0
    while _fill(net, first, number):
        number += 1
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                if pair_of(net, pair).state == IDLE:
                    rouse(net, pair)


@inner
def _fill(net: Net, first: int, number: int) -> bool:
    """Put a packet of every queue pair into every queue that still lacks one; False if none does."""
    found = False
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part != first:
            continue
        for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
            first_path, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
            for path in range(first_path, first_path + paths):
                size = probe_of(net, pair).step / paths
                hop = path_of(net, path).item
                while hop_of(net, hop).item != NONE:
                    claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
                    if claim.last > 0:
                        lacking = (claim.backlog - claim.stood) * size / claim.last
                        if int(lacking / net.mtu + 0.5) > number and _stand(net, pair, path_of(net, path).item, hop):
                            found = True
                    size *= claim.passing
                    hop += 1
    return found


@inner
def _stand(net: Net, pair: int, first_hop: int, hop: int) -> bool:
    """Let a queue pair have sent a packet more, which stands in a queue; False if there is none left or no room.

    A queue that this would stop is left to fill as packets come.
    """
    flow, queue = owner_of(net, pair).item, hop_of(net, hop).item
    left = flow_of(net, flow).unsent if net.pooled == 1 else pair_of(net, pair).unsent
    if left <= net.mtu_payload or net.free_count < SPARE_PACKETS:
        return False
    link, came = queue >> net.class_shift, hop_of(net, hop - 1).item
    switch = link_of(net, link).from_switch
    inside = queue_of(net, came).in_bytes - queue_of(net, came).in_headroom + net.mtu
    if inside > off_threshold(net, switch) or switch_of(net, switch).used + net.mtu > switch_of(net, switch).shared:
        return False
    admit(net, came, queue, switch, net.mtu)
    slot = take_free(net)
    packet_of(net, slot).pair, packet_of(net, slot).hop = pair, hop
    packet_of(net, slot).key = (ARRIVAL << KEY_BITS) | (came >> net.class_shift)
    packet_of(net, slot).size, packet_of(net, slot).number = 2 * net.mtu, pair_of(net, pair).sent
    pair_of(net, pair).sent += 1
    pair_of(net, pair).most += 1
    if net.pooled == 1:
        flow_of(net, flow).unsent -= net.mtu_payload
    else:
        pair_of(net, pair).unsent -= net.mtu_payload
    for before in range(first_hop, hop):
        cross(net, before, 1, net.mtu_payload)
    append(net, queue, slot)
    stir(net, link)
    return True


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
                release(net, slot, link_of(net, link).from_switch, size)
                let_arrive(net, slot)


@inner
def _move_pair(net: Net, flow: int, pair: int, shift_ps: int) -> None:
    """Count what a queue pair has sent as whole packets, and move its times."""
    probe, row = probe_of(net, pair), pair_of(net, pair)
    left = flow_of(net, flow).unsent if net.pooled == 1 else row.unsent
    moved = max(min(int(probe.sent / net.mtu), left // net.mtu_payload - 1), 0)
    probe.sent -= moved * net.mtu
    probe.moved = moved
    payload = moved * net.mtu_payload
    carry(net, pair, payload)
    if net.pooled == 1:
        flow_of(net, flow).unsent -= payload
    else:
        row.unsent -= payload
    flow_of(net, flow).delivering += payload
    flow_of(net, flow).received += payload
    row.since_ps += shift_ps
