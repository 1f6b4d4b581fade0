"""A table of what each rank sends, receives and computes, in the manner of GOAL schedules, as CSV.

Columns, named in the first line, in any order; those in brackets may be missing or empty::

    rank,op,[peer],[bytes],[start_us],[duration_us],[deps],[tag],[group]

* ``op``: ``send``, ``recv``, ``calc``, or a collective (``all-reduce``, ``all-gather``, ``reduce-scatter``, ``all-to-all``,
  ``broadcast``, ``reduce``, ``gather``, ``scatter``, ``barrier``; other spellings such as ``AllReduce`` too).
* ``peer``: the other rank of a send or recv; the root of a broadcast, reduce, gather or scatter.
* ``bytes``: of a send or recv what is moved; of a collective what one rank puts in: of an all-gather its own part, of a
  reduce-scatter its whole input, of an all-to-all its whole send buffer.
* ``start_us``: earliest start in microseconds; ``duration_us``: the time of a calc, of anything else as it was recorded.
* ``deps``: what the row waits for, as numbers of records separated by semicolons. The first row below the header is record 1.
* ``tag``: sends match receives, and rows of one collective each other, of equal tag, the first with the first.
* ``group``: ranks of a collective separated by semicolons; all ranks of the file unless given.

A row without start and deps starts at once. Rows of one collective stand once per rank, or once for all.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from zcube.input_files import columns_once
from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.numbers import span_us, time_us, whole
from zcube.trace.importers.source import Line, Source
from zcube.trace.operation_names import BARRIER, RECEIVE, SEND, canonical

COLUMNS = ("rank", "op", "peer", "bytes", "start_us", "duration_us", "deps", "tag", "group")
_REQUIRED = ("rank", "op")


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file begins with the header of such a table."""
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    names = [cell.strip() for cell in first.split(",")]
    return all(column in names for column in _REQUIRED)


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the tables of one job; numbers of records in ``deps`` are those of the same file."""
    gathered = Gathered(options.chain)
    for source in sources:
        reader = _Reader(source, gathered)
        with source.guard():
            for line in source.lines():
                reader.line(line)
        reader.finish()
    named = [1 + max(call.rank, call.peer) for call in gathered.calls] + [1 + max(ranks) for ranks in gathered.groups.values()]
    everyone = range(max([options.ranks or 1, *named]))
    if any(call.group == "" and call.role == Role.COLLECTIVE for call in gathered.calls):
        gathered.add_group("", everyone)
    return gathered


class _Reader:
    def __init__(self, source: Source, gathered: Gathered):
        self._source, self._gathered = source, gathered
        self._columns: list[str] | None = None
        self._record = 0
        self._places: dict[int, int] = {}
        self._waits: list[tuple[Call, list[int]]] = []

    def line(self, line: Line) -> None:
        """Take one line."""
        try:
            cells = [cell.strip() for cell in next(csv.reader([line.text]))]
        except (csv.Error, StopIteration):
            cells = []
        if self._columns is None:
            columns_once(f"{self._source.path}: line {line.number}", cells, COLUMNS)
            self._columns = cells
            self._source.skip("the header", line.text)
            return
        self._record += 1
        if len(cells) != len(self._columns):
            self._source.skip("a row of more or fewer cells than the header", line.text)
            if not line.ended:
                self._source.broken("a row without its end", f"{len(self._columns)} cells")
            return
        call = self._call(dict(zip(self._columns, cells)), line.number)
        if isinstance(call, str):
            self._source.skip(call, line.text)
            return
        self._source.report.used += 1
        self._places[self._record] = self._gathered.add(call)

    def _call(self, row: dict[str, str], number: int) -> Call | str:
        rank = whole(row["rank"], MAX_RANKS - 1) if "rank" in row else None
        operation = "calc" if row.get("op", "").lower() == "calc" else canonical(row.get("op", ""))
        size = whole(row.get("bytes") or "0")
        peer = whole(row["peer"], MAX_RANKS - 1) if row.get("peer") else None
        start, duration = _time(row.get("start_us")), _time(row.get("duration_us"))
        deps = _numbers(row.get("deps"))
        group = _numbers(row.get("group"))
        if rank is None or operation in (None, "wait"):
            return "no usable rank or op"
        if size is None or (peer is None and row.get("peer")):
            return "bytes or peer that are no whole number in range"
        if "bad" in (start, duration) or (isinstance(duration, (int, float)) and span_us(duration) is None):
            return "start_us or duration_us that are no time"
        if deps is None or group is None:
            return "deps or group that are not whole numbers between semicolons"
        found = self._made(number, operation or "", rank, size, peer, row.get("tag", ""), group)
        if isinstance(found, str):
            return found
        if found.role == Role.COMPUTE and duration is None:
            return "a calc without duration_us"
        found.start_us = start if not isinstance(start, str) else None
        found.duration_us = duration if not isinstance(duration, str) else None
        if deps:
            self._waits.append((found, deps))
        return found

    def _made(
        self, number: int, operation: str, rank: int, size: int, peer: int | None, tag: str, group: Sequence[int]
    ) -> Call | str:
        role = {"calc": Role.COMPUTE, SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation, Role.COLLECTIVE)
        if role in (Role.SEND, Role.RECEIVE) and peer is None:
            return "a send or recv without peer"
        key = ";".join(map(str, group)) if role == Role.COLLECTIVE else ""
        if key and not self._gathered.add_group(key, group):
            return "a group that is not a set of ranks"
        if role == Role.COLLECTIVE and operation == BARRIER:
            size = 0
        return Call(
            self._source.index, number, role, operation, rank, size, key, NONE if peer is None else peer, tag[:200] or None
        )

    def finish(self) -> None:
        """Turn numbers of records into places, now that all rows were read."""
        unknown = 0
        for call, deps in self._waits:
            call.waits = tuple(self._places[dep] for dep in deps if dep in self._places)
            unknown += len(deps) - len(call.waits)
        if unknown:
            self._gathered.note(
                f"{unknown} deps of {self._source.path.name} name no record that could be used; nothing waits for them"
            )


def _time(text: str | None) -> float | str | None:
    if not text:
        return None
    found = time_us(text)
    return "bad" if found is None else found


def _numbers(text: str | None) -> list[int] | None:
    """Return whole numbers between semicolons; None if there is anything else."""
    numbers = [whole(part.strip(), 1 << 40) for part in text.split(";") if part.strip()] if text else []
    return None if None in numbers else [number for number in numbers if number is not None]
