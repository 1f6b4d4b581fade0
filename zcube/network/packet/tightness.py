"""Whether buffers come near a pause while parts are advanced by rate.

What stands in front of a link has come by several others, and each of these has a threshold of its own in the switch. What of
it came by which is known from the rates of late, as queues are first in, first out.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.parts import is_much, is_near
from zcube.network.packet.past import came_between, is_forgotten, on_its_way
from zcube.network.packet.records import claim_of, flow_of, hop_of, link_of, listed_of, pair_of, path_of, switch_of
from zcube.network.packet.state import NONE, Net
from zcube.network.packet.weighed import is_led, list_pairs

#: What is done for every path before the next is for any.
CLEAR, SUM, COUNT = range(3)


@inner
def count_standing(net: Net) -> None:
    """Count what stands in switches in parts that are advanced by the law of their rates, and by which links it came."""
    list_pairs(net, 1)
    net.stamp -= 1
    for what in range(CLEAR, COUNT + 1):
        for at in range(net.listed):
            pair = listed_of(net, at).item >> 1
            first = pair_of(net, pair).first_path
            for path in range(first, first + pair_of(net, pair).paths):
                if what == CLEAR:
                    _clear(net, path_of(net, path).item)
                elif what == SUM:
                    _sum_up(net, path_of(net, path).item)
                else:
                    _count(net, pair, path)


@inner
def _clear(net: Net, hop: int) -> None:
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim_of(net, link).inside = _ended(net, link)
        if link_of(net, link).from_switch != NONE:
            switch = switch_of(net, link_of(net, link).from_switch)
            switch.standing, switch.filled = 0.0, float(switch.used)
        hop += 1


@inner
def _sum_up(net: Net, hop: int) -> None:
    """Add what stands in front of the links of a path to their switches, each link once."""
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim = claim_of(net, link)
        if claim.levelled != net.stamp and link_of(net, link).from_switch != NONE:
            claim.levelled = net.stamp
            switch = switch_of(net, link_of(net, link).from_switch)
            switch.standing += claim.backlog
            switch.filled += claim.backlog - claim.stood
        hop += 1


@inner
def _count(net: Net, pair: int, path: int) -> None:
    """Count what of a queue pair stands in switches by the links of a path, where all in the switch is near a threshold."""
    hop = path_of(net, path).item + 1
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        came = hop_of(net, hop - 1).item >> net.class_shift
        switch = link_of(net, came).to_switch
        if claim.backlog > 0 and switch != NONE and _is_much(net, switch, switch_of(net, switch).standing):
            since_ps = claim.since_ps
            claim_of(net, came).inside += came_between(net, pair, path, hop, since_ps, net.now_ps, net.now_ps)
        hop += 1


@inner
def leave_behind(net: Net, pair: int, left: float) -> None:
    """Let so many bytes that a queue pair has still to send as its flow ends, and those on their way, come to full queues.

    They come at once, to the first queue of each path in which packets stand; in an empty one, a burst of them would stand
    that comes in time.
    What stands in switches is kept in mind by the links by which it came.
    """
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    for path in range(first, first + paths):
        hop, has_come = path_of(net, path).item + 1, False
        while hop_of(net, hop).item != NONE:
            link = hop_of(net, hop).item >> net.class_shift
            claim, before = claim_of(net, link), claim_of(net, hop_of(net, hop - 1).item >> net.class_shift)
            if claim.backlog > 0:
                size = came_between(net, pair, path, hop, claim.since_ps, net.now_ps, net.now_ps)
                if not has_come:
                    rest = left / paths + on_its_way(net, pair, hop, net.now_ps)
                    claim.came += rest
                    size += rest
                    has_come = True
                drained_ps = net.now_ps + int((claim.backlog + claim.came) / (link_of(net, link).kbps / 8e9))
                before.ended = _ended(net, hop_of(net, hop - 1).item >> net.class_shift) + size
                before.ended_ps, before.drained_ps = net.now_ps, max(before.drained_ps, drained_ps)
            hop += 1


@inner
def _ended(net: Net, link: int) -> float:
    """Return what of flows that have ended came by a link and still stands, as if it left evenly until all has."""
    claim = claim_of(net, link)
    if claim.ended == 0.0 or net.now_ps >= claim.drained_ps:
        return 0.0
    return claim.ended * ((claim.drained_ps - net.now_ps) / (claim.drained_ps - claim.ended_ps))


@inner
def _is_much(net: Net, switch: int, inside: float) -> bool:
    """Return whether so much that came by one link is near the threshold of a pause, were all to move packet by packet."""
    return is_much(net, switch, inside, switch_of(net, switch).filled)


@inner
def is_tight(net: Net, flow: int) -> bool:
    """Return whether a buffer on the paths of a flow advanced by rate is near a pause, or holds what came too long ago."""
    led = is_led(net, flow)
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> net.class_shift
                if not led:
                    if is_near(net, link, hop_of(net, hop).item):
                        return True
                elif _is_filled(net, link) or is_forgotten(net, link):
                    return True
                hop += 1
    return False


@inner
def _is_filled(net: Net, link: int) -> bool:
    """Return whether what came by a link lies near the threshold of a pause."""
    switch, inside = link_of(net, link).to_switch, claim_of(net, link).inside
    return switch != NONE and inside > 0 and _is_much(net, switch, inside)
