"""Max-min fair rates, solved again only where something changed; Numba kernels over arrays.

Rates are max-min fair exactly if every subflow has a bottleneck: a saturated link on its path on which no subflow has a larger
rate per weight, or its own cap (Bertsekas and Gallager, Data Networks, 6.5.2). Progressive filling finds them in order of
level: the link with the smallest share fixes its subflows, and so on. An arrival or departure changes nothing below its own
level, so the filling starts there and goes through changed links only. Subflows that may change are *free*, all others keep
their rates. A link whose share has become the smallest

* frees the subflows it bounded before, if their level is no longer its share;
* frees the largest of the others, if they hold more than its share: they will be held to it;
* else fixes its free subflows at its share.

A subflow fixed below its former rate leaves room on its other links; whom such a link bounded becomes free when no other free
subflow takes the room. All that is freed lies above the level reached, so no subflow is fixed twice in a solve.
"""

from __future__ import annotations

import numpy as np

from zcube.network.event_heap import heap_pop, heap_set
from zcube.network.fluid_state import UNBOUND, FluidState
from zcube.network.kernels import inner

#: Relative differences of rates below this are rounding. The sum of a few thousand rates errs by 1e-13.
RATE_TOLERANCE = 1e-11
#: Changes of a link's load after which it is added up afresh.
MOST_UPDATES = 256


@inner
def add_up_load(state: FluidState, link: int) -> None:
    """Add the rates on a link up afresh, so that rounding of many small changes does not build up."""
    load = 0.0
    hop = state.links[link].first
    while hop >= 0:
        load += state.subflows[state.hops[hop].subflow].rate_bps
        hop = state.hops[hop].next
    state.links[link].load_bps = load
    state.links[link].updates = 0


@inner
def touch(state: FluidState, link: int) -> None:
    """Note what a link leaves its free subflows, of which it has none yet in the solve under way."""
    if state.links[link].stamp != state.stamp[0]:
        state.links[link].stamp = state.stamp[0]
        if state.links[link].updates > MOST_UPDATES:
            add_up_load(state, link)
        state.links[link].residual_bps = state.links[link].capacity_bps - state.links[link].load_bps
        state.links[link].unfixed = 0.0
        state.links[link].free_left = 0
        state.links[link].queued = 0
        state.links[link].holds = state.links[link].bound


@inner
def set_free(state: FluidState, subflow: int, frees: int) -> int:
    """Make a subflow free, unless it is, and give its rate back to its links; return how many are free."""
    if state.subflows[subflow].stamp != state.stamp[0]:
        state.subflows[subflow].stamp = state.stamp[0]
        state.subflows[subflow].new_rate_bps = -1.0
        state.free_subflow[frees] = subflow
        frees += 1
        rate, weight = state.subflows[subflow].rate_bps, state.subflows[subflow].weight
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            touch(state, link)
            state.links[link].residual_bps += rate
            state.links[link].unfixed += weight
            state.links[link].free_left += 1
        bound = state.subflows[subflow].bound
        if bound >= 0:
            state.links[state.hops[bound].link].holds -= 1
    return frees


@inner
def free_bound_by(state: FluidState, link: int, frees: int) -> int:
    """Make every subflow free that a link bounds."""
    touch(state, link)
    hop = state.links[link].first
    while hop >= 0 and state.links[link].holds > 0:
        after = state.hops[hop].next
        subflow = state.hops[hop].subflow
        if state.subflows[subflow].bound == hop:
            frees = set_free(state, subflow, frees)
        hop = after
    return frees


@inner
def free_largest(state: FluidState, link: int, frees: int) -> int:
    """Make the fixed subflows of a link free that hold the most per weight, if that is more than the link's share."""
    if state.links[link].free_left == state.links[link].subflows:
        return frees
    most = share_of(state, link) * (1.0 + RATE_TOLERANCE)
    largest = most
    hop = state.links[link].first
    while hop >= 0:
        subflow = state.hops[hop].subflow
        if state.subflows[subflow].stamp != state.stamp[0]:
            largest = max(largest, state.subflows[subflow].rate_bps / state.subflows[subflow].weight)
        hop = state.hops[hop].next
    if largest > most:
        least = largest * (1.0 - RATE_TOLERANCE)
        hop = state.links[link].first
        while hop >= 0:
            subflow = state.hops[hop].subflow
            fixed = state.subflows[subflow].stamp != state.stamp[0]
            if fixed and state.subflows[subflow].rate_bps >= least * state.subflows[subflow].weight:
                frees = set_free(state, subflow, frees)
            hop = state.hops[hop].next
    return frees


@inner
def share_of(state: FluidState, link: int) -> float:
    """Return the rate per weight at which a link's free subflows would fill it; none at all over one that has failed."""
    if state.links[link].capacity_bps == 0.0:
        # What rounding leaves of others' rates would be one.
        return 0.0
    return max(state.links[link].residual_bps, 0.0) / state.links[link].unfixed


