"""GOAL programs as files: text, and LogGOPSim's binary; :mod:`~zcube.trace.importers.goal_binary` says how it is laid out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zcube.arrays import IntArray
from zcube.outputs import write_file
from zcube.trace.comm_trace import CommTrace
from zcube.trace.exporters.goal_schedules import Schedule, schedules_of
from zcube.trace.importers.goal_binary import HEAD, MAGIC, OPERATION, ORIGIN
from zcube.trace.importers.goal_program import CALC_TYPE, SEND_TYPE


def write_goal(trace: CommTrace, path: Path) -> None:
    """Write a trace as a GOAL program in text; times are rounded to nanoseconds.

    Raises
    ------
    InputError
        As :func:`~zcube.trace.exporters.goal_schedules.schedules_of`.
    """
    program = schedules_of(trace)

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"num_ranks {len(program.ranks)}\n")
            for rank, schedule in enumerate(program.ranks):
                file.write(f"\nrank {rank} {{\n")
                file.writelines(_lines(schedule))
                file.write("}\n")

    write_file(path, write)


def write_goal_binary(trace: CommTrace, path: Path) -> None:
    """Write a trace as a GOAL program in LogGOPSim's binary; times are rounded to nanoseconds.

    Raises
    ------
    InputError
        As :func:`~zcube.trace.exporters.goal_schedules.schedules_of`.
    """
    program = schedules_of(trace)
    parts = [_packed(schedule) for schedule in program.ranks]
    ranks = len(parts)
    ends = HEAD.size - ORIGIN + 16 * ranks + np.cumsum([len(part) for part in parts])
    places = np.column_stack([ends - [len(part) for part in parts], ends]).astype("<u8")
    most_cpu = max((row[4] for schedule in program.ranks for row in schedule.rows), default=0)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(HEAD.pack(MAGIC, ranks, most_cpu, 0))
            file.write(places.tobytes())
            file.writelines(parts)

    write_file(path, write)


def _lines(schedule: Schedule) -> Iterator[str]:
    for number, (kind, size, peer, tag, cpu) in enumerate(schedule.rows):
        if kind == CALC_TYPE:
            yield f"l{number}: calc {size} cpu {cpu}\n"
        else:
            how = "send {}b to" if kind == SEND_TYPE else "recv {}b from"
            yield f"l{number}: {how.format(size)} {peer} tag {tag}\n"
    # A dependency names labels above it, and a message that is added may stand below what waits for it.
    for later, earlier in schedule.waits:
        yield f"l{later} requires l{earlier}\n"


def _packed(schedule: Schedule) -> bytes:
    """Return a schedule: counts, operations that wait for nothing, operations, those that wait for each."""
    count = len(schedule.rows)
    rows = np.zeros(count, dtype=OPERATION)
    for key, column in zip(("type", "size", "peer", "tag", "cpu"), zip(*schedule.rows, strict=True)):
        rows[key] = column
    waits: IntArray = np.array(schedule.waits, dtype=np.int64).reshape(-1, 2)
    rows["waits"] = np.bincount(waits[:, 0], minlength=count)
    rows["ends"] = np.bincount(waits[:, 1], minlength=count)
    rows["first_end"] = np.concatenate([[0], np.cumsum(rows["ends"])])[:count]
    rows["first_start"] = rows["first_end"] + rows["ends"]
    roots = np.flatnonzero(rows["waits"] == 0).astype("<u4")
    appendix = waits[np.lexsort((waits[:, 0], waits[:, 1])), 0].astype("<u4")
    return struct.pack("<II", count, len(roots)) + roots.tobytes() + rows.tobytes() + appendix.tobytes()
