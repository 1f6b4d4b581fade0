"""Communication traces on disk: Parquet, or JSON Lines.

Both hold a header and one row per operation. The header is a JSON object, in Parquet the value of the key ``zcube_trace`` of
the file's metadata, in JSON Lines the first line:

==================  =============================================================================================
``zcube_trace``     true: marks the file
``schema_version``  1
``ranks``           GPUs; rank ``r`` is GPU ``r % ranks_per_node`` of node ``r // ranks_per_node``
``ranks_per_node``  8 where left out
``operations``      rows, so that a truncated file is noticed; may be left out
``names``           names of operations in the order in which the program numbers them; may be left out, as may the
                    next
``phases``          the same of phases
``groups``          lists of ranks
``metadata``        how the trace came about, any JSON
==================  =============================================================================================

Columns of Parquet, keys of JSON Lines; what does not apply is null or left out:

=================  =============================================================================================
``kind``           ``compute``, ``transfer`` or ``collective``
``name``           operation, such as ``all-reduce`` or ``attention``
``phase``          such as ``prefill``
``layer``          transformer layer
``source``         rank that computes or sends; root of a collective
``target``         rank that receives
``group``          of a collective: which of the header's groups, from 0
``size_bytes``     of a transfer; of a collective, the bytes that one rank puts in
``start_s``        earliest start, 0 where left out
``duration_s``     of a computation; recorded, of the others
``depends_on``     list of operations, counted from 0, that must have ended; all stand above this one
=================  =============================================================================================

Equal traces give equal bytes (of Parquet, under one version of its library).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from zcube.errors import Fault, InputError
from zcube.input_files import GZIP, PARQUET, check_table, columns_once, opened, parquet_file, starts_with
from zcube.inputs import Declared
from zcube.memory import check_memory
from zcube.node import GPUS_PER_NODE
from zcube.outputs import write_file
from zcube.trace.comm_trace import MAX_OPERATIONS, MAX_RANKS, CommTrace, Kind
from zcube.trace.rows import KINDS, Columns, Where, check_columns

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
MARK = "zcube_trace"
SUFFIXES = (".parquet", ".jsonl")

#: A trace of the most operations, one line each.
MAX_FILE_BYTES = 32 << 30
#: More than any node, so that a table of rails by rails stays small.
MAX_RANKS_PER_NODE = 1024
#: The header holds every group; a line of an operation holds what it waits for.
MAX_LINE_BYTES = 64 << 20
#: What all operations wait for, together.
MAX_DEPENDENCIES = 1 << 29

#: Memory of one operation while a Parquet file is read; 470 measured.
_BYTES_PER_OPERATION = 500
_ROWS_AT_ONCE = 1 << 16
#: Memory of one byte of JSON Lines; 2.7 measured.
_MEMORY_PER_BYTE = 4
_WHOLE_COLUMNS = ("layer", "source", "target", "group", "size_bytes")


class Header(Declared):
    """What stands above the operations."""

    zcube_trace: bool = Field(default=True, description="marks the file as one")
    schema_version: int = Field(description="of the format")
    ranks: int = Field(ge=1, le=MAX_RANKS, description="GPUs")
    ranks_per_node: int = Field(default=GPUS_PER_NODE, ge=1, le=MAX_RANKS_PER_NODE, description="GPUs of a server")
    operations: int | None = Field(
        default=None, ge=0, le=MAX_OPERATIONS, description="how many rows follow; missing: not known"
    )
    names: tuple[str, ...] = Field(default=(), description="of operations, by number")
    phases: tuple[str, ...] = Field(default=(), description="by number")
    groups: tuple[tuple[int, ...], ...] = Field(default=(), description="ranks of each group of a collective, by number")
    metadata: dict[str, Any] = Field(default_factory=dict, description="where it comes from, anything JSON")


def write_trace(trace: CommTrace, path: Path) -> None:
    """Write a trace, as Parquet or JSON Lines by the name's ending.

    Parameters
    ----------
    trace : CommTrace
        Any trace.
    path : Path
        ``.parquet`` or ``.jsonl``.

    Raises
    ------
    InputError
        If the ending is another.
    ValueError
        If the metadata holds what JSON does not.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(Fault(str(path), f"the ending {path.suffix!r}", " or ".join(SUFFIXES)))
    write_file(path, lambda temporary: (_write_parquet if path.suffix == ".parquet" else _write_lines)(trace, temporary))


