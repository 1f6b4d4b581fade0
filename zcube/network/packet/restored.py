"""Queues of a part that thaws: what the law of its rates says stands in them, put there as packets.

Of what stood in a queue when its part froze, what has left it since has arrived. Behind the rest come packets of what flows
under way have brought since and has not left, in the order in which it came.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buffers import admit, off_threshold, release
from zcube.network.packet.calendar import take_free
from zcube.network.packet.frozen import cross, let_arrive
from zcube.network.packet.notices import count_told
from zcube.network.packet.past import came_between, came_since, end_of
from zcube.network.packet.ports import append
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    listed_of,
    live_of,
    owner_of,
    packet_of,
    pair_of,
    path_of,
    probe_of,
    queue_of,
    switch_of,
)
from zcube.network.packet.senders import rouse, stir
from zcube.network.packet.state import ARRIVAL, IDLE, KEY_BITS, NONE, Net

#: Records of packets that a thaw leaves free.
SPARE_PACKETS = 64


@inner
def has_room(net: Net) -> bool:
    """Return whether there are records for what all parts advanced by law hold, were they to move packet by packet."""
    net.stamp -= 1
    wanted = 2 * SPARE_PACKETS
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                # It may be roused, and told of what is on its way.
                wanted += 1 + count_told(net, pair)
                for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                    wanted += _standing(net, path_of(net, path).item)
    return net.free_count >= wanted


@inner
def _standing(net: Net, hop: int) -> int:
    """Return the packets in queues on a path, each queue once, and a frame for each."""
    found = 0
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        if claim.levelled != net.stamp and claim.backlog > 0:
            claim.levelled = net.stamp
            found += int(claim.backlog) // net.mtu + 2
        hop += 1
    return found


@inner
def lower(net: Net, hop: int, now_ps: int) -> None:
    """Let arrive what stood in queues on a path when they froze and has left them since."""
    shift = net.class_shift
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> shift
        claim = claim_of(net, link)
        hop += 1
        if link_of(net, link).from_switch == NONE or claim.stood <= 0:
            continue
        lasting = max(claim.backlog - came_since(net, link, max(claim.since_ps, claim.froze_ps), now_ps), 0.0)
        for queue in range(link << shift, (link + 1) << shift):
            while claim.stood > lasting and queue_of(net, queue).head != NONE and queue - (link << shift) != net.control:
                slot = queue_of(net, queue).head
                size = packet_of(net, slot).size >> 1
                queue_of(net, queue).head = packet_of(net, slot).next
                queue_of(net, queue).bytes -= size
                claim.stood -= size
                release(net, slot, link_of(net, link).from_switch, size)
                let_arrive(net, slot)


@inner
def take_back(net: Net, pair: int, now_ps: int) -> None:
    """Take back of what a queue pair has sent since its part froze what stands in queues; it is put there anew."""
    first = pair_of(net, pair).first_path
    for path in range(first, first + pair_of(net, pair).paths):
        hop = path_of(net, path).item
        while hop_of(net, hop).item != NONE:
            claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
            if claim.backlog > 0:
                since_ps = max(claim.since_ps, claim.froze_ps)
                probe_of(net, pair).sent -= came_between(net, pair, path, hop, since_ps, now_ps, now_ps)
            hop += 1


@inner
def put_back(net: Net, first: int, now_ps: int) -> None:
    """Put packets into the queues of a part that has thawed, and let flows send that have not yet."""
    net.stamp -= 1
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                    _fill_path(net, first, path_of(net, path).item, now_ps)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                if pair_of(net, pair).state == IDLE:
                    rouse(net, pair)


@inner
def _fill_path(net: Net, first: int, hop: int, now_ps: int) -> None:
    """Fill the queues on a path, each once."""
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim = claim_of(net, link)
        if claim.levelled != net.stamp and claim.backlog > 0 and link_of(net, link).from_switch != NONE:
            claim.levelled = net.stamp
            _fill(net, first, link, now_ps)
        hop += 1


@inner
def _fill(net: Net, first: int, link: int, now_ps: int) -> None:
    """Put what has come to a link since its part froze, and stands, before it, in the order in which it came."""
    _list_crossing(net, first, link)
    claim = claim_of(net, link)
    time_ps = max(claim.since_ps, claim.froze_ps)
    while time_ps < now_ps:
        end_ps = min(end_of(net, time_ps), now_ps)
        most = 0.0
        for at in range(net.listed):
            pair = listed_of(net, at).item
            probe = probe_of(net, pair)
            probe.coming = 0.0
            for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                hop = _crossing(net, path, link)
                if hop != NONE:
                    probe.coming += came_between(net, pair, path, hop, time_ps, end_ps, now_ps)
            most = max(most, probe.coming)
        # Queue pairs' packets come in turns, as many of each as it has of the bytes.
        rounds = int(most / net.mtu) + 1
        for _ in range(rounds):
            for at in range(net.listed):
                _fill_pair(net, listed_of(net, at).item, link, rounds)
        time_ps = end_ps


@inner
def _list_crossing(net: Net, first: int, link: int) -> None:
    """List the queue pairs of a part that cross a link."""
    net.listed = 0
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                if _next_crossing(net, pair, link, 0) != NONE:
                    # A packet stands where half of it would.
                    probe_of(net, pair).owing = net.mtu / 2.0
                    listed_of(net, net.listed).item = pair
                    net.listed += 1


@inner
def _crossing(net: Net, path: int, link: int) -> int:
    """Return the place in hops at which a path crosses a link, NONE if it does not."""
    hop = path_of(net, path).item
    while hop_of(net, hop).item != NONE and hop_of(net, hop).item >> net.class_shift != link:
        hop += 1
    return hop if hop_of(net, hop).item != NONE else NONE


@inner
def _next_crossing(net: Net, pair: int, link: int, number: int) -> int:
    """Return the path by which a queue pair's next packet crosses a link, taken in turns; NONE if none does."""
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    for step in range(paths):
        path = first + (number + step) % paths
        if _crossing(net, path, link) != NONE:
            return path
    return NONE


@inner
def _fill_pair(net: Net, pair: int, link: int, rounds: int) -> None:
    """Let packets of a queue pair stand before a link, of what came to it in a time one part of so many."""
    probe = probe_of(net, pair)
    probe.owing += probe.coming / rounds
    while probe.owing >= net.mtu:
        probe.owing -= net.mtu
        path = _next_crossing(net, pair, link, pair_of(net, pair).sent)
        _stand(net, pair, path_of(net, path).item, _crossing(net, path, link))


@inner
def _stand(net: Net, pair: int, first_hop: int, hop: int) -> None:
    """Let a queue pair have sent a packet more, which stands in a queue, if there is one left and room.

    A queue that this would stop is left to fill as packets come.
    """
    flow, queue = owner_of(net, pair).item, hop_of(net, hop).item
    left = flow_of(net, flow).unsent if net.pooled == 1 else pair_of(net, pair).unsent
    if left <= net.mtu_payload or net.free_count < SPARE_PACKETS:
        return
    link, came = queue >> net.class_shift, hop_of(net, hop - 1).item
    switch = link_of(net, link).from_switch
    inside = queue_of(net, came).in_bytes - queue_of(net, came).in_headroom + net.mtu
    if inside > off_threshold(net, switch) or switch_of(net, switch).used + net.mtu > switch_of(net, switch).shared:
        return
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
