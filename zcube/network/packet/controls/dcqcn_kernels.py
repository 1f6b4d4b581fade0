"""DCQCN's reaction point: how a queue pair's rate falls with congestion notifications and recovers.

Zhu et al., "Congestion Control for Large-Scale RDMA Deployments", SIGCOMM 2015, section 3. The timers are not events: before
a queue pair sends or is cut, all expiries up to the present are applied in order, which gives the same rates. A queue pair
heeds what it sends while its rate lies below the line.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner, kernel
from zcube.network.packet.controls.declared import Handlers

#: A rate this close to the line counts as recovered, since halving the distance never ends.
RECOVERED = 0.999

STATE = np.dtype(
    [
        ("clock_ps", "i8"),  # last expiry of the rate timer
        ("counted_bytes", "i8"),  # sent when the byte counter last expired
        ("target", "f8"),
        ("timers", "i4"),  # expiries since the last cut
        ("counters", "i4"),
        ("alpha", "f8"),
        ("alpha_ps", "i8"),  # when it was last raised
        ("line", "f8"),  # the sender's, which lies on another cache line than what is read at every packet
    ],
    align=True,
)


@kernel
def start(sender: Any, state: Any, dcqcn: Any, now_ps: int) -> None:
    """Begin at the line rate."""
    state.alpha = 1.0
    state.line = sender.line


@kernel
def cut_rate(sender: Any, state: Any, dcqcn: Any, now_ps: int) -> None:
    """Take a congestion notification."""
    _catch_up(sender, state, dcqcn, now_ps)
    gain = dcqcn.gain
    clamped = dcqcn.clamp_target == 1 or state.timers > 0
    if sender.heeds == 0:
        sender.heeds = sender.paced = 1
        sender.rate = state.line
        clamped = True
    alpha = state.alpha
    # Alpha is what it began with until the first notification: its timer runs from there.
    idle = (now_ps - state.alpha_ps) // dcqcn.alpha_timer_ps if sender.cuts > 0 else 0
    factor = 1.0 - gain
    while idle > 0:
        if idle & 1:
            alpha *= factor
        factor *= factor
        idle >>= 1
    if clamped:
        state.target = sender.rate
    sender.rate = max(sender.rate * (1.0 - alpha / 2.0), state.line * dcqcn.least_rate)
    state.alpha = (1.0 - gain) * alpha + gain
    state.alpha_ps = state.clock_ps = now_ps
    state.counted_bytes = sender.sent_bytes
    state.timers = state.counters = 0
    sender.cuts += 1
    _heed(sender, state, dcqcn)


@kernel
def recover(sender: Any, state: Any, dcqcn: Any, now_ps: int) -> None:
    """Apply the timer and then the byte counter before a packet is sent."""
    _catch_up(sender, state, dcqcn, now_ps)
    if sender.heeds == 1 and sender.sent_bytes - state.counted_bytes >= dcqcn.byte_counter_bytes:
        state.counted_bytes += dcqcn.byte_counter_bytes
        state.counters += 1
        _increase(sender, state, dcqcn)
    _heed(sender, state, dcqcn)


@inner
def _heed(sender: Any, state: Any, dcqcn: Any) -> None:
    """Ask to be told of the first packet after the next expiry of either."""
    sender.heed_ps = state.clock_ps + dcqcn.rate_timer_ps
    sender.heed_bytes = state.counted_bytes + dcqcn.byte_counter_bytes


@inner
def _catch_up(sender: Any, state: Any, dcqcn: Any, now_ps: int) -> None:
    """Apply the expiries of the rate timer up to the present."""
    while sender.heeds == 1 and now_ps - state.clock_ps >= dcqcn.rate_timer_ps:
        state.clock_ps += dcqcn.rate_timer_ps
        state.timers += 1
        _increase(sender, state, dcqcn)


@inner
def _increase(sender: Any, state: Any, dcqcn: Any) -> None:
    line, fast = state.line, dcqcn.fast_recovery_steps
    timers, counters = state.timers, state.counters
    if min(timers, counters) > fast:
        state.target += (min(timers, counters) - fast) * dcqcn.hyper_increase * line
    elif max(timers, counters) > fast:
        state.target += dcqcn.additive_increase * line
    state.target = min(state.target, line)
    sender.rate = (sender.rate + state.target) / 2.0
    if sender.rate >= RECOVERED * line:
        sender.rate = line
        sender.heeds, sender.paced = 0, sender.capped


HANDLERS = Handlers(STATE, started=start, sent=recover, notified=cut_rate)
