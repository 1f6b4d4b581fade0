"""The event queue: a calendar of short buckets, one of long buckets beyond it, and a heap for what is later still.

Events are packets' records, chained through ``next``; an event's place in time is ``(time_ps, key, number)``, so that the order
of ties depends on what happens and not on where records lie. The bucket in hand is kept sorted, later ones are sorted when they
are reached; a bit per bucket tells which ones hold events.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inner
from zcube.network.packet.records import bits_of, bucket_of, far_of, packet_of, run_of, span_of
from zcube.network.packet.state import NEVER, NONE, Net

_ONE = np.uint64(1)
_WORD = np.uint64(63)
_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)


def _positions() -> np.ndarray:
    """Return which bit is set, by the upper six bits of the bit times a de Bruijn sequence [64]."""
    table = np.zeros(64, dtype=np.int8)
    for bit in range(64):
        table[(int(_SEQUENCE) << bit & (1 << 64) - 1) >> 58] = bit
    return table


_POSITION = _positions()


@inner
def lowest_bit(word: np.uint64) -> int:
    """Return the number of the lowest bit set."""
    return _POSITION[((word & (~word + _ONE)) * _SEQUENCE) >> np.uint64(58)]


@inner
def take_free(net: Net) -> int:
    """Return a free record; there must be one."""
    slot = net.free
    net.free = packet_of(net, slot).next
    net.free_count -= 1
    return slot


@inner
def give_back(net: Net, slot: int) -> None:
    """Return a record to the free list."""
    packet_of(net, slot).next = net.free
    net.free = slot
    net.free_count += 1


@inner
def put(net: Net, slot: int, time_ps: int, key: int) -> None:
    """File a record as an event."""
    packet_of(net, slot).time_ps = time_ps
    packet_of(net, slot).key = key
    bucket = time_ps >> net.bucket_shift
    current = net.bucket
    if bucket <= current:
        _sort_in(net, slot)
    elif bucket < current + net.buckets:
        _file(net, slot, bucket)
    elif bucket >> net.span_shift < net.span + net.spans:
        at = (bucket >> net.span_shift) & (net.spans - 1)
        packet_of(net, slot).next = span_of(net, at).item
        span_of(net, at).item = slot
        net.spanned += 1
    else:
        far_push(net, slot)


@inner
def _file(net: Net, slot: int, bucket: int) -> None:
    at = bucket & (net.buckets - 1)
    packet_of(net, slot).next = bucket_of(net, at).item
    bucket_of(net, at).item = slot
    bits_of(net, at >> 6).item |= _ONE << np.uint64(at & 63)
    net.filed += 1


@inner
def _before(net: Net, one: int, other: int) -> bool:
    first, second = packet_of(net, one).time_ps, packet_of(net, other).time_ps
    if first != second:
        return first < second
    if packet_of(net, one).key != packet_of(net, other).key:
        return packet_of(net, one).key < packet_of(net, other).key
    # Frames that stop and let go the same queue in one picosecond take effect in the order in which they were sent.
    return packet_of(net, one).number < packet_of(net, other).number


@inner
def _sort_in(net: Net, slot: int) -> None:
    """Insert into the sorted bucket in hand."""
    at = net.current
    if at == NONE or _before(net, slot, at):
        packet_of(net, slot).next = at
        net.current = slot
        return
    while packet_of(net, at).next != NONE and not _before(net, slot, packet_of(net, at).next):
        at = packet_of(net, at).next
    packet_of(net, slot).next = packet_of(net, at).next
    packet_of(net, at).next = slot


@inner
def _merged(net: Net, one: int, other: int) -> int:
    """Return two sorted chains as one."""
    if _before(net, other, one):
        one, other = other, one
    first = last = one
    one = packet_of(net, one).next
    while one != NONE and other != NONE:
        if _before(net, other, one):
            one, other = other, one
        packet_of(net, last).next = one
        last = one
        one = packet_of(net, one).next
    packet_of(net, last).next = other if one == NONE else one
    return first


@inner
def _sorted(net: Net, slot: int) -> int:
    """Return a chain sorted, by merging runs of doubling length."""
    top = 0
    while slot != NONE:
        after = packet_of(net, slot).next
        packet_of(net, slot).next = NONE
        net.filed -= 1
        if top == 0 and after == NONE:
            return slot
        level = 0
        while level < top and run_of(net, level).item != NONE:
            slot = _merged(net, run_of(net, level).item, slot)
            run_of(net, level).item = NONE
            level += 1
        run_of(net, level).item = slot
        top = max(top, level + 1)
        slot = after
    for level in range(top):
        if run_of(net, level).item != NONE:
            slot = run_of(net, level).item if slot == NONE else _merged(net, run_of(net, level).item, slot)
    return slot


@inner
def enter(net: Net, bucket: int) -> None:
    """Move on to a bucket before which no event is left, and sort what it holds."""
    net.bucket = bucket
    _deal_out(net)
    at = bucket & (net.buckets - 1)
    slot = bucket_of(net, at).item
    if slot != NONE:
        bucket_of(net, at).item = NONE
        bits_of(net, at >> 6).item &= ~(_ONE << np.uint64(at & 63))
        net.current = _sorted(net, slot)


@inner
def _deal_out(net: Net) -> None:
    """Put events whose long bucket lies in the calendar's reach into their short ones."""
    reached = ((net.bucket + net.buckets) >> net.span_shift) - 1
    if net.span > reached:
        return
    while net.spanned > 0 and net.span <= reached:
        at = net.span & (net.spans - 1)
        slot = span_of(net, at).item
        span_of(net, at).item = NONE
        net.span += 1
        while slot != NONE:
            after = packet_of(net, slot).next
            net.spanned -= 1
            _file(net, slot, packet_of(net, slot).time_ps >> net.bucket_shift)
            slot = after
    net.span = reached + 1
    while net.far_count > 0:
        slot = far_of(net, 0).item
        bucket = packet_of(net, slot).time_ps >> net.bucket_shift
        if bucket >> net.span_shift >= net.span + net.spans:
            break
        _far_pop(net)
        if bucket < net.bucket + net.buckets:
            _file(net, slot, bucket)
        else:
            put(net, slot, packet_of(net, slot).time_ps, packet_of(net, slot).key)


