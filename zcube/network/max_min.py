"""Max-min fair rates, solved again only where something changed; Numba kernels over arrays.

Rates are max-min fair exactly if every subflow has a bottleneck: a saturated link on its path on which no subflow has a larger
rate per weight, or its own cap (Bertsekas and Gallager, Data Networks, 6.5.2). After an arrival or departure the subflows that
may change are *free*, all others keep their rates. Free ones are filled progressively into what the others leave. Then every
subflow on a touched link is tried against the condition; those that fail become free too, and the filling is repeated. It ends
with rates that satisfy the condition everywhere, hence with the max-min rates, and mostly after a few subflows.
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
def touch(state: FluidState, link: int, links: int) -> int:
    """Note a link as touched by the solve under way; return how many are."""
    if state.links[link].stamp != state.stamp[0]:
        state.links[link].stamp = state.stamp[0]
        state.touched_link[links] = link
        links += 1
    return links


@inner
def set_free(state: FluidState, subflow: int, frees: int, links: int) -> tuple[int, int]:
    """Make a subflow free and touch its links; return the counts of both."""
    if state.subflows[subflow].stamp != state.stamp[0]:
        state.subflows[subflow].stamp = state.stamp[0]
        state.free_subflow[frees] = subflow
        frees += 1
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            links = touch(state, state.hops[hop].link, links)
    return frees, links


@inner
def free_bound_by(state: FluidState, link: int, frees: int, links: int) -> tuple[int, int]:
    """Make every subflow free that a link bounds."""
    if state.links[link].bound > 0:
        hop = state.links[link].first
        while hop >= 0:
            subflow = state.hops[hop].subflow
            bound = state.subflows[subflow].bound
            if bound >= 0 and state.hops[bound].link == link:
                frees, links = set_free(state, subflow, frees, links)
            hop = state.hops[hop].next
    return frees, links


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
def measure(state: FluidState, frees: int, links: int) -> None:
    """Find what fixed subflows leave of every touched link, list its free hops, and queue the links by fair share."""
    for at in range(links):
        link = state.touched_link[at]
        if state.links[link].updates > MOST_UPDATES:
            add_up_load(state, link)
        state.links[link].residual_bps = state.links[link].capacity_bps - state.links[link].load_bps
        state.links[link].unfixed, state.links[link].level_bps = 0.0, np.inf
        state.links[link].free_count = state.links[link].free_bound = state.links[link].free_left = 0
    for at in range(frees):
        subflow = state.free_subflow[at]
        state.subflows[subflow].new_rate_bps = -1.0
        rate, weight = state.subflows[subflow].rate_bps, state.subflows[subflow].weight
        if state.subflows[subflow].bound >= 0:
            state.links[state.hops[state.subflows[subflow].bound].link].free_bound += 1
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            state.links[link].residual_bps += rate
            state.links[link].unfixed += weight
            state.links[link].free_count += 1
    state.share_size[0] = 0
    first = 0
    for at in range(links):
        link = state.touched_link[at]
        state.links[link].free_first = first
        first += state.links[link].free_count
        if state.links[link].free_count > 0:
            share = max(state.links[link].residual_bps, 0.0) / state.links[link].unfixed
            heap_set(state.share_heap, state.share_bps, state.share_place, state.share_size, link, share)
    for at in range(frees):
        subflow = state.free_subflow[at]
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            state.free_hop[state.links[link].free_first + state.links[link].free_left] = hop
            state.links[link].free_left += 1


@inner
def fix(state: FluidState, subflow: int, rate_bps: float, bound: int) -> None:
    """Give a free subflow its rate and take it off the links it crosses."""
    state.subflows[subflow].new_rate_bps = rate_bps
    state.subflows[subflow].new_bound = bound
    weight = state.subflows[subflow].weight
    for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
        link = state.hops[hop].link
        state.links[link].residual_bps -= rate_bps
        state.links[link].unfixed -= weight
        state.links[link].free_left -= 1


@inner
def cap_order(state: FluidState, frees: int) -> np.ndarray:
    """Return the free subflows that have a cap, by cap per weight."""
    capped = np.empty(frees, dtype=np.int64)
    count = 0
    for at in range(frees):
        if state.subflows[state.free_subflow[at]].cap_bps < np.inf:
            capped[count] = state.free_subflow[at]
            count += 1
    # The event heap's kernels sort as well, and are compiled already.
    heap, place = np.empty(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    key, size = np.empty(count), np.zeros(1, dtype=np.int64)
    for at in range(count):
        subflow = capped[at]
        heap_set(heap, key, place, size, at, state.subflows[subflow].cap_bps / state.subflows[subflow].weight)
    ordered = np.empty(count, dtype=np.int64)
    for at in range(count):
        ordered[at] = capped[heap_pop(heap, key, place, size)]
    return ordered


@inner
def fill(state: FluidState, frees: int) -> None:
    """Fill the free subflows progressively: the smallest share among links and caps fixes its subflows, and so on."""
    capped = cap_order(state, frees)
    next_cap, left = 0, frees
    while left > 0 and state.share_size[0] > 0:
        link = state.share_heap[0]
        if state.links[link].free_left == 0:
            heap_pop(state.share_heap, state.share_bps, state.share_place, state.share_size)
            continue
        # A share only grows as others are fixed below it, so a key may lag behind but never lead.
        share = max(state.links[link].residual_bps, 0.0) / state.links[link].unfixed
        if share > state.share_bps[link]:
            heap_set(state.share_heap, state.share_bps, state.share_place, state.share_size, link, share)
            continue
        if next_cap < len(capped):
            subflow = capped[next_cap]
            if state.subflows[subflow].new_rate_bps >= 0.0:
                next_cap += 1
                continue
            if state.subflows[subflow].cap_bps <= share * state.subflows[subflow].weight:
                fix(state, subflow, state.subflows[subflow].cap_bps, UNBOUND)
                next_cap += 1
                left -= 1
                continue
        heap_pop(state.share_heap, state.share_bps, state.share_place, state.share_size)
        state.links[link].level_bps = share
        for at in range(state.links[link].free_first, state.links[link].free_first + state.links[link].free_count):
            hop = state.free_hop[at]
            subflow = state.hops[hop].subflow
            if state.subflows[subflow].new_rate_bps < 0.0:
                fix(state, subflow, share * state.subflows[subflow].weight, hop)
                left -= 1
    for at in range(state.share_size[0]):
        state.share_place[state.share_heap[at]] = -1
    state.share_size[0] = 0


@inner
def largest_free(state: FluidState, link: int) -> float:
    """Return the largest new rate per weight among a link's free subflows."""
    largest = 0.0
    for at in range(state.links[link].free_first, state.links[link].free_first + state.links[link].free_count):
        subflow = state.hops[state.free_hop[at]].subflow
        largest = max(largest, state.subflows[subflow].new_rate_bps / state.subflows[subflow].weight)
    return largest


