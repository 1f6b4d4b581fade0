"""Short buckets of the calendar, with a bit for each that holds events, and the blocks in which these stand by number."""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.records import bits_of, block_of, bucket_of, packet_of
from zcube.network.packet.sorting import lowest_bit, put_in_scratch
from zcube.network.packet.state import BLOCK, SORTED_AT_ONCE, Net

#: Events of a block.
PER_BLOCK = BLOCK - 1

_ONE = np.uint64(1)


@inner
def file_event(net: Net, slot: int, bucket: int) -> None:
    """Put an event into a bucket in the calendar's reach, not the one in hand."""
    at = bucket & (net.buckets - 1)
    row = bucket_of(net, at)
    held = row.count
    row.count = held + 1
    net.filed += 1
    if held == 0:
        row.first = slot
        bits_of(net, at >> 6).item |= _ONE << np.uint64(at & 63)
        return
    last = row.first
    if held == 1:
        row.first = _take_block(net)
        block_of(net, row.first * BLOCK + 1).item = last
    elif held % PER_BLOCK == 0:
        row.first = _take_block(net)
        block_of(net, row.first * BLOCK).item = last
    block_of(net, row.first * BLOCK + held % PER_BLOCK + 1).item = slot


@inner
def unfile(net: Net, at: int) -> int:
    """Remove the event last put into a bucket, by its place in the calendar, and return it; there must be one."""
    row = bucket_of(net, at)
    held = row.count - 1
    row.count = held
    net.filed -= 1
    if held == 0:
        bits_of(net, at >> 6).item &= ~(_ONE << np.uint64(at & 63))
        return row.first
    block, place = row.first, held % PER_BLOCK + 1
    slot = block_of(net, block * BLOCK + place).item
    if held == 1 or place == 1:
        row.first = block_of(net, block * BLOCK + held % PER_BLOCK).item
        block_of(net, block * BLOCK).item = net.free_block
        net.free_block = block
    return slot


@inner
def _take_block(net: Net) -> int:
    """Return a free block; there are as many as buckets can take, the first of them is none."""
    block = net.free_block
    if block == 0:
        net.blocks_used += 1
        return net.blocks_used
    net.free_block = block_of(net, block * BLOCK).item
    return block


@inner
def from_blocks(net: Net, bucket: int, begin: int, start_ps: int) -> int:
    """Move a bucket's last events, whole blocks of them, to scratch from a place on, and return where they end."""
    at = bucket & (net.buckets - 1)
    row = bucket_of(net, at)
    block, held = row.first, (row.count - 1) % PER_BLOCK + 1
    if held > SORTED_AT_ONCE - begin:
        return begin
    if row.count == 1:
        _to_scratch(net, begin, block, start_ps)
        row.count = 0
        place, end = begin, begin + 1
    else:
        place = end = begin + min(row.count, held + (SORTED_AT_ONCE - begin - held) // PER_BLOCK * PER_BLOCK)
    while place > begin:
        for last in range(block * BLOCK + held, block * BLOCK, -1):
            place -= 1
            _to_scratch(net, place, block_of(net, last).item, start_ps)
        row.count -= held
        before = block_of(net, block * BLOCK).item
        block_of(net, block * BLOCK).item = net.free_block
        net.free_block = block
        block, held = before, PER_BLOCK
    row.first = block
    net.filed -= end - begin
    if row.count == 0:
        bits_of(net, at >> 6).item &= ~(_ONE << np.uint64(at & 63))
    return end


@inner
def _to_scratch(net: Net, place: int, slot: int, start_ps: int) -> None:
    put_in_scratch(net, place, slot, packet_of(net, slot).time_ps - start_ps, packet_of(net, slot).key)


@inner
def next_filed(net: Net, bucket: int) -> int:
    """Return the next bucket from one on that holds events; there must be one."""
    size = net.buckets
    first = bucket & (size - 1)
    at = first >> 6
    word = bits_of(net, at).item & (~np.uint64(0) << np.uint64(first & 63))
    words = net.buckets >> 6
    while word == 0:
        at += 1
        if at == words:
            at = 0
        word = bits_of(net, at).item
    found = (at << 6) + lowest_bit(word)
    return bucket + ((found - first) & (size - 1))
