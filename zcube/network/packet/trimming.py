"""Packet trimming: a switch cuts the payload of a packet that has no room, and sends its header on before all data.

Headers have a queue of their own at every port, with memory of its own. They are neither marked nor paused, and are taken in
whole before they go on. One that finds its queue full is dropped.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.calendar import give_back
from zcube.network.packet.ports import append, payload_of
from zcube.network.packet.receivers import receive_trimmed
from zcube.network.packet.records import hop_of, link_of, packet_of, queue_of
from zcube.network.packet.senders import stir
from zcube.network.packet.state import BROKEN, NONE, Net


@inner
def trim(net: Net, slot: int, wanted: int) -> None:
    """Cut a packet that a queue cannot take, and send on what is left; a cell leaves the headers of its packets."""
    packets = (payload_of(net, slot) + net.packet_payload - 1) // net.packet_payload
    packet_of(net, slot).size = 2 * min(packets * net.trim_bytes, packet_of(net, slot).size >> 1)
    queue_of(net, wanted).trims += 1
    net.trims += 1
    _forward(net, slot, wanted)


@inner
def arrive_trimmed(net: Net, slot: int, link: int) -> None:
    """Take a header at the end of a link."""
    if net.failing == 1 and link_of(net, link).down & BROKEN != 0:
        net.headers_lost += 1
        give_back(net, slot)
        return
    wanted = hop_of(net, packet_of(net, slot).hop + 1).item
    if wanted == NONE:
        receive_trimmed(net, slot)
    else:
        packet_of(net, slot).hop += 1
        _forward(net, slot, wanted)


@inner
def _forward(net: Net, slot: int, wanted: int) -> None:
    """Put a header into the queue of headers of the port that its packet wants."""
    link = wanted >> net.class_shift
    queue = (link << net.class_shift) + net.headers
    if queue_of(net, queue).bytes + (packet_of(net, slot).size >> 1) > net.trim_room:
        queue_of(net, queue).drops += 1
        net.headers_lost += 1
        give_back(net, slot)
    else:
        append(net, queue, slot)
        stir(net, link)
