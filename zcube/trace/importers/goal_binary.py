"""GOAL programs as LogGOPSim's binary: what ``txt2bin`` writes and LogGOPSim and ATLAHS run.

Little-endian, packed (LogGOPSim src/LogGOPSim/Parser.hpp, the same in ATLAHS): the number 4223 in 8 bytes; then, from where all
places are counted, the ranks (4 bytes), the largest cpu and NIC (1 each), and of every rank where its schedule begins and ends
(8 each). A schedule: the number of operations and of those that wait for nothing, the latter's numbers (4 bytes each), the
operations, the appendix. An operation is 39 bytes (:data:`OPERATION`); the appendix holds the numbers of operations that wait
for its end or its start. A simulation that saves memory spends the file: it then begins with 2342.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from zcube.errors import Fault, InputError
from zcube.memory import available_memory_bytes
from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.goal_program import MAX_DEPENDENCIES, MAX_TAG, RECEIVE_TYPE, GoalProgram
from zcube.trace.importers.goal_run import ANY
from zcube.trace.importers.goal_text import check_single
from zcube.trace.importers.source import CutShort, Source

MAGIC, SPENT = 4223, 2342
#: The largest program read; 16 Mi operations with a dependency each take 0.7 GB.
MAX_BYTES = 2 << 30
OPERATION = np.dtype(
    [
        ("waits", "<u4"), ("type", "i1"), ("peer", "<u4"), ("size", "<u8"), ("tag", "<u4"), ("cpu", "u1"), ("nic", "u1"),
        ("ends", "<u4"), ("first_end", "<u4"), ("starts", "<u4"), ("first_start", "<u4"),
    ]
)  # fmt: skip
HEAD = struct.Struct("<QIBB")
#: Places are counted from behind the magic number.
ORIGIN = 8
ANY_RANK = (1 << 32) - 1
_ROWS_AT_ONCE = 1 << 14


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file begins as such a program, spent or not."""
    return head[:ORIGIN] in (struct.pack("<Q", MAGIC), struct.pack("<Q", SPENT))


def read(sources: list[Source], options: Options) -> Gathered:
    """Read one program.

    Raises
    ------
    InputError
        If the file was spent by a simulation. What is cut short or contradicts itself is noted; the schedules before it stay.
    """
    check_single(sources)
    source, gathered = sources[0], Gathered(options.chain)
    program = GoalProgram(source, gathered, options)
    content = _content(source)
    with source.guard():
        if len(content) < HEAD.size:
            raise CutShort("the end of the file in its head")
        magic, ranks, _, _ = HEAD.unpack_from(content)
        if magic != MAGIC:
            found = "a program that a simulation spent (LogGOPSim --save-mem)" if magic == SPENT else f"the number {magic}"
            raise InputError(Fault(str(source.path), found, f"a GOAL binary, which begins with {MAGIC}: run txt2bin again"))
        if not 1 <= ranks <= MAX_RANKS:
            raise InputError(Fault(str(source.path), f"{ranks} ranks", f"1 to {MAX_RANKS}"))
        if len(content) < HEAD.size + 16 * ranks:
            raise CutShort("the end of the file in the places of its schedules")
        program.ranks(ranks)
        places = np.frombuffer(content, "<u8", 2 * ranks, HEAD.size).reshape(ranks, 2)
        for rank in range(ranks):
            _Schedule(source, program, content, rank, *places[rank].tolist()).read()
    with source.guard():
        program.finish()
    return gathered


