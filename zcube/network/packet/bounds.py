"""Bounds on what comes next, for drivers that advance a network from one to the other."""

from __future__ import annotations

import numpy as np

from zcube.compile_cache import compiled
from zcube.network.packet.calendar import no_event_filed, not_before
from zcube.network.packet.records import flow_of, live_of, net_of, pair_of, part_of, start_of
from zcube.network.packet.state import NEVER, NONE


@compiled()
def earliest(table: np.ndarray, now_ps: int) -> int:
    """Return a time before which no flow can start or complete, NEVER if there is none, -1 if no event is left for live flows.

    What of a flow has been put on its last links arrives at a known time; the rest has yet to cross them, at their full rate at
    best. Where packets are lost, what counts is what has arrived.
    """
    net = net_of(table)
    found = NEVER
    if net.waiting > 0:
        found = flow_of(net, start_of(net, 0).item).start_ps
    if net.active > 0 and net.frozen == 0 and net.current == NONE and no_event_filed(net):
        return found if found < NEVER else -1
    next_ps = not_before(net)
    for at in range(net.active):
        flow = flow_of(net, live_of(net, at).item)
        if flow.frozen == 1:
            # It thaws at a look.
            found = min(found, max(part_of(net, flow.part).until_ps, net.look_ps, now_ps))
            continue
        left = flow.size - flow.delivering
        if net.repeating == 1:
            # One packet per last link may be about to arrive; if that leaves nothing, no event before the next can complete it.
            full = 0
            for pair in range(flow.first_pair, flow.end_pair):
                full += net.mtu_payload * pair_of(net, pair).paths
            bound_ps = max(now_ps + max(1, int((flow.size - flow.received - full) / flow.drain)), next_ps)
        elif left == 0:
            bound_ps = flow.latest_ps
        else:
            bound_ps = max(now_ps + max(1, int(left / flow.drain)), next_ps) + flow.tail_ps
        found = min(found, bound_ps)
    return found
