"""How the queue pairs of a NIC port share it while they are advanced by rate.

A port serves in turn those that have a packet to send. A queue pair without a rate of its own always has one; one with a rate
sends a packet so long after the one before as its rate asks for, however long that one had to wait: for those without a rate,
and where the port has none of these, for what it is just sending for others.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import claim_of, link_of, listed_of, pair_of, probe_of
from zcube.network.packet.state import Net

#: What is done for every queue pair before the next is for any.
CLEAR, COUNT, SUM, WAIT, SHARE = range(5)


@inner
def share_ports(net: Net) -> None:
    """Set the rates of the queue pairs listed."""
    for what in range(CLEAR, SHARE + 1):
        for at in range(net.listed):
            pair, sends = listed_of(net, at).item >> 1, listed_of(net, at).item & 1
            if what == CLEAR:
                nic = claim_of(net, _port_of(net, pair))
                nic.paced = nic.served = 0.0
                nic.free = nic.pairs = 0
                probe_of(net, pair).rate = 0.0
            elif sends == 1:
                if what == COUNT:
                    claim_of(net, _port_of(net, pair)).pairs += 1
                    claim_of(net, _port_of(net, pair)).free += 1 - pair_of(net, pair).sender.paced
                elif what == SUM:
                    _add(net, pair)
                elif what == WAIT:
                    _wait(net, pair)
                else:
                    _share(net, pair)


@inner
def _add(net: Net, pair: int) -> None:
    """Add a queue pair's rate to those of its port that have one."""
    probe, nic = probe_of(net, pair), claim_of(net, _port_of(net, pair))
    others = nic.free - (1 - pair_of(net, pair).sender.paced)
    # For a packet of each that always has one, and for half of the one that the port is sending.
    probe.turn = (others + 0.5) / _bytes_per_ps(net, pair) if others > 0 else 0.0
    probe.scale = 1.0
    if pair_of(net, pair).sender.paced == 1:
        nic.paced += rate_of(net, pair)


@inner
def _wait(net: Net, pair: int) -> None:
    """Let a queue pair with a rate wait for packets of others, and add what it then sends to what its port does."""
    probe, nic = probe_of(net, pair), claim_of(net, _port_of(net, pair))
    if pair_of(net, pair).sender.paced == 1:
        if nic.free == 0 and nic.pairs > 1:
            rate, capacity = rate_of(net, pair), _bytes_per_ps(net, pair)
            others = nic.paced - rate
            # It finds its port sending for others as often as they have a packet on it, on average half sent. With rates like
            # its own they wait once, and are in step.
            apart = abs(rate - others / (nic.pairs - 1)) / max(rate, others / (nic.pairs - 1))
            probe.turn = min(apart / net.rates_apart, 1.0) * others / (2.0 * capacity * capacity)
        nic.served += rate_of(net, pair)


@inner
def _share(net: Net, pair: int) -> None:
    """Set a queue pair's rate by what all of its port ask for."""
    probe, nic, capacity = probe_of(net, pair), claim_of(net, _port_of(net, pair)), _bytes_per_ps(net, pair)
    others = nic.served - rate_of(net, pair) if pair_of(net, pair).sender.paced == 1 else nic.served
    if nic.free > 0:
        # What those without a rate have is at least their share of the turns.
        free = max(capacity - nic.served, capacity * nic.free / nic.pairs)
        probe.free = free / nic.free
    else:
        free = 0.0
        probe.free = max(capacity - others, capacity / nic.pairs)
    if nic.served > 0:
        probe.scale = min(1.0, (capacity - free) / nic.served)
    probe.rate = rate_of(net, pair)


@inner
def rate_of(net: Net, pair: int) -> float:
    """Return the rate at which a queue pair with something to send sends, in wire bytes per picosecond."""
    probe, sender = probe_of(net, pair), pair_of(net, pair).sender
    return probe.free if sender.paced == 0 else probe.scale / (1.0 / sender.rate + probe.turn)


@inner
def _port_of(net: Net, pair: int) -> int:
    return pair_of(net, pair).queue >> net.class_shift


@inner
def _bytes_per_ps(net: Net, pair: int) -> float:
    return link_of(net, _port_of(net, pair)).kbps / 8e9
