"""Prefix caches of the prefill nodes: least recently used blocks, as Numba kernels over arrays.

Blocks held are the entries of one hash table, by node and block, with linear probing: what is removed leaves no gap, since what
follows moves up. A doubly linked list per node orders its entries by their last use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.network.frames import arrays_at, frame_of
from zcube.network.kernels import inner, kernel

NONE = -1

#: Entries that there is room for at first; the table has two to four places for each that there is room for.
LEAST_ENTRIES = 1024

ENTRY = np.dtype(
    [
        ("block", "i8"),
        ("node", "i4"),
        ("newer", "i4"),  # of the node's entries the one used next after it, NONE for the last; of a free one the next free one
        ("older", "i4"),
        ("users", "i4"),  # prompts that need it where it is
    ],
    align=True,
)
#: The tag is of the entry's block and node; a search that ends elsewhere seldom looks at the entry.
PLACE = np.dtype([("entry", "i4"), ("tag", "i4")], align=True)
NODE = np.dtype([("newest", "i4"), ("oldest", "i4"), ("count", "i8")], align=True)


class CacheState(NamedTuple):
    """What the kernels read and write."""

    entries: np.ndarray  # ENTRY[E]
    table: np.ndarray  # PLACE[power of two], entry NONE where there is none
    nodes: np.ndarray  # NODE[nodes]
    free: np.ndarray  # i8[2] first free entry, how many are free


#: For kernels: the state of a frame.
caches_at = arrays_at(CacheState, [ENTRY, PLACE, NODE, np.dtype(np.int64)])


@inner
def mixed(node: int, block: int) -> int:
    """Return the hash of a node's block: its tag in the lower 32 bits, and above them where the search for it begins."""
    # Products wrap around.
    key = block * 0x1E3779B97F4A7C15 + node * 0x3F58476D1CE4E5B9
    key = (key ^ (key >> 32)) * 0x14D049BB133111EB
    return key ^ (key >> 29)


@inner
def home(state: CacheState, hashed: int) -> int:
    """Return the place in the table where the search for a hash begins."""
    return (hashed >> 32) & (len(state.table) - 1)


@inner
def tag_of(hashed: int) -> int:
    """Return the tag of a hash."""
    return hashed & 0x7FFFFFFF


@inner
def place_of(state: CacheState, node: int, block: int) -> int:
    """Return where a node's block stands in the table, or the free place where it would."""
    hashed = mixed(node, block)
    place, tag = home(state, hashed), tag_of(hashed)
    while state.table[place].entry != NONE:
        if state.table[place].tag == tag:
            entry = state.table[place].entry
            if state.entries[entry].block == block and state.entries[entry].node == node:
                break
        place = (place + 1) & (len(state.table) - 1)
    return place


@inner
def holds(state: CacheState, node: int, block: int) -> bool:
    """Return whether a node holds a block."""
    return state.table[place_of(state, node, block)].entry != NONE


@inner
def leading_run(state: CacheState, node: int, blocks: np.ndarray, chained: bool, least: int) -> int:
    """Return how many leading blocks a node holds, at least so many.

    Of chained blocks a node holds all before one that it holds.
    """
    if not chained:
        while least < len(blocks) and holds(state, node, blocks[least]):
            least += 1
        return least
    most = len(blocks)
    while least < most:
        middle = (least + most + 1) // 2
        if holds(state, node, blocks[middle - 1]):
            least = middle
        else:
            most = middle - 1
    return least


@kernel
def leading(caches: np.ndarray, node: int, blocks: np.ndarray, chained: bool) -> int:
    """Return how many leading blocks a node of a frame's caches holds."""
    return leading_run(caches_at(caches), node, blocks, chained, 0)


@inner
def unlink(state: CacheState, entry: int) -> None:
    """Take an entry out of the order of its node."""
    node, newer, older = state.entries[entry].node, state.entries[entry].newer, state.entries[entry].older
    if newer == NONE:
        state.nodes[node].newest = older
    else:
        state.entries[newer].older = older
    if older == NONE:
        state.nodes[node].oldest = newer
    else:
        state.entries[older].newer = newer


@inner
def make_newest(state: CacheState, entry: int) -> None:
    """Put an entry at the head of the order of its node."""
    node = state.entries[entry].node
    newest = state.nodes[node].newest
    state.entries[entry].newer, state.entries[entry].older = NONE, newest
    if newest == NONE:
        state.nodes[node].oldest = entry
    else:
        state.entries[newest].newer = entry
    state.nodes[node].newest = entry


@inner
def remove(state: CacheState, entry: int) -> None:
    """Drop an entry, and move up what its place kept from standing nearer to its home."""
    node, last = state.entries[entry].node, len(state.table) - 1
    unlink(state, entry)
    state.nodes[node].count -= 1
    gap = place_of(state, node, state.entries[entry].block)
    place = (gap + 1) & last
    while state.table[place].entry != NONE:
        other = state.table[place].entry
        begin = home(state, mixed(state.entries[other].node, state.entries[other].block))
        if ((place - begin) & last) >= ((place - gap) & last):
            state.table[gap] = state.table[place]
            gap = place
        place = (place + 1) & last
    state.table[gap].entry = NONE
    state.entries[entry].node, state.entries[entry].newer = NONE, state.free[0]
    state.free[0] = entry
    state.free[1] += 1


@inner
def put(state: CacheState, place: int, entry: int) -> None:
    """Let a place of the table stand for an entry."""
    state.table[place].entry = entry
    state.table[place].tag = tag_of(mixed(state.entries[entry].node, state.entries[entry].block))


