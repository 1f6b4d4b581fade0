"""A replay's tables on disk, CSV or Parquet by the name's ending, written in pieces and whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.outputs import write_file

if TYPE_CHECKING:
    import pyarrow as pa

    from zcube.network.packet.outcome import PacketOutcome
    from zcube.replays.flows import Replay
    from zcube.replays.operations import TraceReplay

#: Rows of flows turned into a piece of a table at once.
FLOWS_AT_ONCE = 1 << 16
_NEEDS_QUOTES = r'[",\r\n]'


def write_flows(replay: Replay, path: Path) -> None:
    """Write the per-flow table; the link that bounded a flow is named ``from>to``, empty for none."""
    columns, links = replay.flow_columns(), replay.link_names()
    _write(path, (_flow_piece(columns, links, rows) for rows in _slices(len(replay.flows))))


def write_operations(replay: TraceReplay, path: Path) -> None:
    """Write the per-operation table of a trace."""
    columns = replay.operation_columns()
    _write(path, (_operation_piece(columns, rows) for rows in _slices(len(replay.trace))))


def _operation_piece(columns: dict[str, np.ndarray], rows: slice) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: pa.array(column[rows]) for name, column in columns.items()})


def write_links(replay: Replay, path: Path) -> None:
    """Write the per-link table in order of link numbers."""
    import pyarrow as pa

    _write(path, iter([pa.table(replay.link_table.columns(replay.makespan_s))]))


def write_ports(replay: Replay, path: Path) -> None:
    """Write pauses, depths, marks and drops of every priority of every link, in the packet fidelity."""
    import pyarrow as pa

    assert replay.packets is not None
    table = replay.packets.queues
    columns = {"from": pa.array(table.source), "to": pa.array(table.target)}
    names = ("priority", "pauses", "paused_s", "peak_bytes", "ingress_peak_bytes", "headroom_bytes", "marks", "drops")
    columns |= {name: pa.array(getattr(table, name)) for name in names}
    _write(path, iter([pa.table(columns)]))


def write_pauses(replay: Replay, path: Path) -> None:
    """Write pause by pause what stood still, for whom it waited, and the congested port behind it."""
    import pyarrow as pa

    assert replay.packets is not None
    log, names = replay.packets.pauses, np.array([*replay.link_names(), ""], dtype=object)
    columns = {
        "from_s": pa.array(log.from_s),
        "until_s": pa.array(log.until_s),
        "priority": pa.array(log.priority),
        **{
            name: pa.array(names[getattr(log, f"{name}_link" if name != "port" else "link")])
            for name in ("port", "cause", "root")
        },
    }
    _write(path, iter([pa.table(columns)]))


def write_bins(replay: Replay, path: Path) -> None:
    """Write what links carried per bin of time, of packets the depths and pauses of ports; rows without anything left out."""
    if replay.packets is not None:
        packets = replay.packets
        _write(path, (_port_bin_piece(packets, number) for number in range(max(1, len(packets.depth_bytes)))))
        return
    _write(path, (_bin_piece(replay, number) for number in range(max(1, len(replay.bins.size_bytes)))))


def _port_bin_piece(packets: PacketOutcome, number: int) -> pa.Table:
    import pyarrow as pa

    queues, kept = packets.queues, number < len(packets.depth_bytes)
    depth = packets.depth_bytes[number] if kept else np.zeros(len(queues.pauses), dtype=np.int64)
    paused_s = packets.paused_s[number] if kept else np.zeros(len(queues.pauses))
    used = np.flatnonzero((depth > 0) | (paused_s > 0))
    return pa.table(
        {
            "bin_start_s": pa.array(np.full(len(used), number * packets.bin_s)),
            "from": pa.array([queues.source[row] for row in used.tolist()], pa.string()),
            "to": pa.array([queues.target[row] for row in used.tolist()], pa.string()),
            "priority": pa.array(queues.priority[used]),
            "depth_bytes": pa.array(depth[used]),
            "paused_s": pa.array(paused_s[used]),
        }
    )


def _bin_piece(replay: Replay, number: int) -> pa.Table:
    import pyarrow as pa

    bins, table = replay.bins, replay.link_table
    carried = bins.size_bytes[number] if len(bins.size_bytes) else np.zeros(len(table.capacity_bps))
    used = np.flatnonzero(carried > 0)
    return pa.table(
        {
            "bin_start_s": pa.array(np.full(len(used), bins.origin_s + number * bins.bin_s)),
            "link": pa.array(used),
            "from": pa.array([table.source[link] for link in used.tolist()], pa.string()),
            "to": pa.array([table.target[link] for link in used.tolist()], pa.string()),
            "bytes": pa.array(carried[used]),
            "utilisation": pa.array(carried[used] * 8.0 / (table.capacity_bps[used] * bins.bin_s)),
        }
    )


def write_timeline(replay: TraceReplay, path: Path) -> None:
    """Write when every operation of a trace ran, for Perfetto."""
    from zcube.trace.chrome import write_chrome

    write_chrome(replay.trace, replay.times.start_s, replay.times.finish_s, path)


def write_paths(replay: Replay, path: Path) -> None:
    """Write the directed links of every flow, hop by hop; flows are routed again, piece by piece."""
    ends = [_Names(names) for names in (replay.carrier.link_set.source, replay.carrier.link_set.target)]
    _write(path, (_path_piece(replay, ends, rows) for rows in _slices(len(replay.flows))))


class _Names:
    """Names of nodes, coded once for all pieces."""

    def __init__(self, names: Sequence[str]):
        distinct = list(dict.fromkeys(names))
        number = {name: place for place, name in enumerate(distinct)}
        self.code = np.array([number[name] for name in names], dtype=np.int32)
        self.distinct = distinct

    def of(self, link: np.ndarray) -> pa.Array:
        import pyarrow as pa

        return pa.DictionaryArray.from_arrays(pa.array(self.code[link]), pa.array(self.distinct))


def _flow_piece(columns: dict[str, np.ndarray], links: list[str], rows: slice) -> pa.Table:
    import pyarrow as pa

    piece = {name: pa.array(column[rows]) for name, column in columns.items()}
    bound = columns["bound_link"][rows]
    code = pa.array(np.where(bound < 0, len(links), bound).astype(np.int32))
    piece["bound_link"] = pa.DictionaryArray.from_arrays(code, pa.array([*links, ""]))
    return pa.table(piece)


def _path_piece(replay: Replay, ends: list[_Names], rows: slice) -> pa.Table:
    import pyarrow as pa

    flows, link_set = replay.flows, replay.carrier.link_set
    routes = replay.carrier.routing.routes(flows.source[rows], flows.target[rows])
    path = routes.path_of_hop
    return pa.table(
        {
            "flow": pa.array(flows.flow_id[rows][routes.flow_of_hop]),
            "hop": pa.array(routes.place_of_hop),
            "from": ends[0].of(routes.link),
            "to": ends[1].of(routes.link),
            "link": pa.array(routes.link),
            "capacity_bps": pa.array(link_set.capacity_bps[routes.link]),
            "subflow": pa.array(routes.place_of_path[path]),
            "share": pa.array(routes.share[path]),
            "latency_s": pa.array(link_set.latency_s[routes.link]),
        }
    )


def _slices(count: int) -> Iterator[slice]:
    return (slice(first, min(first + FLOWS_AT_ONCE, count)) for first in range(0, count, FLOWS_AT_ONCE))


def _write(path: Path, pieces: Iterator[pa.Table]) -> None:
    """Write pieces of one table, of one schema, at least one."""
    write_file(
        path,
        lambda temporary: _write_parquet(temporary, pieces) if path.suffix == ".parquet" else _write_csv(temporary, pieces),
    )


def _write_parquet(path: Path, pieces: Iterator[pa.Table]) -> None:
    from pyarrow import parquet

    first = next(pieces)
    with closing(parquet.ParquetWriter(path, first.schema, compression="zstd")) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)


def _write_csv(path: Path, pieces: Iterator[pa.Table]) -> None:
    from pyarrow import csv

    with path.open("wb") as handle:
        for number, piece in enumerate(pieces):
            if not number:
                handle.write((",".join(piece.column_names) + "\n").encode())
            # Arrow quotes all text or none; quotes are for the rare names that need them.
            style: Any = "needed" if _needs_quotes(piece) else "none"
            csv.write_csv(piece, handle, csv.WriteOptions(include_header=False, quoting_style=style))


def _needs_quotes(piece: pa.Table) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in piece.columns:
        text = column.chunk(0).dictionary if pa.types.is_dictionary(column.type) and column.num_chunks else column
        if pa.types.is_string(text.type) and pc.any(pc.match_substring_regex(text, _NEEDS_QUOTES)).as_py():
            return True
    return False
