"""Columns of a table on disk, CSV or Parquet, read under bounds, with the place of each row for faults.

Nothing here knows what the columns mean: names become codes into a list of distinct ones, numbers become floats with
marks for empty cells and for words.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.input_files import GZIP, PARQUET, check_table, columns_once, opened, parquet_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_FILE_BYTES = 2 << 30
#: What a Parquet file may unpack to.
MAX_TABLE_BYTES = 8 << 30
MAX_LINE_BYTES = 1 << 16
MAX_FAULTS_LISTED = 20

#: What a cell must look like to be read as a number; anything else is a word.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$|^(?i:[+-]?(inf|infinity|nan))$"

_UNDECODED = re.compile("[\udc80-\udcff]")

Names = tuple[npt.NDArray[np.integer[Any]], tuple[str, ...]]
Numbers = tuple[FloatArray, BoolArray, BoolArray]


def check_file(path: Path) -> Literal["csv", "parquet"]:
    """Return what kind of table a file is, by its first bytes.

    Raises
    ------
    InputError
        If it is no file, empty, too large, compressed or binary.
    """
    expected = "a table as CSV text or Parquet"
    with opened(path, MAX_FILE_BYTES, expected) as handle:
        if not path.is_file():
            raise InputError(Fault(str(path), "something that is not a file", expected))
        start = handle.read(4096)
    if not start:
        raise InputError(Fault(str(path), "an empty file", expected))
    if start.startswith(PARQUET):
        return "parquet"
    if start.startswith(GZIP) or b"\0" in start:
        raise InputError(Fault(str(path), "gzip data" if start.startswith(GZIP) else "binary data", expected))
    return "csv"


class CsvRows:
    """The rows of a CSV file: comma-separated, a header of column names, empty lines skipped, blanks around cells ignored.

    Parameters
    ----------
    path : Path
        The file.
    wanted : sequence of str
        Columns to keep.
    numbers : sequence of str
        Those among them that hold numbers.
    max_rows : int
        Most rows accepted.

    Attributes
    ----------
    names : list of str
        Wanted columns that the file has.
    broken : int
        Lines left out because they have too few or too many cells.
    """

    def __init__(self, path: Path, wanted: Sequence[str], numbers: Sequence[str], max_rows: int):
        self.path = path
        self._header_line, self._columns = _header(path)
        self.names = columns_once(f"{path}: {self.header_place}", self._columns, wanted)
        self._numbers = [name for name in self.names if name in numbers]
        #: Lines with the wrong number of cells: how many lines that are not empty stand before it, below the header.
        self._malformed: list[int] = []
        self._table = self._read(max_rows)
        self.broken = len(self._malformed)

    @property
    def header_place(self) -> str:
        """Where the column names stand."""
        return f"line {self._header_line}"

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def names_of(self, column: str) -> Names:
        """Return the code of each cell, -1 if empty, and the distinct names."""
        return _coded(self._table.column(column))

    def numbers_of(self, column: str) -> Numbers:
        """Return values (nan where there is none), whether a cell is empty, and whether it holds a word."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self._table.column(column)
        if pa.types.is_floating(cells.type):
            return _floats(cells), _marks(cells.is_null()), np.zeros(len(cells), dtype=bool)
        text = pc.utf8_trim_whitespace(cells)
        empty, number = pc.equal(text, ""), pc.match_substring_regex(text, _NUMBER)
        # The parser of a cast knows no leading plus sign.
        plain = pc.utf8_ltrim(text, characters="+")
        value = pc.cast(pc.if_else(number, plain, pa.scalar(None, pa.string())), pa.float64())
        return _floats(value), _marks(empty), ~(_marks(number) | _marks(empty))

    def where(self, rows: Sequence[int]) -> list[str]:
        """Return the places of rows in the file."""
        lines = self._lines({self._ordinal(row) for row in rows})
        return [f"{self.path}: line {lines[self._ordinal(row)][0]}" for row in rows]

    def describe(self, faults: Sequence[tuple[int, str, str]], count: int) -> list[Fault]:
        """Return the first faults in order of lines, with what stands in the file, and how many more there are.

        Parameters
        ----------
        faults : sequence of (row, column, what is expected)
            Of each kind at least the first 20.
        count : int
            All there are, those of broken lines included.
        """
        placed = [(self._ordinal(row), column, expected) for row, column, expected in faults]
        placed += [(ordinal, "", "") for ordinal in self._malformed[:MAX_FAULTS_LISTED]]
        placed = sorted(placed, key=lambda fault: fault[0])[:MAX_FAULTS_LISTED]
        lines = self._lines({ordinal for ordinal, _, _ in placed})
        listed = []
        for ordinal, column, expected in placed:
            number, text = lines[ordinal]
            cells = next(csv.reader([text]), [])
            where = f"{self.path}: line {number}"
            if not column:
                listed.append(Fault(where, f"{len(cells)} cells", f"{len(self._columns)}, as in the header"))
                continue
            at = self._columns.index(column)
            listed.append(Fault(where, f"{column} {_short(cells[at] if at < len(cells) else '')}", expected))
        return _with_rest(listed, count, self.path)

    def _read(self, max_rows: int) -> pa.Table:
        """Return the wanted columns: numbers as floats if all cells are, else as text."""
        import pyarrow as pa

        if (lines := _count_lines(self.path)) - self._header_line > max_rows:
            raise InputError(Fault(str(self.path), f"{lines} lines", f"at most {max_rows} rows"))
        try:
            return self._parse(pa.float64(), None)
        except pa.ArrowInvalid:
            pass
        self._check_text()
        try:
            return self._parse(pa.string(), self._note_malformed)
        except pa.ArrowInvalid as error:
            found = str(error).splitlines()[0][:160]
            raise InputError(Fault(str(self.path), found, "CSV with one row per line")) from error

    def _parse(self, number: pa.DataType, on_malformed: Any) -> pa.Table:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        coded = pa.dictionary(pa.int32(), pa.string())
        kinds = {name: number if name in self._numbers else coded for name in self.names}
        # Columns that repeat under names nobody wants are legal, and those names may be no text at all.
        columns = [name if name in self.names else f"column {place}" for place, name in enumerate(self._columns)]
        # Rows are counted for the handler of malformed ones only when they come in order.
        options = arrow_csv.ReadOptions(column_names=columns, skip_rows=self._header_line, use_threads=on_malformed is None)
        parse = arrow_csv.ParseOptions(invalid_row_handler=on_malformed)
        convert = arrow_csv.ConvertOptions(
            column_types=kinds, include_columns=self.names, null_values=[""], strings_can_be_null=False
        )
        return arrow_csv.read_csv(self.path, options, parse, convert)

    def _note_malformed(self, row: Any) -> str:
        self._malformed.append(row.number - self._header_line - 1)
        return "skip"

    @cached_property
    def _kept(self) -> IntArray:
        """Of each row, how many lines that are not empty stand before it, below the header."""
        return np.delete(np.arange(len(self) + len(self._malformed)), self._malformed)

    def _ordinal(self, row: int) -> int:
        return int(self._kept[row]) if self._malformed else row

    def _lines(self, ordinals: set[int]) -> dict[int, tuple[int, str]]:
        """Return line number and text of chosen lines, counted without empty ones below the header."""
        found: dict[int, tuple[int, str]] = {}
        ordinal = -1
        for number, text in _text_lines(self.path):
            if number > self._header_line and text:
                ordinal += 1
                if ordinal in ordinals:
                    found[ordinal] = (number, text)
                    if len(found) == len(ordinals):
                        break
        return found

    def _check_text(self) -> None:
        """Refuse lines that no table has, before their cells are looked at."""
        faults, count = [], 0
        for number, text in _text_lines(self.path):
            found = "a longer line" if len(text) > MAX_LINE_BYTES else _UNDECODED.search(text) and "a byte that is not UTF-8"
            if found:
                count += 1
                if count <= MAX_FAULTS_LISTED:
                    faults.append(Fault(f"{self.path}: line {number}", found, f"UTF-8 text of at most {MAX_LINE_BYTES} bytes"))
        if count:
            raise InputError(_with_rest(faults, count, self.path))


