"""GPUs that pass packets on, as PXN and BCube have them do: through memory that is never short, in turn with their own.

A relay neither marks nor pauses: its memory takes in what a switch's buffer could not. What it sends on stops with a pause
like its own packets. (A real PXN relay passes on whole slices of a message, so its delay is larger by a slice.)
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.pauses import note_blocked
from zcube.network.packet.ports import next_queue, payload_of, transmit
from zcube.network.packet.records import hop_of, link_of, packet_of, queue_of
from zcube.network.packet.state import NONE, Net


@inner
def hold(net: Net, link: int, slot: int) -> None:
    """Put a packet at the end of those that a host passes on by a link."""
    packet_of(net, slot).next = NONE
    packet_of(net, slot).time_ps = net.now_ps
    if link_of(net, link).relay_head == NONE:
        link_of(net, link).relay_head = slot
    else:
        packet_of(net, link_of(net, link).relay_tail).next = slot
    link_of(net, link).relay_tail = slot


@inner
def can_relay(net: Net, link: int) -> bool:
    """Return whether a host has a packet to pass on that is not stopped."""
    slot = link_of(net, link).relay_head
    return slot != NONE and queue_of(net, hop_of(net, packet_of(net, slot).hop).item).paused == 0


@inner
def relay_packet(net: Net, link: int) -> None:
    """Pass on a packet."""
    slot = link_of(net, link).relay_head
    link_of(net, link).relay_head = packet_of(net, slot).next
    hop = packet_of(net, slot).hop
    queue = hop_of(net, hop).item
    if queue_of(net, queue).resumed_ps > packet_of(net, slot).time_ps:
        note_blocked(net, queue, packet_of(net, slot).pair, hop, packet_of(net, slot).time_ps)
    net.packet_hops += 1
    transmit(net, link, slot, payload_of(net, slot))


@inner
def has_work(net: Net, link: int) -> bool:
    """Return whether a link has anything to send now."""
    return next_queue(net, link) != NONE or can_relay(net, link)
