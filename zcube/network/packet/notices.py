"""Notifications on their way to queue pairs of parts that are advanced by the law of their rates."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.calendar import put, take_free
from zcube.network.packet.records import flow_of, live_of, packet_of, pair_of, path_of, told_of
from zcube.network.packet.state import CONGESTION, KEY_BITS, NEVER, NONE, NOTICE, NOTICES, Net


@inner
def be_told(net: Net, pair: int, time_ps: int) -> None:
    """Let a notification arrive at a time; those that are less apart than a receiver sends them are one, the first.

    Where as many are on their way as are kept, the last is lost.
    """
    at, gap_ps = pair * NOTICES, max(net.notice_ps, 1)
    end = at + NOTICES
    while at < end and told_of(net, at).item + gap_ps <= time_ps:
        at += 1
    if at < end and told_of(net, at).item - time_ps < gap_ps:
        told_of(net, at).item = min(told_of(net, at).item, time_ps)
        return
    while at < end and time_ps < NEVER:
        after_ps, told_of(net, at).item = told_of(net, at).item, time_ps
        time_ps = after_ps
        at += 1


@inner
def forget_first(net: Net, pair: int) -> None:
    """Forget the notification that has arrived."""
    at, last = pair * NOTICES, (pair + 1) * NOTICES - 1
    while at < last and told_of(net, at).item < NEVER:
        told_of(net, at).item = told_of(net, at + 1).item
        at += 1
    told_of(net, at).item = NEVER


@inner
def forget_all(net: Net, pair: int) -> None:
    """Let no notification be on its way."""
    for at in range(pair * NOTICES, (pair + 1) * NOTICES):
        told_of(net, at).item = NEVER


@inner
def count_told(net: Net, pair: int) -> int:
    """Return how many notifications are on their way."""
    count = 0
    while count < NOTICES and told_of(net, pair * NOTICES + count).item < NEVER:
        count += 1
    return count


@inner
def note_sent_on(net: Net, pair: int) -> None:
    """Let a receiver have sent the notifications that are on their way."""
    for at in range(pair * NOTICES, pair * NOTICES + count_told(net, pair)):
        due_ps = told_of(net, at).item - pair_of(net, pair).reverse_ps + net.notice_ps
        if due_ps > pair_of(net, pair).notice_ps:
            pair_of(net, pair).notice_ps = due_ps
            net.notices += 1


@inner
def notify_on(net: Net, first: int) -> None:
    """Let notifications on their way to flows of a part that moves packet by packet again go on as events."""
    if net.control != NONE:
        return
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                for notice in range(pair * NOTICES, pair * NOTICES + count_told(net, pair)):
                    _send(net, pair, max(told_of(net, notice).item, net.now_ps))
                forget_all(net, pair)


@inner
def _send(net: Net, pair: int, due_ps: int) -> None:
    slot = take_free(net)
    packet_of(net, slot).number = CONGESTION
    packet_of(net, slot).hop = path_of(net, pair_of(net, pair).first_path).item
    put(net, slot, due_ps, (NOTICE << KEY_BITS) | pair)
