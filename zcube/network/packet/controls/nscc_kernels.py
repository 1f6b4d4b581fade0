"""NSCC's sender: a window that marks and delay steer together.

Ultra Ethernet Specification 1.0, network signal-based congestion control; where its text leaves values open those of the
consortium's htsim are used. An acknowledgement is one of four cases:

=========  ======================================  ============================================
           queueing below the target               at or above it
=========  ======================================  ============================================
unmarked   rise in proportion to what is missing,  rise by equal steps, for fairness
           fast after a window without queueing
marked     nothing (another path)                  fall by the mean delay's excess, once a round trip
=========  ======================================  ============================================

After trims or a long delay the window falls to what has arrived in a round trip, and what is under way is not heeded again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zcube.network.kernels import inner, kernel
from zcube.network.packet.controls.declared import Handlers
from zcube.network.packet.state import NEVER

#: Of a network of 100 Gb/s whose round trips take 12 us.
REFERENCE_PS, REFERENCE_BYTES = 12_000_000.0, 150_000.0

STATE = np.dtype(
    [
        ("packet_bytes", "i8"),
        ("base_rtt_ps", "i8"),  # least round trip seen or expected
        ("network_ps", "i8"),  # round trip that steps and target are set by
        ("scale", "f8"),  # of steps
        ("window", "f8"),  # bytes
        ("delay_ps", "f8"),  # mean queueing
        ("increase", "f8"),  # bytes times bytes not yet added
        ("received", "i8"),  # bytes since increases were last added
        ("achieved", "i8"),  # bytes since the end of the last round trip of quick adapt
        ("adapt_ps", "i8"),  # end of the present one
        ("adapts", "i8"),  # 1 after a trim in it
        ("ignored", "i8"),  # of to_ignore, bytes that have come back
        ("to_ignore", "i8"),
        ("settled", "i8"),  # bytes sent that are no longer under way
        ("idle", "i8"),  # bytes in a row without queueing
        ("is_fast", "i8"),
        ("cut_ps", "i8"),  # when the window last fell by delay
        ("adjusted_ps", "i8"),  # when steady_increase was last added
    ],
    align=True,
)


@kernel
def start(sender: Any, state: Any, nscc: Any, now_ps: int) -> None:
    """Begin with the first window."""
    begin(sender, state, nscc)


@kernel
def steer(sender: Any, state: Any, nscc: Any, now_ps: int, size_bytes: int, marked_bytes: int, round_trip_ps: int) -> None:
    """Take an acknowledgement."""
    take_acknowledgement(sender, state, nscc, now_ps, size_bytes, marked_bytes > 0, round_trip_ps)


@kernel
def lose(sender: Any, state: Any, nscc: Any, now_ps: int, timed_out: int) -> None:
    """Take a loss."""
    take_loss(sender, state, nscc)


@kernel
def cut(sender: Any, state: Any, nscc: Any, now_ps: int, size_bytes: int) -> None:
    """Take a trim."""
    take_trim(sender, state, nscc, now_ps, size_bytes)


@inner
def begin(sender: Any, state: Any, nscc: Any) -> None:
    """Set what steps and target are measured by, and the first window."""
    state.network_ps = state.base_rtt_ps if nscc.network_rtt_ps == 0 else nscc.network_rtt_ps
    state.scale = sender.line * state.network_ps / REFERENCE_BYTES
    sender.heeds, sender.heed_bytes, sender.heed_ps = 1, NEVER, NEVER
    _set(sender, state, nscc, nscc.first_window * (sender.line * state.base_rtt_ps))


@inner
def take_acknowledgement(
    sender: Any, state: Any, nscc: Any, now_ps: int, size_bytes: int, marked: bool, round_trip_ps: int
) -> None:
    """Steer the window by an acknowledgement."""
    state.settled += size_bytes
    state.achieved += size_bytes
    state.received += size_bytes
    state.ignored += size_bytes
    state.base_rtt_ps = min(state.base_rtt_ps, round_trip_ps)
    delay_ps, target_ps = round_trip_ps - state.base_rtt_ps, nscc.target_delay * state.network_ps
    late = delay_ps >= target_ps
    # An unmarked packet's delay is no queue's that is still there.
    counted_ps = 0.25 * state.base_rtt_ps if not marked and delay_ps > target_ps else 1.0 * delay_ps
    state.delay_ps = nscc.delay_gain * counted_ps + (1.0 - nscc.delay_gain) * state.delay_ps
    if _adapts(sender, state, nscc, now_ps, False, marked, delay_ps):
        return
    window = state.window
    if not marked and late:
        state.increase += nscc.fair_increase * state.packet_bytes * state.scale * size_bytes
    elif not marked:
        window = _rise(state, nscc, size_bytes, delay_ps, target_ps)
    elif late:
        state.is_fast = state.idle = 0
        if state.delay_ps > target_ps and now_ps - state.cut_ps > state.base_rtt_ps:
            left = 1.0 - nscc.decrease * (state.delay_ps - target_ps) / state.delay_ps
            window *= max(left, 1.0 - nscc.most_decrease)
            state.cut_ps = now_ps
            sender.cuts += 1
    _set(sender, state, nscc, window)
    waited_ps = now_ps - state.adjusted_ps
    if state.received > nscc.adjust_packets * state.packet_bytes or waited_ps > state.network_ps:
        window = state.window + state.increase / state.window
        if waited_ps >= state.network_ps:
            window += nscc.steady_increase * state.packet_bytes * state.scale
            state.adjusted_ps = now_ps
        state.increase = 0.0
        state.received = 0
        _set(sender, state, nscc, window)


@inner
def take_trim(sender: Any, state: Any, nscc: Any, now_ps: int, size_bytes: int) -> None:
    """Take that a packet was trimmed: its bytes leave the window, or this falls to what has arrived."""
    state.settled += size_bytes
    state.ignored += size_bytes
    state.delay_ps = nscc.delay_gain * state.network_ps + (1.0 - nscc.delay_gain) * state.delay_ps
    state.adapts = 1
    if not _adapts(sender, state, nscc, now_ps, True, True, 0):
        _set(sender, state, nscc, state.window - size_bytes)


@inner
def take_loss(sender: Any, state: Any, nscc: Any) -> None:
    """Take that a packet was lost: it leaves the window."""
    state.settled += state.packet_bytes
    _set(sender, state, nscc, state.window - state.packet_bytes)


@inner
def _rise(state: Any, nscc: Any, size_bytes: int, delay_ps: int, target_ps: float) -> float:
    """Return the window after an unmarked acknowledgement below the target."""
    if delay_ps < nscc.fast_delay_ps:
        state.idle += size_bytes
        if state.idle > state.window or state.is_fast == 1:
            state.is_fast = 1
            return state.window + size_bytes * (nscc.fast_increase * state.scale)
    else:
        state.idle = 0
    state.is_fast = 0
    step = nscc.proportional_increase * state.packet_bytes * state.scale / REFERENCE_PS
    state.increase += step * size_bytes * (target_ps - delay_ps)
    return state.window


@inner
def _adapts(sender: Any, state: Any, nscc: Any, now_ps: int, lost: bool, marked: bool, delay_ps: int) -> bool:
    """Fall to what has arrived in a round trip if there is reason to; return whether the window stays out of other hands."""
    if nscc.quick_adapt == 0:
        return False
    target_ps = nscc.target_delay * state.network_ps
    held = False
    if state.ignored < state.to_ignore and marked:
        held = True
    elif now_ps > state.adapt_ps:
        asked = state.adapts == 1 or lost or delay_ps > nscc.quick_adapt_delay * target_ps
        if state.adapt_ps != 0 and asked and state.achieved < nscc.quick_adapt_window * _most(sender, state, nscc):
            if state.achieved < state.window:
                sender.cuts += 1
            # What was lost at once, and told of once, is still counted as sent.
            state.to_ignore = min(sender.sent_bytes - state.settled, int(state.window))
            _set(sender, state, nscc, 1.0 * state.achieved)
            state.ignored = state.adapts = 0
            held = True
        state.achieved = 0
        state.adapt_ps = now_ps + state.base_rtt_ps + int(target_ps)
    if held:
        state.increase = 0.0
        state.received = 0
    return held


@inner
def _most(sender: Any, state: Any, nscc: Any) -> float:
    return nscc.most_window * (sender.line * state.base_rtt_ps)


@inner
def _set(sender: Any, state: Any, nscc: Any, window: float) -> None:
    state.window = max(min(window, _most(sender, state, nscc)), 1.0 * state.packet_bytes)
    sender.window_bytes = int(state.window)


HANDLERS = Handlers(STATE, started=start, acknowledged=steer, lost=lose, trimmed=cut)
