"""Parquet tables with one change: a column's type, its values, rows, what the table says of itself."""

from __future__ import annotations

import io
from random import Random
from typing import Any

from zcube.fuzz.hostile import NUMBERS, TEXTS


def changed_table(content: bytes, draws: Random) -> bytes:
    """Return a Parquet file with a change, nothing where it cannot be read or the change cannot be made."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = _changed(parquet.read_table(io.BytesIO(content)), draws)
        out = io.BytesIO()
        parquet.write_table(table, out, compression=draws.choice(("zstd", "none")))
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError):
        return b""
    return out.getvalue()


def _changed(table: Any, draws: Random) -> Any:
    import pyarrow as pa

    at = draws.randrange(table.num_columns)
    name, column, way = table.column_names[at], table.column(at), draws.randrange(9)
    if way == 0:
        return table.remove_column(at)
    if way == 1:
        return table.append_column(draws.choice((name, "x", "")), table.column(draws.randrange(table.num_columns)))
    if way == 2:
        kind = draws.choice(
            (pa.string(), pa.float16(), pa.float32(), pa.int8(), pa.uint64(), pa.bool_(), pa.binary(), pa.decimal128(38, 2))
        )
        return table.set_column(at, name, column.cast(kind, safe=False))
    if way == 3:
        # Rows that cost a file nothing, and memory much.
        return pa.concat_tables([table.slice(0, 1)] * draws.choice((2, 2, 2, 2, 1000, 60_000))).combine_chunks()
    if way == 4:
        return table.slice(0, draws.randrange(table.num_rows + 1))
    if way == 5 and table.schema.metadata:
        from zcube.fuzz.mutations import changed

        key = draws.choice(list(table.schema.metadata))
        return table.replace_schema_metadata({**table.schema.metadata, key: changed(table.schema.metadata[key], "json", draws)})
    if way == 6:
        return table.set_column(at, name, pa.nulls(table.num_rows, draws.choice((pa.null(), column.type))))
    return table.set_column(at, name, _with_values(column, draws))


def _with_values(column: Any, draws: Random) -> Any:
    """Return a column with a few other values of its type; of another where its type cannot hold them."""
    import pyarrow as pa

    values = column.to_pylist()
    choice = TEXTS if values and isinstance(values[0], str) else NUMBERS
    for _ in range(draws.choice((1, 1, 5))):
        if values:
            values[draws.randrange(len(values))] = draws.choice((None, *choice))
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else float(value) for value in values])
