"""NICs that send: queue pairs in turn, each at its pace, each packet on a path of the queue pair."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.balance import choose_path, choose_port, path_taken
from zcube.network.packet.calendar import give_back, put, take_free
from zcube.network.packet.control import (
    tell_acknowledged,
    tell_expired,
    tell_lost,
    tell_notified,
    tell_sent,
    tell_trimmed,
)
from zcube.network.packet.pauses import note_blocked
from zcube.network.packet.ports import next_queue, note_class, send_packet, transmit, wake_at_end
from zcube.network.packet.records import echo_of, flow_of, link_of, owner_of, packet_of, pair_of, path_of, queue_of, recovery_of
from zcube.network.packet.recovery import next_owed, note_path, open_place, path_gone_by, take_asked, take_overdue
from zcube.network.packet.relays import can_relay, has_work, relay_packet
from zcube.network.packet.state import (
    ALARM,
    CONGESTION,
    EMPTY,
    FIRST_SWITCH,
    HELD,
    IN_TURN,
    KEY_BITS,
    LISTED,
    NONE,
    NOTICE,
    ONE_PATH,
    PACED,
    READY,
    REPEAT,
    TIMEOUT,
    Net,
)
from zcube.network.packet.telemetry import begin_readings, measure


@inner
def stir(net: Net, link: int) -> None:
    """Let a link send if it is idle, or look again when it is."""
    if link_of(net, link).busy_ps > net.now_ps:
        wake_at_end(net, link)
    elif link_of(net, link).wakes == 0:
        serve(net, link)


@inner
def serve(net: Net, link: int) -> None:
    """Let an idle link send the next packet, if there is one."""
    shift = net.class_shift
    while True:
        queue = next_queue(net, link)
        if can_relay(net, link) and (queue == NONE or link_of(net, link).relay_turn == 1):
            link_of(net, link).relay_turn = 0
            relay_packet(net, link)
            break
        if queue == NONE:
            return
        link_of(net, link).relay_turn = 1
        is_data = queue - (link << shift) < net.classes
        if shift > 0 and is_data:
            link_of(net, link).turn = (queue + 1) & ((1 << shift) - 1)
        if link_of(net, link).from_switch != NONE or not is_data:
            send_packet(net, link, queue)
        elif not _send_from_pair(net, link, queue):
            continue
        if net.second_class > 0 and is_data:
            note_class(net, link, queue - (link << shift))
        break
    if has_work(net, link):
        wake_at_end(net, link)


@inner
def _send_from_pair(net: Net, link: int, queue: int) -> bool:
    """Send a packet of the queue pair whose turn it is; False if it has none left."""
    now_ps = net.now_ps
    pair = queue_of(net, queue).head
    queue_of(net, queue).head = pair_of(net, pair).next
    if net.acknowledging == 1 and not _may_send(net, pair):
        pair_of(net, pair).state = HELD
        if net.spanning == 1 and net.choice == IN_TURN:
            # The path that it did not take is the next one still.
            pair_of(net, pair).turn = max(path_taken(net, pair, pair_of(net, pair).ahead), 0)
        return False
    number = pair_of(net, pair).sent
    if net.selective == 1 and recovery_of(net, pair).owed > 0:
        number = next_owed(net, pair)
    payload = _next_payload(net, pair, number)
    if payload == 0:
        pair_of(net, pair).state = EMPTY
        return False
    packets = 1
    if payload > net.packet_payload:
        packets = (payload + net.packet_payload - 1) // net.packet_payload
    size = payload + packets * net.header
    slot = take_free(net)
    hop = _first_hop(net, pair)
    packet_of(net, slot).pair = pair
    packet_of(net, slot).hop = hop
    packet_of(net, slot).size = 2 * size
    packet_of(net, slot).number = number
    if number == pair_of(net, pair).sent:
        pair_of(net, pair).sent = number + 1
    if net.recalling == 1:
        note_path(net, pair, number, path_taken(net, pair, hop))
    if net.acknowledging == 1:
        echo_of(net, slot).sent_ps = now_ps
    if net.telemetry_ps > 0:
        begin_readings(net, slot)
    if queue_of(net, queue).resumed_ps > pair_of(net, pair).since_ps:
        note_blocked(net, queue, pair, hop, pair_of(net, pair).since_ps)
    next_ps = _next_time(net, pair, size)
    net.packet_hops += 1
    transmit(net, link, slot, payload)
    if net.repeating == 1:
        await_progress(net, pair)
    if not _has_more(net, pair):
        pair_of(net, pair).state = EMPTY
    elif net.spanning == 0 and next_ps <= link_of(net, link).busy_ps:
        enlist(net, pair, queue, max(next_ps, now_ps))
    else:
        pair_of(net, pair).state = PACED
        if net.spanning == 1 and next_ps <= now_ps and net.ready == NONE:
            net.ready = pair
            return True
        slot = take_free(net)
        packet_of(net, slot).hop = queue
        put(net, slot, max(next_ps, now_ps), (READY << KEY_BITS) | pair)
    return True


@inner
def _has_more(net: Net, pair: int) -> bool:
    if net.repeating == 1 and pair_of(net, pair).sent < pair_of(net, pair).most:
        return True
    if net.selective == 1 and recovery_of(net, pair).owed > 0:
        return True
    if net.pooled == 1:
        return flow_of(net, owner_of(net, pair).item).unsent > 0
    return pair_of(net, pair).unsent > 0


@inner
def _next_payload(net: Net, pair: int, number: int) -> int:
    """Return the payload of a queue pair's next packet, taken from its bytes unless it is a repetition; 0 if none is left."""
    full = net.mtu_payload
    if net.repeating == 1 and number < pair_of(net, pair).most:
        net.repeats += 1
        return pair_of(net, pair).short_payload if number == pair_of(net, pair).short_number else full
    flow = owner_of(net, pair).item
    if net.pooled == 1:
        payload = min(full, flow_of(net, flow).unsent)
        flow_of(net, flow).unsent -= payload
    else:
        payload = min(full, pair_of(net, pair).unsent)
        pair_of(net, pair).unsent -= payload
    if payload > 0:
        if net.repeating == 1:
            pair_of(net, pair).most = number + 1
        if net.selective == 1:
            open_place(net, pair, number)
        if payload < full:
            pair_of(net, pair).short_number = number
            pair_of(net, pair).short_payload = payload
    return payload


