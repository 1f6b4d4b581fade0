"""The seam between the engine and a congestion control: what happens is told by calls to the control's own kernels.

The engine is compiled once and knows no control. It finds the addresses of a control's kernels in the network's record, calls
them with the queue pair's SENDER, the control's record of it and its parameters, and obeys what they leave in SENDER. So a
control, also one of another package, compiles its own kernels alone. A control sees nothing else of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.extending import intrinsic

from zcube.as_written import TWIN, Row, plain
from zcube.network.kernels import address, inner
from zcube.network.packet.calendar import put, take_free
from zcube.network.packet.controls.declared import ControlSettings, Handlers
from zcube.network.packet.records import flow_of, owner_of, pair_of, rest_of
from zcube.network.packet.state import ALARM, CACHE_LINE, DESCRIBED, EVENTS, KEY_BITS, NEVER, NONE, SENDER, Net, picoseconds
from zcube.network.packet.tables import Tables

#: Whole numbers that a handler is given beside the records.
NUMBERS = {"started": 1, "sent": 1, "acknowledged": 4, "notified": 1, "lost": 2, "trimmed": 2, "expired": 1}


#: Controls' kernels that run as written, with the types of their records; the place of one, from 1 on, stands for its address.
_AS_WRITTEN: list[tuple[Callable[..., None], np.dtype[Any], np.dtype[Any]]] = []


@cache
def _place_of(handler: Callable[..., None], state: np.dtype[Any], parameters: np.dtype[Any]) -> int:
    _AS_WRITTEN.append((plain(handler), state, parameters))
    return len(_AS_WRITTEN)


def link_control(tables: Tables, control: ControlSettings) -> None:
    """Put a control behind the seam of an idle network, its kernels excepted: its parameters, what it needs."""
    net, handlers, parameters = tables.net, control.handlers(), control.record()
    tables["parameters"] = parameters.view(np.uint8)
    net["state_bytes"] = state_bytes(handlers)
    fields: Mapping[str, Any] = handlers.state.fields or {}
    for name in DESCRIBED:
        net[f"{name}_place"] = fields[name][1] if name in fields else NONE
    net["marking"] = control.marks
    net["acknowledging"] = control.acknowledged or net["selective"][0]
    if control.every_packet:
        net["ack_every"] = 1
    net["resting"] = control.rests or net["failing"][0]
    net["recalling"] = control.rests and net["selective"][0]
    if not control.marks_last_hop:
        tables["links"]["kmin"][tables["links"]["to_switch"] == NONE] = NEVER
    gap_s = control.notification_gap_s
    net["notice_ps"] = NEVER if gap_s is None else picoseconds(gap_s)
    net["telemetry_ps"] = picoseconds(control.telemetry_s or 0.0)
    if net["telemetry_ps"][0]:
        tables["sent"] = np.zeros(len(tables["links"]), dtype=np.int64)
    tables.cover_packets()


def place_handlers(tables: Tables, control: ControlSettings, as_written: bool) -> None:
    """Put the addresses of a control's kernels into a network.

    Parameters
    ----------
    tables : Tables
        The network.
    control : ControlSettings
        The control.
    as_written : bool
        Whether the engine is not compiled, and calls the control's kernels as they are written too.

    Raises
    ------
    TypeError
        If what it names as a handler is not a kernel.
    """
    net, handlers, parameters = tables.net, control.handlers(), control.record()
    records = from_dtype(SENDER), from_dtype(handlers.state), from_dtype(parameters.dtype)
    for event in EVENTS:
        handler = getattr(handlers, event)
        if handler is None:
            net[f"on_{event}"] = 0
        elif as_written and hasattr(handler, "py_func"):
            net[f"on_{event}"] = _place_of(handler, handlers.state, parameters.dtype)
        else:
            net[f"on_{event}"] = address(handler, (*records, *(types.int64,) * NUMBERS[event]))


def state_bytes(handlers: Handlers) -> int:
    """Return the memory of a control's record of a queue pair: whole cache lines."""
    return -(-handlers.state.itemsize // CACHE_LINE) * CACHE_LINE


def _c_call(typing: Any, handler: Any, sender: Any, state: Any, parameters: Any, numbers: Any) -> Any:
    """Call the C function at an address with a record, two addresses of records and a tuple of numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        called, record, *places, given = arguments
        pointer = ir.IntType(8).as_pointer()
        passed = [builder.bitcast(record, pointer), *(builder.inttoptr(place, pointer) for place in places)]
        passed += [builder.extract_value(given, at) for at in range(len(numbers))]
        function = ir.FunctionType(pointer, [value.type for value in passed])
        builder.call(builder.inttoptr(called, function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.none(types.int64, sender, types.int64, types.int64, numbers), generate


def _call_as_written(handler: int, sender: Row, state_at: int, parameters_at: int, numbers: tuple[int, ...]) -> None:
    """Do the same with a handler that runs as written."""
    function, *records = _AS_WRITTEN[handler - 1]
    places = zip((state_at, parameters_at), records, strict=True)
    function(sender, *(sender.memory.rows(place, record)[0] for place, record in places), *numbers)


_call = cast(Any, intrinsic(_c_call))  # Numba's stubs do not know how intrinsics are called.
setattr(_call, TWIN, _call_as_written)


@inner
def _tell(net: Net, pair: int, handler: int, numbers: Any) -> None:
    """Call a handler, and see to the rest of a path that it decides, and to the alarm if the control takes any."""
    if handler == 0:
        return
    _call(handler, pair_of(net, pair).sender, net.states_at + pair * net.state_bytes, net.parameters_at, numbers)
    if net.resting == 1 and pair_of(net, pair).sender.rest_ps > 0:
        path = pair_of(net, pair).sender.told_path
        if path != NONE:
            rest_of(net, pair_of(net, pair).first_path + path).item = net.now_ps + pair_of(net, pair).sender.rest_ps
        pair_of(net, pair).sender.rest_ps = 0
    if net.on_expired == 0:
        return
    alarm_ps = pair_of(net, pair).sender.alarm_ps
    if alarm_ps < pair_of(net, pair).alarm_due_ps:
        due_ps = max(alarm_ps, net.now_ps)
        pair_of(net, pair).alarm_due_ps = due_ps
        put(net, take_free(net), due_ps, (ALARM << KEY_BITS) | pair)


@inner
def tell_started(net: Net, pair: int) -> None:
    """Tell of the start of a transfer."""
    _tell(net, pair, net.on_started, (net.now_ps,))


@inner
def tell_sent(net: Net, pair: int, size: int) -> None:
    """Tell of a packet about to be sent, if that is wanted."""
    sender = pair_of(net, pair).sender
    if sender.heeds == 1:
        sender.sent_bytes += size
        if sender.sent_bytes >= sender.heed_bytes or net.now_ps >= sender.heed_ps:
            _tell(net, pair, net.on_sent, (net.now_ps,))


@inner
def tell_acknowledged(net: Net, pair: int, size: int, marked: int, sent_ps: int) -> None:
    """Tell of an acknowledgement."""
    _tell(net, pair, net.on_acknowledged, (net.now_ps, size, marked, net.now_ps - sent_ps))


@inner
def tell_notified(net: Net, pair: int) -> None:
    """Tell of a congestion notification."""
    _tell(net, pair, net.on_notified, (net.now_ps,))


@inner
def tell_lost(net: Net, pair: int, timed_out: int) -> None:
    """Tell of packets that are sent again."""
    _tell(net, pair, net.on_lost, (net.now_ps, timed_out))


@inner
def tell_trimmed(net: Net, pair: int, size: int) -> None:
    """Tell of packets that the receiver has asked for one by one: as lost where the control knows no difference."""
    if net.on_trimmed == 0:
        tell_lost(net, pair, 0)
    else:
        _tell(net, pair, net.on_trimmed, (net.now_ps, size))


@inner
def tell_expired(net: Net, pair: int) -> None:
    """Take an alarm: tell of it if it still holds and the transfer is under way."""
    if net.now_ps != pair_of(net, pair).alarm_due_ps or flow_of(net, owner_of(net, pair).item).finish_ps < NEVER:
        return
    pair_of(net, pair).alarm_due_ps = NEVER
    if pair_of(net, pair).sender.alarm_ps <= net.now_ps:
        pair_of(net, pair).sender.alarm_ps = NEVER
        _tell(net, pair, net.on_expired, (net.now_ps,))
    elif pair_of(net, pair).sender.alarm_ps < NEVER:
        pair_of(net, pair).alarm_due_ps = pair_of(net, pair).sender.alarm_ps
        put(net, take_free(net), pair_of(net, pair).alarm_due_ps, (ALARM << KEY_BITS) | pair)