def read_trace(path: str | Path) -> CommTrace:
    """Read a trace, telling Parquet from JSON Lines by content.

    Raises
    ------
    InputError
        With every fault found: a missing or unreadable header, another schema version, and the first 20 faults of rows, by
        row or line and key.
    """
    path = Path(path)
    first = starts_with(path, MAX_FILE_BYTES)
    if first == PARQUET:
        return _read_parquet(path)
    if first.startswith(GZIP):
        raise InputError(Fault(str(path), "gzip data", "a trace as Parquet or JSON Lines, unpacked"))
    from zcube.trace.lines import read_lines

    with opened(path, MAX_FILE_BYTES) as handle:
        check_memory(_MEMORY_PER_BYTE * path.stat().st_size, None, f"reading {path}")
        header = _header(_first_line(handle, path), f"{path}: line 1")
        columns = read_lines(handle, path, header.names, header.phases, MAX_LINE_BYTES)
    return _trace(columns, header, path, lambda row: f"{path}: line {columns.line[row]}")


def is_trace(path: Path) -> bool:
    """Return whether a file is marked as a communication trace; reads no operation. A file that cannot be read is not."""
    try:
        if starts_with(path, MAX_FILE_BYTES) == PARQUET:
            with parquet_file(path, MAX_FILE_BYTES) as file:
                return MARK.encode() in (file.schema_arrow.metadata or {})
        with opened(path, MAX_FILE_BYTES) as handle:
            first = handle.read(4).removeprefix(codecs.BOM_UTF8)
            first = first + handle.readline(MAX_LINE_BYTES) if first.startswith(b"{") else b""
    except InputError:
        return False
    try:
        document = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and MARK in document


def _first_line(handle: Any, path: Path) -> bytes:
    line = handle.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise InputError(Fault(f"{path}: line 1", "a longer line", f"a header of at most {MAX_LINE_BYTES} bytes"))
    return bytes(line)


def _header(text: bytes, where: str) -> Header:
    from zcube.inputs import validate
    from zcube.trace.lines import parse

    document, problem = parse(text)
    if problem or not isinstance(document, dict) or document.get(MARK) is not True:
        found = problem or f"no {MARK} that is true"
        raise InputError(Fault(where, found, f"a JSON object with {MARK} (true), schema_version and ranks"))
    version = document.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        found = "no schema_version" if version is None else f"schema_version {json.dumps(version)[:40]}"
        raise InputError(Fault(where, found, f"schema_version {SCHEMA_VERSION}, the one this program reads"))
    header = validate(Header, document, where)
    faults = []
    for number, group in enumerate(header.groups):
        if not group or len(set(group)) != len(group) or min(group) < 0 or max(group) >= header.ranks:
            faults.append(Fault(f"{where}: groups.{number}", "no set of ranks", f"different ranks below {header.ranks}"))
    for key, texts in (("names", header.names), ("phases", header.phases)):
        if len(set(texts)) != len(texts):
            faults.append(Fault(f"{where}: {key}", "a text twice", "different texts"))
    if faults:
        raise InputError(faults[:20])
    return header


def _header_text(trace: CommTrace) -> str:
    document = {
        MARK: True,
        "schema_version": SCHEMA_VERSION,
        "ranks": trace.ranks,
        "ranks_per_node": trace.ranks_per_node,
        "operations": len(trace),
        "names": trace.names,
        "phases": trace.phases,
        "groups": trace.groups,
        "metadata": dict(trace.metadata),
    }
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def _trace(columns: Columns, header: Header, path: Path, where: Where) -> CommTrace:
    faults = check_columns(columns, header.ranks, len(header.groups), where)
    count = len(columns.values["kind"])
    if header.operations is not None and count != header.operations:
        faults.append(Fault(str(path), f"{count} operations", f"the {header.operations} that the header speaks of"))
    if faults:
        raise InputError(faults)
    trace = CommTrace(
        **columns.values,
        first_dependency=columns.first_dependency,
        dependency=columns.dependency,
        names=columns.names,
        phases=columns.phases,
        groups=header.groups,
        ranks=header.ranks,
        ranks_per_node=header.ranks_per_node,
        metadata=header.metadata,
        source_name=str(path),
    )
    trace.check()
    return trace


# --- Parquet ------------------------------------------------------------------------------------------------------


