"""The one door for files that are read: opened here, with bounds on what they may take before it is taken.

Every failure of a file, be it missing, a folder, too large, not UTF-8, no table or unreadable half-way, is an
:class:`~zcube.errors.InputError` that names the file.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import fstat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zcube.errors import Fault, InputError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
#: Columns that a Parquet table may have; what it says of each row group and column takes memory before any is read.
MAX_COLUMNS, MAX_ROW_GROUPS = 10_000, 100_000


def is_file(reference: str) -> bool:
    """Return whether a text is the path of a file; one that cannot be a path (too long, say) is not."""
    try:
        return Path(reference).is_file()
    except (OSError, ValueError):
        return False


@contextmanager
def opened(path: Path, most_bytes: int, expected: str = "a readable file") -> Iterator[BinaryIO]:
    """Open a file to read its bytes; what goes wrong with it until it is closed is told as a fault of it.

    Parameters
    ----------
    path : Path
        A file, or a pipe, whose end nobody knows; a device is neither.
    most_bytes : int
        Largest file.
    expected : str
        What should be there, for faults.

    Raises
    ------
    InputError
        If it is missing, something else than a file, too large, or cannot be read.
    """
    try:
        with path.open("rb") as handle:
            status = fstat(handle.fileno())
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
                raise InputError(Fault(str(path), "something that is not a file", expected))
            if status.st_size > most_bytes:
                raise InputError(_too_large(path, status.st_size, most_bytes))
            yield handle
    except IsADirectoryError as error:
        raise InputError(Fault(str(path), "something that is not a file", expected)) from error
    except OSError as error:
        raise InputError(Fault(str(path), error.strerror or "an unreadable file", expected)) from error
    except ValueError as error:
        if "\0" not in str(path):
            raise
        raise InputError(Fault(str(path), "a name with a NUL", expected)) from error


def _too_large(path: Path, size_bytes: int, most_bytes: int) -> Fault:
    return Fault(str(path), f"a file of {size_bytes} bytes", f"one of at most {most_bytes} bytes")


def starts_with(path: Path, most_bytes: int, count: int = 4) -> bytes:
    """Return the first bytes of a file; parameters and faults as of :func:`opened`."""
    with opened(path, most_bytes) as handle:
        return handle.read(count)


def read_bounded(path: Path, most_bytes: int) -> str:
    """Return the text of a file of bounded size; a byte-order mark, which spreadsheets write, is left out.

    Raises
    ------
    InputError
        As :func:`opened`, or if the file is not UTF-8.
    """
    with opened(path, most_bytes) as handle:
        # A pipe has no size.
        raw = handle.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise InputError(_too_large(path, len(raw), most_bytes))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Fault(str(path), f"a byte that is not UTF-8 at {error.start}", "UTF-8 text")) from error


def columns_once(where: str, names: Sequence[str], wanted: Iterable[str]) -> list[str]:
    """Return the wanted columns that a table has, in the order asked for.

    Raises
    ------
    InputError
        At ``where``, for every one of them that stands there twice: nobody knows which is meant.
    """
    found = [name for name in wanted if name in names]
    twice = [name for name in found if names.count(name) > 1]
    if twice:
        raise InputError(Fault(where, f"{names.count(name)} columns {name}", "one") for name in twice)
    return found


def csv_header(text: str) -> tuple[str, ...]:
    """Return the stripped cells of the first line, empty if it is no CSV."""
    try:
        first = next(csv.reader([text.partition("\n")[0]]), [])
    except csv.Error:
        return ()
    return tuple(cell.strip() for cell in first)


@contextmanager
def parquet_file(
    path: Path, most_bytes: int, expected: str = "a whole Parquet file", read_dictionary: Collection[str] = ()
) -> Iterator[ParquetFile]:
    """Open a Parquet table, of which nothing is unpacked yet; what goes wrong until it is closed is told as a fault of it.

    Parameters
    ----------
    path : Path
        The table.
    most_bytes : int
        Largest file.
    expected : str
        For faults.
    read_dictionary : collection of str
        Columns of text that repeats, which is unpacked once.

    Raises
    ------
    InputError
        As :func:`opened`; if it is no table, or says of itself what no table can be.
    """
    from pyarrow import ArrowException, parquet

    with opened(path, most_bytes) as handle:
        if not stat.S_ISREG(fstat(handle.fileno()).st_mode):
            raise InputError(Fault(str(path), "a pipe", "a file, which can be read from its end"))
    try:
        with parquet.ParquetFile(path, read_dictionary=list(read_dictionary)) as file:
            said = file.metadata
            for what, count, most in (
                ("columns", said.num_columns, MAX_COLUMNS), ("row groups", said.num_row_groups, MAX_ROW_GROUPS)
            ):  # fmt: skip
                if count > most:
                    raise InputError(Fault(str(path), f"{count} {what}", f"at most {most}"))
            yield file
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(Fault(str(path), (str(error).splitlines() or [type(error).__name__])[0][:160], expected)) from error


def check_table(path: Path | str, file: ParquetFile, most_rows: int, most_bytes: int) -> int:
    """Return the bytes that a table unpacks to, as it says itself, after checking these and its rows.

    What it says of single columns is not asked for: pyarrow 26 ends the process where that contradicts itself.

    Parameters
    ----------
    path : Path or str
        For faults.
    file : ParquetFile
        From :func:`parquet_file`.
    most_rows, most_bytes : int
        Bounds.

    Raises
    ------
    InputError
        If there is more of either.
    """
    said = file.metadata
    sizes = [int(said.row_group(number).total_byte_size) for number in range(said.num_row_groups)]
    size = sum(sizes)
    if min(sizes, default=0) < 0:
        raise InputError(Fault(str(path), f"{min(sizes)} bytes unpacked", f"at most {most_bytes} bytes"))
    if said.num_rows > most_rows:
        raise InputError(Fault(str(path), f"{said.num_rows} rows", f"at most {most_rows} rows"))
    if size > most_bytes:
        raise InputError(Fault(str(path), f"{size} bytes unpacked", f"at most {most_bytes} bytes"))
    return size
