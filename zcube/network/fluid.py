"""The max-min fair fluid, event to event, as Numba kernels over arrays.

A *pool* is an amount of bits drained by one subflow or more; a *subflow* crosses links and is one claimant of max-min
fairness on each of them. Between events all rates are constant. An event is a pool becoming active or running dry; after it
only the rates of the connected component of subflows and links that it touches are solved again, by progressive filling
(Bertsekas and Gallager, Data Networks, 6.5.2): the link with the smallest fair share fixes its subflows, and so on.

Pools whose bits are not touched keep their predicted finish, so no error builds up over events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from zcube.network.event_heap import heap_pop, heap_set

PENDING, ACTIVE, DONE = 0, 1, 2

#: Events this close together are one event: a picosecond, plus four units in the last place of the time.
TIE_S = 1e-12
TIE_RELATIVE = 1e-15


class FluidState(NamedTuple):
    """Everything the kernels read and write. Sizes: L links, H hops, S subflows, P pools."""

    capacity_bps: np.ndarray  # f8[L]
    link_first: np.ndarray  # i8[L] first hop of the link's list of active hops, -1 if none
    link_subflows: np.ndarray  # i8[L] active subflows
    link_peak: np.ndarray  # i8[L] most subflows ever active together
    link_bits: np.ndarray  # f8[L] bits carried
    hop_link: np.ndarray  # i8[H]
    hop_subflow: np.ndarray  # i8[H]
    hop_next: np.ndarray  # i8[H]
    hop_previous: np.ndarray  # i8[H]
    subflow_first_hop: np.ndarray  # i8[S+1]
    subflow_pool: np.ndarray  # i8[S]
    subflow_rate_bps: np.ndarray  # f8[S]
    pool_first_subflow: np.ndarray  # i8[P+1]
    pool_remaining_bits: np.ndarray  # f8[P]
    pool_rate_bps: np.ndarray  # f8[P]
    pool_settled_s: np.ndarray  # f8[P] time up to which remaining_bits is true
    pool_finish_s: np.ndarray  # f8[P] nan until done
    pool_phase: np.ndarray  # i1[P]
    event_s: np.ndarray  # f8[P] key of the event heap: start or predicted finish
    event_heap: np.ndarray  # i8[P]
    event_place: np.ndarray  # i8[P]
    event_size: np.ndarray  # i8[1]
    residual_bps: np.ndarray  # f8[L] scratch of one solve
    unfixed: np.ndarray  # i8[L] scratch
    share_bps: np.ndarray  # f8[L] scratch: key of the heap of links
    share_heap: np.ndarray  # i8[L] scratch
    share_place: np.ndarray  # i8[L] scratch
    share_size: np.ndarray  # i8[1] scratch
    new_rate_bps: np.ndarray  # f8[S] scratch
    link_stamp: np.ndarray  # i8[L] solve in which the link was last seen
    subflow_stamp: np.ndarray  # i8[S]
    stamp: np.ndarray  # i8[1]
    clock_s: np.ndarray  # f8[1] time of the last event
    component_link: np.ndarray  # i8[L] scratch
    component_subflow: np.ndarray  # i8[S] scratch


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
            finish_s[flow] = state.pool_finish_s[pool]
            closed[count] = flow
            count += 1
    return closed[:count]


@njit(cache=True)
def settle(state: FluidState, pool: int, now_s: float) -> None:
    """Move the bits a pool has sent since it was last settled from its remainder to its links."""
    elapsed_s = now_s - state.pool_settled_s[pool]
    if elapsed_s > 0.0:
        for subflow in range(state.pool_first_subflow[pool], state.pool_first_subflow[pool + 1]):
            bits = state.subflow_rate_bps[subflow] * elapsed_s
            state.pool_remaining_bits[pool] -= bits
            for hop in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
                state.link_bits[state.hop_link[hop]] += bits
    state.pool_settled_s[pool] = now_s


@njit(cache=True)
def finish(state: FluidState, pool: int, now_s: float) -> None:
    """End a pool: its links get exactly what remained, and its hops leave their links' lists."""
    remaining = state.pool_remaining_bits[pool]
    for subflow in range(state.pool_first_subflow[pool], state.pool_first_subflow[pool + 1]):
        bits = remaining * (state.subflow_rate_bps[subflow] / state.pool_rate_bps[pool])
        state.subflow_rate_bps[subflow] = 0.0
        for hop in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
            link = state.hop_link[hop]
            state.link_bits[link] += bits
            state.link_subflows[link] -= 1
            before, after = state.hop_previous[hop], state.hop_next[hop]
            if before >= 0:
                state.hop_next[before] = after
            else:
                state.link_first[link] = after
            if after >= 0:
                state.hop_previous[after] = before
    state.pool_remaining_bits[pool] = 0.0
    state.pool_rate_bps[pool] = 0.0
    state.pool_phase[pool] = DONE
    state.pool_finish_s[pool] = now_s


@njit(cache=True)
def activate(state: FluidState, pool: int, now_s: float) -> None:
    """Put a pool's hops on their links' lists; its rate is set by the solve that follows."""
    state.pool_phase[pool] = ACTIVE
    state.pool_settled_s[pool] = now_s
    for subflow in range(state.pool_first_subflow[pool], state.pool_first_subflow[pool + 1]):
        for hop in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
            link = state.hop_link[hop]
            after = state.link_first[link]
            state.hop_next[hop] = after
            state.hop_previous[hop] = -1
            if after >= 0:
                state.hop_previous[after] = hop
            state.link_first[link] = hop
            state.link_subflows[link] += 1
            if state.link_subflows[link] > state.link_peak[link]:
                state.link_peak[link] = state.link_subflows[link]


