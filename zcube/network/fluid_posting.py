"""How transfers come into the fluid and leave it: rows written when they are posted, and freed when they have ended.

What has ended is freed many at a time: the rows of all others move to the front, in their order, so that whatever a tie is
broken by stays as it was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.network.event_heap import heap_set
from zcube.network.fluid_state import ACTIVE, DONE, NONE, PENDING, UNBOUND, FluidState, fluid_at
from zcube.network.frames import arrays_at
from zcube.network.kernels import inner, kernel


class PathArrays(NamedTuple):
    """Paths of flows as :class:`zcube.routing.routes.Routes` has them.

    ``latency_s`` is the longest delay of each flow's paths, ``alone_bps`` their rate together in an empty network; that may be
    left empty for flows in no group [flows].
    """

    first_subflow: np.ndarray
    first_hop: np.ndarray
    link: np.ndarray
    share: np.ndarray
    latency_s: np.ndarray
    alone_bps: np.ndarray


#: For kernels: the paths of a frame.
paths_at = arrays_at(PathArrays, [np.dtype(kind) for kind in ("i8", "i8", "i8", "f8", "f8", "f8")])


@kernel
def post(
    fluid: np.ndarray, known: np.ndarray, path: np.ndarray, start_s: np.ndarray, size_bytes: np.ndarray,
    message_start_s: np.ndarray, cap_bps: np.ndarray, weight: np.ndarray,
    pooled: bool, group: int, is_last: bool, now_s: float,
) -> tuple[float, float]:  # fmt: skip
    """Let transfers wait, each for its start; there must be room.

    Parameters
    ----------
    fluid : int array
        Frame of the state, which is changed in place.
    known : int array
        Frame of the paths by number.
    path, start_s, size_bytes : array [transfers]
        Number of its path, when it is posted and payload of each.
    message_start_s, cap_bps, weight : float array [transfers]
        Any may be empty, and stands for no time, no cap, and 1.
    pooled : bool
        Whether a transfer's paths draw from one pool.
    group : int
        What they are part of, or NONE, or UNTOLD.
    is_last : bool
        Whether the group is complete with them.
    now_s : float
        None starts before.

    Returns
    -------
    tuple of float
        The earliest time at which a first byte may leave, and a time before which the group has not arrived, infinite while it
        is not complete; -1 for both where a transfer has no path, no bytes or too early a start, and nothing is posted.
    """
    state, paths = fluid_at(fluid), paths_at(known)
    for row in range(len(path)):
        number = path[row]
        pathless = paths.first_subflow[number] == paths.first_subflow[number + 1]
        if pathless or not (0.0 < size_bytes[row] < np.inf) or not (now_s <= start_s[row] < np.inf):
            return -1.0, -1.0
    earliest_s, arrival_s = np.inf, 0.0
    first_together, together_s = NONE, np.inf
    flow, pool, subflow, hop = state.used[0], state.used[1], state.used[2], state.used[3]
    for row in range(len(path)):
        number, size_bits = path[row], size_bytes[row] * 8.0
        first, end = paths.first_subflow[number], paths.first_subflow[number + 1]
        delay_s = message_start_s[row] if len(message_start_s) else 0.0
        claims = weight[row] if len(weight) else 1.0
        pools = 1 if pooled else end - first
        state.flows[flow].start_s = start_s[row]
        state.flows[flow].message_start_s = delay_s
        state.flows[flow].latency_s = paths.latency_s[number]
        state.flows[flow].finish_s = np.nan
        state.flows[flow].size_bits = size_bits
        state.flows[flow].bound_s = 0.0
        state.flows[flow].bound_link = NONE
        state.flows[flow].bound_turn = -1
        state.flows[flow].open_pools = pools
        leaves_s = start_s[row] + delay_s
        earliest_s = min(earliest_s, leaves_s)
        alone_bps = 0.0
        if group >= 0:
            alone_bps = min(paths.alone_bps[number], cap_bps[row]) if len(cap_bps) else paths.alone_bps[number]
            arrival_s = max(arrival_s, leaves_s + size_bits / alone_bps + paths.latency_s[number])
        for turn in range(pools):
            begin = first + turn
            until = end if pooled else begin + 1
            state.pools[pool].flow = flow
            state.pools[pool].group = group
            state.pools[pool].alone_bps = alone_bps
            state.pools[pool].latency_s = paths.latency_s[number]
            state.pools[pool].turn = turn
            state.pools[pool].phase = PENDING
            state.pools[pool].remaining_bits = size_bits if pooled else size_bits * paths.share[begin]
            state.pools[pool].rate_bps = 0.0
            state.pools[pool].settled_s = 0.0
            state.pools[pool].first_subflow = subflow
            for of_path in range(begin, until):
                state.subflows[subflow].weight = claims
                state.subflows[subflow].cap_bps = cap_bps[row] * paths.share[of_path] if len(cap_bps) else np.inf
                state.subflows[subflow].rate_bps = 0.0
                state.subflows[subflow].stamp = 0
                state.subflows[subflow].pool = pool
                state.subflows[subflow].bound = UNBOUND
                state.cap_place[subflow] = -1
                state.subflows[subflow].first_hop = hop
                for at in range(paths.first_hop[of_path], paths.first_hop[of_path + 1]):
                    state.hops[hop].link = paths.link[at]
                    state.hops[hop].subflow = subflow
                    state.hops[hop].bound_s = 0.0
                    hop += 1
                state.subflows[subflow].end_hop = hop
                subflow += 1
            state.pools[pool].end_subflow = subflow
            state.event_place[pool] = -1
            if first_together == NONE or leaves_s != together_s:
                first_together, together_s = pool, leaves_s
                state.pools[pool].together = 0
                heap_set(state.start_heap, state.event_place, state.start_size, pool, leaves_s)
            state.pools[first_together].together += 1
            pool += 1
        flow += 1
    state.used[0], state.used[1], state.used[2], state.used[3] = flow, pool, subflow, hop
    if group >= 0:
        state.groups[group].under_way += len(path)
        state.groups[group].complete = is_last
        state.used[4] += is_last
    return earliest_s, arrival_s if group >= 0 and is_last else np.inf


@inner
def renamed(state: FluidState, hop: int) -> int:
    """Return the place a hop moves to, its subflow's first one being ``new_bound``; -1 for none."""
    if hop < 0:
        return hop
    subflow = state.hops[hop].subflow
    return state.subflows[subflow].new_bound + hop - state.subflows[subflow].first_hop


