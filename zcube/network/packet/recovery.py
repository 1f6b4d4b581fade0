"""Selective recovery: what of a queue pair has arrived, what is asked for, and what is to be sent again, a bit a packet.

A sender is at most a window ahead of the first packet that has not arrived, so that the numbers under way differ modulo the
window. What receiver and sender know of a packet lies in one row: the sender thus knows without delay that a packet it is about
to repeat has arrived, and a timeout repeats nothing that has.
"""

from __future__ import annotations

import numpy as np

from zcube.network.kernels import inlined, inner
from zcube.network.packet.records import gone_by_of, pair_of, recovery_of, window_of
from zcube.network.packet.sorting import lowest_bit
from zcube.network.packet.state import Net

_ONE = np.uint64(1)
_ALL = ~np.uint64(0)


@inlined
def _place(net: Net, pair: int, number: int) -> int:
    """Return the number of the row of a packet's bits."""
    return pair * (net.window >> 6) + ((number & (net.window - 1)) >> 6)


@inlined
def _bit(number: int) -> np.uint64:
    return _ONE << np.uint64(number & 63)


@inner
def open_place(net: Net, pair: int, number: int) -> None:
    """Forget the packet whose place a new one takes."""
    row, others = window_of(net, _place(net, pair, number)), ~_bit(number)
    row.arrived &= others
    row.asked &= others
    row.owed &= others
    row.again &= others


@inner
def note_arrival(net: Net, pair: int, number: int) -> bool:
    """Note that a packet has arrived; False if it had before."""
    state, row, bit = pair_of(net, pair), window_of(net, _place(net, pair, number)), _bit(number)
    if number < state.wanted or row.arrived & bit != 0:
        return False
    row.arrived |= bit
    row.asked &= ~bit
    if row.owed & bit != 0:
        row.owed &= ~bit
        recovery_of(net, pair).owed -= 1
    if number >= state.highest:
        state.highest = number + 1
    elif state.paths > 1:
        state.late += 1
        net.late += 1
    wanted = state.wanted
    while wanted < state.highest and window_of(net, _place(net, pair, wanted)).arrived & _bit(wanted) != 0:
        wanted += 1
    state.wanted = wanted
    return True


@inner
def hold(net: Net, pair: int, number: int) -> bool:
    """Hold a packet less than a reorder buffer behind the first missing one; False if it has arrived before."""
    state, row, bit = pair_of(net, pair), window_of(net, _place(net, pair, number)), _bit(number)
    if number < state.wanted or row.arrived & bit != 0:
        net.duplicates += 1
        return False
    row.arrived |= bit
    if number >= state.highest:
        state.highest = number + 1
    elif state.paths > 1:
        state.late += 1
        net.late += 1
    while window_of(net, _place(net, pair, state.wanted)).arrived & _bit(state.wanted) != 0:
        window_of(net, _place(net, pair, state.wanted)).arrived &= ~_bit(state.wanted)
        state.wanted += 1
    return True


@inner
def is_far_ahead(net: Net, pair: int) -> bool:
    """Return whether half a window has arrived in order that the sender has not been told of, which may hold it up."""
    return pair_of(net, pair).wanted - recovery_of(net, pair).told >= net.window >> 1


@inner
def ask_between(net: Net, pair: int, first: int, end: int) -> bool:
    """Mark as asked for what has not arrived of some numbers and has not been asked for; False if there is none."""
    found = False
    for number in range(max(first, pair_of(net, pair).wanted), end):
        row, bit = window_of(net, _place(net, pair, number)), _bit(number)
        if (row.arrived | row.asked | row.owed | row.again) & bit == 0:
            row.asked |= bit
            found = True
    return found


@inner
def ask_for(net: Net, pair: int, number: int) -> bool:
    """Mark as asked for a packet whose header alone has arrived; False if it has been, or the packet has arrived."""
    row, bit = window_of(net, _place(net, pair, number)), _bit(number)
    if number < pair_of(net, pair).wanted or (row.arrived | row.asked | row.owed) & bit != 0:
        return False
    row.asked |= bit
    return True


@inner
def take_asked(net: Net, pair: int, first: int, end: int) -> int:
    """Owe what is asked for of some numbers, and return how many packets that is."""
    count = 0
    for number in range(max(first, pair_of(net, pair).wanted), end):
        row, bit = window_of(net, _place(net, pair, number)), _bit(number)
        if row.asked & bit != 0:
            row.asked &= ~bit
            row.owed |= bit
            count += 1
    recovery_of(net, pair).owed += count
    return count


@inner
def take_overdue(net: Net, pair: int, number: int) -> bool:
    """Owe a packet if it was last sent before the timeout was last checked and has not arrived; return whether it was."""
    row, bit = window_of(net, _place(net, pair, number)), _bit(number)
    is_late = number < recovery_of(net, pair).checked and (row.arrived | row.asked | row.owed | row.again) & bit == 0
    if is_late:
        row.owed |= bit
        recovery_of(net, pair).owed += 1
    row.again &= ~bit
    return is_late


@inner
def note_path(net: Net, pair: int, number: int, path: int) -> None:
    """Remember by which path a packet goes."""
    gone_by_of(net, pair * net.window + (number & (net.window - 1))).item = path


@inner
def path_gone_by(net: Net, pair: int, number: int) -> int:
    """Return by which path a packet under way went last."""
    return gone_by_of(net, pair * net.window + (number & (net.window - 1))).item


@inner
def next_owed(net: Net, pair: int) -> int:
    """Return the lowest number that is owed, and count it as sent again; there must be one."""
    number = pair_of(net, pair).wanted
    ahead = window_of(net, _place(net, pair, number)).owed & (_ALL << np.uint64(number & 63))
    while ahead == 0:
        number = (number | 63) + 1
        ahead = window_of(net, _place(net, pair, number)).owed
    number = (number & ~63) + lowest_bit(ahead)
    row, bit = window_of(net, _place(net, pair, number)), _bit(number)
    row.owed &= ~bit
    row.again |= bit
    recovery_of(net, pair).owed -= 1
    return number
