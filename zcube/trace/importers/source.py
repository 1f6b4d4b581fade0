"""One file under import: its bytes, unpacked and bounded, as lines or chunks, and where it breaks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from zcube.errors import Fault
from zcube.input_files import GZIP, is_file, opened
from zcube.trace.importers.report import FileReport

MAX_FILE_BYTES = 16 << 30
#: What a packed file may unpack to, and how many times its own bytes once it is larger than the first bound; files are read in
#: passing, so that this bounds time, not memory. Logs and profiles pack ten- to thirtyfold, zeros a thousandfold.
FREELY_UNPACKED_BYTES, MAX_UNPACKING = 32 << 20, 200
MAX_UNPACKED_BYTES = 64 << 30
MAX_LINE_BYTES = 1 << 20
CHUNK_BYTES = 1 << 18
#: What is looked at to tell a file's format.
HEAD_BYTES = 1 << 20

_PACKED_BYTES = 1 << 14


class CutShort(Exception):  # noqa: N818
    """A file ends or breaks inside a record."""


@dataclass(slots=True)
class Line:
    """One line: its number from 1, its first byte in the (unpacked) file, its text without the end, whether it ended."""

    number: int
    offset: int
    text: str
    ended: bool


@dataclass
class Source:
    """A file being imported.

    Attributes
    ----------
    path : Path
        The file.
    index : int
        Its place among the files of the import.
    report : FileReport
        What was read of it.
    number, offset : int
        The record being read and its first byte.
    """

    path: Path
    index: int
    report: FileReport = field(init=False)
    number: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        self.report = FileReport(str(self.path))

    def fault(self) -> Fault | None:
        """Return why the file cannot be imported at all, without reading it."""
        if not is_file(str(self.path)):
            return Fault(str(self.path), "no such file", "a file")
        size = self.path.stat().st_size
        if 0 < size <= MAX_FILE_BYTES:
            return None
        return Fault(str(self.path), f"a file of {size} bytes", f"one of 1 to {MAX_FILE_BYTES} bytes")

    def head(self) -> bytes:
        """Return the first bytes, unpacked, as far as they can be read."""
        head = b""
        try:
            for chunk in self.chunks():
                head += chunk
                if len(head) >= HEAD_BYTES:
                    break
        except CutShort:
            pass
        return head[:HEAD_BYTES]

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, unpacked if the file is gzip data.

        Raises
        ------
        InputError
            If the file cannot be read.
        CutShort
            If packed data are cut short, corrupt or too large; all that could be unpacked has been yielded before.
        """
        with opened(self.path, MAX_FILE_BYTES) as handle:
            packed = handle.read(2) == GZIP
            handle.seek(0)
            # An empty chunk would read as the end of the file.
            yield from filter(None, _unpacked(handle)) if packed else iter(lambda: handle.read(CHUNK_BYTES), b"")

    def lines(self) -> Iterator[Line]:
        """Yield the lines that are not blank; longer ones than :data:`MAX_LINE_BYTES` are skipped."""
        self.report.unit = "line"
        rest, start = b"", 0
        skipping = False
        for chunk in self.chunks():
            rest += chunk
            *ended, rest = rest.split(b"\n")
            for raw in ended:
                if not raw and not skipping:
                    # Empty lines may be millions.
                    self.number, self.offset, start = self.number + 1, start, start + 1
                    continue
                yield from self._line(raw, start, True, skipping)
                start += len(raw) + 1
                skipping = False
            if len(rest) > MAX_LINE_BYTES:
                start, rest, skipping = start + len(rest), b"", True
        if rest or skipping:
            yield from self._line(rest, start, False, skipping)

    def _line(self, raw: bytes, offset: int, ended: bool, skipping: bool) -> Iterator[Line]:
        self.number, self.offset = self.number + 1, offset
        if skipping or len(raw) > MAX_LINE_BYTES:
            self.report.read += 1
            self.report.skip(f"a line of more than {MAX_LINE_BYTES} bytes", self.number)
            return
        text = raw.decode("utf-8-sig" if self.number == 1 else "utf-8", errors="replace").rstrip("\r")
        if text and not text.isspace():
            self.report.read += 1
            yield Line(self.number, offset, text, ended)

    def skip(self, reason: str, text: object = "") -> None:
        """Leave out the record being read."""
        self.report.skip(reason, self.number, text)

    def broken(self, found: str, expected: str) -> None:
        """Note where the file breaks, the first time."""
        if self.report.broken is None:
            where = f"{self.path}: {self.report.unit} {self.number} (byte {self.offset})"
            self.report.broken = Fault(where, found, expected)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a cut or corrupt file into a note, so that what was read before it stays."""
        try:
            yield
        except CutShort as error:
            if self.report.unit == "line":
                self.number += 1
            self.broken(str(error), f"a whole {self.report.unit}")


def _unpacked(handle: BinaryIO) -> Iterator[bytes]:
    """Yield gzip data unpacked, all members; a broken stream yields every byte before the break."""
    stream, fed, total, packed = zlib.decompressobj(31), False, 0, 0
    while raw := handle.read(_PACKED_BYTES):
        packed += len(raw)
        while raw:
            before, fed = stream.copy(), True
            try:
                chunk = stream.decompress(raw, CHUNK_BYTES)
            except zlib.error as error:
                yield from _bytewise(before, raw)
                raise CutShort(f"gzip data that do not unpack ({error})") from error
            total += len(chunk)
            if total > min(MAX_UNPACKED_BYTES, max(FREELY_UNPACKED_BYTES, MAX_UNPACKING * packed)):
                raise CutShort(f"gzip data that unpack to more than {MAX_UNPACKING} times their bytes, or {MAX_UNPACKED_BYTES}")
            yield chunk
            raw = stream.unconsumed_tail
            if stream.eof:
                # Zero bytes may pad the end of a member; another member may follow.
                raw = stream.unused_data.lstrip(b"\0")
                stream, fed = zlib.decompressobj(31), False
    yield stream.flush()
    if fed and not stream.eof:
        raise CutShort("gzip data that end early")


def _bytewise(stream: zlib._Decompress, raw: bytes) -> Iterator[bytes]:
    for place in range(len(raw)):
        try:
            yield stream.decompress(raw[place : place + 1])
        except zlib.error:
            return
