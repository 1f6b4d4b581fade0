"""MRC's sender: NSCC's window, and rest for the path of what is marked, trimmed or lost.

Araujo et al., "Resilient AI Supercomputer Networking using MRC and SRv6", arXiv 2605.04333, section 2.1, and Sohan et al., "The
Multipath Reliable Connection (MRC) Transport", arXiv 2606.18170, section II: marks say that a path is more congested than
others, losses that it has failed, trims that a receiver is overrun. What is sent over a path whose rest is over probes it.
"""

from __future__ import annotations

from typing import Any

from zcube.network.kernels import kernel
from zcube.network.packet.controls.declared import Handlers
from zcube.network.packet.controls.nscc_kernels import STATE, begin, take_acknowledgement, take_loss, take_trim


@kernel
def start(sender: Any, state: Any, mrc: Any, now_ps: int) -> None:
    """Begin with the first window."""
    begin(sender, state, mrc)


@kernel
def steer(sender: Any, state: Any, mrc: Any, now_ps: int, size_bytes: int, marked_bytes: int, round_trip_ps: int) -> None:
    """Take an acknowledgement."""
    take_acknowledgement(sender, state, mrc, now_ps, size_bytes, marked_bytes > 0, round_trip_ps)
    if marked_bytes > 0:
        sender.rest_ps = int(mrc.mark_rest * state.base_rtt_ps)


@kernel
def repeat(sender: Any, state: Any, mrc: Any, now_ps: int, size_bytes: int) -> None:
    """Take a trim."""
    take_trim(sender, state, mrc, now_ps, size_bytes)
    sender.rest_ps = int(mrc.trim_rest * state.base_rtt_ps)


@kernel
def lose(sender: Any, state: Any, mrc: Any, now_ps: int, timed_out: int) -> None:
    """Take a loss."""
    take_loss(sender, state, mrc)
    sender.rest_ps = mrc.loss_rest_ps


HANDLERS = Handlers(STATE, started=start, acknowledged=steer, trimmed=repeat, lost=lose)
