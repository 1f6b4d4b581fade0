"""What events to come will read, fetched into the processor's caches before they are taken.

An event reads a handful of records that lie anywhere, one found through another. With thousands of ports and queue pairs none
of them is near, and waiting for them takes longer than all that is done with them. Nothing here changes anything.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import (
    echo_of,
    fetch,
    fetch_third,
    flow_of,
    hop_of,
    link_of,
    owner_of,
    packet_of,
    pair_of,
    queue_of,
)
from zcube.network.packet.sorting import key_sorted, slot_sorted
from zcube.network.packet.state import ACKNOWLEDGED, ARRIVAL, KEY_BITS, LARGEST_NUMBER, NONE, READY, WAKE, Net

#: So many events before one is taken, what its own record leads to is fetched; then what is found through that; then the rest.
FIRST, FAR, NEAR = 32, 17, 9


@inner
def fetch_first(net: Net, slot: int, key: int) -> None:
    """Fetch what is found by an event's own record and key: what a link has to send, what is kept of a queue pair."""
    kind, number = key >> KEY_BITS, key & LARGEST_NUMBER
    if kind == ARRIVAL:
        fetch(hop_of(net, packet_of(net, slot).hop + 1))
    elif kind == WAKE:
        head = queue_of(net, number << net.class_shift).head
        if head != NONE:
            if link_of(net, number).from_switch != NONE:
                fetch(packet_of(net, head))
            else:
                fetch(pair_of(net, head))
                fetch(owner_of(net, head))
                fetch(net.states_at + head * net.state_bytes)
        if net.headers != NONE:
            fetch(queue_of(net, (number << net.class_shift) + net.headers))
    elif kind == ACKNOWLEDGED:
        fetch(echo_of(net, slot))
        fetch(pair_of(net, number))
    elif kind == READY:
        fetch(pair_of(net, number))
        fetch(owner_of(net, number))
        fetch(net.states_at + number * net.state_bytes)


@inner
def fetch_next(net: Net, slot: int, key: int) -> None:
    """Fetch what is found by what was fetched first, some events before it is needed."""
    kind, number = key >> KEY_BITS, key & LARGEST_NUMBER
    if kind == ARRIVAL:
        if link_of(net, number).to_switch != NONE:
            wanted = hop_of(net, packet_of(net, slot).hop + 1).item
            fetch(link_of(net, wanted >> net.class_shift))
            fetch(queue_of(net, wanted))
        else:
            pair = packet_of(net, slot).pair
            if net.acknowledging == 1:
                fetch(echo_of(net, slot))
                fetch(pair_of(net, pair))
            else:
                # When it may next be told of a mark.
                fetch_third(pair_of(net, pair))
            fetch(flow_of(net, owner_of(net, pair).item))
    elif kind == WAKE and link_of(net, number).from_switch != NONE:
        head = queue_of(net, number << net.class_shift).head
        if head != NONE:
            if link_of(net, number).to_switch == NONE:
                fetch(owner_of(net, packet_of(net, head).pair))
            elif net.class_shift > 0:
                fetch(hop_of(net, packet_of(net, head).hop - 1))


@inner
def fetch_last(net: Net, slot: int, key: int) -> None:
    """Fetch what is found by what was fetched next, fewer events before it is needed."""
    number = key & LARGEST_NUMBER
    if key >> KEY_BITS == WAKE:
        head = queue_of(net, number << net.class_shift).head
        if head != NONE:
            if link_of(net, number).from_switch == NONE:
                fetch(flow_of(net, owner_of(net, head).item))
            elif link_of(net, number).to_switch == NONE:
                fetch(flow_of(net, owner_of(net, packet_of(net, head).pair).item))


@inner
def begin_ahead(net: Net, first: int, end: int) -> None:
    """Look ahead of events that have just been sorted, by where they stand in scratch, and fetch for the first of them."""
    net.ahead, net.ahead_end = first, end
    for at in range(first, min(first + FIRST, end)):
        fetch_first(net, slot_sorted(net, at), key_sorted(net, at))


@inner
def look_ahead(net: Net) -> None:
    """Fetch for events that come soon, as one is taken."""
    at, end = net.ahead, net.ahead_end
    net.ahead = at + 1
    if at + FIRST < end:
        fetch_first(net, slot_sorted(net, at + FIRST), key_sorted(net, at + FIRST))
    if at + FAR < end:
        fetch_next(net, slot_sorted(net, at + FAR), key_sorted(net, at + FAR))
    if at + NEAR < end:
        fetch_last(net, slot_sorted(net, at + NEAR), key_sorted(net, at + NEAR))
