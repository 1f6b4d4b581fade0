"""The max-min fair fluid, event to event, as Numba kernels over arrays.

A *pool* is an amount of bits drained by one subflow or more; a *subflow* crosses links and is one claimant of max-min
fairness on each of them. Between events all rates are constant. An event is a pool becoming active or running dry, or several
that tie; after it :mod:`zcube.network.max_min` gives new rates to those subflows whose rate it changes, and
:mod:`zcube.network.back_pressure`, where there is any, to all that share links directly or by others.

Pools whose rate stays keep their predicted finish, so no error builds up over events.
"""

from __future__ import annotations

import numpy as np

from zcube.network.back_pressure import free_on, free_reached, is_pressed, press_back
from zcube.network.event_heap import heap_pop, heap_set
from zcube.network.fluid_state import ACTIVE, DONE, NONE, SENT, UNBOUND, UNTOLD, FluidState, fluid_at
from zcube.network.kernels import inner, kernel
from zcube.network.max_min import free_bound_by, set_free, solve

#: Events this close together are one event: a picosecond, plus four units in the last place of the time.
TIE_S = 1e-12
TIE_RELATIVE = 1e-15
#: Of a rate that is a sum of shares.
RATE_ROUNDING = 1e-12


@inner
def next_change_s(state: FluidState) -> float:
    """Return when a pool next starts or runs dry; infinity when none will."""
    start_s = state.start_heap[0].key if state.start_size[0] > 0 else np.inf
    finish_s = state.finish_heap[0].key if state.finish_size[0] > 0 else np.inf
    return min(start_s, finish_s)


@inner
def next_arrival_s(state: FluidState) -> float:
    """Return when a transfer's last byte arrives next, of those whose last byte has left; infinity when there are none."""
    return state.arrival_heap[0].key if state.arrival_size[0] > 0 else np.inf


@inner
def carry(state: FluidState, link: int, bits: float, from_s: float, to_s: float) -> None:
    """Credit a link with bits carried evenly between two times, to its total and to its bins of time."""
    state.links[link].bits += bits
    bin_s = state.settings[1]
    if bin_s > 0.0 and to_s > from_s:
        links = len(state.links)
        bins = len(state.bin_bits) // links
        first = min(int(from_s / bin_s), bins - 1)
        last = min(int(to_s / bin_s), bins - 1)
        for at in range(first, last + 1):
            begin = max(from_s, at * bin_s)
            end = to_s if at == last else min(to_s, (at + 1) * bin_s)
            if end > begin:
                state.bin_bits[at * links + link] += bits * (end - begin) / (to_s - from_s)


@inner
def settle(state: FluidState, pool: int, now_s: float) -> None:
    """Move the bits a pool has sent since it was last settled from its remainder to its links."""
    from_s = state.pools[pool].settled_s
    elapsed_s = now_s - from_s
    if elapsed_s > 0.0:
        for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
            bits = state.subflows[subflow].rate_bps * elapsed_s
            state.pools[pool].remaining_bits -= bits
            if state.subflows[subflow].bound >= 0:
                state.hops[state.subflows[subflow].bound].bound_s += elapsed_s
            for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
                carry(state, state.hops[hop].link, bits, from_s, now_s)
        state.pools[pool].settled_s = now_s


@kernel
def settle_pools(fluid: np.ndarray, pools: np.ndarray, now_s: float) -> None:
    """Settle active pools of a frame's fluid, in the order given."""
    state = fluid_at(fluid)
    for pool in pools:
        settle(state, pool, now_s)


@inner
def note_bound(state: FluidState, pool: int) -> None:
    """Note the link that bounded a pool longest with its flow; of equal ones the last, whichever pool ends first."""
    flow, turn = state.pools[pool].flow, state.pools[pool].turn
    for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            bound_s, longest_s = state.hops[hop].bound_s, state.flows[flow].bound_s
            if bound_s > longest_s or (bound_s == longest_s and bound_s > 0.0 and turn >= state.flows[flow].bound_turn):
                state.flows[flow].bound_s = bound_s
                state.flows[flow].bound_link = state.hops[hop].link
                state.flows[flow].bound_turn = turn


@kernel
def note_bounds(fluid: np.ndarray) -> None:
    """Note for the flows of active pools of a frame's fluid what has bounded them up to their last change."""
    state = fluid_at(fluid)
    for pool in range(state.used[1]):
        if state.pools[pool].phase == ACTIVE:
            note_bound(state, pool)


