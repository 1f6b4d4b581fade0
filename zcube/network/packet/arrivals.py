"""The last link of a path: what of a flow is under way on it, and which arrivals nothing but the flow's count depends on.

In a network that is plain but for the queues of a link, see :mod:`zcube.network.packet.plain`, an unmarked packet does nothing
at a host but to be counted, unless it is the last of its flow. It is counted when it is put on the last link, if it arrives by
the time that the network is to be advanced to, and no event is filed for it: whoever looks at the network then finds what the
event would have left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.calendar import give_back, put, take_free
from zcube.network.packet.plain import is_plain_but_for_queues
from zcube.network.packet.records import flow_of, owner_of, packet_of
from zcube.network.packet.state import ARRIVAL, KEY_BITS, Net


def may_be_unseen(net: np.ndarray, skips: bool) -> bool:
    """Return whether arrivals in a network, by its NET [1], may go without events, which skipping of parts would miss."""
    return is_plain_but_for_queues(net) and not skips


@inner
def put_on_last(net: Net, link: int, slot: int, payload: int, due_ps: int) -> None:
    """Note payload as about to arrive, and file its arrival or count it now."""
    flow = flow_of(net, owner_of(net, packet_of(net, slot).pair).item)
    flow.delivering += payload
    is_seen = net.unseen == 0 or packet_of(net, slot).size & 1 == 1 or due_ps > net.until_ps
    # Packets that arrive at once by several links are taken in the order of these.
    if due_ps > flow.latest_ps or (due_ps == flow.latest_ps and link > flow.latest_link):
        is_seen = is_seen or flow.delivering == flow.size
        flow.latest_ps, flow.latest_link, flow.latest_seen = due_ps, link, int(is_seen)
    elif flow.delivering == flow.size and flow.latest_seen == 0:
        _see_latest(net, flow, slot, payload, is_seen)
        if not is_seen:
            return
    if is_seen:
        put(net, slot, due_ps, (ARRIVAL << KEY_BITS) | link)
        return
    flow.received += payload
    net.unseen_ps = max(net.unseen_ps, due_ps)
    net.events += 1
    give_back(net, slot)


@inner
def _see_latest(net: Net, flow: Any, slot: int, payload: int, is_seen: bool) -> None:
    """File the arrival of a flow's latest packet, which was counted, now that another one is the last to be put on its link.

    That one stands for it unless it has an arrival of its own.
    """
    latest = slot
    if is_seen:
        latest = take_free(net)
        packet_of(net, latest).pair, packet_of(net, latest).hop = packet_of(net, slot).pair, packet_of(net, slot).hop
        packet_of(net, latest).size = packet_of(net, slot).size & ~1
        packet_of(net, latest).number = packet_of(net, slot).number
        flow.received -= payload
        net.events -= 1
    put(net, latest, flow.latest_ps, (ARRIVAL << KEY_BITS) | flow.latest_link)
