"""The records of the max-min fluid, and how they grow.

Rows of one kind are records of one array: what a kernel needs of a link or subflow lies together in memory, and few arrays
have to be handed from kernel to kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray
from zcube.network.event_heap import ENTRY
from zcube.network.frames import arrays_at

#: Of a pool: waits for its start; drains; was the last of its transfer, or group of these, and has drained, a last byte under
#: way; needed no more.
PENDING, ACTIVE, SENT, DONE = 0, 1, 2, 3

#: No hop bounds the subflow: it is held by its own cap, or has no rate yet.
UNBOUND = -1

#: No group, and no link.
NONE = -1

#: In place of a group, of transfers whose arrivals nobody is told of, one by one or together.
UNTOLD = -2

#: The isolation of victims that leaves the max-min fluid; below it there is back-pressure.
MAX_MIN = 1.0

LINK = np.dtype(
    [
        ("capacity_bps", "f8"),
        ("bits", "f8"),  # carried
        ("load_bps", "f8"),  # sum of the rates on the link
        ("bound_level_bps", "f8"),  # rate per weight of the subflows it bounds, the largest on the link
        ("residual_bps", "f8"),  # scratch of one solve: what fixed subflows leave
        ("unfixed", "f8"),  # scratch: weight of free subflows without a rate
        ("stamp", "i8"),  # solve in which the link was last touched
        ("first", "i4"),  # first hop of the list of active hops, -1 if none
        ("subflows", "i4"),  # active subflows
        ("peak", "i4"),  # most of them ever active together
        ("bound", "i4"),  # active subflows that the link bounds
        ("updates", "i4"),  # changes of load_bps since it was last added up afresh
        ("free_left", "i4"),  # scratch: free subflows without a rate
        ("holds", "i4"),  # scratch: fixed subflows that the link bounds
        ("queued", "i4"),  # scratch: how many subflows were free when it was last put into the order of levels
    ],
    align=True,
)
HOP = np.dtype([("link", "i4"), ("subflow", "i4"), ("next", "i4"), ("previous", "i4"), ("bound_s", "f8")], align=True)
SUBFLOW = np.dtype(
    [
        ("weight", "f8"),
        ("cap_bps", "f8"),  # infinity without a cap
        ("rate_bps", "f8"),
        ("new_rate_bps", "f8"),  # scratch
        ("stamp", "i8"),  # solve in which the subflow was last free
        ("first_hop", "i4"),
        ("end_hop", "i4"),
        ("pool", "i4"),
        ("bound", "i4"),  # hop that bounds it, UNBOUND
        ("new_bound", "i4"),  # scratch
    ],
    align=True,
)
POOL = np.dtype(
    [
        ("remaining_bits", "f8"),
        ("rate_bps", "f8"),
        ("settled_s", "f8"),  # time up to which remaining_bits is true
        ("alone_bps", "f8"),  # rate of its transfer alone, of one in a group
        ("latency_s", "f8"),  # of its transfer
        ("flow", "i4"),
        ("group", "i4"),  # of its transfer; NONE and UNTOLD where nobody waits for it
        ("first_subflow", "i4"),
        ("end_subflow", "i4"),
        ("turn", "i4"),  # which of its flow's pools, from 0
        ("phase", "i4"),
        ("together", "i4"),  # of the first of some that are posted in a row and start together: how many
    ],
    align=True,
)
#: Of a link under back-pressure, scratch of one solve.
PRESSED = np.dtype(
    [
        ("sent_bps", "f8"),  # what sources send over it at their present levels
        ("limit_bps", "f8"),  # what the switch behind it lets it bring
        ("into_bps", "f8"),  # scratch: what it brings to the link looked at
        ("level_bps", "f8"),  # rate per weight of the subflows that start on it
        ("gap", "f8"),  # last relative change that was asked of the level
        ("step", "f8"),  # part of such a change that is made
        ("hops_left", "i4"),  # most links from it to the end of a path, itself included
    ],
    align=True,
)
#: What stays of a transfer when its pools, subflows and hops are needed no more.
FLOW = np.dtype(
    [
        ("start_s", "f8"),  # posted
        ("message_start_s", "f8"),
        ("latency_s", "f8"),
        ("finish_s", "f8"),  # nan until its last byte has left
        ("size_bits", "f8"),
        ("bound_s", "f8"),  # how long the link bounded it that did so longest
        ("bound_link", "i4"),  # -1 for none
        ("bound_turn", "i4"),  # pool of the hop over it
        ("open_pools", "i4"),
    ],
    align=True,
)
#: Transfers that are waited for together.
GROUP = np.dtype(
    [
        ("under_way", "i4"),  # transfers whose last byte has not left
        ("complete", "i4"),  # whether the last of them has been posted
        ("last_s", "f8"),  # when the last of the others arrives
        ("arrival_s", "f8"),  # scratch: before which it has not arrived
        ("soonest_s", "f8"),  # scratch: before which it has not arrived whatever else is posted
    ],
    align=True,
)


class FluidState(NamedTuple):
    """Everything the kernels read and write. Sizes: L links, H hops, S subflows, P pools, F flows, G groups, B bins."""

    links: np.ndarray  # LINK[L]
    hops: np.ndarray  # HOP[H]
    subflows: np.ndarray  # SUBFLOW[S]
    pools: np.ndarray  # POOL[P]
    flows: np.ndarray  # FLOW[F]
    groups: np.ndarray  # GROUP[G]
    used: np.ndarray  # i8[5] flows, pools, subflows and hops in use; complete groups under way
    event_place: np.ndarray  # i8[P] place in one of the three heaps that follow, a pool being in one of them only
    start_heap: np.ndarray  # ENTRY[P] pending pools by start, of some in a row the first; apart from the few that run
    start_size: np.ndarray  # i8[1]
    finish_heap: np.ndarray  # ENTRY[P] active pools by predicted finish
    finish_size: np.ndarray  # i8[1]
    arrival_heap: np.ndarray  # ENTRY[P] sent pools by arrival of their last byte, or of their group's
    arrival_size: np.ndarray  # i8[1]
    changed: np.ndarray  # i8[P] scratch: pools that start or end, flows that have arrived
    arrived: np.ndarray  # i8[G] scratch: groups that have arrived; from the far end, those whose arrival is bounded
    level_heap: np.ndarray  # ENTRY[L] scratch: links by level
    level_place: np.ndarray  # i8[L] scratch
    level_size: np.ndarray  # i8[1] scratch
    cap_heap: np.ndarray  # ENTRY[S] scratch: capped subflows by cap; ports by what they ask for
    cap_place: np.ndarray  # i8[S] scratch
    cap_size: np.ndarray  # i8[1] scratch
    free_subflow: np.ndarray  # i8[S] scratch
    sent_bps: np.ndarray  # f8[S] scratch: rate under back-pressure
    pressed: np.ndarray  # PRESSED[L] scratch
    upstream: np.ndarray  # i8[L] scratch: links from receivers to senders
    stamp: np.ndarray  # i8[1] number of the solve
    events: np.ndarray  # i8[1] events processed
    clock_s: np.ndarray  # f8[1] time of the last event
    settings: np.ndarray  # f8[3] quantum_s, bin_s, isolation
    bin_bits: np.ndarray  # f8[B * L] bits carried per bin of time, L links a bin; empty without bins


_WITH_HOPS, _WITH_SUBFLOWS = ("hops",), ("subflows", "free_subflow", "sent_bps", "cap_heap", "cap_place")
_WITH_POOLS = ("pools", "event_place", "start_heap", "finish_heap", "arrival_heap", "changed")
_WITH_FLOWS = ("flows",)

#: Entries that arrays begin with.
LEAST_ROOM = 256

#: By how much room for flows grows, which are never dropped.
FLOWS_TIMES = 4

#: Bytes one hop, one subflow and one pool take in these arrays.
HOP_BYTES = HOP.itemsize
SUBFLOW_BYTES = SUBFLOW.itemsize + 40
POOL_BYTES = POOL.itemsize + 64


def empty_state(capacity_bps: FloatArray, quantum_s: float, bin_s: float, isolation: float = MAX_MIN) -> FluidState:
    """Return the state of an idle network."""
    count = len(capacity_bps)
    links = np.zeros(count, LINK)
    links["capacity_bps"] = capacity_bps
    links["first"] = -1

    def whole(size: int) -> np.ndarray:
        return np.zeros(size, dtype=np.int64)

    return FluidState(
        links=links,
        hops=np.zeros(LEAST_ROOM, HOP),
        subflows=np.zeros(LEAST_ROOM, SUBFLOW),
        pools=np.zeros(LEAST_ROOM, POOL),
        flows=np.zeros(LEAST_ROOM, FLOW),
        groups=np.zeros(LEAST_ROOM, GROUP),
        used=whole(5),
        event_place=whole(LEAST_ROOM),
        start_heap=np.zeros(LEAST_ROOM, ENTRY),
        start_size=whole(1),
        finish_heap=np.zeros(LEAST_ROOM, ENTRY),
        finish_size=whole(1),
        arrival_heap=np.zeros(LEAST_ROOM, ENTRY),
        arrival_size=whole(1),
        changed=whole(LEAST_ROOM),
        arrived=whole(LEAST_ROOM),
        level_heap=np.zeros(count, ENTRY),
        level_place=whole(count) - 1,
        level_size=whole(1),
        cap_heap=np.zeros(LEAST_ROOM, ENTRY),
        cap_place=whole(LEAST_ROOM),
        cap_size=whole(1),
        free_subflow=whole(LEAST_ROOM),
        sent_bps=np.zeros(LEAST_ROOM),
        pressed=np.zeros(count, PRESSED),
        upstream=whole(count),
        stamp=whole(1),
        events=whole(1),
        clock_s=np.zeros(1),
        settings=np.array([quantum_s, bin_s, isolation]),
        bin_bits=np.zeros(0),
    )


#: For kernels: the state of a frame.
fluid_at = arrays_at(FluidState, [array.dtype for array in empty_state(np.zeros(1), 0.0, 0.0)])


def with_room(state: FluidState, flows: int, pools: int, subflows: int, hops: int) -> FluidState:
    """Return the state with arrays of at least so many entries."""
    # Of flows only those that there are have been written, and what is never written takes no memory.
    wanted = (_WITH_FLOWS, flows, FLOWS_TIMES), (_WITH_HOPS, hops, 2), (_WITH_SUBFLOWS, subflows, 2), (_WITH_POOLS, pools, 2)
    larger = {
        name: grown(getattr(state, name), size, times)
        for names, size, times in wanted
        if len(getattr(state, names[0])) < size
        for name in names
    }
    return state._replace(**larger) if larger else state


def grown(array: np.ndarray, size: int, times: int = 2) -> np.ndarray:
    """Return an array of at least a size: the same, or a copy of so many times the length or what is asked, zeros behind."""
    if size <= len(array):
        return array
    # By a factor, so that repeated growth stays linear; a first large request gets just what it asks for.
    larger = np.zeros(max(size, times * len(array)), dtype=array.dtype)
    # As bytes: NumPy copies records one by one.
    larger.view(np.uint8)[: array.nbytes] = array.view(np.uint8)
    return larger