@inner
def finish(state: FluidState, pool: int, now_s: float) -> None:
    """End a pool: its links get exactly what remained, its hops leave their links' lists, and its flow is told."""
    note_bound(state, pool)
    remaining = state.pools[pool].remaining_bits
    for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
        bits = remaining * (state.subflows[subflow].rate_bps / state.pools[pool].rate_bps)
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            state.links[link].bits += bits
            state.links[link].subflows -= 1
            state.links[link].load_bps -= state.subflows[subflow].rate_bps
            state.links[link].updates += 1
            if state.links[link].subflows == 0:
                state.links[link].load_bps = 0.0
            before, after = state.hops[hop].previous, state.hops[hop].next
            if before >= 0:
                state.hops[before].next = after
            else:
                state.links[link].first = after
            if after >= 0:
                state.hops[after].previous = before
        set_bound(state, subflow, UNBOUND)
        state.subflows[subflow].rate_bps = 0.0
    state.pools[pool].remaining_bits = 0.0
    state.pools[pool].rate_bps = 0.0
    state.pools[pool].phase = DONE
    flow = state.pools[pool].flow
    state.flows[flow].open_pools -= 1
    if state.flows[flow].open_pools == 0:
        arrival_s = now_s + state.pools[pool].latency_s
        state.flows[flow].finish_s = arrival_s
        group = state.pools[pool].group
        if group >= 0:
            state.groups[group].under_way -= 1
            arrival_s = max(arrival_s, state.groups[group].last_s)
            state.groups[group].last_s = arrival_s
            if state.groups[group].under_way > 0 or not state.groups[group].complete:
                return
        elif group == UNTOLD:
            return
        state.pools[pool].phase = SENT
        heap_set(state.arrival_heap, state.event_place, state.arrival_size, pool, arrival_s)


@inner
def set_bound(state: FluidState, subflow: int, bound: int) -> None:
    """Note which hop bounds a subflow, and count per link whom it bounds."""
    old = state.subflows[subflow].bound
    if old >= 0:
        state.links[state.hops[old].link].bound -= 1
    if bound >= 0:
        state.links[state.hops[bound].link].bound += 1
    state.subflows[subflow].bound = bound


@inner
def activate(state: FluidState, pool: int, now_s: float) -> None:
    """Put a pool's hops on their links' lists; its rate is set by the solve that follows."""
    state.pools[pool].phase = ACTIVE
    state.pools[pool].settled_s = now_s
    for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            after = state.links[link].first
            state.hops[hop].next = after
            state.hops[hop].previous = -1
            if after >= 0:
                state.hops[after].previous = hop
            state.links[link].first = hop
            state.links[link].subflows += 1
            if state.links[link].subflows > state.links[link].peak:
                state.links[link].peak = state.links[link].subflows


@inner
def free_around(state: FluidState, pool: int, frees: int) -> int:
    """Make free what a pool's coming or going changes first: itself if active, else whom its links bound.

    Under back-pressure, which one that bounds nobody shares out too, these are all on its links.
    """
    for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
        if state.pools[pool].phase == ACTIVE:
            frees = set_free(state, subflow, frees)
        else:
            for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
                link = state.hops[hop].link
                frees = free_on(state, link, frees) if is_pressed(state) else free_bound_by(state, link, frees)
    return frees


@inner
def new_rates(state: FluidState, frees: int) -> int:
    """Write new rates and bounds of the free subflows and of all that depend on them; return how many are free."""
    frees = solve(state, free_reached(state, frees) if is_pressed(state) else frees)
    if is_pressed(state):
        press_back(state, frees)
    return frees


@inner
def apply_rates(state: FluidState, frees: int, now_s: float) -> None:
    """Settle every pool whose rate or bound changes, take the new ones, and predict its finish again."""
    for at in range(frees):
        subflow = state.free_subflow[at]
        pool, bound = state.subflows[subflow].pool, state.subflows[subflow].new_bound
        rate, before = state.subflows[subflow].new_rate_bps, state.subflows[subflow].rate_bps
        if bound >= 0:
            state.links[state.hops[bound].link].bound_level_bps = rate / state.subflows[subflow].weight
        if rate != before or bound != state.subflows[subflow].bound:
            # With the rates of all its subflows up to now: the first of them that changes settles the pool.
            settle(state, pool, now_s)
            set_bound(state, subflow, bound)
        if rate == before and state.event_place[pool] >= 0:
            continue
        state.subflows[subflow].rate_bps = rate
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            link = state.hops[hop].link
            state.links[link].load_bps += rate - before
            state.links[link].updates += 1
        rate = 0.0
        for other in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
            rate += state.subflows[other].rate_bps
        state.pools[pool].rate_bps = rate
        left = max(state.pools[pool].remaining_bits, 0.0)
        until_s = now_s + left / rate if rate > 0.0 else np.inf
        heap_set(state.finish_heap, state.event_place, state.finish_size, pool, until_s)


