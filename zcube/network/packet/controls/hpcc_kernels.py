"""HPCC's sender: a window that keeps the bytes under way on the fullest link of the path at a part of what it holds.

Li et al., "HPCC: High Precision Congestion Control", SIGCOMM 2019, algorithm 1: every acknowledgement sets the window anew from
a reference window, which is itself renewed once a round trip. The window is also a pace. What the estimate is made of is
:mod:`zcube.network.packet.telemetry`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner, kernel
from zcube.network.packet.controls.declared import Handlers
from zcube.network.packet.state import NEVER

STATE = np.dtype(
    [
        ("window", "f8"),  # reference, bytes
        ("acknowledged", "i8"),  # bytes
        ("renewed", "i8"),  # sent when the reference was renewed
        ("stage", "i8"),  # round trips of additive increase since it fell or was set by the estimate
    ],
    align=True,
)


@kernel
def start(sender: Any, state: Any, hpcc: Any, now_ps: int) -> None:
    """Begin at the line rate."""
    sender.utilisation = 1.0
    sender.heeds, sender.heed_bytes, sender.heed_ps = 1, NEVER, NEVER
    state.window = sender.line * hpcc.base_rtt_ps
    _set(sender, hpcc, state.window)


@kernel
def steer(sender: Any, state: Any, hpcc: Any, now_ps: int, size_bytes: int, marked_bytes: int, round_trip_ps: int) -> None:
    """Take an acknowledgement; the first only begins what later ones are compared with."""
    state.acknowledged += size_bytes
    if state.acknowledged == size_bytes:
        state.renewed = sender.sent_bytes
        return
    renews = state.acknowledged > state.renewed
    most = sender.line * hpcc.base_rtt_ps
    if sender.utilisation >= hpcc.target_utilisation or state.stage >= hpcc.increase_stages:
        window = state.window / (sender.utilisation / hpcc.target_utilisation) + hpcc.additive_increase_bytes
        stage = 0
    else:
        window = state.window + hpcc.additive_increase_bytes
        stage = state.stage + 1
    window = min(max(window, most * hpcc.least_rate), most)
    if renews:
        if window < state.window:
            sender.cuts += 1
        state.window, state.stage, state.renewed = window, stage, sender.sent_bytes
    _set(sender, hpcc, window)


@kernel
def lose(sender: Any, state: Any, hpcc: Any, now_ps: int, timed_out: int) -> None:
    """Count what was lost as no longer under way."""
    state.acknowledged = state.renewed = sender.sent_bytes


@inner
def _set(sender: Any, hpcc: Any, window: float) -> None:
    sender.window_bytes = int(window)
    sender.paced, sender.rate = 1, window / hpcc.base_rtt_ps


HANDLERS = Handlers(STATE, started=start, acknowledged=steer, lost=lose)
