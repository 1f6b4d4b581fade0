"""Reading wiring files that others wrote: bounded sizes, every fault with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from zcube.errors import Fault, InputError
from zcube.input_files import columns_once, read_bounded

#: Largest wiring file read; the GraphML of a 16,384-GPU fabric takes about 30 MB.
MAX_FILE_BYTES = 64 << 20
#: Most cables or links of one file.
MAX_ROWS = 1_000_000
#: Faults listed before the rest is only counted, so that a file of the wrong kind does not fill the screen.
MAX_FAULTS = 100
#: NetBox allows 64 characters for a name; a domain suffix may follow it (RFC 1035 allows 255).
MAX_NAME_CHARS = 255


class Faults:
    """Faults of one file as they are found.

    Parameters
    ----------
    source : str
        The file's name, put in front of each place.
    """

    def __init__(self, source: str):
        self.source = source
        self._listed: list[Fault] = []
        self._count = 0

    def add(self, line: int | str, found: str, expected: str) -> None:
        """Note a fault at a line (int) or a named place (str)."""
        self._count += 1
        if len(self._listed) < MAX_FAULTS:
            place = f"line {line}" if isinstance(line, int) else line
            self._listed.append(Fault(f"{self.source}: {place}", shown(found), expected))

    def raise_any(self) -> None:
        """Raise everything noted.

        Raises
        ------
        InputError
            If anything was noted; faults beyond :data:`MAX_FAULTS` are counted in a last one.
        """
        if self._count > len(self._listed):
            more = self._count - len(self._listed)
            raise InputError([*self._listed, Fault(self.source, f"{more} more faults", "none")])
        if self._listed:
            raise InputError(self._listed)


def shown(text: str) -> str:
    """Return text safe for a terminal: control characters escaped, at most 120 characters."""
    safe = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text[:121])
    return safe if len(text) <= 120 else safe[:117] + "..."


def read_text(path: Path) -> str:
    """Return the text of a wiring file of at most :data:`MAX_FILE_BYTES`; see :func:`zcube.input_files.read_bounded`."""
    return read_bounded(path, MAX_FILE_BYTES)


def read_rows(
    text: str, columns: Sequence[str], faults: Faults, optional: str | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line number and stripped cells of the wanted columns, in the order asked for; other columns are passed over.

    Parameters
    ----------
    text : str
        CSV with a header line.
    columns : sequence of str
        Columns that must be there.
    faults : Faults
        Takes a missing column, a row of the wrong length, and rows beyond :data:`MAX_ROWS`.
    optional : str, optional
        A column yielded last if it is there.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        missing = [column for column in columns if column not in header]
        if missing:
            faults.add(1, "no column " + ", ".join(missing), "a header with " + ",".join(columns))
            return
        wanted = columns_once(f"{faults.source}: line 1", header, (*columns, *([optional] if optional else [])))
        places = [header.index(column) for column in wanted]
        rows = 0
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            rows += 1
            if rows > MAX_ROWS:
                faults.add(reader.line_num, "more rows", f"at most {MAX_ROWS} rows")
                return
            if len(row) != len(header):
                faults.add(reader.line_num, f"{len(row)} cells", f"{len(header)} cells, as in the header")
                continue
            yield reader.line_num, tuple(row[place].strip() for place in places)
    except csv.Error as error:
        faults.add(reader.line_num, str(error), "CSV with cells of at most 131072 characters, quotes closed")


def to_csv(header: Sequence[str], rows: Iterator[Sequence[object]]) -> str:
    """Return CSV text with Unix line ends."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