@inner
def level_of(state: FluidState, link: int) -> float:
    """Return the level at which a link has to be looked at: its share, or that of whom it bounds if lower."""
    share = share_of(state, link)
    return min(share, state.links[link].bound_level_bps) if state.links[link].holds > 0 else share


@inner
def queue(state: FluidState, first: int, frees: int) -> None:
    """Put the links of subflows just freed into the order of levels, and their caps into that of caps."""
    for at in range(first, frees):
        subflow = state.free_subflow[at]
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            if state.links[link].queued == frees:
                continue
            state.links[link].queued = frees
            level = level_of(state, link)
            # A link's level may lag behind in the heap but never lead.
            place = state.level_place[link]
            if place < 0 or level < state.level_heap[place].key:
                heap_set(state.level_heap, state.level_place, state.level_size, link, level)
        if state.subflows[subflow].cap_bps < np.inf:
            cap = state.subflows[subflow].cap_bps / state.subflows[subflow].weight
            heap_set(state.cap_heap, state.cap_place, state.cap_size, subflow, cap)


@inner
def fix(state: FluidState, subflow: int, rate_bps: float, bound: int, frees: int) -> int:
    """Give a free subflow its rate, and free whom its other links bounded where room is left for good."""
    state.subflows[subflow].new_rate_bps = rate_bps
    state.subflows[subflow].new_bound = bound
    weight, first = state.subflows[subflow].weight, frees
    for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
        link = state.hops[hop].link
        state.links[link].residual_bps -= rate_bps
        state.links[link].unfixed -= weight
        state.links[link].free_left -= 1
    for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
        link = state.hops[hop].link
        has_room = state.links[link].residual_bps > RATE_TOLERANCE * state.links[link].capacity_bps
        if has_room and state.links[link].holds > 0 and state.links[link].free_left == 0:
            frees = free_bound_by(state, link, frees)
    queue(state, first, frees)
    return frees


@inner
def fix_capped(state: FluidState, level: float, frees: int) -> tuple[int, int]:
    """Fix the free subflow of smallest cap if that is not above a level; return how many were fixed and are free."""
    while state.cap_size[0] > 0:
        subflow = state.cap_heap[0].item
        if state.subflows[subflow].new_rate_bps < 0.0:
            if state.cap_heap[0].key > level:
                break
            heap_pop(state.cap_heap, state.cap_place, state.cap_size)
            return 1, fix(state, subflow, state.subflows[subflow].cap_bps, UNBOUND, frees)
        heap_pop(state.cap_heap, state.cap_place, state.cap_size)
    return 0, frees


@inner
def fill_link(state: FluidState, link: int, share: float, frees: int) -> tuple[int, int]:
    """Fix the free subflows of a link at its share; return how many were fixed and are free."""
    fixed = 0
    hop = state.links[link].first
    while hop >= 0 and state.links[link].free_left > 0:
        subflow = state.hops[hop].subflow
        if state.subflows[subflow].stamp == state.stamp[0] and state.subflows[subflow].new_rate_bps < 0.0:
            frees = fix(state, subflow, share * state.subflows[subflow].weight, hop, frees)
            fixed += 1
        hop = state.hops[hop].next
    return fixed, frees


@inner
def solve(state: FluidState, frees: int) -> int:
    """Write max-min rates and bounds of the free subflows and of all that depend on them; return how many are free."""
    queue(state, 0, frees)
    fixed = 0
    while fixed < frees:
        link = state.level_heap[0].item
        if state.links[link].free_left == 0:
            heap_pop(state.level_heap, state.level_place, state.level_size)
            continue
        level = level_of(state, link)
        if level > state.level_heap[0].key:
            heap_set(state.level_heap, state.level_place, state.level_size, link, level)
            continue
        if state.cap_size[0] > 0:
            more, frees = fix_capped(state, level, frees)
            fixed += more
            if more:
                continue
        before, share = frees, share_of(state, link)
        if state.links[link].holds > 0:
            if abs(share - state.links[link].bound_level_bps) > RATE_TOLERANCE * share:
                frees = free_bound_by(state, link, frees)
        else:
            frees = free_largest(state, link, frees)
        if frees > before:
            queue(state, before, frees)
            continue
        heap_pop(state.level_heap, state.level_place, state.level_size)
        more, frees = fill_link(state, link, share, frees)
        fixed += more
        if state.links[link].free_left > 0:
            heap_set(state.level_heap, state.level_place, state.level_size, link, level_of(state, link))
    for at in range(state.level_size[0]):
        state.level_place[state.level_heap[at].item] = -1
    for at in range(state.cap_size[0]):
        state.cap_place[state.cap_heap[at].item] = -1
    state.level_size[0] = state.cap_size[0] = 0
    return frees
