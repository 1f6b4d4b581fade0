"""DCQCN's reaction point: how a queue pair's rate falls with congestion notifications and recovers.

Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, section 3. The timers are not events: before
a queue pair sends or is cut, all expiries up to the present are applied in order, which gives the same rates.
"""

from __future__ import annotations

from zcube.network.kernels import inner
from zcube.network.packet.records import pair_of
from zcube.network.packet.state import Net

#: A rate this close to the line counts as recovered, since halving the distance never ends.
RECOVERED = 0.999


@inner
def cut_rate(net: Net, pair: int, now_ps: int) -> None:
    """Take a congestion notification."""
    catch_up(net, pair, now_ps)
    gain = net.gain
    if pair_of(net, pair).cut == 0:
        pair_of(net, pair).cut = 1
        pair_of(net, pair).rate = pair_of(net, pair).line
    alpha = pair_of(net, pair).alpha
    # Alpha is what it began with until the first notification: its timer runs from there.
    idle = (now_ps - pair_of(net, pair).alpha_ps) // net.alpha_ps if pair_of(net, pair).cuts > 0 else 0
    factor = 1.0 - gain
    while idle > 0:
        if idle & 1:
            alpha *= factor
        factor *= factor
        idle >>= 1
    pair_of(net, pair).target = pair_of(net, pair).rate
    least = pair_of(net, pair).line * net.least
    pair_of(net, pair).rate = max(pair_of(net, pair).rate * (1.0 - alpha / 2.0), least)
    pair_of(net, pair).alpha = (1.0 - gain) * alpha + gain
    pair_of(net, pair).alpha_ps = now_ps
    pair_of(net, pair).clock_ps = now_ps
    pair_of(net, pair).counter = 0
    pair_of(net, pair).timers = 0
    pair_of(net, pair).counters = 0
    pair_of(net, pair).cuts += 1
    net.cuts += 1


@inner
def catch_up(net: Net, pair: int, now_ps: int) -> None:
    """Apply the expiries of the rate timer up to the present."""
    timer_ps = net.timer_ps
    while pair_of(net, pair).cut == 1 and now_ps - pair_of(net, pair).clock_ps >= timer_ps:
        pair_of(net, pair).clock_ps += timer_ps
        pair_of(net, pair).timers += 1
        _increase(net, pair)


@inner
def count_bytes(net: Net, pair: int, size: int) -> None:
    """Count what was sent, and apply the expiry of the byte counter."""
    pair_of(net, pair).counter += size
    if pair_of(net, pair).counter >= net.counter:
        pair_of(net, pair).counter -= net.counter
        pair_of(net, pair).counters += 1
        _increase(net, pair)


@inner
def _increase(net: Net, pair: int) -> None:
    line, fast = pair_of(net, pair).line, net.fast
    timers, counters = pair_of(net, pair).timers, pair_of(net, pair).counters
    if min(timers, counters) > fast:
        pair_of(net, pair).target += (min(timers, counters) - fast) * net.hyper * line
    elif max(timers, counters) > fast:
        pair_of(net, pair).target += net.additive * line
    pair_of(net, pair).target = min(pair_of(net, pair).target, line)
    pair_of(net, pair).rate = (pair_of(net, pair).rate + pair_of(net, pair).target) / 2.0
    if pair_of(net, pair).rate >= RECOVERED * line:
        pair_of(net, pair).rate = line
        pair_of(net, pair).cut = 0
