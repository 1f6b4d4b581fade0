"""Marks in parts that are advanced by the law of their rates: which packets of a queue pair leave a queue marked.

A queue's level marks as its depth does packet by packet. A queue pair's packets leave as far apart as it sent them, the next
one whose receiver would tell of a mark is drawn, and the notification arrives as long after as the way on to the receiver and
back to the sender takes.
"""

from __future__ import annotations

import math

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.notices import be_told
from zcube.network.packet.past import sent_between, stood_at, wait_at
from zcube.network.packet.records import claim_of, hop_of, link_of, pair_of, path_of, probe_of, told_of
from zcube.network.packet.state import NEVER, NONE, NOTICES, Net
from zcube.routing.hashing import ODD, mix

#: Logarithm of the chance that a packet stays unmarked which is as good as none.
SURE = -50.0
#: Draws from here on are of places among other packets, those before of marks.
PLACES = 1 << 32


@inner
def unmarked_at(net: Net, link: int, depth: float) -> float:
    """Return the logarithm of the chance that a packet is not marked by a queue of a depth in front of a link."""
    row = link_of(net, link)
    if net.marking == 0 or depth <= row.kmin:
        return 0.0
    chance = row.pmax * (depth - row.kmin) / (row.kmax - row.kmin)
    if depth >= row.kmax or chance >= 1.0:
        return SURE
    return max(net.mtu_payload // net.packet_payload * math.log(1.0 - chance), SURE)


@inner
def find_marked(net: Net, pair: int, from_ps: int, to_ps: int) -> None:
    """Find how many packets of a queue pair leave the last of their queues in a step, with what chance marked by any of them.

    While others come in the order in which they come, a queue pair finds queues by up to so many packets deeper or shallower
    than their level; that order changes with its rate.
    """
    probe = probe_of(net, pair)
    probe.leaving, probe.chance, probe.way_ps = 0.0, 0.0, 0
    marked, way = 0.0, 0.0
    beside = (2.0 * _drawn(net, pair, PLACES + pair_of(net, pair).sender.cuts) - 1.0) * net.jitter * net.mtu
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    for path in range(first, first + paths):
        hop = last = _last_queue(net, path_of(net, path).item)
        if last == NONE:
            continue
        link = hop_of(net, hop).item >> net.class_shift
        claim = claim_of(net, link)
        unmarked = unmarked_at(net, link, claim.depth + beside)
        # What leaves in the step came, and was sent, between two times.
        begin_ps = claim.since_ps
        end_ps = min(begin_ps + int(claim.passing * (to_ps - from_ps)), from_ps)
        came_ps = end_ps - begin_ps
        while hop > path_of(net, path).item:
            hop -= 1
            link = hop_of(net, hop).item >> net.class_shift
            begin_ps -= claim_of(net, link).way_ps
            end_ps -= claim_of(net, link).way_ps
            stood = stood_at(net, link, (begin_ps + end_ps) // 2, from_ps)
            unmarked += unmarked_at(net, link, stood + beside) if stood > 0 else 0.0
            begin_ps -= wait_at(net, link, begin_ps, from_ps)
            end_ps -= wait_at(net, link, end_ps, from_ps)
        if unmarked < 0 and came_ps > 0:
            rate = sent_between(net, pair, begin_ps, end_ps, from_ps) * (claim.passing / came_ps) / (net.mtu * paths)
            marked -= rate * unmarked
            way -= rate * unmarked * _onward_ps(net, last)
            probe.leaving += rate
    if marked > 0:
        probe.chance, probe.way_ps = 1.0 - math.exp(-marked / probe.leaving), int(way / marked)


@inner
def _last_queue(net: Net, hop: int) -> int:
    """Return the place in hops of the last link of a path before which anything stands, NONE if there is none."""
    found = NONE
    while hop_of(net, hop).item != NONE:
        if claim_of(net, hop_of(net, hop).item >> net.class_shift).backlog > 0:
            found = hop
        hop += 1
    return found


@inner
def _onward_ps(net: Net, hop: int) -> int:
    """Return what a packet takes to its host once it leaves the last of its queues, at a place in hops."""
    found = 0
    while hop_of(net, hop).item != NONE:
        found += claim_of(net, hop_of(net, hop).item >> net.class_shift).way_ps
        hop += 1
    return found


@inner
def next_out_ps(net: Net, pair: int, at_ps: int) -> int:
    """Return when the next packet of a queue pair leaves a queue that marks whose receiver would tell of a mark, or NEVER."""
    probe = probe_of(net, pair)
    if probe.leaving == 0.0 or told_of(net, pair * NOTICES + NOTICES - 1).item != NEVER:
        return NEVER
    ahead = 1.0 - probe.phase
    early_ps = pair_of(net, pair).notice_ps - probe.way_ps - at_ps
    if early_ps > 0:
        ahead += max(math.ceil(early_ps * probe.leaving - ahead), 0)
    return at_ps + max(int(min(ahead / probe.leaving, 1e17)), 1)


@inner
def draw_mark(net: Net, pair: int, at_ps: int) -> None:
    """Let a packet leave a queue, perhaps marked."""
    probe = probe_of(net, pair)
    probe.phase = 0.0
    probe.draws += 1
    if _drawn(net, pair, probe.draws) < probe.chance:
        pair_of(net, pair).notice_ps = at_ps + probe.way_ps + net.notice_ps
        be_told(net, pair, at_ps + probe.way_ps + pair_of(net, pair).reverse_ps)
        net.notices += 1


@inner
def _drawn(net: Net, pair: int, number: int) -> float:
    """Return a draw from the uniform distribution."""
    draw = mix(mix(net.seed + np.uint64(pair + 1) * ODD) + np.uint64(number) * ODD)
    return np.float64(draw >> np.uint64(11)) * (1.0 / 9007199254740992.0)
