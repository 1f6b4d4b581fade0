"""Events that are due a fixed time after what leads to them, as most are: they queue in lanes, one for each such time.

What is put at the end of a lane is never due before what is there, so that nothing has to be filed and looked up: a full
packet's end on links of one rate, and its arrival over links of one rate and latency, have a lane each. A lane's events stand
behind each other in chunks.
"""

from __future__ import annotations

from typing import Any

from zcube.network.kernels import inner
from zcube.network.packet.records import lane_of, laned_of, packet_of
from zcube.network.packet.sorting import put_in_scratch
from zcube.network.packet.state import CHUNK, NEVER, NONE, SORTED_AT_ONCE, Net


@inner
def put_in_lane(net: Net, lane: int, slot: int, time_ps: int, key: int) -> bool:
    """Put a record at the end of a lane; False if it cannot stand there, and all is as it was."""
    if lane == NONE or time_ps >> net.bucket_shift <= net.bucket:
        return False
    row = lane_of(net, lane)
    if time_ps < row.last_ps or (row.tail & (CHUNK - 1) == 0 and not _extend(net, row)):
        return False
    packet_of(net, slot).time_ps = time_ps
    packet_of(net, slot).key = key
    event = laned_of(net, row.tail)
    event.time_ps, event.key, event.slot = time_ps, key, slot
    if row.head == row.tail:
        row.next_ps = time_ps
        net.lane_ps = min(net.lane_ps, time_ps)
    row.last_ps = time_ps
    row.tail += 1
    return True


@inner
def _extend(net: Net, row: Any) -> bool:
    """Give a lane one chunk more, whose first row leads to the next one; False if there is none."""
    chunk = net.free_chunk
    if chunk == 0:
        return False
    net.free_chunk = laned_of(net, chunk).slot
    if row.tail == 0:
        row.head = chunk + 1
    else:
        laned_of(net, row.tail - CHUNK).slot = chunk
    row.tail = chunk + 1
    return True


@inner
def from_lanes(net: Net, start_ps: int, end_ps: int) -> int:
    """Move events that are due within some time to the beginning of scratch, as many as it holds, and return where they end."""
    count = 0
    if net.lane_ps >= end_ps:
        return count
    net.lane_ps = NEVER
    for lane in range(net.lanes):
        row = lane_of(net, lane)
        while row.next_ps < end_ps and count < SORTED_AT_ONCE:
            event = laned_of(net, row.head)
            put_in_scratch(net, count, event.slot, event.time_ps - start_ps, event.key)
            count += 1
            _step(net, row)
        net.lane_ps = min(net.lane_ps, row.next_ps)
    return count


@inner
def _step(net: Net, row: Any) -> None:
    """Remove a lane's first event."""
    row.head += 1
    if row.head & (CHUNK - 1) == 0:
        chunk = row.head - CHUNK
        if row.head == row.tail:
            row.head = row.tail = 0
        else:
            row.head = laned_of(net, chunk).slot + 1
        laned_of(net, chunk).slot = net.free_chunk
        net.free_chunk = chunk
    row.next_ps = laned_of(net, row.head).time_ps if row.head != row.tail else NEVER
