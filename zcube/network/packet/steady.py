"""Advancing by rate the parts of a packet network in which nothing is paused.

At looks, a window apart, flows are divided into parts (:mod:`zcube.network.packet.parts`). A part that has been as it is for
some windows, no flow having come or gone and no queue having been paused, stands still in the packet model and is advanced by
rate:

* *by whole periods* where nothing is marked, no link is asked for more than it has, and every queue pair sends as fast as its
  port takes packets. All of it then repeats after so many packets, and nothing is lost by leaving these out;
* *by the law of its rates* (:mod:`zcube.network.packet.law`) otherwise, if there is a control that holds queues down.

A part in which a queue is paused, or near the threshold of a pause, is never advanced by rate. A part thaws when a flow that
shares a link with it starts or a buffer of it comes near a threshold; one advanced by whole periods, before the first of its
flows ends.
"""

from __future__ import annotations

import numpy as np

from zcube.compile_cache import compiled
from zcube.network.kernels import inner
from zcube.network.linking import WholeCompiler
from zcube.network.packet import engine
from zcube.network.packet.calendar import no_event_filed
from zcube.network.packet.ended import end_by_law
from zcube.network.packet.frozen import freeze
from zcube.network.packet.joins import join_by_law
from zcube.network.packet.law import advance_by_law
from zcube.network.packet.parts import divide, first_of
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    net_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    start_of,
)
from zcube.network.packet.restored import has_room
from zcube.network.packet.state import (
    BY_LAW,
    MOVING,
    NEEDS_PACKETS,
    NEEDS_THAW,
    NEVER,
    NONE,
    PERIODIC,
    REACHED,
    Net,
)
from zcube.network.packet.thaw import thaw
from zcube.network.packet.tightness import count_standing, is_tight
from zcube.network.packet.weighed import has_bytes, is_led, left_bytes


@compiled(as_written=False, pipeline_class=WholeCompiler)
def advance(table: np.ndarray, to_ps: int, most_events: int) -> int:
    """Process events up to a time as :func:`zcube.network.packet.engine.advance` does, and advance what is steady by rate."""
    net = net_of(table)
    last = net.events + most_events
    while True:
        if net.waiting > 0:
            net.look_ps = min(net.look_ps, flow_of(net, start_of(net, 0).item).start_ps + net.window_ps)
        stop_ps = min(to_ps, net.look_ps)
        why = engine.advance(table, stop_ps, max(last - net.events, 1))
        if why == NEEDS_THAW:
            flow = start_of(net, 0).item
            if net.joining == 0 or not join_by_law(net, flow, flow_of(net, flow).start_ps):
                advance_by_law(net, flow_of(net, flow).start_ps)
                if not has_room(net):
                    return NEEDS_PACKETS
                thaw(net, net.in_way, flow_of(net, flow).start_ps)
            continue
        if why != REACHED or stop_ps < net.look_ps:
            return why
        if net.active == 0:
            net.look_ps = NEVER
            continue
        if net.frozen == 0 and net.waiting == 0 and net.current == NONE and no_event_filed(net):
            return REACHED
        advance_by_law(net, stop_ps)
        if not has_room(net):
            return NEEDS_PACKETS
        _look(net, stop_ps)


@inner
def _look(net: Net, now_ps: int) -> None:
    net.now_ps = now_ps
    net.looks += 1
    _thaw_due(net, now_ps)
    divide(net)
    _end_led(net, now_ps)
    if _judge(net, now_ps) and _measure(net, now_ps):
        freeze(net)
    net.look_ps = now_ps + net.window_ps
    if net.frozen == net.active:
        until_ps = NEVER
        for at in range(net.active):
            until_ps = min(until_ps, part_of(net, flow_of(net, live_of(net, at).item).part).until_ps)
        net.look_ps = max(net.look_ps, until_ps)


@inner
def _left(net: Net, flow: int) -> float:
    """Return the picoseconds until all of a flow has been sent, 0 if none of it is."""
    found, rates = 0.0, 0.0
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        rate = probe_of(net, pair).rate
        if net.pooled == 0 and rate > 0:
            found = max(found, left_bytes(net, pair) / rate)
        rates += rate
    if rates == 0.0:
        return 0.0
    return left_bytes(net, flow_of(net, flow).first_pair) / rates if net.pooled == 1 else found


@inner
def _end_led(net: Net, now_ps: int) -> None:
    """End the flows advanced by law that have sent all before the next look."""
    at = 0
    while at < net.active:
        flow = live_of(net, at).item
        at += 1
        if is_led(net, flow) and net.control == NONE:
            left_ps = _left(net, flow)
            if left_ps <= net.window_ps:
                last_ps = now_ps + int(left_ps) if left_ps > 0 else _done_ps(net, flow)
                end_by_law(net, flow, max(last_ps + _behind(net, flow), now_ps))
                net.now_ps = now_ps
                at -= 1


