"""Rows of tables as records, reached by address.

A kernel that gets a table as an array copies its descriptor on every call; with sixteen tables that costs more than the
event. So the tables' addresses stand in one record, NET, and only its pointer is passed on. Whoever calls a kernel keeps the
tables alive and the addresses up to date: :class:`zcube.network.packet.tables.Tables`. Indices are not checked, as nowhere
in Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.extending import intrinsic

from zcube.as_written import TWIN, row_at
from zcube.network.packet.state import NET, TABLES, Net

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
#: Of a fetch: to read, to keep as near as can be, data.
_FLAGS = (ir.IntType(32),) * 3


def _row(table: str) -> Callable[[Net, int], Any]:
    """Return a function for kernels that gives the row of a number in a table."""
    dtype = TABLES[table]
    record, (_, offset, *_) = from_dtype(dtype), NET.fields[f"{table}_at"]  # type: ignore[index]

    @intrinsic
    def row(typing: Any, net: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first_byte, at = builder.bitcast(arguments[0], _BYTE.as_pointer()), arguments[1]
            address = builder.load(builder.bitcast(builder.gep(first_byte, [ir.Constant(_WORD, offset)]), _WORD.as_pointer()))
            place = builder.add(address, builder.mul(at, ir.Constant(_WORD, dtype.itemsize)))
            return builder.inttoptr(place, context.get_value_type(record))

        return record(net, types.int64), generate

    setattr(row, TWIN, lambda net, number: row_at(net, table, dtype, number))
    return cast(Any, row)  # Numba's stubs do not know how intrinsics are called.


def _fetch(typing: Any, row: Any) -> Any:
    """Have the processor bring the cache line at a row, as something is about to be read there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = builder.bitcast(arguments[0], _BYTE.as_pointer())
        taken = ir.FunctionType(ir.VoidType(), [line.type, *_FLAGS])
        function = builder.module.declare_intrinsic("llvm.prefetch", [line.type], taken)
        builder.call(function, [line, *(ir.Constant(flag, value) for flag, value in zip(_FLAGS, (0, 3, 1), strict=True))])
        return context.get_dummy_value()

    return types.none(row), generate


fetch = cast(Any, intrinsic(_fetch))
setattr(fetch, TWIN, lambda row: None)

packet_of = _row("packets")
echo_of = _row("echoes")
reading_of = _row("readings")
known_of = _row("known")
sent_of = _row("sent")
bucket_of = _row("buckets")
block_of = _row("blocks")
bits_of = _row("bits")
span_of = _row("spans")
far_of = _row("far")
run_of = _row("runs")
sorting_of = _row("sorting")
tally_of = _row("tallies")
link_of = _row("links")
queue_of = _row("queues")
timed_of = _row("timed")
switch_of = _row("switches")
pair_of = _row("pairs")
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
log_of = _row("log")
depth_of = _row("depth_bins")
paused_of = _row("pause_bins")