@inner
def _first_hop(net: Net, pair: int) -> int:
    """Return where the path of a queue pair's next packet begins; the first of its paths where the first switch picks one."""
    if net.spanning == 1 or net.choice == ONE_PATH:
        return pair_of(net, pair).ahead
    path = 0 if net.adaptive == FIRST_SWITCH else choose_path(net, pair)
    return path_of(net, pair_of(net, pair).first_path + path).item


@inner
def _next_time(net: Net, pair: int, size: int) -> int:
    """Return when a queue pair may send again, given that it sends so many bytes now; 0 if nothing but its port holds it."""
    tell_sent(net, pair, size)
    if pair_of(net, pair).sender.paced == 1:
        return net.now_ps + int(size / pair_of(net, pair).sender.rate + 0.5)
    return 0


@inner
def _may_send(net: Net, pair: int) -> bool:
    """Return whether a queue pair's window lets it send a packet more; as many as make a receiver acknowledge it always may."""
    under_way = pair_of(net, pair).sent - pair_of(net, pair).acknowledged
    if net.selective == 1:
        under_way -= recovery_of(net, pair).owed
        if recovery_of(net, pair).owed == 0 and pair_of(net, pair).sent >= recovery_of(net, pair).known + net.window:
            return False
    return under_way < net.ack_every or (under_way + 1) * net.mtu <= pair_of(net, pair).sender.window_bytes


@inner
def hear(net: Net, pair: int, slot: int, kind: int) -> None:
    """Take what a receiver or the clock tells a queue pair; the record is free afterwards.

    A queue pair whose window this opens goes on; its pace holds as before.
    """
    number, hop = packet_of(net, slot).number, packet_of(net, slot).hop
    give_back(net, slot)
    pair_of(net, pair).sender.told_path = NONE
    if kind == NOTICE:
        if net.control == NONE:
            pair_of(net, pair).sender.told_path = path_taken(net, pair, hop)
        tell_notified(net, pair)
    elif kind == REPEAT and net.selective == 1:
        pair_of(net, pair).sender.told_path = echo_of(net, slot).path
        _repeat_asked(net, pair, CONGESTION - 1 - number, echo_of(net, slot).arrived)
    elif kind == REPEAT and net.ordered == 1:
        repeat_from(net, pair, CONGESTION - 1 - number, 0)
    elif kind == ALARM:
        tell_expired(net, pair)
    elif net.acknowledging == 1:
        _take_echo(net, pair, slot)
    if net.acknowledging == 1 and pair_of(net, pair).state == HELD and _may_send(net, pair):
        rouse(net, pair)


@inner
def _take_echo(net: Net, pair: int, slot: int) -> None:
    """Take what an acknowledgement carries."""
    echo = echo_of(net, slot)
    news = echo.arrived - pair_of(net, pair).acknowledged
    if net.selective == 1:
        recovery_of(net, pair).known = max(recovery_of(net, pair).known, echo.wanted)
    if news > 0:
        pair_of(net, pair).acknowledged += news
        pair_of(net, pair).sender.told_path = echo.path
        if net.telemetry_ps > 0:
            measure(net, pair, slot)
        tell_acknowledged(net, pair, news * net.mtu, echo.marked * net.mtu, echo.sent_ps)


