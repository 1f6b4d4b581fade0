"""Advancing a part by the law of its rates: its congestion control decides as ever, and its queues are levels.

From look to look every queue pair sends at its rate, its control is told of what it sends when it wants to be, and a queue in
front of a link rises by what comes to it beyond what the link takes. A queue's level marks as it would packet by packet: a
queue pair's next marked packet comes after a time drawn from the chance that a packet of its path is marked, and
notifications are as far apart as receivers send them. What passes a full link is shared in proportion to what comes.
"""

from __future__ import annotations

import math

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.control import tell_notified, tell_sent
from zcube.network.packet.parts import has_bytes
from zcube.network.packet.records import claim_of, flow_of, hop_of, link_of, live_of, pair_of, part_of, path_of, probe_of
from zcube.network.packet.state import BY_LAW, NEVER, NONE, Net
from zcube.routing.hashing import ODD, mix

#: Logarithm of the chance that a packet stays unmarked which is as good as none.
SURE = -50.0
#: From a mark to its notification half a way forward and the way back, in halves.
WAY = 3


@inner
def advance_by_law(net: Net, now_ps: int) -> None:
    """Bring all parts that are advanced so up to the present, in steps of parts of a window."""
    before_ps = NEVER
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            before_ps = min(before_ps, part_of(net, flow_of(net, flow).part).skipped_ps)
    if before_ps == NEVER:
        return
    for step in range(net.steps):
        from_ps = before_ps + (now_ps - before_ps) * step // net.steps
        _step(net, from_ps, before_ps + (now_ps - before_ps) * (step + 1) // net.steps)
    net.now_ps = now_ps
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            part_of(net, flow_of(net, flow).part).skipped_ps = now_ps


@inner
def _step(net: Net, from_ps: int, to_ps: int) -> None:
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                _send(net, pair, from_ps, to_ps)
                first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
                for path in range(first, first + paths):
                    _carry(net, path_of(net, path).item, probe_of(net, pair).step / paths)
    net.stamp -= 1
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                first = pair_of(net, pair).first_path
                for path in range(first, first + pair_of(net, pair).paths):
                    _level(net, path_of(net, path).item, to_ps - from_ps)


@inner
def is_led(net: Net, flow: int) -> bool:
    """Return whether a flow is advanced by the law of its rates."""
    return flow_of(net, flow).frozen == 1 and part_of(net, flow_of(net, flow).part).kind == BY_LAW


@inner
def _send(net: Net, pair: int, from_ps: int, to_ps: int) -> None:
    """Let a queue pair send by its rate for a time, telling its control of it and of notifications."""
    probe, sender = probe_of(net, pair), pair_of(net, pair).sender
    probe.step = 0.0
    if not has_bytes(net, pair):
        return
    unmarked = _unmarked(net, pair)
    at_ps = from_ps
    while at_ps < to_ps:
        rate = sender.rate * probe.scale if sender.paced == 1 else probe.rate
        due_ps, marked_ps, heard_ps = min(to_ps, max(probe.told_ps, at_ps)), NEVER, NEVER
        if sender.heeds == 1:
            # A control is told of what is sent when a packet is.
            heard_ps = at_ps + max(int((sender.heed_bytes - sender.sent_bytes) / rate), 0)
            heard_ps = next_due_ps(net, pair, rate, max(min(heard_ps, sender.heed_ps), at_ps))
            due_ps = min(due_ps, heard_ps)
        if unmarked < 0 and probe.told_ps == NEVER:
            marked_ps = max(at_ps, pair_of(net, pair).notice_ps) + int(_drawn(net, pair) * net.mtu / (-unmarked * rate))
            due_ps = min(due_ps, marked_ps)
        size = rate * (due_ps - at_ps)
        probe.step += size
        at_ps = net.now_ps = due_ps
        if sender.heeds == 1:
            sender.sent_bytes += int(size)
        if at_ps == marked_ps:
            pair_of(net, pair).notice_ps = at_ps + net.notice_ps
            probe.told_ps = at_ps + pair_of(net, pair).reverse_ps * WAY // 2
            net.notices += 1
        elif at_ps == probe.told_ps:
            probe.told_ps = NEVER
            probe.due_ps = next_due_ps(net, pair, rate, at_ps)
            tell_notified(net, pair)
        elif at_ps == heard_ps:
            tell_sent(net, pair, 0)
            probe.due_ps = at_ps + int(net.mtu / sender.rate)
    probe.sent += probe.step


@inner
def next_due_ps(net: Net, pair: int, rate: float, from_ps: int) -> int:
    """Return when a queue pair sends its first packet from a time on, at a rate it has had since the one before."""
    due_ps, gap_ps = probe_of(net, pair).due_ps, max(int(net.mtu / rate), 1)
    return due_ps if due_ps >= from_ps else due_ps + -(-(from_ps - due_ps) // gap_ps) * gap_ps


@inner
def settle(net: Net, pair: int) -> None:
    """Take back of what a queue pair has sent what stands in queues beyond what stood there when its part froze.

    The packets of that moment are what is found there when the part thaws; what more there is is sent anew.
    """
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    for path in range(first, first + paths):
        size = probe_of(net, pair).step / paths
        hop = path_of(net, path).item
        while hop_of(net, hop).item != NONE:
            claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
            if claim.last > 0:
                probe_of(net, pair).sent -= (claim.backlog - claim.stood) * size / claim.last
            size *= claim.passing
            hop += 1


@inner
def _drawn(net: Net, pair: int) -> float:
    """Return a draw from the exponential distribution of mean 1."""
    draw = mix(net.seed + np.uint64(pair + 1) * ODD)
    draw = mix(draw + np.uint64(probe_of(net, pair).draws) * ODD)
    probe_of(net, pair).draws += 1
    return -math.log((np.float64(draw >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0))


@inner
def _unmarked(net: Net, pair: int) -> float:
    """Return the logarithm of the chance that what passes of a packet of a queue pair is not marked, mean over its paths."""
    found = 0.0
    first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
    for path in range(first, first + paths):
        hop = path_of(net, path).item
        passing = 1.0
        while hop_of(net, hop).item != NONE:
            claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
            passing *= claim.passing
            found += passing * claim.unmarked
            hop += 1
    return found / paths


@inner
def _carry(net: Net, hop: int, size: float) -> None:
    """Let bytes come to the links of a path."""
    while hop_of(net, hop).item != NONE:
        claim = claim_of(net, hop_of(net, hop).item >> net.class_shift)
        claim.came += size
        size *= claim.passing
        hop += 1


@inner
def _level(net: Net, hop: int, span_ps: int) -> None:
    """Set the levels of the queues of a path, each once."""
    while hop_of(net, hop).item != NONE:
        link = hop_of(net, hop).item >> net.class_shift
        claim, row = claim_of(net, link), link_of(net, link)
        hop += 1
        if claim.levelled == net.stamp or row.from_switch == NONE:
            continue
        claim.levelled = net.stamp
        taken = row.kbps / 8e9 * span_ps
        there = claim.backlog + claim.came
        claim.marks += (1.0 - math.exp(claim.unmarked)) * min(there, taken) / net.mtu
        claim.backlog = max(there - taken, 0.0)
        claim.passing = min(there, taken) / claim.came if claim.came > 0 else 1.0
        claim.last, claim.came = claim.came, 0.0
        claim.unmarked = 0.0
        if net.marking == 1 and claim.backlog > row.kmin:
            claim.unmarked = SURE
            if claim.backlog < row.kmax:
                packets = net.mtu_payload // net.packet_payload
                chance = row.pmax * (claim.backlog - row.kmin) / (row.kmax - row.kmin)
                claim.unmarked = max(packets * math.log(1.0 - chance), SURE) if chance < 1 else SURE
