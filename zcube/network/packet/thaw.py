"""Parts that move packet by packet again after they have been advanced by rate.

All that a part holds is moved on in time, its packets by as many numbers as have been sent meanwhile, and these are
counted as sent, carried and received. Queues hold what they would: where the law let them rise, packets are put into them, and
where it let them fall, their first packets arrive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.calendar import put
from zcube.network.packet.frozen import carry, move_links, move_number
from zcube.network.packet.law import next_due_ps
from zcube.network.packet.notices import notify_on
from zcube.network.packet.records import flow_of, live_of, packet_of, pair_of, part_of, path_of, probe_of
from zcube.network.packet.restored import lower, put_back, take_back
from zcube.network.packet.state import (
    ARRIVAL,
    BY_LAW,
    KEY_BITS,
    LARGEST_NUMBER,
    MOVING,
    NONE,
    PERIODIC,
    READY,
    Net,
)
from zcube.network.packet.turns import rate_of
from zcube.routing.hashing import mix


@inner
def thaw(net: Net, first: int, now_ps: int) -> None:
    """Let a part move packet by packet again."""
    part = part_of(net, first)
    shift_ps = now_ps - part.frozen_ps
    if part.kind == PERIODIC:
        shift_ps += -shift_ps % part.period_ps
    if part.kind == BY_LAW:
        for at in range(net.active):
            flow = live_of(net, at).item
            if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
                for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                    first_path = pair_of(net, pair).first_path
                    for path in range(first_path, first_path + pair_of(net, pair).paths):
                        lower(net, path_of(net, path).item, now_ps)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                if part.kind == PERIODIC:
                    gap_ps = probe_of(net, pair).gap_ps
                    probe_of(net, pair).sent = float(shift_ps // gap_ps * net.mtu) if gap_ps > 0 else 0.0
                elif part.kind == BY_LAW:
                    take_back(net, pair, now_ps)
                _move_pair(net, flow, pair, shift_ps)
            flow_of(net, flow).latest_ps += shift_ps
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == first:
            flow_of(net, flow).frozen = 0
            net.frozen -= 1
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                first_path = pair_of(net, pair).first_path
                for path in range(first_path, first_path + pair_of(net, pair).paths):
                    move_links(net, path_of(net, path).item, first, NONE, shift_ps)
                if net.control != NONE:
                    move_links(net, pair_of(net, pair).reverse, first, NONE, shift_ps)
    _release(net, part, shift_ps, now_ps)
    part.members = np.uint64(0)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).part == first:
            part.members += mix(np.uint64(flow + 1))
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                probe_of(net, pair).moved = 0
    law, part.held, part.kind = part.kind == BY_LAW, NONE, MOVING
    part.look = net.looks - 1
    net.now_ps = now_ps
    if law:
        put_back(net, first, now_ps)
        notify_on(net, first)


@inner
def _release(net: Net, part: Any, shift_ps: int, now_ps: int) -> None:
    """Put the events that a part holds into the calendar."""
    slot = part.held
    while slot != NONE:
        after, key = packet_of(net, slot).next, packet_of(net, slot).key
        kind, number = key >> KEY_BITS, key & LARGEST_NUMBER
        due_ps = packet_of(net, slot).time_ps + shift_ps
        if kind == ARRIVAL:
            move_number(net, slot)
        elif kind == READY and part.kind == BY_LAW:
            paced = pair_of(net, number).sender.paced == 1
            due_ps = next_due_ps(net, number, rate_of(net, number), now_ps) if paced else now_ps
        put(net, slot, due_ps, key)
        slot = after


@inner
def _move_pair(net: Net, flow: int, pair: int, shift_ps: int) -> None:
    """Count what a queue pair has sent as whole packets, and move its times."""
    probe, row = probe_of(net, pair), pair_of(net, pair)
    left = flow_of(net, flow).unsent if net.pooled == 1 else row.unsent
    moved = max(min(int(probe.sent / net.mtu), left // net.mtu_payload - 1), 0)
    probe.sent -= moved * net.mtu
    probe.moved = moved
    payload = moved * net.mtu_payload
    carry(net, pair, payload)
    if net.pooled == 1:
        flow_of(net, flow).unsent -= payload
    else:
        row.unsent -= payload
    flow_of(net, flow).delivering += payload
    flow_of(net, flow).received += payload
    row.since_ps += shift_ps