@inner
def enlist(net: Net, pair: int, queue: int, since_ps: int) -> None:
    """Put a queue pair at the end of the round of its NIC port, given by its queue."""
    pair_of(net, pair).state = LISTED
    pair_of(net, pair).since_ps = since_ps
    pair_of(net, pair).next = NONE
    if queue_of(net, queue).head == NONE:
        queue_of(net, queue).head = pair
    else:
        pair_of(net, queue_of(net, queue).tail).next = pair
    queue_of(net, queue).tail = pair


@inner
def rouse(net: Net, pair: int) -> None:
    """Let a queue pair that has something to send take its turns."""
    if net.spanning == 1:
        choose_port(net, pair)
    take_turns(net, pair, pair_of(net, pair).queue)


@inner
def take_turns(net: Net, pair: int, queue: int) -> None:
    """Let a queue pair take its turns at a NIC port, given by its queue."""
    enlist(net, pair, queue, net.now_ps)
    stir(net, queue >> net.class_shift)


@inner
def await_progress(net: Net, pair: int) -> None:
    """Check after a while that what was sent has arrived."""
    if pair_of(net, pair).timeout == 0:
        pair_of(net, pair).timeout = 1
        put(net, take_free(net), net.now_ps + net.timeout_ps, (TIMEOUT << KEY_BITS) | pair)


@inner
def repeat_from(net: Net, pair: int, number: int, timed_out: int) -> None:
    """Go back to a packet, all before which has arrived, and send everything from it on again."""
    if number < pair_of(net, pair).sent:
        pair_of(net, pair).sent = number
        pair_of(net, pair).acknowledged = max(pair_of(net, pair).acknowledged, number)
        tell_lost(net, pair, timed_out)
        if pair_of(net, pair).state == EMPTY or pair_of(net, pair).state == HELD:
            rouse(net, pair)


@inner
def _repeat_asked(net: Net, pair: int, first: int, end: int) -> None:
    """Send again what the receiver has asked for of some numbers."""
    count = 0
    if net.recalling == 1 and pair_of(net, pair).paths > 1 and pair_of(net, pair).sender.told_path == NONE:
        # What left a gap was lost, and its path is known here.
        for number in range(max(first, pair_of(net, pair).wanted), end):
            if take_asked(net, pair, number, number + 1) > 0:
                count += 1
                _tell_gone(net, pair, number, 0)
    else:
        count = take_asked(net, pair, first, end)
        if count > 0:
            tell_trimmed(net, pair, count * net.mtu)
    if count > 0 and pair_of(net, pair).state == EMPTY:
        rouse(net, pair)


@inner
def _tell_gone(net: Net, pair: int, number: int, timed_out: int) -> None:
    """Tell of a lost packet and its path."""
    pair_of(net, pair).sender.told_path = path_gone_by(net, pair, number)
    tell_lost(net, pair, timed_out)


@inner
def check_progress(net: Net, pair: int) -> None:
    """Take a timeout: go back if nothing new has arrived since the last check, or send again what has been away for as long."""
    pair_of(net, pair).timeout = 0
    pair_of(net, pair).sender.told_path = NONE
    wanted = pair_of(net, pair).wanted
    if wanted >= pair_of(net, pair).most:
        return
    await_progress(net, pair)
    seen = pair_of(net, pair).arrived if net.selective == 1 else wanted
    if seen == pair_of(net, pair).seen:
        _note_try(net, pair)
    else:
        pair_of(net, pair).tries = 0
    if net.selective == 1:
        _repeat_overdue(net, pair)
    elif seen == pair_of(net, pair).seen:
        net.timeouts += 1
        repeat_from(net, pair, wanted, 1)
    pair_of(net, pair).seen = seen


@inner
def _repeat_overdue(net: Net, pair: int) -> None:
    """Send again what was sent before the last timeout and has not arrived."""
    count = 0
    for number in range(pair_of(net, pair).wanted, pair_of(net, pair).sent):
        if take_overdue(net, pair, number):
            count += 1
            if net.recalling == 1:
                _tell_gone(net, pair, number, 1)
    recovery_of(net, pair).checked = pair_of(net, pair).sent
    if count > 0:
        net.timeouts += 1
        if net.recalling == 0:
            tell_lost(net, pair, 1)
        if pair_of(net, pair).state == EMPTY or pair_of(net, pair).state == HELD:
            rouse(net, pair)


@inner
def _note_try(net: Net, pair: int) -> None:
    """Count a timeout behind which nothing has arrived; where links may be down, too many end the run."""
    pair_of(net, pair).tries += 1
    if net.failing == 1 and pair_of(net, pair).tries > net.retry_limit:
        net.given_up = pair
