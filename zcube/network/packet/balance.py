"""Which of a queue pair's paths a packet takes: the sender's choice, and a switch's by the depth of its queues.

A path rests until a time; it is then left out of the sender's choice, unless all of them rest. A switch that chooses has, at
each place of a path, a ring of the links on which equal paths go on from there; the packet's own comes first among equals, so
that what the sender chose in turn stays spread where queues are level.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.records import hop_of, link_of, pair_of, path_of, queue_of, rest_of, way_of
from zcube.network.packet.state import DRAWN, EVERY_SWITCH, IN_TURN, NEVER, NONE, ONE_PATH, Net
from zcube.routing.hashing import ODD, choose, mix

#: Draws after which a path that does not rest is looked for in turn.
MOST_DRAWS = 32


@inner
def choose_path(net: Net, pair: int) -> int:
    """Return which of a queue pair's paths its next packet takes."""
    count = pair_of(net, pair).paths
    if net.choice == ONE_PATH or count == 1:
        return 0
    if net.choice == IN_TURN:
        path = _awake(net, pair, pair_of(net, pair).turn)
        pair_of(net, pair).turn = (path + 1) % count
        return path
    if net.choice == DRAWN:
        return _drawn(net, pair)
    path = pair_of(net, pair).turn
    over = pair_of(net, pair).draws == 0 or net.now_ps - pair_of(net, pair).sent_ps > net.flowlet_ps
    if over or _rests(net, pair, path):
        path = _drawn(net, pair)
        pair_of(net, pair).turn = path
    pair_of(net, pair).sent_ps = net.now_ps
    return path


@inner
def rests_for_good(net: Net, path: int) -> bool:
    """Return whether a path, by its place in paths, crosses a link that is known to be down."""
    return rest_of(net, path).item == NEVER


@inner
def _is_cut(net: Net, pair: int, hop: int) -> bool:
    """Return whether the path on which a place lies crosses a link that is known to be down."""
    if net.avoided == 0 or pair_of(net, pair).paths == 1:
        return False
    return rests_for_good(net, pair_of(net, pair).first_path + path_taken(net, pair, hop))


@inner
def _rests(net: Net, pair: int, path: int) -> bool:
    return net.resting == 1 and rest_of(net, pair_of(net, pair).first_path + path).item > net.now_ps


@inner
def _awake(net: Net, pair: int, path: int) -> int:
    """Return the first path from one on that does not rest, that one if all do."""
    count = pair_of(net, pair).paths
    for step in range(count):
        at = path + step if path + step < count else path + step - count
        if not _rests(net, pair, at):
            return at
    return path


@inner
def _drawn(net: Net, pair: int) -> int:
    """Return a path drawn by hash among those that do not rest."""
    key = mix(net.path_seed + np.uint64(pair + 1) * ODD)
    path = 0
    for _ in range(MOST_DRAWS):
        path = choose(key, pair_of(net, pair).draws, pair_of(net, pair).paths)
        pair_of(net, pair).draws += 1
        if not _rests(net, pair, path):
            return path
    return _awake(net, pair, path)


@inner
def choose_port(net: Net, pair: int) -> None:
    """Choose the next packet's path of a queue pair that sends by several ports, and so the port in whose round it waits."""
    hop = path_of(net, pair_of(net, pair).first_path + choose_path(net, pair)).item
    if net.adaptive == EVERY_SWITCH:
        hop = _freest_port(net, pair, hop)
    pair_of(net, pair).ahead = hop
    pair_of(net, pair).queue = hop_of(net, hop).item


@inner
def _freest_port(net: Net, pair: int, hop: int) -> int:
    """Return the place on the NIC port that is free soonest, one that is paused last; not one whose path is cut."""
    first, best, least = hop_of(net, hop).item, hop, NEVER
    at = hop
    while True:
        queue = hop_of(net, at).item
        free_ps = max(link_of(net, queue >> net.class_shift).busy_ps, net.now_ps)
        if queue_of(net, queue).paused == 1:
            free_ps = NEVER - 1
        if free_ps < least and not _is_cut(net, pair, at):
            best, least = at, free_ps
        at = way_of(net, at).item
        if hop_of(net, at).item == first:
            return best


@inner
def shallowest(net: Net, pair: int, hop: int) -> int:
    """Return, of the places on which equal paths go on, the one whose queue is shortest; the given one among equals.

    Places on paths that are cut are left out.
    """
    first, best, least = hop_of(net, hop).item, hop, NEVER
    at = hop
    while True:
        depth = queue_of(net, hop_of(net, at).item).bytes
        if depth < least and not _is_cut(net, pair, at):
            best, least = at, depth
        at = way_of(net, at).item
        if hop_of(net, at).item == first:
            return best


@inner
def shortest_hop(net: Net, pair: int) -> int:
    """Return the first hop of the path whose queue at the first switch is shortest, the next in turn among equals.

    Paths that rest are left out, unless all do.
    """
    first, count = pair_of(net, pair).first_path, pair_of(net, pair).paths
    turn, least, best = pair_of(net, pair).turn, NEVER, 0
    for step in range(count):
        path = (turn + step) % count
        depth = queue_of(net, hop_of(net, path_of(net, first + path).item + 1).item).bytes
        if depth < least and not _rests(net, pair, path):
            least, best = depth, path
    pair_of(net, pair).turn = (best + 1) % count
    return path_of(net, first + best).item


@inner
def path_taken(net: Net, pair: int, hop: int) -> int:
    """Return which of a queue pair's paths a place in hops lies on, NONE where it has one path only."""
    first, low, high = pair_of(net, pair).first_path, 0, pair_of(net, pair).paths
    if net.choice == ONE_PATH or high == 1:
        return NONE
    # Most often paths are equally long.
    start = path_of(net, first).item
    guess = (hop - start) // (path_of(net, first + 1).item - start)
    if 0 <= guess < high - 1 and path_of(net, first + guess).item <= hop < path_of(net, first + guess + 1).item:
        return guess
    while high - low > 1:
        middle = (low + high) // 2
        if path_of(net, first + middle).item <= hop:
            low = middle
        else:
            high = middle
    return low
