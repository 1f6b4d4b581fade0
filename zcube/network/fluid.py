"""The max-min fair fluid, event to event, as Numba kernels over arrays.

A *pool* is an amount of bits drained by one subflow or more; a *subflow* crosses links and is one claimant of max-min
fairness on each of them. Between events all rates are constant. An event is a pool becoming active or running dry, or several
that tie; after it :mod:`zcube.network.max_min` gives new rates to those subflows whose rate it changes.

Pools whose rate stays keep their predicted finish, so no error builds up over events.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from zcube.network.event_heap import heap_pop, heap_set
from zcube.network.fluid_state import ACTIVE, DONE, PENDING, UNBOUND, FluidState
from zcube.network.kernels import inner
from zcube.network.max_min import free_bound_by, set_free, solve

#: Events this close together are one event: a picosecond, plus four units in the last place of the time.
TIE_S = 1e-12
TIE_RELATIVE = 1e-15


@njit(cache=True)
def schedule(state: FluidState, first_pool: int, start_s: np.ndarray) -> None:
    """Put pools that follow each other into the event heap, each at its start."""
    for offset in range(len(start_s)):
        heap_set(state.event_heap, state.event_s, state.event_place, state.event_size, first_pool + offset, start_s[offset])


@njit(cache=True)
def close_flows(
    state: FluidState, done: np.ndarray, flow_of_pool: np.ndarray, open_pools: np.ndarray, finish_s: np.ndarray
) -> np.ndarray:
    """Return the flows whose last pool is among those done, in order, and note their finish."""
    closed = np.empty(len(done), dtype=np.int64)
    count = 0
    for pool in done:
        flow = flow_of_pool[pool]
        open_pools[flow] -= 1
        if open_pools[flow] == 0:
            finish_s[flow] = state.pools[pool].finish_s
            closed[count] = flow
            count += 1
    return closed[:count]


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


@njit(cache=True)
def settle_active(state: FluidState, pools: int, now_s: float) -> None:
    """Settle every active pool."""
    for pool in range(pools):
        if state.pools[pool].phase == ACTIVE:
            settle(state, pool, now_s)


@inner
def finish(state: FluidState, pool: int, now_s: float) -> None:
    """End a pool: its links get exactly what remained, and its hops leave their links' lists."""
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
    state.pools[pool].finish_s = now_s


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
def free_around(state: FluidState, pool: int, frees: int, links: int) -> tuple[int, int]:
    """Make free what a pool's coming or going may change first: itself if active, and whom its links bound."""
    active = state.pools[pool].phase == ACTIVE
    for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
        if active:
            frees, links = set_free(state, subflow, frees, links)
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            frees, links = free_bound_by(state, state.hops[hop].link, frees, links)
    return frees, links


@inner
def apply_rates(state: FluidState, frees: int, now_s: float) -> None:
    """Settle every pool whose rate or bound changes, take the new ones, and predict its finish again."""
    for at in range(frees):
        subflow = state.free_subflow[at]
        rate, bound = state.subflows[subflow].new_rate_bps, state.subflows[subflow].new_bound
        if rate != state.subflows[subflow].rate_bps or bound != state.subflows[subflow].bound:
            settle(state, state.subflows[subflow].pool, now_s)
            set_bound(state, subflow, bound)
        if bound >= 0:
            state.links[state.hops[bound].link].bound_level_bps = rate / state.subflows[subflow].weight
    for at in range(frees):
        subflow = state.free_subflow[at]
        pool = state.subflows[subflow].pool
        if state.subflows[subflow].new_rate_bps == state.subflows[subflow].rate_bps and state.event_place[pool] >= 0:
            continue
        change = state.subflows[subflow].new_rate_bps - state.subflows[subflow].rate_bps
        state.subflows[subflow].rate_bps = state.subflows[subflow].new_rate_bps
        for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
            state.links[state.hops[hop].link].load_bps += change
            state.links[state.hops[hop].link].updates += 1
        rate = 0.0
        for other in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
            rate += state.subflows[other].rate_bps
        state.pools[pool].rate_bps = rate
        left = max(state.pools[pool].remaining_bits, 0.0)
        until_s = now_s + left / rate if rate > 0.0 else np.inf
        heap_set(state.event_heap, state.event_s, state.event_place, state.event_size, pool, until_s)


@njit(cache=True)
def advance(state: FluidState, to_s: float, most_events: int, done: np.ndarray) -> int:
    """Process events up to a time.

    Parameters
    ----------
    state : FluidState
        Changed in place.
    to_s : float
        Events later than this stay in the heap.
    most_events : int
        Return after so many events, the rest still in the heap.
    done : int array [at least as long as the event heap]
        Receives the pools that ran dry, in order; the rest is scratch.

    Returns
    -------
    int
        How many pools ran dry.
    """
    finished = 0
    last_event = state.events[0] + most_events
    while state.event_size[0] > 0 and state.events[0] < last_event:
        now_s = state.event_s[state.event_heap[0]]
        if now_s > to_s or now_s == np.inf:
            break
        until_s = min(to_s, now_s + max(TIE_S + now_s * TIE_RELATIVE, state.settings[0]))
        state.stamp[0] += 1
        state.events[0] += 1
        # Ends come before starts, so that a link's peak does not depend on the numbers of the pools. The pools that start
        # wait at the far end of ``done``: they and the finished ones are together at most all pools.
        starting, first_finished = len(done), finished
        while state.event_size[0] > 0 and state.event_s[state.event_heap[0]] <= until_s:
            now_s = state.event_s[state.event_heap[0]]
            pool = heap_pop(state.event_heap, state.event_s, state.event_place, state.event_size)
            if state.pools[pool].phase == PENDING:
                starting -= 1
                done[starting] = pool
            else:
                settle(state, pool, now_s)
                finish(state, pool, now_s)
                done[finished] = pool
                finished += 1
        state.clock_s[0] = now_s
        frees, links = 0, 0
        for at in range(len(done) - 1, starting - 1, -1):
            activate(state, done[at], now_s)
        for at in range(len(done) - 1, starting - 1, -1):
            frees, links = free_around(state, done[at], frees, links)
        for at in range(first_finished, finished):
            frees, links = free_around(state, done[at], frees, links)
        apply_rates(state, solve(state, frees, links), now_s)
    return finished


@njit(cache=True)
def change_capacity(state: FluidState, changed: np.ndarray, capacity_bps: np.ndarray, now_s: float) -> None:
    """Give links another capacity from a time on, and solve again; ``now_s`` is at or after the last event."""
    state.stamp[0] += 1
    state.clock_s[0] = now_s
    frees, links = 0, 0
    for at in range(len(changed)):
        link = changed[at]
        smaller = capacity_bps[at] < state.links[link].capacity_bps
        state.links[link].capacity_bps = capacity_bps[at]
        frees, links = free_bound_by(state, link, frees, links)
        if smaller:
            hop = state.links[link].first
            while hop >= 0:
                frees, links = set_free(state, state.hops[hop].subflow, frees, links)
                hop = state.hops[hop].next
    apply_rates(state, solve(state, frees, links), now_s)