class ArrowRows:
    """The rows of an Arrow table; see :class:`CsvRows` for the attributes.

    Parameters
    ----------
    path : Path or str
        Where they come from, for faults.
    names : list of str
        Wanted columns that there are.
    table : pyarrow.Table
        With these columns.
    """

    header_place = "schema"
    broken = 0

    def __init__(self, path: Path | str, names: list[str], table: pa.Table):
        self.path, self.names, self._table = path, names, table

    @classmethod
    def of_parquet(cls, path: Path, wanted: Sequence[str], max_rows: int) -> Self:
        """Read a Parquet file, at most ``max_rows`` rows."""
        import pyarrow as pa

        with parquet_file(path, MAX_FILE_BYTES) as file:
            check_table(path, file, max_rows, MAX_TABLE_BYTES)
            schema = file.schema_arrow
            names = _cell_columns(path, schema, wanted)
        # Text that repeats is unpacked once, however many rows hold it.
        text = [name for name in names if pa.types.is_string(schema.field(name).type)]
        with parquet_file(path, MAX_FILE_BYTES, read_dictionary=text) as file:
            table = file.read(columns=names)
            # A corrupt page may hold codes beyond its dictionary, or text that is not UTF-8.
            table.validate(full=True)
            return cls(path, names, table)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, wanted: Sequence[str], max_rows: int) -> Self:
        """Take the columns of a pandas frame."""
        import pyarrow as pa

        if len(frame) > max_rows:
            raise InputError(Fault("frame", f"{len(frame)} rows", f"at most {max_rows} rows"))
        try:
            table = pa.Table.from_pandas(frame[columns_once("frame", list(frame.columns), wanted)], preserve_index=False)
        except pa.ArrowException as error:
            raise InputError(Fault("frame", str(error).splitlines()[0][:160], "columns of text or numbers")) from error
        return cls("frame", _cell_columns("frame", table.schema, wanted), table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def names_of(self, column: str) -> Names:
        """Return the code of each cell, -1 if empty, and the distinct names."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self._table.column(column)
        if not pa.types.is_dictionary(cells.type):
            if pa.types.is_floating(cells.type):
                # pandas turns whole numbers into floats where a cell is empty; Arrow cannot round halves.
                cells = pc.cast(cells, pa.float64()) if pa.types.is_float16(cells.type) else cells
                rounded = pc.equal(cells, pc.floor(cells))
                whole = pc.cast(pc.if_else(rounded, cells, None), pa.int64(), safe=False)
                cells = pc.if_else(rounded, pc.cast(whole, pa.string()), pc.cast(cells, pa.string()))
            cells = pc.dictionary_encode(pc.cast(cells, pa.string()))
        return _coded(cells)

    def numbers_of(self, column: str) -> Numbers:
        """Return values (nan where there is none), whether a cell is empty, and whether it holds a word."""
        import pyarrow as pa

        cells = self._table.column(column)
        empty = _marks(cells.is_null())
        if pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type) or pa.types.is_decimal(cells.type):
            return _floats(cells.cast(pa.float64(), safe=False)), empty, np.zeros(len(cells), dtype=bool)
        return np.full(len(cells), np.nan), empty, ~empty

    def where(self, rows: Sequence[int]) -> list[str]:
        """Return the places of rows in the file, counted from 1."""
        return [f"{self.path}: row {row + 1}" for row in rows]

    def describe(self, faults: Sequence[tuple[int, str, str]], count: int) -> list[Fault]:
        """Return the first faults in order of rows and how many more there are; see :meth:`CsvRows.describe`."""
        listed = []
        for row, column, expected in sorted(faults, key=lambda fault: fault[0])[:MAX_FAULTS_LISTED]:
            value = self._table.column(column)[row].as_py()
            found = f"{column} {_short('' if value is None else str(value))}"
            listed.append(Fault(f"{self.path}: row {row + 1}", found, expected))
        return _with_rest(listed, count, self.path)


def _cell_columns(path: Path | str, schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Return the wanted columns that a schema has, all of text or numbers; one of nulls alone, which has no type, is none."""
    import pyarrow as pa

    names = columns_once(f"{path}: schema", schema.names, wanted)
    names = [name for name in names if not pa.types.is_null(schema.field(name).type)]
    nested = [name for name in names if not _holds_cells(schema.field(name).type)]
    if nested:
        raise InputError(Fault(f"{path}: column {name}", str(schema.field(name).type), "text or numbers") for name in nested)
    return names


def _holds_cells(kind: pa.DataType) -> bool:
    import pyarrow as pa

    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    return bool(text or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _coded(cells: pa.ChunkedArray) -> Names:
    """Return codes and distinct names of text that Arrow has coded chunk by chunk; blanks around names are dropped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = cells.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], cells.type)
    trimmed = _filled(pc.utf8_trim_whitespace(whole.dictionary.cast(pa.string())), "")
    # Distinct spellings may be one name, or none, once blanks are dropped.
    spelled = trimmed.dictionary_encode()
    names = spelled.dictionary.to_pylist()
    code = _plain(spelled.indices).astype(np.int64)
    if "" in names:
        blank = names.index("")
        names.pop(blank)
        code = np.where(code == blank, -1, code - (code > blank))
    # The last entry stands for a null.
    return np.append(code, -1)[_plain(_filled(whole.indices, len(code))).astype(np.int64)], tuple(names)


def _floats(cells: pa.ChunkedArray) -> FloatArray:
    """Return numbers, nan for null."""
    return _plain(_filled(cells, float("nan")))


def _marks(cells: pa.ChunkedArray) -> BoolArray:
    """Return truth values without a null among them."""
    return _plain(cells.cast("uint8")).astype(bool)


def _filled(cells: Any, value: Any) -> Any:
    return cells.fill_null(value) if cells.null_count else cells


def _plain(cells: pa.ChunkedArray | pa.Array) -> npt.NDArray[Any]:
    """Return numbers without a null among them; Arrow's own way to them imports pandas, which takes longer than most lists."""
    chunks = getattr(cells, "chunks", [cells])
    parts = [np.from_dlpack(chunk) for chunk in chunks if len(chunk)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _header(path: Path) -> tuple[int, list[str]]:
    """Return the line of the header and its column names."""
    for number, text in _text_lines(path):
        if text.strip():
            return number, [name.strip() for name in next(csv.reader([text]))]
        if number > 1000:
            break
    raise InputError(Fault(str(path), "blank lines only", "a header of column names"))


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each line and its text, cut off where it is too long; bytes that are not UTF-8 become surrogates."""
    with opened(path, MAX_FILE_BYTES) as raw, io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape") as handle:
        number = 0
        while text := handle.readline(MAX_LINE_BYTES + 2):
            number += 1
            whole = text.endswith("\n")
            yield number, text.removesuffix("\n")
            while not whole and (rest := handle.readline(1 << 20)):
                whole = rest.endswith("\n")


def _count_lines(path: Path) -> int:
    """Return how many line ends a file has; a carriage return alone is one, too."""
    lines = 0
    with opened(path, MAX_FILE_BYTES) as handle:
        while block := handle.read(1 << 22):
            lines += max(block.count(b"\n"), block.count(b"\r"))
    return lines


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else repr(text[:57]) + "..."


def _with_rest(listed: list[Fault], count: int, path: Path | str) -> list[Fault]:
    more = count - len(listed)
    rest = [Fault(str(path), f"and {more} more faults", "none; the first ones are listed above")] if more else []
    return listed + rest
