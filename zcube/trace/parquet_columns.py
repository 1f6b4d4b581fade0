"""The operations of a trace in a Parquet table, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.trace.comm_trace import NONE
from zcube.trace.rows import BROKEN, KINDS, Columns

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("kind", "name", "phase")
_WHOLE = {"layer": NONE, "source": NONE, "target": NONE, "group": NONE, "size_bytes": 0}
_TIMES = {"start_s": 0.0, "duration_s": float("nan")}
COLUMNS = (*TEXTS, *_WHOLE, *_TIMES, "depends_on")
_LARGEST = (1 << 63) - 1
NEEDED = ("kind", "name", "source", "target", "size_bytes", "duration_s")


def read_columns(table: pa.Table, path: Path, names: tuple[str, ...], phases: tuple[str, ...]) -> Columns:
    """Return the columns of a table.

    Parameters
    ----------
    table : pyarrow.Table
        With some of :data:`COLUMNS`; others are empty.
    path : Path
        For faults.
    names, phases : tuple of str
        Those of the header.

    Raises
    ------
    InputError
        With every column of a type that cannot hold its values.
    """
    import pyarrow as pa

    # A column of nulls only has no type of its own.
    table = table.drop_columns([field.name for field in table.schema if pa.types.is_null(field.type)])
    _check_types(table, path)
    values: dict[str, Any] = {}
    values["kind"], _ = _coded(table, "kind", KINDS)
    values["kind"][(values["kind"] >= len(KINDS)) | (values["kind"] < 0)] = BROKEN
    values["name"], all_names = _coded(table, "name", names)
    values["phase"], all_phases = _coded(table, "phase", phases)
    for key, empty in _WHOLE.items():
        values[key] = _whole_numbers(table, key, empty)
    for key, unknown in _TIMES.items():
        values[key] = _floats(table, key, unknown)
    first, dependency = _waits(table)

    def shown(row: int, key: str) -> str:
        value = table.column(key)[row].as_py() if key in table.column_names else None
        text = "missing" if value is None else repr(value) if isinstance(value, str) else str(value)
        return text if len(text) <= 60 else text[:57] + "..."

    return Columns(values, first, dependency, all_names, all_phases, np.zeros(0, dtype=np.int64), shown)


def _check_types(table: pa.Table, path: Path) -> None:
    import pyarrow as pa

    faults = []
    for name in table.column_names:
        kind = table.schema.field(name).type
        if name in TEXTS:
            text = kind.value_type if pa.types.is_dictionary(kind) else kind
            good, expected = pa.types.is_string(text) or pa.types.is_large_string(text), "text"
        elif name in _WHOLE:
            # pandas turns whole numbers into floats where a cell is empty.
            good, expected = pa.types.is_integer(kind) or pa.types.is_floating(kind), "whole numbers"
        elif name in _TIMES:
            good, expected = pa.types.is_floating(kind) or pa.types.is_integer(kind), "numbers"
        else:
            good, expected = pa.types.is_list(kind) and pa.types.is_integer(kind.value_type), "lists of whole numbers"
        if not good:
            faults.append(Fault(f"{path}: column {name}", str(kind), expected))
    if faults:
        raise InputError(faults)


def _coded(table: pa.Table, name: str, known: tuple[str, ...]) -> tuple[IntArray, tuple[str, ...]]:
    """Return the number of each cell's text, -1 for a null, and the texts: the known ones, then others in order of cells."""
    codes = {text: code for code, text in enumerate(known)}
    if name not in table.column_names:
        return np.full(table.num_rows, NONE), known
    import pyarrow as pa

    parts = [np.zeros(0, dtype=np.int64)]
    for cells in table.column(name).chunks:
        chunk = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
        texts = chunk.dictionary.to_pylist()
        index = _plain(chunk.indices.fill_null(len(texts)), np.int64)
        # A dictionary may hold texts that no cell has.
        used = index[np.sort(np.unique(index, return_index=True)[1])]
        number = np.full(len(texts) + 1, NONE)
        for place in used.tolist():
            if place < len(texts) and texts[place] is not None:
                number[place] = codes.setdefault(texts[place], len(codes))
        parts.append(number[index])
    return np.concatenate(parts), tuple(codes)


def _whole_numbers(table: pa.Table, name: str, empty: int) -> IntArray:
    """Return a column of numbers from 0; a null becomes ``empty``, what is below 0 or no whole number :data:`BROKEN`."""
    if name not in table.column_names:
        return np.full(table.num_rows, empty)
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if pa.types.is_floating(column.type):
        value = _floats(table, name, np.nan)
        whole = (value >= 0) & (value < _LARGEST) & (value == np.floor(value))
        return np.where(np.isnan(value), empty, np.where(whole, value, BROKEN)).astype(np.int64)
    if pa.types.is_uint64(column.type):
        # What is beyond the signed numbers is as wrong as anything beyond the column's bounds.
        column = pc.min_element_wise(column, pa.scalar(_LARGEST, pa.uint64()), skip_nulls=False)
    column = column.cast(pa.int64())
    column = pc.if_else(pc.less(column, 0), pa.scalar(BROKEN, pa.int64()), column).fill_null(empty)
    return np.concatenate([np.zeros(0, dtype=np.int64), *(_plain(chunk, np.int64) for chunk in column.chunks)])


def _floats(table: pa.Table, name: str, empty: float) -> FloatArray:
    """Return a column of numbers; a null becomes ``empty``."""
    if name not in table.column_names:
        return np.full(table.num_rows, empty)
    import pyarrow as pa

    column = table.column(name).cast(pa.float64(), safe=False)
    filled = column.fill_null(empty) if column.null_count else column
    return np.concatenate([np.zeros(0), *(_plain(chunk, np.float64) for chunk in filled.chunks)])


def _waits(table: pa.Table) -> tuple[IntArray, IntArray]:
    first = np.zeros(table.num_rows + 1, dtype=np.int64)
    if "depends_on" not in table.column_names:
        return first, np.zeros(0, dtype=np.int64)
    import pyarrow as pa

    none = np.zeros(0, dtype=np.int64)
    chunks = table.column("depends_on").chunks
    lengths = [_plain(chunk.value_lengths().fill_null(0), np.int64) for chunk in chunks]
    np.cumsum(np.concatenate([none, *lengths]), out=first[1:])
    entries = [chunk.flatten().cast(pa.int64(), safe=False).fill_null(BROKEN) for chunk in chunks]
    return first, np.concatenate([none, *(_plain(entry, np.int64) for entry in entries)])


def _plain(cells: pa.Array, dtype: Any) -> Any:
    """Return numbers without a null among them; Arrow's own way to them imports pandas, which takes longer than reading."""
    return np.from_dlpack(cells).astype(dtype) if len(cells) else np.zeros(0, dtype=dtype)
