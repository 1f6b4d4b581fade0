"""Which flows and queue pairs have rates that may change."""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import flow_of, listed_of, live_of, owner_of, pair_of, part_of, probe_of
from zcube.network.packet.state import BY_LAW, Net


@inner
def has_bytes(net: Net, pair: int) -> bool:
    """Return whether a queue pair has something left to send."""
    if net.pooled == 1:
        return flow_of(net, owner_of(net, pair).item).unsent > 0
    return pair_of(net, pair).unsent > 0


@inner
def left_bytes(net: Net, pair: int) -> float:
    """Return the wire bytes that a queue pair which is advanced by law has still to send, or its flow where they are pooled."""
    headed = net.mtu / net.mtu_payload
    if net.pooled == 0:
        return pair_of(net, pair).unsent * headed - probe_of(net, pair).sent
    row = flow_of(net, owner_of(net, pair).item)
    left = row.unsent * headed
    for each in range(row.first_pair, row.end_pair):
        left -= probe_of(net, each).sent
    return left


@inner
def is_led(net: Net, flow: int) -> bool:
    """Return whether a flow is advanced by the law of its rates."""
    return flow_of(net, flow).frozen == 1 and part_of(net, flow_of(net, flow).part).kind == BY_LAW


@inner
def list_pairs(net: Net, led: int) -> None:
    """List the queue pairs of flows that are advanced by the law of their rates (1), or also of those that move (0)."""
    net.listed = 0
    for at in range(net.active):
        flow = live_of(net, at).item
        by_law = is_led(net, flow)
        if by_law or (led == 0 and flow_of(net, flow).frozen == 0):
            for pair in range(flow_of(net, flow).first_pair, flow_of(net, flow).end_pair):
                sends = has_bytes(net, pair) and (not by_law or left_bytes(net, pair) > 0)
                listed_of(net, net.listed).item = 2 * pair + sends
                net.listed += 1
