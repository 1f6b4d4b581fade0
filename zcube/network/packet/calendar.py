"""The event queue: a calendar of buckets, lanes of events due a fixed time after others, and a heap for what is later still.

Events are packets' records; an event's place in time is ``(time_ps, key, number)``, so that the order of ties depends on what
happens and not on where records lie. The buckets in hand, one or as many as hold a few events together, are a chain through
``next`` and kept sorted; later ones, with what stands in lanes, are sorted when they are reached.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.buckets import PER_BLOCK, file_event, from_blocks, next_filed
from zcube.network.packet.lanes import from_lanes, put_in_lane
from zcube.network.packet.lookahead import begin_ahead
from zcube.network.packet.records import (
    bucket_of,
    far_of,
    fetch,
    packet_of,
    run_of,
    sorting_of,
    span_of,
)
from zcube.network.packet.sorting import PLACE_WIDTH, slot_sorted, sort_scratch
from zcube.network.packet.state import NEVER, NONE, SORTED_AT_ONCE, Net

#: With fewer events in hand twice as many buckets are taken next time, with more half as many.
FEW_IN_HAND, MANY_IN_HAND = 24, 96


@inner
def take_free(net: Net) -> int:
    """Return a free record; there must be one."""
    slot = net.free
    net.free = packet_of(net, slot).next
    net.free_count -= 1
    if net.free != NONE:
        fetch(packet_of(net, net.free))
    return slot


@inner
def give_back(net: Net, slot: int) -> None:
    """Return a record to the free list."""
    packet_of(net, slot).next = net.free
    net.free = slot
    net.free_count += 1


@inner
def put_after(net: Net, lane: int, slot: int, time_ps: int, key: int) -> None:
    """File a record as an event that may stand in a lane, NONE if in none."""
    if not put_in_lane(net, lane, slot, time_ps, key):
        put(net, slot, time_ps, key)


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
        file_event(net, slot, bucket)
    elif bucket >> net.span_shift < net.span + net.spans:
        at = (bucket >> net.span_shift) & (net.spans - 1)
        packet_of(net, slot).next = span_of(net, at).item
        span_of(net, at).item = slot
        net.spanned += 1
    else:
        far_push(net, slot)


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
def _gather(net: Net, first: int, last: int) -> int:
    """Move the events of some buckets to scratch, and return how many; if not all, there is no room for a block more."""
    start_ps = first << net.bucket_shift
    count = from_lanes(net, start_ps, (last + 1) << net.bucket_shift)
    # Mostly one bucket is taken: whether it holds events is seen without a search for the next one that does.
    bucket = first
    while bucket <= last:
        row = bucket_of(net, bucket & (net.buckets - 1))
        if row.count > 0:
            count = from_blocks(net, bucket, count, start_ps)
            if row.count > 0:
                break
        if bucket == last or net.filed == 0:
            break
        bucket = next_filed(net, bucket + 1)
    return count


@inner
def _sorted(net: Net, first: int, last: int) -> int:
    """Empty some buckets into a sorted chain: so many events at once as scratch holds, and merge runs of doubling length."""
    top, count = 0, SORTED_AT_ONCE
    while count > SORTED_AT_ONCE - PER_BLOCK:
        count = _gather(net, first, last)
        if count == 0:
            break
        begin = sort_scratch(net, count)
        run = _chained(net, begin, count)
        if top == 0 and count <= SORTED_AT_ONCE - PER_BLOCK:
            if count > MANY_IN_HAND:
                net.reach = 1
            elif count < FEW_IN_HAND and net.fetching == 1:
                # There is something to be fetched ahead of more events.
                net.reach = min(net.reach << 1, net.most_reach)
            if net.fetching == 1:
                begin_ahead(net, begin, begin + count)
            return run
        level = 0
        while level < top and run_of(net, level).item != NONE:
            run = _merged(net, run_of(net, level).item, run)
            run_of(net, level).item = NONE
            level += 1
        run_of(net, level).item = run
        top = max(top, level + 1)
    net.reach = 1
    slot = NONE
    for level in range(top):
        if run_of(net, level).item != NONE:
            slot = run_of(net, level).item if slot == NONE else _merged(net, run_of(net, level).item, slot)
    return slot


@inner
def _chained(net: Net, first: int, count: int) -> int:
    """Return sorted events of scratch as a chain, those of one time and key in the order of their numbers."""
    if _chain(net, first, count) > 0:
        _order_ties(net, first, count)
        _chain(net, first, count)
    return slot_sorted(net, first)


@inner
def _chain(net: Net, first: int, count: int) -> int:
    """Chain events of scratch, and return how many have the time and key of the one before, which few have."""
    after, ties = NONE, 0
    for at in range(first + count - 1, first, -1):
        slot = slot_sorted(net, at)
        packet_of(net, slot).next = after
        after = slot
        ties += int(sorting_of(net, at - 1).item >> PLACE_WIDTH == sorting_of(net, at).item >> PLACE_WIDTH)
    packet_of(net, slot_sorted(net, first)).next = after
    return ties


@inner
def _order_ties(net: Net, first: int, count: int) -> None:
    """Bring sorted events of scratch that have one time and key into the order of their numbers."""
    for at in range(first + 1, first + count):
        place = at
        while place > first and sorting_of(net, place - 1).item >> PLACE_WIDTH == sorting_of(net, place).item >> PLACE_WIDTH:
            if packet_of(net, slot_sorted(net, place - 1)).number <= packet_of(net, slot_sorted(net, place)).number:
                break
            one, other = sorting_of(net, place - 1), sorting_of(net, place)
            one.item, other.item = other.item, one.item
            place -= 1


@inner
def forget_ahead(net: Net) -> None:
    """Fetch nothing ahead of events in hand, as some of them are no longer there."""
    net.ahead = net.ahead_end = 0


@inner
def enter(net: Net, bucket: int) -> None:
    """Move on to a bucket before which no event is left, and sort what it holds and as many next ones as are worth it."""
    net.bucket = bucket
    forget_ahead(net)
    _deal_out(net)
    # What is dealt out may lie as far from the first bucket as there are buckets, and not from the last.
    net.bucket += net.reach - 1
    net.current = _sorted(net, bucket, net.bucket)


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
            file_event(net, slot, packet_of(net, slot).time_ps >> net.bucket_shift)
            slot = after
    net.span = reached + 1
    while net.far_count > 0:
        slot = far_of(net, 0).item
        bucket = packet_of(net, slot).time_ps >> net.bucket_shift
        if bucket >> net.span_shift >= net.span + net.spans:
            break
        _far_pop(net)
        if bucket < net.bucket + net.buckets:
            file_event(net, slot, bucket)
        else:
            put(net, slot, packet_of(net, slot).time_ps, packet_of(net, slot).key)


@inner
def next_time(net: Net, limit_ps: int) -> int:
    """Return when the next event is due, NEVER if that is after the limit; it is then first in the bucket in hand."""
    while net.current == NONE:
        bucket = next_filed(net, net.bucket + 1) if net.filed > 0 else NEVER
        bucket = min(bucket, net.lane_ps >> net.bucket_shift)
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
def no_event_filed(net: Net) -> bool:
    """Return whether no event is left but those of the bucket in hand."""
    return net.filed + net.spanned + net.far_count == 0 and net.lane_ps == NEVER


@inner
def not_before(net: Net) -> int:
    """Return a time before which no event is due, the next one's to the width of a bucket; NEVER if there are none."""
    if net.current != NONE:
        return packet_of(net, net.current).time_ps
    bucket = net.lane_ps >> net.bucket_shift
    if net.filed > 0:
        bucket = min(bucket, next_filed(net, net.bucket + 1))
    found = bucket << net.bucket_shift
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