def _write_parquet(trace: CommTrace, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    def texts(code: np.ndarray, known: Iterable[str]) -> pa.Array:
        index = pa.array(code.astype(np.int32), mask=code < 0)
        return pa.DictionaryArray.from_arrays(index, pa.array(list(known), pa.string()))

    columns = {
        "kind": texts(trace.kind, KINDS),
        "name": texts(trace.name, trace.names),
        "phase": texts(trace.phase, trace.phases),
        **{name: pa.array(getattr(trace, name), mask=getattr(trace, name) < 0) for name in _WHOLE_COLUMNS},
        "start_s": pa.array(trace.start_s),
        "duration_s": pa.array(trace.duration_s, mask=np.isnan(trace.duration_s)),
        "depends_on": pa.ListArray.from_arrays(
            pa.array(trace.first_dependency, pa.int32()), pa.array(trace.dependency, pa.int64())
        ),
    }
    table = pa.table(columns).replace_schema_metadata({MARK: _header_text(trace)})
    parquet.write_table(table, path, compression="zstd")


def _read_parquet(path: Path) -> CommTrace:
    import pyarrow as pa

    from zcube.trace.parquet_columns import COLUMNS, NEEDED, TEXTS, read_columns

    with parquet_file(path, MAX_FILE_BYTES) as file:
        schema = file.schema_arrow
        text = (schema.metadata or {}).get(MARK.encode())
        if text is None:
            raise InputError(Fault(f"{path}: metadata", f"no {MARK}", f"a trace, with the key {MARK}"))
        header = _header(text, f"{path}: metadata {MARK}")
        unpacked = check_table(path, file, MAX_OPERATIONS, MAX_FILE_BYTES)
        check_memory(file.metadata.num_rows * _BYTES_PER_OPERATION + unpacked, None, f"reading {path}")
    missing = [name for name in NEEDED if name not in schema.names]
    if missing:
        raise InputError(Fault(f"{path}: schema", f"no column {name}", f"the column {name}") for name in missing)
    columns_once(f"{path}: schema", schema.names, COLUMNS)
    # Text that repeats is unpacked once, however many rows hold it.
    texts = [name for name in TEXTS if name in schema.names and pa.types.is_string(schema.field(name).type)]
    with parquet_file(path, MAX_FILE_BYTES, read_dictionary=texts) as file:
        table = _table(file, [name for name in COLUMNS if name in schema.names], path)
        columns = read_columns(table, path, header.names, header.phases)
    return _trace(columns, header, path, lambda row: f"{path}: row {row + 1}")


def _table(file: Any, columns: list[str], path: Path) -> pa.Table:
    """Return chosen columns, read batch by batch, so that too many dependencies are noticed before all are read.

    Their number also stands in the metadata of columns, but pyarrow ends the process where that is corrupt.
    """
    import pyarrow as pa

    batches, dependencies = [], 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
        # A corrupt page may hold codes beyond its dictionary, which nothing else checks.
        batch.validate(full=True)
        batches.append(batch)
        waits = batch.column("depends_on") if "depends_on" in columns else None
        dependencies += len(waits.values) if waits is not None and pa.types.is_list(waits.type) else 0
        if dependencies > MAX_DEPENDENCIES:
            raise InputError(Fault(f"{path}: depends_on", "more entries", f"at most {MAX_DEPENDENCIES}"))
    return pa.Table.from_batches(batches, None if batches else pa.schema([file.schema_arrow.field(name) for name in columns]))


# --- JSON Lines ---------------------------------------------------------------------------------------------------


def _write_lines(trace: CommTrace, path: Path) -> None:
    at_once = 1 << 16
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write(_header_text(trace) + "\n")
        for first in range(0, len(trace), at_once):
            handle.writelines(_operation_lines(trace, first, min(first + at_once, len(trace))))


def _operation_lines(trace: CommTrace, first: int, last: int) -> Iterable[str]:
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    columns = [getattr(trace, name)[first:last].tolist() for name in ("kind", "name", "phase", *_WHOLE_COLUMNS)]
    times = zip(trace.start_s[first:last].tolist(), trace.duration_s[first:last].tolist(), strict=True)
    bounds = trace.first_dependency[first : last + 1].tolist()
    waits = trace.dependency[bounds[0] : bounds[-1]].tolist()
    for place, ((kind, name, phase, *whole), (start_s, duration_s)) in enumerate(
        zip(zip(*columns, strict=True), times, strict=True)
    ):
        row: dict[str, Any] = {"kind": KINDS[kind], "name": trace.names[name]}
        if phase >= 0:
            row["phase"] = trace.phases[phase]
        row.update((key, value) for key, value in zip(_WHOLE_COLUMNS, whole, strict=True) if value >= 0)
        if kind == Kind.COMPUTE and row["size_bytes"] == 0:
            del row["size_bytes"]
        if start_s != 0:
            row["start_s"] = start_s
        # Only nan differs from itself.
        if duration_s == duration_s:
            row["duration_s"] = duration_s
        if bounds[place + 1] > bounds[place]:
            row["depends_on"] = waits[bounds[place] - bounds[0] : bounds[place + 1] - bounds[0]]
        yield encode(row) + "\n"
