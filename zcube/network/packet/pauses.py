"""PFC: pause frames on their way up a link, what they stop and for how long, and whom they delay.

A pause holds until a resume frame comes or, where frames have quanta, until these are over; a switch then sends the frame again
while it still needs it.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.calendar import put, take_free
from zcube.network.packet.records import flow_of, hop_of, link_of, log_of, owner_of, packet_of, paused_of, queue_of, timed_of
from zcube.network.packet.state import EXPIRY, FORWARDS, KEY_BITS, NONE, PAUSE, REFRESH, STORM, Net
from zcube.network.packet.wire import wire_ps

#: Links a chain of pauses is followed; more than any path has, and an end where pauses form a ring.
LONGEST_CHAIN = 64


@inner
def send_frame(net: Net, queue: int, stop: int) -> None:
    """Send a pause (1) or resume (0) frame to the source of the link by which a queue comes."""
    link = queue >> net.class_shift
    queue_of(net, queue).frames += 1
    slot = take_free(net)
    packet_of(net, slot).hop = stop
    packet_of(net, slot).number = queue_of(net, queue).frames
    due_ps = net.now_ps + link_of(net, link).latency_ps + wire_ps(net, link, net.pause_bytes) + net.pause_ps
    put(net, slot, due_ps, (PAUSE << KEY_BITS) | queue)
    if net.refresh > 0 and stop == 1:
        timed_of(net, queue).sent_ps = net.now_ps
        if timed_of(net, queue).refreshing == 0:
            _refresh_later(net, queue)


@inner
def _hold_ps(net: Net, queue: int) -> int:
    """Return how long a pause lasts."""
    return wire_ps(net, queue >> net.class_shift, net.hold_bytes)


@inner
def _apart_ps(net: Net, queue: int) -> int:
    """Return after how long a frame is sent again: on the fastest links too later than the one before, or time would stand."""
    return max(1, int(net.refresh * _hold_ps(net, queue)))


@inner
def _refresh_later(net: Net, queue: int) -> None:
    timed_of(net, queue).refreshing = 1
    due_ps = timed_of(net, queue).sent_ps + _apart_ps(net, queue)
    put(net, take_free(net), due_ps, (REFRESH << KEY_BITS) | queue)


@inner
def refresh(net: Net, queue: int) -> None:
    """Send the last frame again if it is old enough and the queue's source still is to stand.

    A queue has one such event at a time, as of the next one and the watchdog's: that of a frame which another has followed
    looks again when that one is as old.
    """
    timed_of(net, queue).refreshing = 0
    if queue_of(net, queue).off == 0:
        return
    if net.now_ps < timed_of(net, queue).sent_ps + _apart_ps(net, queue):
        _refresh_later(net, queue)
    else:
        send_frame(net, queue, 1)


@inner
def expire(net: Net, queue: int) -> bool:
    """End a pause whose quanta are over; True if the queue may send now and could not before."""
    timed_of(net, queue).expiring = 0
    if queue_of(net, queue).paused == 0 and queue_of(net, queue).storm == 0:
        return False
    if net.now_ps < timed_of(net, queue).until_ps:
        _expire_later(net, queue)
        return False
    net.expiries += queue_of(net, queue).paused
    queue_of(net, queue).storm = 0
    return let_go(net, queue)


@inner
def _expire_later(net: Net, queue: int) -> None:
    timed_of(net, queue).expiring = 1
    put(net, take_free(net), timed_of(net, queue).until_ps, (EXPIRY << KEY_BITS) | queue)


@inner
def apply_frame(net: Net, queue: int, stop: int, number: int) -> bool:
    """Stop a queue or let it go on; True if it may send now and could not before."""
    if number < queue_of(net, queue).applied:
        return False
    queue_of(net, queue).applied = number
    if stop == 0:
        queue_of(net, queue).storm = 0
        return let_go(net, queue)
    now_ps = net.now_ps
    if net.hold_bytes > 0:
        timed_of(net, queue).until_ps = now_ps + _hold_ps(net, queue)
        if timed_of(net, queue).expiring == 0:
            _expire_later(net, queue)
    # A switch that forwards in spite of a pause does so until the pause has ended.
    if queue_of(net, queue).paused == 0 and queue_of(net, queue).storm != FORWARDS:
        queue_of(net, queue).paused = 1
        queue_of(net, queue).paused_ps = now_ps
        queue_of(net, queue).pause_cause = queue_of(net, queue).cause
        root = queue_of(net, queue).cause
        for _ in range(LONGEST_CHAIN):
            if queue_of(net, root).paused == 0 or queue_of(net, root).cause == NONE:
                break
            root = queue_of(net, root).cause
        queue_of(net, queue).root = root
        watches = net.storm_ps > 0 and queue_of(net, queue).watched == 0
        if watches and link_of(net, queue >> net.class_shift).from_switch != NONE:
            queue_of(net, queue).watched = 1
            put(net, take_free(net), now_ps + net.storm_ps, (STORM << KEY_BITS) | queue)
    return False


@inner
def let_go(net: Net, queue: int) -> bool:
    """Let a queue go on; True if it was paused."""
    if queue_of(net, queue).paused == 0:
        return False
    now_ps = net.now_ps
    queue_of(net, queue).paused = 0
    queue_of(net, queue).resumed_ps = now_ps
    queue_of(net, queue).pause_total_ps += now_ps - queue_of(net, queue).paused_ps
    if net.bin_ps > 0:
        credit_pause(net, queue, now_ps)
    if net.logged < net.log_room:
        row = log_of(net, net.logged)
        row.from_ps, row.until_ps = queue_of(net, queue).paused_ps, now_ps
        row.queue, row.cause, row.root = queue, queue_of(net, queue).pause_cause, queue_of(net, queue).root
    net.logged += 1
    return True


@inner
def credit_pause(net: Net, queue: int, until_ps: int) -> None:
    """Spread a pause over the bins of time."""
    bin_ps = net.bin_ps
    from_ps = queue_of(net, queue).paused_ps
    for at in range(from_ps // bin_ps, until_ps // bin_ps + 1):
        part_ps = min(until_ps, (at + 1) * bin_ps) - max(from_ps, at * bin_ps)
        paused_of(net, at * net.queues + queue).item += part_ps


@inner
def note_blocked(net: Net, queue: int, pair: int, hop: int, since_ps: int) -> None:
    """Note that a packet stood behind the last pause of a queue since a time; it is about to leave, at ``hop`` of its path.

    The flow is a victim where the congested queue that the pause came from is not on the rest of the packet's path.
    """
    flow = owner_of(net, pair).item
    until_ps = queue_of(net, queue).resumed_ps
    from_ps = max(since_ps, queue_of(net, queue).paused_ps)
    if until_ps > max(from_ps, flow_of(net, flow).blocked_until_ps):
        flow_of(net, flow).blocked_ps += until_ps - max(from_ps, flow_of(net, flow).blocked_until_ps)
        flow_of(net, flow).blocked_until_ps = until_ps
    if until_ps > max(from_ps, flow_of(net, flow).victim_until_ps):
        root = queue_of(net, queue).root
        while hop_of(net, hop).item != NONE:
            if hop_of(net, hop).item == root:
                return
            hop += 1
        flow_of(net, flow).victim_ps += until_ps - max(from_ps, flow_of(net, flow).victim_until_ps)
        flow_of(net, flow).victim_until_ps = until_ps