@inner
def rename_hops(state: FluidState, subflow: int) -> None:
    """Let all that points at other hops from an active subflow, and at its own, point at where they move to."""
    for hop in range(state.subflows[subflow].first_hop, state.subflows[subflow].end_hop):
        if state.hops[hop].previous < 0:
            state.links[state.hops[hop].link].first = renamed(state, hop)
        state.hops[hop].previous = renamed(state, state.hops[hop].previous)
        state.hops[hop].next = renamed(state, state.hops[hop].next)
    state.subflows[subflow].bound = renamed(state, state.subflows[subflow].bound)


@inner
def rename_pools(heap: np.ndarray, size: int, place: np.ndarray) -> None:
    """Let a heap hold its pools by the places they move to."""
    for at in range(size):
        heap[at].item = place[heap[at].item]


@kernel
def drop_done(fluid: np.ndarray) -> None:
    """Move what is not done to the front of the arrays of a frame, in its order, so that ties go on being broken alike."""
    state = fluid_at(fluid)
    pools, subflows, hops = 0, 0, 0
    for pool in range(state.used[1]):
        if state.pools[pool].phase == DONE:
            continue
        state.changed[pool] = pools
        pools += 1
        for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
            state.subflows[subflow].new_bound = hops
            hops += state.subflows[subflow].end_hop - state.subflows[subflow].first_hop
    for pool in range(state.used[1]):
        if state.pools[pool].phase == ACTIVE:
            for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
                rename_hops(state, subflow)
    rename_pools(state.start_heap, state.start_size[0], state.changed)
    rename_pools(state.finish_heap, state.finish_size[0], state.changed)
    rename_pools(state.arrival_heap, state.arrival_size[0], state.changed)
    for pool in range(state.used[1]):
        if state.pools[pool].phase == DONE:
            continue
        place = state.changed[pool]
        first = subflows
        for subflow in range(state.pools[pool].first_subflow, state.pools[pool].end_subflow):
            first_hop, count = (
                state.subflows[subflow].new_bound,
                state.subflows[subflow].end_hop - state.subflows[subflow].first_hop,
            )
            for at in range(count):
                state.hops[first_hop + at] = state.hops[state.subflows[subflow].first_hop + at]
                state.hops[first_hop + at].subflow = subflows
            state.subflows[subflows] = state.subflows[subflow]
            state.subflows[subflows].pool = place
            state.subflows[subflows].first_hop = first_hop
            state.subflows[subflows].end_hop = first_hop + count
            subflows += 1
        state.pools[place] = state.pools[pool]
        state.pools[place].first_subflow = first
        state.pools[place].end_subflow = subflows
        state.event_place[place] = state.event_place[pool]
    state.used[1], state.used[2], state.used[3] = pools, subflows, hops