@inner
def note_arrival(state: FluidState, group: int, arrival_s: float, soonest_s: float, noted: int) -> int:
    """Note with a complete group before when a transfer of it does not arrive while nothing is posted, and whatever is posted.

    Return how many groups are noted, which stand at the far end of ``arrived``.
    """
    if state.groups[group].arrival_s == 0.0:
        noted += 1
        state.arrived[len(state.arrived) - noted] = group
        state.groups[group].arrival_s = state.groups[group].soonest_s = state.groups[group].last_s
    state.groups[group].arrival_s = max(state.groups[group].arrival_s, arrival_s)
    state.groups[group].soonest_s = max(state.groups[group].soonest_s, soonest_s)
    return noted


@inner
def note_active(state: FluidState, at: int, group: int, change_s: float, now_s: float, noted: int) -> int:
    """Note with its group what is known of the arrival of the pool at a place of the heap of active ones.

    A transfer that has the rate it has alone gets no faster; one that shares links may, when another one starts or ends.
    """
    pool = state.finish_heap[at].item
    latency_s, rate_bps, alone_bps = state.pools[pool].latency_s, state.pools[pool].rate_bps, state.pools[pool].alone_bps
    arrival_s = state.finish_heap[at].key + latency_s
    if rate_bps >= alone_bps * (1.0 - RATE_ROUNDING):
        return note_arrival(state, group, arrival_s, arrival_s, noted)
    left = max(0.0, state.pools[pool].remaining_bits - rate_bps * (now_s - state.pools[pool].settled_s))
    soonest_s = now_s + left / alone_bps + latency_s
    return note_arrival(state, group, min(arrival_s, max(soonest_s, change_s + latency_s)), soonest_s, noted)


@inner
def waited_for(state: FluidState, pool: int) -> int:
    """Return the group of a pool's transfer if it is complete, else NONE."""
    group = state.pools[pool].group
    return group if group >= 0 and state.groups[group].complete else NONE


@inner
def next_group_s(state: FluidState, now_s: float) -> tuple[float, float]:
    """Return a time before which no complete group arrives as long as nothing is posted, and one that holds in any case."""
    arrival_s, soonest_s, noted = np.inf, np.inf, 0
    if state.used[4] == 0:
        return arrival_s, soonest_s
    change_s = next_change_s(state)
    for at in range(state.start_size[0]):
        first = state.start_heap[at].item
        group = waited_for(state, first)
        if group != NONE:
            for pool in range(first, first + state.pools[first].together):
                alone_s = state.flows[state.pools[pool].flow].size_bits / state.pools[pool].alone_bps
                arrives_s = state.start_heap[at].key + alone_s + state.pools[pool].latency_s
                noted = note_arrival(state, group, arrives_s, arrives_s, noted)
    for at in range(state.finish_size[0]):
        group = waited_for(state, state.finish_heap[at].item)
        if group != NONE:
            noted = note_active(state, at, group, change_s, now_s, noted)
    for at in range(state.arrival_size[0]):
        group = waited_for(state, state.arrival_heap[at].item)
        if group != NONE:
            last_s = state.arrival_heap[at].key
            noted = note_arrival(state, group, last_s, last_s, noted)
    for at in range(len(state.arrived) - noted, len(state.arrived)):
        group = state.arrived[at]
        arrival_s = min(arrival_s, state.groups[group].arrival_s)
        soonest_s = min(soonest_s, state.groups[group].soonest_s)
        state.groups[group].arrival_s = state.groups[group].soonest_s = 0.0
    return arrival_s, soonest_s