@njit(cache=True)
def collect(state: FluidState, pool: int, links: int) -> int:
    """Add a pool's links to the component under way, each once; return how many links it has."""
    stamp = state.stamp[0]
    for subflow in range(state.pool_first_subflow[pool], state.pool_first_subflow[pool + 1]):
        for hop in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
            link = state.hop_link[hop]
            if state.link_stamp[link] != stamp:
                state.link_stamp[link] = stamp
                state.component_link[links] = link
                links += 1
    return links


@njit(cache=True)
def close_component(state: FluidState, links: int) -> tuple[int, int]:
    """Grow the component until no active subflow crosses its border; return its links and subflows."""
    stamp = state.stamp[0]
    subflows = 0
    at = 0
    while at < links:
        hop = state.link_first[state.component_link[at]]
        at += 1
        while hop >= 0:
            subflow = state.hop_subflow[hop]
            if state.subflow_stamp[subflow] != stamp:
                state.subflow_stamp[subflow] = stamp
                state.component_subflow[subflows] = subflow
                subflows += 1
                for other in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
                    link = state.hop_link[other]
                    if state.link_stamp[link] != stamp:
                        state.link_stamp[link] = stamp
                        state.component_link[links] = link
                        links += 1
            hop = state.hop_next[hop]
    return links, subflows


@njit(cache=True)
def fill(state: FluidState, links: int, subflows: int) -> None:
    """Write the max-min rates of a component's subflows into ``new_rate_bps``."""
    state.share_size[0] = 0
    for at in range(links):
        link = state.component_link[at]
        state.residual_bps[link] = state.capacity_bps[link]
        state.unfixed[link] = state.link_subflows[link]
        if state.unfixed[link] > 0:
            share = state.capacity_bps[link] / state.unfixed[link]
            heap_set(state.share_heap, state.share_bps, state.share_place, state.share_size, link, share)
    for at in range(subflows):
        state.new_rate_bps[state.component_subflow[at]] = -1.0
    while state.share_size[0] > 0:
        link = state.share_heap[0]
        if state.unfixed[link] == 0:
            heap_pop(state.share_heap, state.share_bps, state.share_place, state.share_size)
            continue
        # A share only grows as others are fixed below it, so a key may lag behind but never lead.
        share = max(state.residual_bps[link], 0.0) / state.unfixed[link]
        if share > state.share_bps[link]:
            heap_set(state.share_heap, state.share_bps, state.share_place, state.share_size, link, share)
            continue
        heap_pop(state.share_heap, state.share_bps, state.share_place, state.share_size)
        hop = state.link_first[link]
        while hop >= 0:
            subflow = state.hop_subflow[hop]
            if state.new_rate_bps[subflow] < 0.0:
                state.new_rate_bps[subflow] = share
                for other in range(state.subflow_first_hop[subflow], state.subflow_first_hop[subflow + 1]):
                    state.residual_bps[state.hop_link[other]] -= share
                    state.unfixed[state.hop_link[other]] -= 1
            hop = state.hop_next[hop]


@njit(cache=True)
def apply_rates(state: FluidState, subflows: int, now_s: float) -> None:
    """Settle every pool whose rate changes, take the new rates, and predict its finish again."""
    for at in range(subflows):
        subflow = state.component_subflow[at]
        if state.new_rate_bps[subflow] != state.subflow_rate_bps[subflow]:
            settle(state, state.subflow_pool[subflow], now_s)
    for at in range(subflows):
        subflow = state.component_subflow[at]
        pool = state.subflow_pool[subflow]
        if state.new_rate_bps[subflow] == state.subflow_rate_bps[subflow]:
            continue
        state.subflow_rate_bps[subflow] = state.new_rate_bps[subflow]
        rate = 0.0
        for other in range(state.pool_first_subflow[pool], state.pool_first_subflow[pool + 1]):
            rate += state.subflow_rate_bps[other]
        state.pool_rate_bps[pool] = rate
        left = max(state.pool_remaining_bits[pool], 0.0)
        until_s = now_s + left / rate if rate > 0.0 else np.inf
        heap_set(state.event_heap, state.event_s, state.event_place, state.event_size, pool, until_s)


@njit(cache=True)
def advance(state: FluidState, to_s: float, done: np.ndarray) -> int:
    """Process every event up to a time.

    Parameters
    ----------
    state : FluidState
        Changed in place.
    to_s : float
        Events later than this stay in the heap.
    done : int array [at least as long as the event heap]
        Receives the pools that ran dry, in order; the rest is scratch.

    Returns
    -------
    int
        How many pools ran dry.
    """
    finished = 0
    while state.event_size[0] > 0 and state.event_s[state.event_heap[0]] <= to_s:
        now_s = state.event_s[state.event_heap[0]]
        if now_s == np.inf:
            break
        tied_s = min(to_s, now_s + TIE_S + now_s * TIE_RELATIVE)
        state.stamp[0] += 1
        state.clock_s[0] = now_s
        links = 0
        # Ends come before starts, so that a link's peak does not depend on the numbers of the pools. The pools that start
        # wait at the far end of ``done``: they and the finished ones are together at most all pools.
        starting = len(done)
        while state.event_size[0] > 0 and state.event_s[state.event_heap[0]] <= tied_s:
            pool = heap_pop(state.event_heap, state.event_s, state.event_place, state.event_size)
            links = collect(state, pool, links)
            if state.pool_phase[pool] == PENDING:
                starting -= 1
                done[starting] = pool
            else:
                settle(state, pool, now_s)
                finish(state, pool, now_s)
                done[finished] = pool
                finished += 1
        for at in range(len(done) - 1, starting - 1, -1):
            activate(state, done[at], now_s)
        links, subflows = close_component(state, links)
        fill(state, links, subflows)
        apply_rates(state, subflows, now_s)
    return finished
