"""In-band telemetry: what switches write into packets, and what a sender makes of it.

As in HPCC (Li et al., SIGCOMM 2019, algorithm 1): a switch that puts a packet on a link writes down what stands in the queue
behind it, what the link has sent so far, and the time; acknowledgements bring that to the sender, which compares it with what
came before from the same place of its path. Nothing of this exists in runs whose control asks for none.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import hop_of, known_of, link_of, packet_of, pair_of, queue_of, reading_of, sent_of
from zcube.network.packet.state import READINGS, Net


@inner
def begin_readings(net: Net, slot: int) -> None:
    """Let a packet start without readings; the first of its rows counts them."""
    reading_of(net, slot * READINGS).hop = 0


@inner
def take_reading(net: Net, link: int, slot: int, size: int) -> None:
    """Count what a link sends, and if a switch sends it write it into a data packet."""
    before = sent_of(net, link).item
    sent_of(net, link).item = before + size
    first = slot * READINGS
    count = reading_of(net, first).hop + 1
    if packet_of(net, slot).number < 0 or link_of(net, link).from_switch < 0 or count == READINGS:
        return
    hop = packet_of(net, slot).hop
    row = reading_of(net, first + count)
    row.time_ps, row.sent, row.hop = net.now_ps, before, hop
    row.queue = queue_of(net, hop_of(net, hop).item).bytes
    reading_of(net, first).hop = count


@inner
def hand_readings(net: Net, slot: int, answer: int) -> None:
    """Copy a packet's readings into its acknowledgement."""
    if slot == answer:
        return
    source, target = slot * READINGS, answer * READINGS
    count = reading_of(net, source).hop
    reading_of(net, target).hop = count
    for at in range(1, count + 1):
        told, row = reading_of(net, source + at), reading_of(net, target + at)
        row.time_ps, row.sent, row.queue, row.hop = told.time_ps, told.sent, told.queue, told.hop


@inner
def measure(net: Net, pair: int, slot: int) -> None:
    """Bring a sender's estimate of how full the fullest link of its path is up to date, by an acknowledgement's readings."""
    time_ps = net.telemetry_ps
    fullest, span_ps = -1.0, 0
    first = slot * READINGS
    for at in range(1, reading_of(net, first).hop + 1):
        row = reading_of(net, first + at)
        known = known_of(net, row.hop)
        since_ps = row.time_ps - known.time_ps
        if known.hop == 1 and since_ps <= 0:
            continue
        if known.hop == 1:
            rate = link_of(net, hop_of(net, row.hop).item >> net.class_shift).kbps / 8e9
            full = min(row.queue, known.queue) / (rate * time_ps) + (row.sent - known.sent) / since_ps / rate
            if full > fullest:
                fullest, span_ps = full, since_ps
        known.time_ps, known.sent, known.queue, known.hop = row.time_ps, row.sent, row.queue, 1
    if fullest >= 0.0:
        weight = min(span_ps, time_ps) / time_ps
        sender = pair_of(net, pair).sender
        sender.utilisation = (1.0 - weight) * sender.utilisation + weight * fullest
