"""NICs that receive: completion, order, congestion notifications, and asking again for what was lost."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.balance import path_taken
from zcube.network.packet.calendar import give_back, put, take_free
from zcube.network.packet.ports import append, payload_of
from zcube.network.packet.records import (
    done_of,
    echo_of,
    flow_of,
    hop_of,
    link_of,
    live_of,
    owner_of,
    packet_of,
    pair_of,
    path_of,
    recovery_of,
)
from zcube.network.packet.recovery import ask_between, ask_for, hold, is_far_ahead, note_arrival
from zcube.network.packet.senders import hear, stir
from zcube.network.packet.state import ACKNOWLEDGE, ACKNOWLEDGED, CONGESTION, KEY_BITS, NONE, NOTICE, ONE_PATH, REPEAT, Net
from zcube.network.packet.telemetry import hand_readings


@inner
def receive(net: Net, slot: int) -> None:
    """Take a packet that has reached a host."""
    number = packet_of(net, slot).number
    if number < 0 and net.control != NONE:
        _receive_control(net, slot, number)
        return
    pair = packet_of(net, slot).pair
    if packet_of(net, slot).size & 1 and net.now_ps >= pair_of(net, pair).notice_ps:
        pair_of(net, pair).notice_ps = net.now_ps + net.notice_ps
        net.notices += 1
        _notify(net, pair, NOTICE, CONGESTION, packet_of(net, slot).hop)
    if net.selective == 1:
        if not _take_once(net, pair, number):
            give_back(net, slot)
            return
    elif net.ordered == 1:
        if not _take_in_order(net, pair, number):
            give_back(net, slot)
            return
    elif net.choice != ONE_PATH and pair_of(net, pair).paths > 1:
        if number < pair_of(net, pair).highest:
            pair_of(net, pair).late += 1
            net.late += 1
        else:
            pair_of(net, pair).highest = number + 1
    payload, hop, sent_ps = payload_of(net, slot), packet_of(net, slot).hop, 0
    if net.acknowledging == 1:
        pair_of(net, pair).arrived += 1
        pair_of(net, pair).marked += packet_of(net, slot).size & 1
        sent_ps = echo_of(net, slot).sent_ps
    give_back(net, slot)
    flow = owner_of(net, pair).item
    flow_of(net, flow).received += payload
    last = flow_of(net, flow).received == flow_of(net, flow).size
    if net.acknowledging == 1:
        if last or pair_of(net, pair).arrived % net.ack_every == 0 or (net.selective == 1 and is_far_ahead(net, pair)):
            _acknowledge(net, pair, slot, hop, sent_ps)
    elif net.control != NONE and (last or (number + 1) % net.ack_every == 0):
        _notify(net, pair, ACKNOWLEDGED, ACKNOWLEDGE, NONE)
    if last:
        complete(net, flow)


@inner
def _take_in_order(net: Net, pair: int, number: int) -> bool:
    """Take the packet that is next, or one that can be held until it is; False, asking for all from the next on, if not."""
    wanted = pair_of(net, pair).wanted
    if number >= wanted + net.holds:
        if pair_of(net, pair).asked != wanted:
            pair_of(net, pair).asked = wanted
            _notify(net, pair, REPEAT, CONGESTION - 1 - wanted, NONE)
        return False
    if net.holds > 1:
        return hold(net, pair, number)
    if number == wanted:
        pair_of(net, pair).wanted = wanted + 1
    return number == wanted


@inner
def _take_once(net: Net, pair: int, number: int) -> bool:
    """Take a packet, asking for those that it shows to be lost; False if it had arrived before."""
    end = pair_of(net, pair).highest
    if not note_arrival(net, pair, number):
        net.duplicates += 1
        return False
    gap = net.gap if pair_of(net, pair).paths > 1 else 0
    if number >= end and ask_between(net, pair, end - gap, number + 1 - gap):
        _ask(net, pair, max(end - gap, 0), number + 1 - gap, NONE)
    return True


@inner
def receive_trimmed(net: Net, slot: int) -> None:
    """Ask for a packet of which only the header has reached a host."""
    pair, number, hop = packet_of(net, slot).pair, packet_of(net, slot).number, packet_of(net, slot).hop
    give_back(net, slot)
    if ask_for(net, pair, number):
        _ask(net, pair, number, number + 1, path_taken(net, pair, hop))


@inner
def _ask(net: Net, pair: int, first: int, end: int, path: int) -> None:
    """Ask a sender for what is marked so of some numbers, of which it is known, or not, what path they took."""
    echo = echo_of(net, net.free)
    echo.arrived, echo.path = end, path
    _notify(net, pair, REPEAT, CONGESTION - 1 - first, NONE)


@inner
def complete(net: Net, flow: int) -> None:
    """Note that all of a flow has arrived."""
    late = 0
    shift = net.class_shift
    for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
        late += pair_of(net, pair).late
        first = pair_of(net, pair).first_path
        for path in range(first, first + pair_of(net, pair).paths):
            hop = path_of(net, path).item
            while hop_of(net, hop).item != NONE:
                link_of(net, hop_of(net, hop).item >> shift).active -= 1
                hop += 1
    flow_of(net, flow).finish_ps = net.now_ps + late * net.reorder_ps
    done_of(net, net.done_count).item = flow
    net.done_count += 1
    net.active -= 1
    place, moved = flow_of(net, flow).place, live_of(net, net.active).item
    live_of(net, place).item = moved
    flow_of(net, moved).place = place


@inner
def _acknowledge(net: Net, pair: int, slot: int, hop: int, sent_ps: int) -> None:
    """Acknowledge to a queue pair's control what has arrived, the last of it in a record, by a path and sent at a time."""
    echo = echo_of(net, net.free)
    echo.sent_ps, echo.arrived, echo.marked = sent_ps, pair_of(net, pair).arrived, pair_of(net, pair).marked
    echo.path = path_taken(net, pair, hop)
    pair_of(net, pair).marked = 0
    if net.telemetry_ps > 0:
        hand_readings(net, slot, net.free)
    if net.selective == 1:
        echo.wanted = recovery_of(net, pair).told = pair_of(net, pair).wanted
    # As events, those of one picosecond are taken in the order of what has arrived.
    _notify(net, pair, ACKNOWLEDGED, ACKNOWLEDGE if net.control != NONE else pair_of(net, pair).arrived, NONE)


@inner
def _notify(net: Net, pair: int, kind: int, number: int, hop: int) -> None:
    """Tell a queue pair's sender something, in the first free record: by a packet or after the delay of the way back.

    What is not a packet also tells of the path that a data packet came by: where in hops it has arrived.
    """
    slot = take_free(net)
    if net.control != NONE:
        packet_of(net, slot).pair = pair
        packet_of(net, slot).size = 2 * net.ack_bytes
        packet_of(net, slot).number = number
        packet_of(net, slot).hop = pair_of(net, pair).reverse
        queue = hop_of(net, pair_of(net, pair).reverse).item
        append(net, queue, slot)
        stir(net, queue >> net.class_shift)
        return
    packet_of(net, slot).number, packet_of(net, slot).hop = number, hop
    put(net, slot, net.now_ps + pair_of(net, pair).reverse_ps, (kind << KEY_BITS) | pair)


@inner
def _receive_control(net: Net, slot: int, number: int) -> None:
    pair = packet_of(net, slot).pair
    if number == ACKNOWLEDGE and net.acknowledging == 0:
        give_back(net, slot)
    else:
        hear(net, pair, slot, ACKNOWLEDGED if number == ACKNOWLEDGE else NOTICE if number == CONGESTION else REPEAT)
