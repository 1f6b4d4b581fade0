"""Rates under lossless back-pressure by a fixed point over links, docs/lossless.md; Numba kernels over arrays.

A *port* of a link is what its queue is filled through: the link before it on some path, which a pause stops as a whole, or a
subflow that starts on the link, a queue pair of a NIC. A link shares what it may send max-min among its ports. One that is
paused brings only so much that its part for the slowest link behind it is that link's share; so all who use it are slowed
alike, up to the links on which subflows start, whose *levels* are what is solved for: rates per weight.
"""

from __future__ import annotations

import math

import numpy as np

from zcube.network.event_heap import heap_pop, heap_set
from zcube.network.fluid_state import MAX_MIN, FluidState
from zcube.network.kernels import inner
from zcube.network.max_min import set_free

#: Levels are good when none is asked to change by more than this part; otherwise the last ones of so many turns are taken.
LEVEL_TOLERANCE = 1e-3
MOST_TURNS = 60
#: Parts of a change asked for that are made: at first and at most, at least, and what they change by when changes go on in one
#: direction and when they turn.
MOST_STEP, LEAST_STEP, LONGER, SHORTER = 0.5, 0.02, 1.05, 0.7
#: Links that wait for each other in a ring would stand still for ever; so much of max-min rates is always kept, as if by the
#: watchdogs of switches, which drop what has stood too long.
LEAST_ISOLATION = 1e-4
#: Relative differences of shares below this are rounding.
SHARE_ROUNDING = 1e-12


@inner
def is_pressed(state: FluidState) -> bool:
    """Return whether links press back at all."""
    return state.settings[2] < MAX_MIN


@inner
def free_on(state: FluidState, link: int, frees: int) -> int:
    """Make every subflow on a link free; return how many are."""
    hop = state.links[link].first
    while hop >= 0:
        frees = set_free(state, state.hops[hop].subflow, frees)
        hop = state.hops[hop].next
    return frees


@inner
def free_reached(state: FluidState, frees: int) -> int:
    """Make free who shares links with a free subflow, and who shares links with these, and so on; return how many are."""
    at = 0
    while at < frees:
        subflow = state.free_subflow[at]
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            if state.links[link].free_left < state.links[link].subflows:
                frees = free_on(state, link, frees)
        at += 1
    return frees


@inner
def links_upstream(state: FluidState, frees: int) -> int:
    """List the links of the free subflows, those nearest to receivers first, of equals the lower number; return how many."""
    for at in range(frees):
        subflow = state.free_subflow[at]
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            state.pressed[state.hops[hop].link].hops_left = 0
    for at in range(frees):
        subflow = state.free_subflow[at]
        end = state.subflows[subflow].end_hop
        for hop in range(state.subflows[subflow].first_hop, end):
            link = state.hops[hop].link
            state.pressed[link].hops_left = max(state.pressed[link].hops_left, end - hop)
    for at in range(frees):
        subflow = state.free_subflow[at]
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            if state.level_place[link] < 0:
                key = float(state.pressed[link].hops_left)
                heap_set(state.level_heap, state.level_place, state.level_size, link, key)
    count = 0
    while state.level_size[0] > 0:
        state.upstream[count] = heap_pop(state.level_heap, state.level_place, state.level_size)
        count += 1
    return count


@inner
def port_weight(state: FluidState, port: int) -> float:
    """Return what a port claims: a link 1, a subflow (below 0) its weight."""
    return 1.0 if port >= 0 else state.subflows[-1 - port].weight


@inner
def find_ports(state: FluidState, link: int) -> tuple[int, bool]:
    """List a link's ports and what they ask for; return how many, and whether a subflow is among them.

    A subflow asks for its cap, another link for what comes over it.
    """
    ports, starts = 0, False
    hop = state.links[link].first
    while hop >= 0:
        subflow = state.hops[hop].subflow
        if state.subflows[subflow].new_rate_bps > 0.0:
            if hop == state.subflows[subflow].first_hop:
                state.cap_heap[ports].item, state.cap_heap[ports].key = -1 - subflow, state.subflows[subflow].cap_bps
                ports, starts = ports + 1, True
            else:
                before = state.hops[hop - 1].link
                if state.pressed[before].into_bps == 0.0:
                    state.cap_heap[ports].item = before
                    ports += 1
                state.pressed[before].into_bps += state.sent_bps[subflow]
        hop = state.hops[hop].next
    for port in range(ports):
        before = state.cap_heap[port].item
        if before >= 0:
            state.cap_heap[port].key = state.pressed[before].into_bps
            state.pressed[before].into_bps = 0.0
    return ports, starts