@inner
def _next_filed(net: Net) -> int:
    """Return the next bucket that holds events; there must be one."""
    size = net.buckets
    first = (net.bucket + 1) & (size - 1)
    at = first >> 6
    word = bits_of(net, at).item & (~np.uint64(0) << np.uint64(first & 63))
    words = net.buckets >> 6
    while word == 0:
        at += 1
        if at == words:
            at = 0
        word = bits_of(net, at).item
    found = (at << 6) + lowest_bit(word)
    return net.bucket + 1 + ((found - first) & (size - 1))


@inner
def next_time(net: Net, limit_ps: int) -> int:
    """Return when the next event is due, NEVER if that is after the limit; it is then first in the bucket in hand."""
    while net.current == NONE:
        bucket = _next_filed(net) if net.filed > 0 else NEVER
        if net.spanned > 0:
            bucket = min(bucket, _next_span(net) << net.span_shift)
        elif net.far_count > 0:
            bucket = min(bucket, packet_of(net, far_of(net, 0).item).time_ps >> net.bucket_shift)
        # The bucket in hand never lies beyond the limit: what is put in before it would have to be sorted into it.
        if bucket > limit_ps >> net.bucket_shift:
            return NEVER
        enter(net, max(bucket, net.bucket))
    due_ps = packet_of(net, net.current).time_ps
    return due_ps if due_ps <= limit_ps else NEVER


@inner
def not_before(net: Net) -> int:
    """Return a time before which no event is due, the next one's to the width of a bucket; NEVER if there are none."""
    if net.current != NONE:
        return packet_of(net, net.current).time_ps
    found = NEVER
    if net.filed > 0:
        found = _next_filed(net) << net.bucket_shift
    if net.spanned > 0:
        found = min(found, _next_span(net) << net.span_shift << net.bucket_shift)
    elif net.far_count > 0:
        found = min(found, packet_of(net, far_of(net, 0).item).time_ps)
    return found


@inner
def _next_span(net: Net) -> int:
    """Return the next long bucket that holds events; there must be one."""
    span = net.span
    while span_of(net, span & (net.spans - 1)).item == NONE:
        span += 1
    return span


@inner
def take_next(net: Net) -> int:
    """Remove the first event of the bucket in hand and return its record."""
    slot = net.current
    net.current = packet_of(net, slot).next
    return slot


@inner
def far_push(net: Net, slot: int) -> None:
    """Put an event into the heap of those beyond the long buckets."""
    at = net.far_count
    net.far_count += 1
    while at > 0:
        above = (at - 1) // 2
        if not _before(net, slot, far_of(net, above).item):
            break
        far_of(net, at).item = far_of(net, above).item
        at = above
    far_of(net, at).item = slot


@inner
def _far_pop(net: Net) -> int:
    top = far_of(net, 0).item
    net.far_count -= 1
    size = net.far_count
    slot = far_of(net, size).item
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _before(net, far_of(net, below + 1).item, far_of(net, below).item):
            below += 1
        if not _before(net, far_of(net, below).item, slot):
            break
        far_of(net, at).item = far_of(net, below).item
        at = below
    far_of(net, at).item = slot
    return top
