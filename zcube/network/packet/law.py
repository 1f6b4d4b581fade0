"""Advancing a part by the law of its rates: its congestion control decides as ever, and its queues are levels.

From look to look every queue pair sends at its rate, its control is told of what it sends when it wants to be, and a queue in
front of a link rises by what comes to it beyond what the link takes. A queue's level marks as it would packet by packet: a
queue pair's next marked packet comes after a time drawn from the chance that a packet of its path is marked, and
notifications are as far apart as receivers send them. What passes a full link is shared in proportion to what comes.
"""

from __future__ import annotations

import math

from zcube.network.kernels import inner
from zcube.network.packet.control import tell_notified, tell_sent
from zcube.network.packet.law_marks import draw_mark, find_marked, next_out_ps, unmarked_at
from zcube.network.packet.notices import forget_first
from zcube.network.packet.past import carry_on, move_since, note_came, note_sent
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    listed_of,
    live_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    told_of,
)
from zcube.network.packet.state import NEVER, NONE, NOTICES, Net
from zcube.network.packet.turns import rate_of, share_ports
from zcube.network.packet.weighed import is_led, left_bytes, list_pairs


@inner
def advance_by_law(net: Net, now_ps: int) -> None:
    """Bring all parts that are advanced so up to the present, in steps of parts of a window."""
    before_ps = NEVER
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            before_ps = min(before_ps, part_of(net, flow_of(net, flow).part).skipped_ps)
    if before_ps >= now_ps:
        return
    list_pairs(net, 1)
    for step in range(net.steps):
        from_ps = before_ps + (now_ps - before_ps) * step // net.steps
        to_ps = before_ps + (now_ps - before_ps) * (step + 1) // net.steps
        if to_ps > from_ps:
            _step(net, from_ps, to_ps)
    net.now_ps = now_ps
    for at in range(net.active):
        flow = live_of(net, at).item
        if is_led(net, flow):
            part_of(net, flow_of(net, flow).part).skipped_ps = now_ps


@inner
def _step(net: Net, from_ps: int, to_ps: int) -> None:
    share_ports(net)
    for at in range(net.listed):
        pair = listed_of(net, at).item >> 1
        probe_of(net, pair).step = 0.0
        if listed_of(net, at).item & 1 == 1:
            _send(net, pair, from_ps, to_ps)
        note_sent(net, pair, probe_of(net, pair).step, from_ps, to_ps)
        first, paths = pair_of(net, pair).first_path, pair_of(net, pair).paths
        for path in range(first, first + paths):
            carry_on(net, pair, path, from_ps, to_ps)
    net.stamp -= 1
    for at in range(net.listed):
        pair = listed_of(net, at).item >> 1
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            _level(net, path_of(net, path).item, from_ps, to_ps)


@inner
def _send(net: Net, pair: int, from_ps: int, to_ps: int) -> None:
    """Let a queue pair send by its rate for a time, telling its control of it and of notifications."""
    probe, sender = probe_of(net, pair), pair_of(net, pair).sender
    left = left_bytes(net, pair)
    if left <= 0:
        return
    find_marked(net, pair, from_ps, to_ps)
    at_ps = from_ps
    while at_ps < to_ps:
        rate = rate_of(net, pair)
        due_ps, heard_ps = min(to_ps, max(told_of(net, pair * NOTICES).item, at_ps)), NEVER
        pace = rate
        if at_ps < probe.due_ps and probe.pace > 0:
            # When its next packet is sent was settled when it sent the last.
            pace, due_ps = probe.pace, min(due_ps, probe.due_ps)
        if sender.heeds == 1:
            # A control is told of what is sent when a packet is.
            heard_ps = at_ps + max(int((sender.heed_bytes - sender.sent_bytes) / rate), 0)
            heard_ps = next_due_ps(net, pair, rate, max(min(heard_ps, sender.heed_ps), at_ps))
            due_ps = min(due_ps, heard_ps)
        marked_ps = next_out_ps(net, pair, at_ps)
        due_ps = min(due_ps, marked_ps)
        probe.phase = (probe.phase + probe.leaving * (due_ps - at_ps)) % 1.0
        size = pace * (due_ps - at_ps)
        probe.step += size
        at_ps = net.now_ps = due_ps
        if sender.heeds == 1:
            sender.sent_bytes += int(size)
        if at_ps == marked_ps:
            draw_mark(net, pair, at_ps)
        elif at_ps == told_of(net, pair * NOTICES).item:
            forget_first(net, pair)
            probe.due_ps, probe.pace = next_due_ps(net, pair, rate, at_ps), pace
            tell_notified(net, pair)
        elif at_ps == heard_ps:
            tell_sent(net, pair, 0)
            probe.due_ps, probe.pace = at_ps + int(net.mtu / rate_of(net, pair)), 0.0
    if probe.step >= left:
        probe.done_ps = from_ps + int((to_ps - from_ps) * (left / probe.step))
        probe.step = left
    probe.sent += probe.step


@inner
def next_due_ps(net: Net, pair: int, rate: float, from_ps: int) -> int:
    """Return when a queue pair sends its first packet from a time on, at a rate it has had since the one before."""
    due_ps, gap_ps = probe_of(net, pair).due_ps, max(int(net.mtu / rate), 1)
    return due_ps if due_ps >= from_ps else due_ps + -(-(from_ps - due_ps) // gap_ps) * gap_ps


@inner
def _level(net: Net, hop: int, from_ps: int, to_ps: int) -> None:
    """Set the levels of the queues of a path, each once."""
    span_ps = to_ps - from_ps
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
        before, claim.backlog = claim.backlog, max(there - taken, 0.0)
        note_came(net, link, claim.came, from_ps, to_ps)
        claim.came = 0.0
        move_since(net, link, from_ps, to_ps, min(there, taken))
        claim.depth = depth = claim.backlog + (claim.backlog - before) / 2.0
        claim.unmarked = unmarked_at(net, link, depth)
