"""Rows of tables as records, reached by address.

A kernel that gets a table as an array copies its descriptor on every call; with sixteen tables that costs more than the
event. So the tables' addresses stand in one record, NET, and only its pointer is passed on. Whoever calls a kernel keeps the
tables alive and the addresses up to date: :class:`zcube.network.packet.tables.Tables`. Indices are not checked, as nowhere
in Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.typing import signature as signature_of
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin
from numba.np.arrayobj import make_array

from zcube.as_written import TWIN, row_at
from zcube.network.packet.layout import NET, TABLES
from zcube.network.packet.plain import PLAIN
from zcube.network.packet.row_types import Row
from zcube.network.packet.state import CACHE_LINE, Net

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
#: Of a fetch: to read, to keep as near as can be, data.
_FLAGS = (ir.IntType(32),) * 3


def only_row(row: Row) -> Callable[[np.ndarray], Net]:
    """Return a function for kernels that gives the only row of a table."""

    @intrinsic
    def first(typing: Any, table: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = make_array(signature.args[0])(context, builder, arguments[0]).data
            return builder.bitcast(place, _BYTE.as_pointer())

        return signature_of(row, table), generate

    setattr(first, TWIN, lambda table: table[0])
    return cast(Any, first)  # Numba's stubs do not know how intrinsics are called.


net_of = only_row(Row("net", NET))
# The same table, of which more is known: a write by one engine's type of row is to be seen by the other's.
plain_net_of = only_row(Row("net", NET, PLAIN))


def _row(table: str) -> Callable[[Net, int], Any]:
    """Return a function for kernels that gives the row of a number in a table."""
    dtype = TABLES[table]
    record, (_, offset, *_) = Row(table, dtype), NET.fields[f"{table}_at"]  # type: ignore[index]

    def row(net: Net, number: int) -> Any:
        return row_at(net, table, dtype, number)

    class Rule(AbstractTemplate):
        key = row

        def generic(self, args: Any, kws: Any) -> Any:
            return record(args[0], types.int64) if isinstance(args[0], Row) else None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, at = builder.gep(arguments[0], [ir.Constant(_WORD, offset)]), arguments[1]
        address = builder.load(builder.bitcast(place, _BYTE.as_pointer().as_pointer()))
        # Tables stay where they are while kernels run, so that this is loaded once and not again after every write.
        address.set_metadata("invariant.load", builder.module.add_metadata([]))
        return builder.gep(address, [builder.mul(at, ir.Constant(_WORD, dtype.itemsize))])

    infer_global(row, types.Function(Rule))
    lower_builtin(row, Row, types.int64)(generate)
    return row


def _fetched(number: int) -> Callable[[Any], None]:
    """Return a function for kernels that has the processor bring a cache line, by number, of a row soon to be read.

    The row may be given by its address.
    """

    def fetch(typing: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place, pointer = arguments[0], _BYTE.as_pointer()
            first = builder.inttoptr(place, pointer) if place.type == _WORD else builder.bitcast(place, pointer)
            line = builder.gep(first, [ir.Constant(_WORD, number * CACHE_LINE)])
            taken = ir.FunctionType(ir.VoidType(), [line.type, *_FLAGS])
            function = builder.module.declare_intrinsic("llvm.prefetch", [line.type], taken)
            builder.call(function, [line, *(ir.Constant(flag, value) for flag, value in zip(_FLAGS, (0, 3, 1), strict=True))])
            return context.get_dummy_value()

        return types.none(row), generate

    fetched = cast(Any, intrinsic(fetch))
    setattr(fetched, TWIN, lambda row: None)
    return cast(Any, fetched)


fetch, fetch_third = _fetched(0), _fetched(2)

packet_of = _row("packets")
echo_of = _row("echoes")
reading_of = _row("readings")
known_of = _row("known")
sent_of = _row("sent")
bucket_of = _row("buckets")
block_of = _row("blocks")
bits_of = _row("bits")
lane_of = _row("lanes")
laned_of = _row("laned")
span_of = _row("spans")
far_of = _row("far")
run_of = _row("runs")
sorting_of = _row("sorting")
sorted_of = _row("sorted")
tally_of = _row("tallies")
link_of = _row("links")
queue_of = _row("queues")
timed_of = _row("timed")
switch_of = _row("switches")
pair_of = _row("pairs")
owner_of = _row("owners")
recovery_of = _row("recoveries")
window_of = _row("windows")
flow_of = _row("flows")
hop_of = _row("hops")
way_of = _row("ways")
path_of = _row("paths")
rest_of = _row("rests")
gone_by_of = _row("gone_by")
start_of = _row("starts")
done_of = _row("done")
live_of = _row("live")
part_of = _row("parts")
probe_of = _row("probes")
claim_of = _row("claims")
reached_of = _row("reached")
late_of = _row("late")
listed_of = _row("listed")
told_of = _row("told")
log_of = _row("log")
depth_of = _row("depth_bins")
paused_of = _row("pause_bins")