@inner
def _done_ps(net: Net, flow: int) -> int:
    """Return when a flow had sent all."""
    done_ps = 0
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        done_ps = max(done_ps, probe_of(net, pair).done_ps)
    return done_ps


@inner
def _behind(net: Net, flow: int) -> int:
    """Return what the last packet of a flow takes from its NIC port to its target, at the queues' levels."""
    found = 0
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            taken_ps = -link_of(net, hop_of(net, hop).item >> net.class_shift).full_ps
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> net.class_shift
                row = link_of(net, link)
                taken_ps += row.latency_ps + row.full_ps + int(claim_of(net, link).backlog / (row.kbps / 8e9))
                hop += 1
            found = max(found, taken_ps)
    return found


@inner
def _thaw_due(net: Net, now_ps: int) -> None:
    """Thaw parts whose time has come, and those in whose buffers it has become tight."""
    count_standing(net)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1:
            part = part_of(net, flow_of(net, flow).part)
            due = part.until_ps <= now_ps
            if part.kind == BY_LAW:
                # Where acknowledgements are packets, they have still to come back.
                due = net.control != NONE and _left(net, flow) <= net.kept * net.window_ps
                part.until_ps = now_ps + net.window_ps
            tight = is_tight(net, flow)
            if due or tight:
                thaw(net, flow_of(net, flow).part, now_ps)
                if tight:
                    part.look = NONE


@inner
def _judge(net: Net, now_ps: int) -> bool:
    """Decide how every part is advanced; return whether some are by rate that were not."""
    found = False
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 or first_of(net, flow) != flow:
            continue
        part = part_of(net, flow)
        part.age += 1
        part.calm += 1
        if part.marking == 1 or part.marks != part.marks_before:
            part.calm = 0
        if part.members != part.was or part.pauses != part.pauses_before or part.busy == 1:
            part.age = part.calm = 0
        part.marks_before, part.pauses_before = part.marks, part.pauses
        if net.acknowledging == 1 or net.on_expired != 0 or part.age < net.calm:
            continue
        if part.steered == 0 and part.over == 0 and part.calm >= net.calm:
            part.kind, part.period_ps, found = PERIODIC, 1, True
        elif part.bursting == 0 and (part.over == 0 or (net.marking == 1 and part.steered == 1)):
            part.kind, found = BY_LAW, True
    return found


@inner
def _measure(net: Net, now_ps: int) -> bool:
    """Find out how long the rates of parts hold that are to be advanced by rate; return whether some are."""
    for at in range(net.active):
        flow = live_of(net, at).item
        part = part_of(net, first_of(net, flow))
        if flow_of(net, flow).frozen == 0 and part.kind == PERIODIC:
            _find_period(net, flow, part)
    for at in range(net.active):
        flow = live_of(net, at).item
        first = first_of(net, flow)
        part = part_of(net, first)
        if flow_of(net, flow).frozen == 0 and part.kind != MOVING:
            flow_of(net, flow).part = first
            if part.frozen_ps != now_ps:
                part.frozen_ps = part.skipped_ps = now_ps
                part.held, part.until_ps = NONE, NEVER
            part.until_ps = min(part.until_ps, now_ps + max(int(_left(net, flow)) - net.kept * net.window_ps, 0))
    found = False
    for at in range(net.active):
        flow = live_of(net, at).item
        part = part_of(net, flow)
        if flow_of(net, flow).frozen == 0 and flow_of(net, flow).part == flow and part.kind != MOVING:
            if part.until_ps < now_ps + 2 * net.window_ps:
                part.kind = MOVING
                continue
            found = True
            net.skips += 1
            if part.kind == BY_LAW:
                part.until_ps = now_ps + net.window_ps
    return found


@inner
def _find_period(net: Net, flow: int, part: Net) -> None:
    """Let a part's period span whole packets of a flow's queue pairs."""
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        probe_of(net, pair).gap_ps = 0
        if has_bytes(net, pair):
            link = pair_of(net, pair).queue >> net.class_shift
            gap_ps = claim_of(net, link).free * link_of(net, link).full_ps
            probe_of(net, pair).gap_ps = gap_ps
            if pair_of(net, pair).sender.paced == 1:
                part.kind = BY_LAW
                return
            part.period_ps *= gap_ps // _gcd(part.period_ps, gap_ps)
            if part.period_ps > net.window_ps:
                part.kind = BY_LAW
                return


@inner
def _gcd(one: int, other: int) -> int:
    while other != 0:
        one, other = other, one % other
    return one