@inner
def change(state: FluidState, now_s: float, until_s: float) -> None:
    """Let all pools run dry and start whose time for it has come, and solve."""
    changed = state.changed
    state.stamp[0] += 1
    state.events[0] += 1
    # Ends come before starts, so that a link's peak does not depend on the numbers of the pools.
    finished = 0
    while state.finish_size[0] > 0 and state.finish_heap[0].key <= until_s:
        finish_s = state.finish_heap[0].key
        pool = heap_pop(state.finish_heap, state.event_place, state.finish_size)
        now_s = max(now_s, finish_s)
        settle(state, pool, finish_s)
        finish(state, pool, finish_s)
        changed[finished] = pool
        finished += 1
    # The first ones of those that start wait at the far end: they and the finished ones are together at most all pools.
    starting = len(changed)
    while state.start_size[0] > 0 and state.start_heap[0].key <= until_s:
        starting -= 1
        now_s = max(now_s, state.start_heap[0].key)
        changed[starting] = heap_pop(state.start_heap, state.event_place, state.start_size)
    state.clock_s[0] = now_s
    frees = 0
    for at in range(len(changed) - 1, starting - 1, -1):
        for pool in range(changed[at], changed[at] + state.pools[changed[at]].together):
            activate(state, pool, now_s)
    for at in range(len(changed) - 1, starting - 1, -1):
        for pool in range(changed[at], changed[at] + state.pools[changed[at]].together):
            frees = free_around(state, pool, frees)
    for at in range(finished):
        frees = free_around(state, changed[at], frees)
    apply_rates(state, new_rates(state, frees), now_s)


@inner
def let_arrive(state: FluidState, to_s: float) -> tuple[int, int]:
    """Let last bytes arrive up to a time; return how many transfers in no group and how many groups have arrived."""
    arrived, groups = 0, 0
    while next_arrival_s(state) <= to_s and state.arrival_size[0] > 0:
        pool = heap_pop(state.arrival_heap, state.event_place, state.arrival_size)
        state.pools[pool].phase = DONE
        group = state.pools[pool].group
        if group >= 0:
            state.groups[group].complete, state.groups[group].last_s = 0, 0.0
            state.used[4] -= 1
            state.arrived[groups] = group
            groups += 1
        else:
            state.changed[arrived] = state.pools[pool].flow
            arrived += 1
    return arrived, groups


@kernel
def advance(
    fluid: np.ndarray, to_s: float, most_events: int, before_s: float, unposted_s: float, read_s: float
) -> tuple[int, int, float, float, float, float, float]:
    """Process events up to a time.

    Parameters
    ----------
    fluid : int array
        Frame of the state, which is changed in place.
    to_s : float
        Events and arrivals later than this stay in the heaps.
    most_events : int
        Return after so many events, the rest still in the heap.
    before_s : float
        Return when the next event is at this time or later. Unlike ``to_s`` it does not part what ties.
    unposted_s : float
        Go on beyond ``to_s``, from one bound on the arrival of groups to the next, while none has arrived and the bound is
        before this time.
    read_s : float
        Return -1 in place of how many transfers arrived when the next event to be processed is later than this: rates up to
        then are the present ones. Called again with the time returned, it goes on as if it had not stopped.

    Returns
    -------
    tuple
        How many transfers in no group and how many groups arrived at last, whose numbers stand first in ``changed`` and
        ``arrived`` in order of arrival; up to when events were processed; when a pool next starts or runs dry; when the next
        transfer or group arrives of those whose last byte has left; and what :func:`next_group_s` returns.
    """
    state = fluid_at(fluid)
    while True:
        events_left = most_events
        while events_left > 0:
            events_left -= 1
            now_s = next_change_s(state)
            if now_s > to_s or now_s >= before_s:
                break
            if now_s > read_s:
                return -1, 0, to_s, now_s, next_arrival_s(state), 0.0, 0.0
            change(state, now_s, min(to_s, now_s + max(TIE_S + now_s * TIE_RELATIVE, state.settings[0])))
        arrived, groups = let_arrive(state, to_s)
        group_s, soonest_s = next_group_s(state, to_s)
        if groups or not to_s < group_s < unposted_s:
            break
        to_s = group_s
    return arrived, groups, to_s, next_change_s(state), next_arrival_s(state), group_s, soonest_s


@kernel
def change_capacity(
    fluid: np.ndarray, changed: np.ndarray, capacity_bps: np.ndarray, is_less: np.ndarray, now_s: float
) -> float:
    """Give links another capacity, less than before or not, and solve again; ``now_s`` is at or after the last event.

    Return when a pool next starts or runs dry.
    """
    state = fluid_at(fluid)
    state.stamp[0] += 1
    state.clock_s[0] = now_s
    frees = 0
    for at in range(len(changed)):
        state.links[changed[at]].capacity_bps = capacity_bps[at]
    for at in range(len(changed)):
        frees = free_bound_by(state, changed[at], frees)
        if is_less[at] or is_pressed(state):
            frees = free_on(state, changed[at], frees)
    apply_rates(state, new_rates(state, frees), now_s)
    return next_change_s(state)
