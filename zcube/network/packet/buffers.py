"""A switch's shared buffer: what is let in, when the sender is stopped, and when it may go on.

With PFC an ingress queue may hold, of the buffer shared by all, a fixed amount or a part alpha of what is free; beyond it lies
its headroom, used from XOFF on. Without PFC it is the egress queue that may hold a part alpha of what is free, and more is
dropped.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.pauses import send_frame
from zcube.network.packet.records import hop_of, packet_of, queue_of, switch_of
from zcube.network.packet.state import LARGEST_NUMBER, Net


@inner
def off_threshold(net: Net, switch: int) -> int:
    """Return how much shared buffer an ingress queue may hold."""
    return off_threshold_at(net, max(switch_of(net, switch).shared - switch_of(net, switch).used, 0))


@inner
def off_threshold_at(net: Net, free: float) -> int:
    """Return how much shared buffer an ingress queue may hold while so much of it is free."""
    return int(net.alpha * free) if net.dynamic_off == 1 else net.off_bytes


@inner
def admit(net: Net, came: int, wanted: int, switch: int, size: int) -> bool:
    """Count a packet into the buffer, stopping its sender where it exceeds a threshold; False if there is no room for it."""
    used = switch_of(net, switch).used
    free = switch_of(net, switch).shared - used
    if net.lossless == 0:
        if size > free or queue_of(net, wanted).bytes + size > net.alpha * free:
            return False
        queue_of(net, came).in_bytes += size
        _use(net, switch, used + size)
        return True
    held = queue_of(net, came).in_bytes + size
    inside = held - queue_of(net, came).in_headroom
    if inside <= off_threshold(net, switch) and size <= free:
        _use(net, switch, used + size)
    elif queue_of(net, came).in_headroom + size <= queue_of(net, came).headroom:
        queue_of(net, came).in_headroom += size
        if queue_of(net, came).off == 0:
            queue_of(net, came).off = 1
            queue_of(net, came).cause = wanted
            queue_of(net, came).pauses += 1
            net.pauses += 1
            send_frame(net, came, 1)
    else:
        return False
    queue_of(net, came).in_bytes = held
    if held > queue_of(net, came).in_peak:
        queue_of(net, came).in_peak = held
    return True


@inner
def _use(net: Net, switch: int, used: int) -> None:
    switch_of(net, switch).used = used
    if used > switch_of(net, switch).peak:
        switch_of(net, switch).peak = used


@inner
def came_by(net: Net, slot: int) -> int:
    """Return the queue on whose link a packet has come to the queue in which it stands."""
    if net.class_shift == 0:
        # It still bears the event of its arrival; its path would have to be looked up.
        return packet_of(net, slot).key & LARGEST_NUMBER
    return hop_of(net, packet_of(net, slot).hop - 1).item


@inner
def release(net: Net, slot: int, switch: int, size: int) -> None:
    """Take a packet out of the buffer, headroom first, and let its sender go on where enough has left."""
    came = came_by(net, slot)
    held = queue_of(net, came).in_bytes - size
    queue_of(net, came).in_bytes = held
    spare = min(queue_of(net, came).in_headroom, size)
    if spare > 0:
        queue_of(net, came).in_headroom -= spare
    switch_of(net, switch).used -= size - spare
    paused = queue_of(net, came).off == 1 and queue_of(net, came).in_headroom == 0
    if paused and held <= max(off_threshold(net, switch) - net.on_gap, 0):
        queue_of(net, came).off = 0
        send_frame(net, came, 0)
