"""Flows that have not started: a heap of them, and the links they will cross."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled
from zcube.network.kernels import inner
from zcube.network.packet.records import flow_of, hop_of, net_of, pair_of, path_of, start_of
from zcube.network.packet.state import NONE, Net


@inner
def _starts_before(net: Net, one: int, other: int) -> bool:
    first, second = flow_of(net, one).start_ps, flow_of(net, other).start_ps
    return first < second or (first == second and one < other)


@compiled()
def push_starts(table: np.ndarray, flows: IntArray) -> None:
    """Put flows into the heap of those not started; there must be room."""
    net = net_of(table)
    for flow in flows:
        at = net.waiting
        net.waiting += 1
        while at > 0:
            above = (at - 1) // 2
            if not _starts_before(net, flow, start_of(net, above).item):
                break
            start_of(net, at).item = start_of(net, above).item
            at = above
        start_of(net, at).item = flow


@inner
def pop_start(net: Net) -> None:
    """Remove the flow that starts next."""
    net.waiting -= 1
    size = net.waiting
    flow = start_of(net, size).item
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _starts_before(net, start_of(net, below + 1).item, start_of(net, below).item):
            below += 1
        if not _starts_before(net, start_of(net, below).item, flow):
            break
        start_of(net, at).item = start_of(net, below).item
        at = below
    start_of(net, at).item = flow


@compiled()
def take_starts(table: np.ndarray) -> IntArray:
    """Remove the flows that start next, all at one time, and return them in order."""
    net = net_of(table)
    taken, count = np.empty(net.waiting, np.int64), 0
    now_ps = flow_of(net, start_of(net, 0).item).start_ps
    while net.waiting > 0 and flow_of(net, start_of(net, 0).item).start_ps == now_ps:
        taken[count] = start_of(net, 0).item
        count += 1
        pop_start(net)
    return taken[:count]


@compiled()
def crossings(table: np.ndarray, flows: IntArray) -> tuple[IntArray, IntArray]:
    """Return, path by path of some flows, the flow's place among them and each queue, NONE behind each path."""
    net = net_of(table)
    count = 0
    for flow in flows:
        for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
            for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                hop = path_of(net, path).item
                while hop_of(net, hop).item != NONE:
                    hop += 1
                count += hop + 1 - path_of(net, path).item
    place, queue = np.empty(count, np.int64), np.empty(count, np.int64)
    count = 0
    for at in range(len(flows)):
        for pair in range(flow_of(net, flows[at]).first_pair, flow_of(net, flows[at]).end_pair):
            for path in range(pair_of(net, pair).first_path, pair_of(net, pair).first_path + pair_of(net, pair).paths):
                hop = path_of(net, path).item
                while True:
                    place[count], queue[count] = at, hop_of(net, hop).item
                    count += 1
                    if hop_of(net, hop).item == NONE:
                        break
                    hop += 1
    return place, queue
