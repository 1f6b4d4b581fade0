"""The PFC watchdog: a switch gives up on a queue that has been paused for too long.

Until the pause ends it drops what would wait in the queue, or forwards it as if there were no pause.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buffers import release
from zcube.network.packet.calendar import give_back, put, take_free
from zcube.network.packet.pauses import let_go
from zcube.network.packet.ports import note_depth
from zcube.network.packet.records import link_of, packet_of, queue_of
from zcube.network.packet.state import DROPS, FORWARDS, KEY_BITS, NONE, STORM, Net


@inner
def end_waiting(net: Net, queue: int) -> bool:
    """Drop what waits in a queue if its pause has lasted too long, as what comes will be; or let it go: True if it was.

    A queue has one event at a time: that of a pause which has ended looks again when the present one has lasted as long.
    """
    queue_of(net, queue).watched = 0
    if queue_of(net, queue).paused == 0 or queue_of(net, queue).storm == DROPS:
        return False
    due_ps = queue_of(net, queue).paused_ps + net.storm_ps
    if net.now_ps < due_ps:
        queue_of(net, queue).watched = 1
        put(net, take_free(net), due_ps, (STORM << KEY_BITS) | queue)
        return False
    queue_of(net, queue).storm = net.storm_action
    net.storms += 1
    if net.storm_action == FORWARDS:
        return let_go(net, queue)
    if net.bin_ps > 0:
        note_depth(net, queue, 0)
    slot = queue_of(net, queue).head
    queue_of(net, queue).head = NONE
    queue_of(net, queue).bytes = 0
    while slot != NONE:
        after = packet_of(net, slot).next
        release(net, slot, link_of(net, queue >> net.class_shift).from_switch, packet_of(net, slot).size >> 1)
        drop(net, slot, queue)
        slot = after
    return False


@inner
def drop(net: Net, slot: int, queue: int) -> None:
    """Drop a packet in front of a queue."""
    queue_of(net, queue).drops += 1
    net.drops += 1
    give_back(net, slot)
