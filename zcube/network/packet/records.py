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
from numba import from_dtype, types
from numba.extending import intrinsic

from zcube.network.kernels import inner
from zcube.network.packet.state import TABLES, Net


def _row(dtype: np.dtype[Any]) -> Callable[[int, int], Any]:
    """Return a function for kernels that gives the row of a number in the table at an address."""
    record = from_dtype(dtype)
    width = dtype.itemsize

    @intrinsic
    def row(typing: Any, address: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, at = arguments
            place = builder.add(first, builder.mul(at, ir.Constant(first.type, width)))
            return builder.inttoptr(place, context.get_value_type(record))

        return record(types.int64, types.int64), generate

    return cast(Any, row)  # Numba's stubs do not know how intrinsics are called.


_packets = _row(TABLES["packets"])
_echoes = _row(TABLES["echoes"])
_buckets = _row(TABLES["buckets"])
_bits = _row(TABLES["bits"])
_spans = _row(TABLES["spans"])
_far = _row(TABLES["far"])
_runs = _row(TABLES["runs"])
_links = _row(TABLES["links"])
_queues = _row(TABLES["queues"])
_switches = _row(TABLES["switches"])
_pairs = _row(TABLES["pairs"])
_flows = _row(TABLES["flows"])
_hops = _row(TABLES["hops"])
_paths = _row(TABLES["paths"])
_starts = _row(TABLES["starts"])
_done = _row(TABLES["done"])
_live = _row(TABLES["live"])
_parts = _row(TABLES["parts"])
_probes = _row(TABLES["probes"])
_claims = _row(TABLES["claims"])
_log = _row(TABLES["log"])
_depth_bins = _row(TABLES["depth_bins"])
_pause_bins = _row(TABLES["pause_bins"])


@inner
def packet_of(net: Net, number: int) -> Any:
    """Return a row of ``packets``."""
    return _packets(net.packets_at, number)


@inner
def echo_of(net: Net, number: int) -> Any:
    """Return a row of ``echoes``."""
    return _echoes(net.echoes_at, number)


@inner
def bucket_of(net: Net, number: int) -> Any:
    """Return a row of ``buckets``."""
    return _buckets(net.buckets_at, number)


@inner
def bits_of(net: Net, number: int) -> Any:
    """Return a row of ``bits``."""
    return _bits(net.bits_at, number)


@inner
def span_of(net: Net, number: int) -> Any:
    """Return a row of ``spans``."""
    return _spans(net.spans_at, number)


@inner
def far_of(net: Net, number: int) -> Any:
    """Return a row of ``far``."""
    return _far(net.far_at, number)


@inner
def run_of(net: Net, number: int) -> Any:
    """Return a row of ``runs``."""
    return _runs(net.runs_at, number)


@inner
def link_of(net: Net, number: int) -> Any:
    """Return a row of ``links``."""
    return _links(net.links_at, number)


@inner
def queue_of(net: Net, number: int) -> Any:
    """Return a row of ``queues``."""
    return _queues(net.queues_at, number)


@inner
def switch_of(net: Net, number: int) -> Any:
    """Return a row of ``switches``."""
    return _switches(net.switches_at, number)


@inner
def pair_of(net: Net, number: int) -> Any:
    """Return a row of ``pairs``."""
    return _pairs(net.pairs_at, number)


@inner
def flow_of(net: Net, number: int) -> Any:
    """Return a row of ``flows``."""
    return _flows(net.flows_at, number)


@inner
def hop_of(net: Net, number: int) -> Any:
    """Return a row of ``hops``."""
    return _hops(net.hops_at, number)


@inner
def path_of(net: Net, number: int) -> Any:
    """Return a row of ``paths``."""
    return _paths(net.paths_at, number)


@inner
def start_of(net: Net, number: int) -> Any:
    """Return a row of ``starts``."""
    return _starts(net.starts_at, number)


@inner
def done_of(net: Net, number: int) -> Any:
    """Return a row of ``done``."""
    return _done(net.done_at, number)


@inner
def live_of(net: Net, number: int) -> Any:
    """Return a row of ``live``."""
    return _live(net.live_at, number)


@inner
def part_of(net: Net, number: int) -> Any:
    """Return a row of ``parts``."""
    return _parts(net.parts_at, number)


@inner
def probe_of(net: Net, number: int) -> Any:
    """Return a row of ``probes``."""
    return _probes(net.probes_at, number)


@inner
def claim_of(net: Net, number: int) -> Any:
    """Return a row of ``claims``."""
    return _claims(net.claims_at, number)


@inner
def log_of(net: Net, number: int) -> Any:
    """Return a row of ``log``."""
    return _log(net.log_at, number)


@inner
def depth_of(net: Net, number: int) -> Any:
    """Return a row of ``depth_bins``."""
    return _depth_bins(net.depth_bins_at, number)


@inner
def paused_of(net: Net, number: int) -> Any:
    """Return a row of ``pause_bins``."""
    return _pause_bins(net.pause_bins_at, number)
