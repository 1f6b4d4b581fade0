"""Swift's sender: a window in packets that grows while round trips are below a target, and falls by what they are above it.

Kumar et al., "Swift: Delay is Simple and Effective for Congestion Control in the Datacenter", SIGCOMM 2020, algorithm 1. Its
line 27 notes a decrease also when the window has stayed as it was, after which lasting congestion would never lower it again;
here, as its text has it, only when the window has fallen. Below one packet the window is a pace.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zcube.network.kernels import inner, kernel
from zcube.network.packet.controls.declared import Handlers

STATE = np.dtype(
    [
        ("packet_bytes", "i8"),
        ("hops", "i8"),
        ("window", "f8"),  # packets
        ("round_trip_ps", "i8"),  # the last one
        ("cut_ps", "i8"),  # when the window last fell
        ("timeouts", "i8"),  # in a row
    ],
    align=True,
)


@kernel
def start(sender: Any, state: Any, swift: Any, now_ps: int) -> None:
    """Begin with a window that fills the line at the target delay, or the one given."""
    target_ps = swift.base_target_ps + state.hops * swift.hop_target_ps
    state.round_trip_ps = target_ps
    state.cut_ps = now_ps - target_ps
    state.window = swift.first_window
    if swift.first_window == 0.0:
        state.window = sender.line * target_ps / state.packet_bytes
    _set(sender, state, swift)


@kernel
def steer(sender: Any, state: Any, swift: Any, now_ps: int, size_bytes: int, marked_bytes: int, round_trip_ps: int) -> None:
    """Take an acknowledgement."""
    state.timeouts = 0
    window = state.window
    state.round_trip_ps = round_trip_ps
    target_ps = _target_ps(state, swift)
    if round_trip_ps < target_ps:
        packets = swift.additive_increase * (size_bytes / state.packet_bytes)
        state.window = window + (packets / window if window >= 1.0 else packets)
        _set(sender, state, swift)
    elif now_ps - state.cut_ps >= round_trip_ps:
        left = 1.0 - swift.decrease * ((round_trip_ps - target_ps) / round_trip_ps)
        _cut(sender, state, swift, now_ps, max(left, 1.0 - swift.most_decrease))
    elif window < 1.0:
        # The pace follows the round trip.
        _set(sender, state, swift)


@kernel
def lose(sender: Any, state: Any, swift: Any, now_ps: int, timed_out: int) -> None:
    """Take a loss."""
    state.timeouts = state.timeouts + 1 if timed_out == 1 else 0
    if state.timeouts >= swift.reset_timeouts:
        _cut(sender, state, swift, now_ps, 0.0)
    elif now_ps - state.cut_ps >= state.round_trip_ps:
        _cut(sender, state, swift, now_ps, 1.0 - swift.most_decrease)


@inner
def _target_ps(state: Any, swift: Any) -> float:
    most = 1.0 / math.sqrt(swift.scaling_most_window)
    alpha_ps = swift.scaling_range_ps / (1.0 / math.sqrt(swift.scaling_least_window) - most)
    scaled_ps = alpha_ps * (1.0 / math.sqrt(state.window) - most)
    return swift.base_target_ps + state.hops * swift.hop_target_ps + max(0.0, min(scaled_ps, swift.scaling_range_ps))


@inner
def _cut(sender: Any, state: Any, swift: Any, now_ps: int, left: float) -> None:
    before = state.window
    state.window *= left
    _set(sender, state, swift)
    if state.window < before:
        state.cut_ps = now_ps
        sender.cuts += 1


@inner
def _set(sender: Any, state: Any, swift: Any) -> None:
    state.window = min(max(state.window, swift.least_window), swift.most_window)
    sender.window_bytes = int(max(state.window, 1.0)) * state.packet_bytes
    if state.window < 1.0:
        sender.paced, sender.rate = 1, min(state.window * state.packet_bytes / state.round_trip_ps, sender.line)
    else:
        sender.paced, sender.rate = sender.capped, sender.line


HANDLERS = Handlers(STATE, started=start, acknowledged=steer, lost=lose)
