"""NCCL Inspector dumps (NCCL source, ``plugins/profiler/inspector``): a JSON object per operation and rank.

``coll_msg_size_bytes`` is the call's count times the size of its type; the plugin multiplies it by the ranks for the bandwidth
of all-gathers and reduce-scatters, and so it is here, for all operations whose count is one rank's part. An operation's time
is that of its slowest rank; operations of equal kind, ranks and size become one point, their median. These are operations of a
real job, which wait for late ranks. ``nnodes`` of a communicator says on how many hosts its ranks are, so that runs inside a
node and over nodes stay apart; for a send it is the hosts of its two ranks. The plugin leaves out operations below
``NCCL_INSPECTOR_DUMP_MIN_SIZE_BYTES``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zcube.calibrate.measurements import Measurements
from zcube.calibrate.operations import canonical
from zcube.calibrate.points import MAX_RANKS, MAX_SIZE_BYTES, Metadata, Row
from zcube.calibrate.readers.options import Gathering, ReadOptions
from zcube.json_text import RepeatedKeyError, json_record

_S_PER_US = 1e-6
_PER_RANK = ("all-gather", "reduce-scatter", "all-to-all", "gather", "scatter")


def recognise(text: str) -> bool:
    """Return whether a file has records of the inspector."""
    return text.lstrip()[:1] in ("{", "[") and ('"coll_perf"' in text or '"p2p_perf"' in text)


def read(text: str, source: str, options: ReadOptions) -> Measurements:
    """Read a dump.

    Raises
    ------
    InputError
        With every record that cannot be used, unless lenient.
    """
    gathering = Gathering(source, options)
    records = list(_records(text, gathering))
    placed = _placed(records)
    calls: dict[tuple[Any, ...], float] = {}
    for number, record in enumerate(records, start=1):
        _take(record, f"record {number}", calls, placed, gathering)
    times: dict[tuple[str, int, int, int], list[float]] = {}
    for (operation, ranks, hosts, size, *_), time_s in calls.items():
        times.setdefault((operation, ranks, hosts, size), []).append(time_s)
    for (operation, ranks, hosts, size), found in sorted(times.items()):
        low, middle, high = (float(value) for value in np.quantile(found, (0.1, 0.5, 0.9)))
        row = Row(
            operation, ranks, gathering.path(hosts, "nvlink" if hosts else "unspecified"), size, middle, p10_s=low, p90_s=high,
            min_s=min(found), repetitions=len(found), hosts=hosts,
        )  # fmt: skip
        gathering.add(row, f"{operation} among {ranks} ranks of {size} bytes")
    gathering.note("NCCL Inspector times operations of a job, which wait for late ranks")
    return gathering.measurements(Metadata(how="NCCL Inspector"))


def _records(text: str, gathering: Gathering) -> Iterator[Any]:
    """Yield the objects of a file, one after another or in an array."""
    place, number = 0, 0
    separators = "[], \r\n\t"
    while True:
        while place < len(text) and text[place] in separators:
            place += 1
        if place >= len(text):
            return
        try:
            record, place = json_record(text, place)
        except RepeatedKeyError as error:
            gathering.broken(f"record {number + 1}", str(error), "each key once in its object")
            return
        except (ValueError, RecursionError):
            gathering.broken(f"record {number + 1}", "JSON that ends early or is broken", "a whole record; was the job killed?")
            return
        number += 1
        yield record


def _placed(records: list[Any]) -> dict[tuple[str, int], str]:
    """Return the host of each communicator's ranks, where records name it."""
    placed: dict[tuple[str, int], str] = {}
    for record in records:
        header, metadata = (record.get(key) if isinstance(record, dict) else None for key in ("header", "metadata"))
        rank = header.get("rank") if isinstance(header, dict) else None
        if isinstance(header, dict) and isinstance(metadata, dict) and type(rank) is int and metadata.get("hostname"):
            placed[str(header.get("id"))[:100], rank] = str(metadata["hostname"])[:300]
    return placed


def _hosts(header: dict[str, Any], kind: str, peer: Any, placed: dict[tuple[str, int], str]) -> int:
    """Return on how many hosts the ranks of a call are, 0 if that is not recorded."""
    nodes = header.get("nnodes")
    nodes = nodes if type(nodes) is int and nodes > 0 else 0
    if kind == "coll" or nodes == 1:
        return nodes
    pair = [placed.get((str(header.get("id"))[:100], rank)) for rank in (header.get("rank"), peer) if type(rank) is int]
    return len(set(pair)) if len(pair) == 2 and None not in pair else 0


def _take(
    record: Any,
    where: str,
    calls: dict[tuple[Any, ...], float],
    placed: dict[tuple[str, int], str],
    gathering: Gathering,
) -> None:
    """Note the time of one rank's call under its operation."""
    header = record.get("header") if isinstance(record, dict) else None
    if isinstance(record, dict) and "dump_stats" in record:
        return None
    kind = "coll" if isinstance(record, dict) and isinstance(record.get("coll_perf"), dict) else "p2p"
    body = record.get(f"{kind}_perf") if isinstance(record, dict) else None
    if not isinstance(header, dict) or not isinstance(body, dict):
        return gathering.broken(where, "no header with coll_perf or p2p_perf", "a record of the inspector")
    operation = canonical(str(body.get(kind))[:100])
    ranks = 2 if kind == "p2p" else header.get("n_ranks")
    size, time_us = body.get(f"{kind}_msg_size_bytes"), body.get(f"{kind}_exec_time_us")
    if operation is None:
        return gathering.broken(f"{where}: {kind}", repr(body.get(kind))[:60], "an NCCL operation")
    if type(ranks) is not int or not 1 <= ranks <= MAX_RANKS or type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:
        return gathering.broken(where, "no usable n_ranks or message size", "whole numbers")
    if isinstance(time_us, bool) or not isinstance(time_us, int | float) or not 0 < time_us < 1e11:
        return gathering.broken(f"{where}: {kind}_exec_time_us", repr(time_us)[:60], "a time above zero, in microseconds")
    if kind == "p2p" and str(body.get("p2p")).lower() != "send":
        # The receiver's record is the same transfer seen from its other end.
        return None
    if size == 0:
        return gathering.note("sizes of 0 bytes are left out")
    if ranks == 1:
        return gathering.alone()
    hosts = _hosts(header, kind, body.get("p2p_peer"), placed)
    if hosts and ranks % hosts:
        return gathering.broken(where, f"{ranks} ranks on {hosts} nodes", "equally many ranks on each node")
    size *= ranks if operation in _PER_RANK else 1
    pair = (header.get("rank"), body.get("p2p_peer")) if kind == "p2p" else ()
    key = (operation, ranks, hosts, size, str(header.get("id"))[:100], str(body.get(f"{kind}_sn"))[:40], *map(str, pair))
    calls[key] = max(calls.get(key, 0.0), time_us * _S_PER_US)
    return None