@inner
def share_of_ports(state: FluidState, ports: int, allowed_bps: float) -> float:
    """Return the rate per weight up to which a link serves the ports listed.

    Where all get what they ask for, it is what the one that asks for the most could have.
    """
    asked, weight, most = 0.0, 0.0, 0.0
    for port in range(ports):
        claims = port_weight(state, state.cap_heap[port].item)
        asked, weight, most = asked + state.cap_heap[port].key, weight + claims, max(most, state.cap_heap[port].key / claims)
    if asked <= allowed_bps:
        return most + allowed_bps - asked
    share = allowed_bps / weight
    while True:
        left, weight = allowed_bps, 0.0
        for port in range(ports):
            claims = port_weight(state, state.cap_heap[port].item)
            if state.cap_heap[port].key < share * claims:
                left -= state.cap_heap[port].key
            else:
                weight += claims
        if weight == 0.0:
            return most
        if left / weight <= share * (1.0 + SHARE_ROUNDING):
            return share
        share = left / weight


@inner
def send(state: FluidState, frees: int, links: int) -> None:
    """Let subflows send at the levels of the links that they start on, and add up what comes over links."""
    for at in range(links):
        state.pressed[state.upstream[at]].sent_bps = 0.0
    for at in range(frees):
        subflow = state.free_subflow[at]
        first, rate = state.subflows[subflow].first_hop, 0.0
        if state.subflows[subflow].new_rate_bps > 0.0:
            level_bps = state.pressed[state.hops[first].link].level_bps
            rate = min(state.subflows[subflow].cap_bps, state.subflows[subflow].weight * level_bps)
        state.sent_bps[subflow] = rate
        for hop in range(first, state.subflows[subflow].end_hop):
            state.pressed[state.hops[hop].link].sent_bps += rate


@inner
def press(state: FluidState, links: int, first_turn: bool) -> float:
    """Hand limits on from receivers to senders and move levels towards them; return the largest relative change asked for.

    In the first turn levels are set to what the links that subflows start on let them have.
    """
    worst = 0.0
    for at in range(links):
        link = state.upstream[at]
        ports, starts = find_ports(state, link)
        if ports == 0:
            continue
        allowed_bps = min(state.links[link].capacity_bps, state.pressed[link].limit_bps)
        # What links that come later in the order say holds for the next turn.
        state.pressed[link].limit_bps = np.inf
        share = share_of_ports(state, ports, allowed_bps)
        for port in range(ports):
            before = state.cap_heap[port].item
            if before >= 0 and not first_turn:
                limit_bps = share * state.pressed[before].sent_bps / state.cap_heap[port].key
                state.pressed[before].limit_bps = min(state.pressed[before].limit_bps, limit_bps)
        if starts and first_turn:
            state.pressed[link].level_bps = share
            state.pressed[link].gap, state.pressed[link].step = 0.0, MOST_STEP
        elif starts:
            gap = math.log(share / state.pressed[link].level_bps)
            worst = max(worst, abs(gap))
            turns = gap * state.pressed[link].gap < 0.0
            step = state.pressed[link].step * (SHORTER if turns else LONGER)
            step = max(LEAST_STEP, min(MOST_STEP, step))
            state.pressed[link].gap, state.pressed[link].step = gap, step
            state.pressed[link].level_bps *= math.exp(step * gap)
    return worst


@inner
def keep_within(state: FluidState, frees: int, links: int) -> None:
    """Slow down all that starts on a link alike until no link on their paths carries more than it can."""
    for at in range(links):
        state.pressed[state.upstream[at]].limit_bps = 1.0
    for at in range(frees):
        subflow = state.free_subflow[at]
        first = state.subflows[subflow].first_hop
        start = state.hops[first].link
        for hop in range(first, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            if state.sent_bps[subflow] > 0.0 and state.pressed[link].sent_bps > state.links[link].capacity_bps:
                part = state.links[link].capacity_bps / state.pressed[link].sent_bps
                state.pressed[start].limit_bps = min(state.pressed[start].limit_bps, part)
    for at in range(frees):
        subflow = state.free_subflow[at]
        start = state.hops[state.subflows[subflow].first_hop].link
        state.sent_bps[subflow] *= state.pressed[start].limit_bps


@inner
def press_back(state: FluidState, frees: int) -> None:
    """Change the max-min rates of free subflows, which are all that share links, to those under back-pressure.

    One without any rate, over a failed link, stays so and holds nobody up.
    """
    links = links_upstream(state, frees)
    for at in range(links):
        link = state.upstream[at]
        state.pressed[link].into_bps, state.pressed[link].limit_bps = 0.0, np.inf
        state.pressed[link].level_bps = state.links[link].capacity_bps
    send(state, frees, links)
    for turn in range(MOST_TURNS):
        worst = press(state, links, turn == 0)
        send(state, frees, links)
        if turn > 1 and worst < LEVEL_TOLERANCE:
            break
    keep_within(state, frees, links)
    isolation = max(state.settings[2], LEAST_ISOLATION)
    for at in range(frees):
        subflow = state.free_subflow[at]
        max_min_bps = state.subflows[subflow].new_rate_bps
        state.subflows[subflow].new_rate_bps = isolation * max_min_bps + (1.0 - isolation) * state.sent_bps[subflow]
