"""Links that go down and come up while packets move.

What would arrive while its link is down is lost, what waits for it in a switch is lost as it goes down, and both directions of
a cable go down together. Nobody knows for a while: a switch that chooses by depth then even prefers the empty queue. Once it is
known, senders leave out the paths over the link, and switches the ways on which no path of the same rank is left; queue pairs
whose paths all cross it send on and time out. Pauses of a link end as it goes down; as it comes up, an ingress queue that is
still full stops it anew.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.network.kernels import inner
from zcube.network.packet.balance import rests_for_good
from zcube.network.packet.buffers import release
from zcube.network.packet.calendar import give_back, put, take_free
from zcube.network.packet.pauses import apply_frame, send_frame
from zcube.network.packet.ports import note_depth
from zcube.network.packet.records import (
    flow_of,
    hop_of,
    link_of,
    live_of,
    net_of,
    packet_of,
    pair_of,
    path_of,
    queue_of,
    rest_of,
)
from zcube.network.packet.senders import rouse, stir
from zcube.network.packet.state import AVOIDED, BROKEN, CHANGE, KEY_BITS, NEVER, NONE, Net

#: What a CHANGE does to a link; those of one time are taken in this order.
FAILS, MISSED, RETURNS, KNOWN_UP = range(4)


@compiled()
def file_changes(table: np.ndarray, links: IntArray, times_ps: IntArray, stages: IntArray) -> None:
    """File what happens to links at times, one stage each."""
    net = net_of(table)
    for at in range(len(links)):
        slot = take_free(net)
        packet_of(net, slot).number = stages[at]
        put(net, slot, times_ps[at], (CHANGE << KEY_BITS) | links[at])


@inner
def change_link(net: Net, link: int, stage: int) -> None:
    """Take a link down or up, or take note of it."""
    first, end = link << net.class_shift, (link + 1) << net.class_shift
    if stage == FAILS:
        link_of(net, link).down |= BROKEN
        for queue in range(first, end):
            _lose_queue(net, link, queue)
        stir(net, link)
    elif stage == RETURNS:
        link_of(net, link).down &= AVOIDED
        for queue in range(first, end):
            if queue_of(net, queue).off == 1:
                send_frame(net, queue, 1)
    else:
        link_of(net, link).down = link_of(net, link).down & BROKEN | (AVOIDED if stage == MISSED else 0)
        net.avoided += 1 if stage == MISSED else -1
        for at in range(net.active):
            rest_paths(net, live_of(net, at).item)
        if stage == MISSED and net.spanning == 1 and link_of(net, link).from_switch == NONE:
            for queue in range(first, end):
                _leave_port(net, queue)


@inner
def _lose_queue(net: Net, link: int, queue: int) -> None:
    """Lose what waits for a link that goes down, queue pairs of a NIC aside, and end its pause."""
    if net.bin_ps > 0:
        note_depth(net, queue, 0)
    apply_frame(net, queue, 0, queue_of(net, queue).frames)
    is_switch, is_data = link_of(net, link).from_switch != NONE, queue - (link << net.class_shift) < net.classes
    slot = link_of(net, link).relay_head
    link_of(net, link).relay_head = NONE
    if is_switch or not is_data:
        slot = queue_of(net, queue).head
        queue_of(net, queue).head = NONE
        queue_of(net, queue).bytes = 0
    while slot != NONE:
        after = packet_of(net, slot).next
        if is_switch and is_data:
            size = packet_of(net, slot).size >> 1
            release(net, slot, link_of(net, link).from_switch, size)
        if is_data:
            net.lost += 1
        else:
            net.headers_lost += 1
        give_back(net, slot)
        slot = after


@inner
def _leave_port(net: Net, queue: int) -> None:
    """Let the queue pairs that wait for a NIC port which is down choose anew."""
    pair = queue_of(net, queue).head
    queue_of(net, queue).head = NONE
    while pair != NONE:
        after = pair_of(net, pair).next
        rouse(net, pair)
        pair = after


@inner
def rest_paths(net: Net, flow: int) -> None:
    """Let those paths of a flow rest that cross a link known to be down, and end the rest of those that no longer do."""
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop, avoided = path_of(net, path).item, False
            while hop_of(net, hop).item != NONE:
                avoided |= link_of(net, hop_of(net, hop).item >> net.class_shift).down & AVOIDED != 0
                hop += 1
            if avoided:
                rest_of(net, path).item = NEVER
            elif rests_for_good(net, path):
                rest_of(net, path).item = 0