def _content(source: Source) -> bytes:
    """Return the whole file, or what can be read of it."""
    content = bytearray()
    left = available_memory_bytes()
    most = MAX_BYTES if left is None else min(MAX_BYTES, left // 4)
    with source.guard():
        for chunk in source.chunks():
            content += chunk
            if len(content) > most:
                raise InputError(Fault(str(source.path), f"more than {most} bytes", f"at most {most} bytes"))
    return bytes(content)


class _Schedule:
    """The schedule of one rank."""

    def __init__(self, source: Source, program: GoalProgram, content: bytes, rank: int, begin: int, end: int):
        self._source, self._program, self._content, self._rank = source, program, content, rank
        self._begin, self._end = begin + ORIGIN, end + ORIGIN

    def read(self) -> None:
        """Take its operations and dependencies.

        Raises
        ------
        CutShort
            If the file ends before it does, or its places or numbers lie outside it.
        """
        source, content = self._source, self._content
        source.offset = min(self._begin, len(content))
        if not HEAD.size <= self._begin <= self._end - 8:
            self._refuse(f"a schedule from byte {self._begin} to {self._end}", "one of 8 bytes or more behind the head")
        if self._end > len(content):
            self._refuse("the end of the file", f"{self._end} bytes")
        count, roots = np.frombuffer(content, "<u4", 2, self._begin).tolist()
        first = self._begin + 8 + 4 * roots
        appendix, rest = divmod(self._end - first - OPERATION.itemsize * count, 4)
        if appendix < 0 or rest or appendix > MAX_DEPENDENCIES or roots > count:
            self._refuse(f"{count} operations, {roots} of them first", f"what {self._end - self._begin} bytes hold")
        rows = np.frombuffer(content, OPERATION, count, first)
        waiting = np.frombuffer(content, "<u4", appendix, self._end - 4 * appendix)
        for key, start in (("ends", "first_end"), ("starts", "first_start")):
            outside = (rows[key] > 0) & (rows[start].astype(np.int64) + rows[key] > appendix)
            if outside.any():
                self._refuse(f"dependencies of operation {int(np.flatnonzero(outside)[0])}", f"{appendix} in the appendix")
        if appendix and int(waiting.max()) >= count:
            self._refuse(f"operation {int(waiting.max())} of {count} in the appendix", f"one below {count}")
        if (wrong := next((number for number, row in enumerate(_rows(rows)) if not self._fits(row)), None)) is not None:
            self._refuse(
                f"operation {wrong}: {rows[wrong]}", "a type of 1 to 3, a rank of the program, a size and time that can be"
            )
        places = [self._operation(row) for row in _rows(rows)]
        for later, earlier, at_start in _pairs(rows, waiting):
            if not self._program.wait(places[later], places[earlier], at_start):
                self._refuse("more dependencies", f"at most {MAX_DEPENDENCIES}")

    def _fits(self, row: tuple[int, ...]) -> bool:
        _, kind, peer, size, *_ = row
        return 1 <= kind <= 3 and self._program.fits(kind, size, ANY if kind == RECEIVE_TYPE and peer == ANY_RANK else peer)

    def _operation(self, row: tuple[int, ...]) -> int:
        _, kind, peer, size, tag, cpu, nic, *_ = row
        peer = ANY if kind == RECEIVE_TYPE and peer == ANY_RANK else peer
        self._source.number += 1
        self._source.report.read += 1
        self._source.report.used += 1
        return self._program.add(kind, self._rank, size, peer, ANY if tag > MAX_TAG else tag, cpu, nic)

    def _refuse(self, found: str, expected: str) -> NoReturn:
        self._source.number += 1
        self._source.broken(f"{found}, in the schedule of rank {self._rank}", expected)
        raise CutShort


def _rows(rows: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yield operations as Python's numbers, few at a time: those of a large schedule take more memory than the file."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield from rows[first : first + _ROWS_AT_ONCE].tolist()


def _pairs(rows: np.ndarray, waiting: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """Yield what waits, for what, and whether for its start."""
    for key, first, start in (("ends", "first_end", False), ("starts", "first_start", True)):
        for earlier in np.flatnonzero(rows[key]).tolist():
            at = int(rows[first][earlier])
            for later in waiting[at : at + int(rows[key][earlier])].tolist():
                yield later, earlier, start
