"""Flows that start in parts advanced by the law of their rates, and are advanced so from the first."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.engine import admit_flow
from zcube.network.packet.frozen import move_links, set_frozen
from zcube.network.packet.law import advance_by_law
from zcube.network.packet.notices import forget_all
from zcube.network.packet.past import remember_sent
from zcube.network.packet.records import (
    claim_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    packet_of,
    pair_of,
    part_of,
    path_of,
    probe_of,
    reached_of,
)
from zcube.network.packet.starts import pop_start
from zcube.network.packet.state import BY_LAW, MOVING, NEVER, NONE, Net


@inner
def join_by_law(net: Net, flow: int, now_ps: int) -> bool:
    """Let a flow start in the parts it meets, as one; False if it meets anything that is not advanced by law."""
    first = _met(net, flow)
    if first == NONE:
        return False
    advance_by_law(net, now_ps)
    net.now_ps = now_ps
    net.events += 1
    pop_start(net)
    admit_flow(net, flow)
    row = flow_of(net, flow)
    back_ps = now_ps - part_of(net, first).frozen_ps
    for pair in range(row.first_pair, row.end_pair):
        for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> net.class_shift
                part = claim_of(net, link).frozen
                if part == NONE:
                    # As if it had stood still as long as its part.
                    link_of(net, link).busy_ps -= back_ps
                    claim_of(net, link).carried = 0.0
                elif part != first:
                    _merge(net, part, first)
                hop += 1
            set_frozen(net, path_of(net, path).item, first)
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                # The rate of late that has just begun is a mean over the time before, in which it sent nothing.
                reached_of(net, hop).item = now_ps >> net.past_shift << net.past_shift
                hop += 1
    row.frozen, row.part = 1, first
    net.frozen += 1
    for pair in range(row.first_pair, row.end_pair):
        probe = probe_of(net, pair)
        probe.sent = probe.step = probe.pace = 0.0
        probe.due_ps, probe.done_ps = now_ps, 0
        forget_all(net, pair)
        nic = link_of(net, pair_of(net, pair).queue >> net.class_shift)
        remember_sent(net, pair, NEVER, 0.0)
        probe.rate = nic.kbps / 8e9 / nic.active
    return True


@inner
def _met(net: Net, flow: int) -> int:
    """Return a part advanced by law that a flow meets, NONE if it meets any flow that is advanced otherwise."""
    found = NONE
    if net.control != NONE:
        return NONE
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link = hop_of(net, hop).item >> net.class_shift
                part = claim_of(net, link).frozen
                if part == NONE:
                    if link_of(net, link).active > 0 or link_of(net, link).wakes == 1:
                        return NONE
                elif part_of(net, part).kind != BY_LAW:
                    return NONE
                else:
                    found = part
                hop += 1
    return found


@inner
def _merge(net: Net, part: int, into: int) -> None:
    """Let a part stand still as part of another."""
    shift_ps = part_of(net, into).frozen_ps - part_of(net, part).frozen_ps
    part_of(net, into).until_ps = min(part_of(net, into).until_ps, part_of(net, part).until_ps)
    for at in range(net.active):
        flow = live_of(net, at).item
        if flow_of(net, flow).frozen == 1 and flow_of(net, flow).part == part:
            flow_of(net, flow).part = into
            flow_of(net, flow).latest_ps += shift_ps
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                pair_of(net, pair).since_ps += shift_ps
                for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                    move_links(net, path_of(net, path).item, part, into, shift_ps)
    slot, last = part_of(net, part).held, NONE
    while slot != NONE:
        packet_of(net, slot).time_ps += shift_ps
        last, slot = slot, packet_of(net, slot).next
    if last != NONE:
        packet_of(net, last).next = part_of(net, into).held
        part_of(net, into).held = part_of(net, part).held
    part_of(net, part).held, part_of(net, part).kind = NONE, MOVING
