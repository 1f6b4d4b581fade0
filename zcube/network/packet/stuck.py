"""The deadlock watchdog: paused queues that wait for each other in a ring, so that none can ever send again."""

from __future__ import annotations

import numpy as np
from numba import njit

from zcube.fabric.model import BoolArray, IntArray
from zcube.network.packet.records import hop_of, packet_of, queue_of
from zcube.network.packet.state import NONE
from zcube.network.packet.tables import Tables


@njit(cache=True)
def _held(table: np.ndarray, queues: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, packet by packet of some switch queues, the queue, the ingress queue it came by, and its size."""
    net = table[0]
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
            came[count] = hop_of(net, packet_of(net, slot).hop - 1).item
            size[count] = packet_of(net, slot).size >> 1
            count += 1
            slot = packet_of(net, slot).next
    return stands, came, size


def find_deadlock(tables: Tables) -> tuple[int, ...]:
    """Return links that wait for each other in a ring, in the order in which traffic would flow; empty if there are none.

    A paused queue is stuck if what it waits for, the ingress queue at its link's other end, holds more than XON of packets that
    stand in queues themselves stuck. The largest such set is found by removing queues that are not; what is left never moves
    again. In it every queue waits for another, so it holds a ring.
    """
    queues, links, shift = tables["queues"], tables["links"], int(tables.net["class_shift"][0])
    link = np.arange(len(queues)) >> shift
    paused = (queues["paused"] == 1) & (queues["off"] == 1)
    inside = np.flatnonzero((queues["paused"] == 1) & (links["from_switch"][link] >= 0))
    if not len(inside) or not paused.any():
        return ()
    stands, came, size = _held(tables.net, inside)
    stuck, still = paused.copy(), -1
    while still != stuck.sum():
        still = int(stuck.sum())
        waits = np.bincount(came[stuck[stands]], size[stuck[stands]], minlength=len(queues))
        stuck &= waits > _on_threshold(tables)[links["to_switch"][link]]
    return _ring(stuck, stands, came, shift)


def _on_threshold(tables: Tables) -> IntArray:
    """Return XON of the ingress queues of each switch, at the present filling of its buffer; the last entry is for hosts."""
    net, switches = tables.net[0], tables["switches"]
    free = np.maximum(switches["shared"] - switches["used"], 0)
    off = np.floor(net["alpha"] * free) if net["dynamic_off"] else np.full(len(free), net["off_bytes"])
    return np.append(np.maximum(off - net["on_gap"], 0), 0).astype(np.int64)


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