@inner
def free_on_link(state: FluidState, link: int, lost: bool, frees: int, links: int) -> tuple[int, int]:
    """Make fixed subflows of a link free: whom it bounds if that is lost, and who holds more than the link's new level."""
    most = state.links[link].level_bps * (1.0 + RATE_TOLERANCE)
    hop = state.links[link].first
    while hop >= 0:
        subflow = state.hops[hop].subflow
        if state.subflows[subflow].stamp != state.stamp[0]:
            bound = state.subflows[subflow].bound
            here = bound >= 0 and state.hops[bound].link == link
            if (lost and here) or state.subflows[subflow].rate_bps > most * state.subflows[subflow].weight:
                frees, links = set_free(state, subflow, frees, links)
        hop = state.hops[hop].next
    return frees, links


@inner
def free_violators(state: FluidState, frees: int, links: int) -> tuple[int, int]:
    """Make those fixed subflows on touched links free that have lost their bottleneck or hold more than a fair share.

    Before the event every link that bounded somebody had no larger rate per weight than its level, so a link is gone through
    only if that level tells that somebody on it fails.
    """
    for at in range(links):
        link = state.touched_link[at]
        if state.links[link].subflows == state.links[link].free_count:
            continue
        level, before = state.links[link].level_bps, state.links[link].bound_level_bps
        if state.links[link].bound > state.links[link].free_bound:
            lost = state.links[link].residual_bps > RATE_TOLERANCE * state.links[link].capacity_bps
            lost = lost or largest_free(state, link) > before * (1.0 + RATE_TOLERANCE)
            if lost or before > level * (1.0 + RATE_TOLERANCE):
                frees, links = free_on_link(state, link, lost, frees, links)
        elif level < np.inf and (state.links[link].bound == 0 or before > level * (1.0 + RATE_TOLERANCE)):
            frees, links = free_on_link(state, link, False, frees, links)
    return frees, links


@inner
def solve(state: FluidState, frees: int, links: int) -> int:
    """Write max-min rates and bounds of the free subflows and of all that depend on them; return how many are free."""
    while frees > 0:
        measure(state, frees, links)
        fill(state, frees)
        before = frees
        frees, links = free_violators(state, frees, links)
        if frees == before:
            break
    return frees
