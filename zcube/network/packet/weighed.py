"""Which flows and queue pairs have rates that may change."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import flow_of, owner_of, pair_of, part_of
from zcube.network.packet.state import BY_LAW, Net


@inner
def has_bytes(net: Net, pair: int) -> bool:
    """Return whether a queue pair has something left to send."""
    if net.pooled == 1:
        return flow_of(net, owner_of(net, pair).item).unsent > 0
    return pair_of(net, pair).unsent > 0


@inner
def is_led(net: Net, flow: int) -> bool:
    """Return whether a flow is advanced by the law of its rates."""
    return flow_of(net, flow).frozen == 1 and part_of(net, flow_of(net, flow).part).kind == BY_LAW


@inner
def is_weighed(net: Net, flow: int) -> bool:
    """Return whether a flow's rates and queues may change: it moves packet by packet, or by the law of its rates."""
    return flow_of(net, flow).frozen == 0 or is_led(net, flow)
