"""Parts of a packet network: flows under way that share links with each other and with no others, and what is seen of them.

At a look every link is claimed by the first flow that crosses it, and flows that meet on a link are joined. A part's row is
that of its first flow. Parts that are advanced without a look at their rates are left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.buffers import off_threshold_at
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    queue_of,
    switch_of,
)
from zcube.network.packet.state import NONE, Net
from zcube.network.packet.turns import share_ports
from zcube.network.packet.weighed import has_bytes, list_pairs
from zcube.routing.hashing import mix

#: A link asked for so much more than it has still counts as not overloaded: rates are rounded.
ROUNDING = 1e-6
#: A queue that fills more of the way from KMIN to KMAX holds a burst that its control has still to answer.
BURST = 0.25


@inner
def first_of(net: Net, flow: int) -> int:
    """Return the first flow of a flow's part, shortening the way there."""
    while flow_of(net, flow).part != flow:
        above = flow_of(net, flow).part
        flow_of(net, flow).part = flow_of(net, above).part
        flow = above
    return flow


@inner
def _join(net: Net, one: int, other: int) -> None:
    one, other = first_of(net, one), first_of(net, other)
    flow_of(net, max(one, other)).part = min(one, other)


@inner
def _claim(net: Net, flow: int, hop: int) -> None:
    stamp = 2 * net.looks
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        if claim.look == stamp:
            _join(net, flow, claim.flow)
        else:
            claim.look, claim.flow = stamp, flow
            claim.load = claim.carried = 0.0
        hop += 1


@inner
def divide(net: Net) -> None:
    """Divide flows that move into parts, and sum up each part's members, queues and loads; set the rates of all but periods."""
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 0:
            flow_of(net, flow).part = flow
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 0:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                first = pair_of(net, pair).first_path
                for path in range(first, first + pair_of(net, pair).paths):
                    _claim(net, flow, path_of(net, path).item)
                if net.control != NONE:
                    _claim(net, flow, pair_of(net, pair).reverse)
    list_pairs(net, 0)
    share_ports(net)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 0:
            _sum_up(net, flow, first_of(net, flow))


@inner
def _sum_up(net: Net, flow: int, first: int) -> None:
    """Add a flow to its part."""
    part = part_of(net, first)
    if part.look != net.looks:
        if part.look != net.looks - 1:
            part.was, part.age = np.uint64(0), 0
        else:
            part.was = part.members
        part.look = net.looks
        part.members = np.uint64(0)
        part.pauses = part.marks = 0
        part.busy = part.marking = part.bursting = part.over = part.steered = 0
    part.members += mix(np.uint64(flow + 1))
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        sender = pair_of(net, pair).sender
        asked = sender.rate if has_bytes(net, pair) and sender.paced == 1 else probe_of(net, pair).rate
        if sender.heeds == 1:
            part.steered = 1
        first_path, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
        for path in range(first_path, first_path + paths):
            _see(net, part, path_of(net, path).item, asked / paths, probe_of(net, pair).rate / paths)
        if net.control != NONE:
            _see(net, part, pair_of(net, pair).reverse, 0.0, 0.0)


@inner
def _see(net: Net, part: Any, hop: int, asked: float, rate: float) -> None:
    """Add a path to its part, and each link's queues once."""
    shift, stamp = net.class_shift, 2 * net.looks + 1
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> shift
        claim = claim_of(net, link)
        if claim.look != stamp:
            claim.look = stamp
            for queue in range(link << shift, (link + 1) << shift):
                part.pauses += queue_of(net, queue).pauses
                part.marks += queue_of(net, queue).marks
                depth = queue_of(net, queue).bytes
                if net.marking == 1 and depth + 2 * net.mtu > link_of(net, link).kmin:
                    part.marking = 1
                    if depth > link_of(net, link).kmin + BURST * (link_of(net, link).kmax - link_of(net, link).kmin):
                        part.bursting = 1
                if is_near(net, link, queue):
                    part.busy = 1
        claim.load += asked
        claim.carried += rate
        if claim.load > link_of(net, link).kbps * (1 + ROUNDING) / 8e9:
            part.over = 1
        hop += 1


@inner
def is_near(net: Net, link: int, queue: int) -> bool:
    """Return whether a queue is paused, or what came by it lies near the threshold of a pause."""
    row = queue_of(net, queue)
    if row.paused == 1 or row.off == 1 or row.in_headroom > 0 or row.frames != row.applied:
        return True
    switch = link_of(net, link).to_switch
    return switch != NONE and row.in_bytes > 0 and is_much(net, switch, row.in_bytes, switch_of(net, switch).used)


@inner
def is_much(net: Net, switch: int, inside: float, used: float) -> bool:
    """Return whether so much that came by one link is near the threshold of a pause, so much of the buffer being in use."""
    shared = switch_of(net, switch).shared
    return used + net.mtu > net.near * shared or inside + net.mtu > net.near * off_threshold_at(net, max(shared - used, 0.0))
