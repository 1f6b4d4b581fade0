"""The deadlock watchdog: paused queues that wait for each other in a ring, so that none can ever send again."""

from __future__ import annotations

import numpy as np

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.compile_cache import compiled
from zcube.network.packet.buffers import came_by
from zcube.network.packet.records import net_of, packet_of, queue_of
from zcube.network.packet.state import NONE
from zcube.network.packet.tables import Tables


@compiled()
def held(table: np.ndarray, queues: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, packet by packet of some switch queues, the queue, the ingress queue it came by, and its size."""
    net = net_of(table)
    count = 0
    for at in range(len(queues)):
        slot = queue_of(net, queues[at]).head
        while slot != NONE:
            count += 1
            slot = packet_of(net, slot).next
    stands, came, size = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    count = 0
    for at in range(len(queues)):
        slot = queue_of(net, queues[at]).head
        while slot != NONE:
            stands[count] = queues[at]
            came[count] = came_by(net, slot)
            size[count] = packet_of(net, slot).size >> 1
            count += 1
            slot = packet_of(net, slot).next
    return stands, came, size


def find_deadlock(tables: Tables) -> tuple[int, ...]:
    """Return links that wait for each other in a ring, in the order in which traffic would flow; empty if there are none.

    A paused queue is stuck if what it waits for, the ingress queue at its link's other end, holds more than XON of packets that
    stand in queues themselves stuck, even when all others have left the switch. The largest such set is found by removing
    queues that are not; what is left never moves again. In it every queue waits for another, so it holds a ring.
    """
    queues, links, shift = tables["queues"], tables["links"], int(tables.net["class_shift"][0])
    link = np.arange(len(queues)) >> shift
    paused = (queues["paused"] == 1) & (queues["off"] == 1)
    inside = np.flatnonzero((queues["paused"] == 1) & (links["from_switch"][link] >= 0))
    if not len(inside) or not paused.any():
        return ()
    stands, came, size = held(tables.net, inside)
    stuck, still = paused.copy(), -1
    while still != stuck.sum():
        still = int(stuck.sum())
        last = stuck[stands]
        stuck &= _stays_off(tables, np.bincount(came[last], size[last], minlength=len(queues)))
    return _ring(stuck, stands, came, shift)


def _stays_off(tables: Tables, left: IntArray | FloatArray) -> BoolArray:
    """Return whether ingress queues would not send XON if so much were left in each of them."""
    net, queues, switches = tables.net[0], tables["queues"], tables["switches"]
    switch = tables["links"]["to_switch"][np.arange(len(queues)) >> int(net["class_shift"])]
    # What leaves, leaves headroom first.
    headroom = np.maximum(queues["in_headroom"] - (queues["in_bytes"] - left), 0)
    inner = switch >= 0
    used = np.bincount(switch[inner], (left - headroom)[inner], minlength=len(switches))
    free = np.maximum(switches["shared"] - used, 0)
    off = np.floor(net["alpha"] * free) if net["dynamic_off"] else np.full(len(free), float(net["off_bytes"]))
    # Hosts, whose number is -1, hold nothing up.
    on = np.append(np.maximum(off - net["on_gap"], 0), np.inf)
    return np.asarray((headroom > 0) | (left > on[switch]))


def _ring(stuck: BoolArray, stands: IntArray, came: IntArray, shift: int) -> tuple[int, ...]:
    inner = stuck[stands] & stuck[came]
    if not inner.any():
        return ()
    waits_for: dict[int, int] = {}
    for queue, other in zip(came[inner].tolist(), stands[inner].tolist()):
        waits_for.setdefault(queue, other)
    here, seen = min(waits_for), []
    while here not in seen:
        seen.append(here)
        here = waits_for[here]
    return tuple(queue >> shift for queue in seen[seen.index(here) :])