@kernel
def keep(caches: np.ndarray, node: int, blocks: np.ndarray, capacity: int) -> None:
    """Keep blocks at a node of a frame's caches, the first one as the most recently used; there must be room.

    What is over capacity is dropped.
    """
    state, newer = caches_at(caches), NONE
    # The last block goes in first, so that a prefix is never dropped before what extends it.
    for at in range(min(len(blocks), capacity) - 1, -1, -1):
        # What was used next after a block is most often the one before it in its prompts.
        if newer != NONE and state.entries[newer].block == blocks[at]:
            entry = newer
        else:
            place = place_of(state, node, blocks[at])
            entry = state.table[place].entry
            if entry == NONE:
                entry = state.free[0]
                state.free[0] = state.entries[entry].newer
                state.free[1] -= 1
                state.entries[entry].block, state.entries[entry].node = blocks[at], node
                put(state, place, entry)
                state.nodes[node].count += 1
                make_newest(state, entry)
                newer = NONE
                continue
        newer = state.entries[entry].newer
        unlink(state, entry)
        make_newest(state, entry)
    while state.nodes[node].count > capacity:
        remove(state, state.nodes[node].oldest)


@kernel
def add_users(caches: np.ndarray, node: int, blocks: np.ndarray, more: int) -> int:
    """Add users to blocks that a node of a frame's caches holds, or take some away.

    Returns
    -------
    int
        How many more of the node's blocks have users then than before.
    """
    state, used = caches_at(caches), 0
    for at in range(len(blocks)):
        entry = state.table[place_of(state, node, blocks[at])].entry
        before = state.entries[entry].users
        state.entries[entry].users = before + more
        used += int(before + more > 0) - int(before > 0)
    return used


@kernel
def drop_idle(caches: np.ndarray, node: int, count: int) -> None:
    """Drop so many of a node's blocks that nobody uses, the least recently used first."""
    state = caches_at(caches)
    entry = state.nodes[node].oldest
    while count > 0 and entry != NONE:
        newer = state.entries[entry].newer
        if state.entries[entry].users == 0:
            remove(state, entry)
            count -= 1
        entry = newer


@kernel
def fill_table(caches: np.ndarray, entries: int) -> None:
    """Write the first entries of a frame's caches into the empty table, those that are free left out."""
    state = caches_at(caches)
    for entry in range(entries):
        if state.entries[entry].node != NONE:
            put(state, place_of(state, state.entries[entry].node, state.entries[entry].block), entry)


class PrefixCaches:
    """One cache of whole prompt blocks per node.

    A block id stands for the whole prefix up to its end, so a node's hit on a prompt is its run of leading blocks.

    Attributes
    ----------
    state : CacheState
        What the nodes hold.
    frame : int array
        Its frame, as kernels take it.
    chained : bool
        Whether a block always follows the same one, so that a node that holds one holds all before it: of prompts that go in
        whole, what comes first is dropped last.
    changes : list of int
        By node, how often what it holds has changed.

    Parameters
    ----------
    nodes : int
        Prefill nodes.
    capacity_blocks : int
        Blocks one node keeps; 0 switches caching off.
    """

    def __init__(self, nodes: int, capacity_blocks: int, chained: bool = False):
        self._capacity, self.chained, self.changes = capacity_blocks, chained, [0] * nodes
        idle = np.zeros(nodes, NODE)
        idle["newest"] = idle["oldest"] = NONE
        self.state = CacheState(np.zeros(0, ENTRY), _empty_table(2), idle, np.array([NONE, 0], dtype=np.int64))
        self.frame = frame_of(self.state)

    def hit(self, node: int, blocks: IntArray) -> int:
        """Return how many leading blocks one node holds."""
        return int(leading(self.frame, node, blocks, self.chained))

    def insert(self, node: int, blocks: IntArray) -> None:
        """Keep a prompt's blocks at a node as the most recently used, and drop the least recently used beyond capacity."""
        if self._capacity and len(blocks):
            if self.state.free[1] < len(blocks):
                self._grow(len(blocks))
            keep(self.frame, node, blocks, self._capacity)
            self.changes[node] += 1

    def held(self, node: int) -> int:
        """Return how many blocks one node holds."""
        return int(self.state.nodes[node]["count"])

    def use(self, node: int, blocks: IntArray, more: int) -> int:
        """Add users to blocks that a node holds, or take some away; return how many more of its blocks have any."""
        return int(add_users(self.frame, node, blocks, more))

    def drop_idle(self, node: int, count: int) -> None:
        """Drop so many of a node's blocks that nobody uses, the least recently used first."""
        if count > 0:
            drop_idle(self.frame, node, count)
            self.changes[node] += 1

    def _grow(self, needed: int) -> None:
        """Make room for at least so many more entries; all present ones are in use but for the few that are free."""
        state, used = self.state, len(self.state.entries)
        room = 1 << (max(2 * used, used + needed, LEAST_ENTRIES) - 1).bit_length()
        entries = np.zeros(room, ENTRY)
        entries[:used] = state.entries
        entries["node"][used:] = NONE
        entries["newer"][used:] = np.arange(used + 1, room + 1)
        entries["newer"][-1] = state.free[0]
        state.free[:] = used, state.free[1] + room - used
        self.state = CacheState(entries, _empty_table(2 * room), state.nodes, state.free)
        self.frame = frame_of(self.state)
        fill_table(self.frame, used)


def _empty_table(places: int) -> np.ndarray:
    table = np.zeros(places, PLACE)
    table["entry"] = NONE
    return table
