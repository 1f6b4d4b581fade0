"""Checking the rows of a trace that was read, so that every fault is named by row and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault
from zcube.trace.comm_trace import NONE, Kind

#: Gives the place of a row in its file.
Where: TypeAlias = Callable[[int], str]

#: Faults of one file that are named one by one.
MAX_FAULTS_LISTED = 20
#: Kinds of operations as written, by number.
KINDS = tuple(kind.name.lower() for kind in Kind)
#: An exabyte, and the year 2286 as seconds since 1970: beyond these a column is in another unit.
MAX_SIZE_BYTES = 10**18
MAX_TIME_S = 1e10
MAX_LAYER = 1 << 31

#: Stands for a value that is none of the column's.
BROKEN = -2


@dataclass(frozen=True, eq=False)
class Columns:
    """Operations as read, unchecked.

    Attributes
    ----------
    values : dict of arrays [operations]
        The columns of :class:`~zcube.trace.comm_trace.CommTrace`; :data:`BROKEN` where a whole number could not be read.
    first_dependency, dependency : int arrays
        As there; an entry of ``dependency`` that is no whole number is :data:`BROKEN`.
    names, phases : tuple of str
        Those of the header, then those first met in rows.
    line : int array [operations]
        Line of each row; empty where rows have no lines.
    faults : list of (row, Fault)
        Already found, at least the first 20.
    broken : int
        How many were found.
    shown : callable
        Gives what stands in the file at a row under a key.
    """

    values: dict[str, Any]
    first_dependency: IntArray
    dependency: IntArray
    names: tuple[str, ...]
    phases: tuple[str, ...]
    line: IntArray
    shown: Callable[[int, str], str]
    faults: list[tuple[int, Fault]] = field(default_factory=list)
    broken: int = 0


def check_columns(columns: Columns, ranks: int, groups: int, where: Where) -> list[Fault]:
    """Return the first 20 faults in order of rows, and how many more there are.

    Parameters
    ----------
    columns : Columns
        What was read.
    ranks, groups : int
        How many the header speaks of.
    where : callable
        Gives the place of a row.
    """
    value = columns.values
    faults, count = list(columns.faults), columns.broken
    for key, wrong, expected in _tests(columns, ranks, groups):
        rows = np.flatnonzero(wrong)
        count += len(rows)
        for row in rows[:MAX_FAULTS_LISTED].tolist():
            faults.append((row, Fault(where(row), f"{key} {columns.shown(row, key)}", expected)))
    listed = [fault for _, fault in sorted(faults, key=lambda entry: entry[0])[:MAX_FAULTS_LISTED]]
    if count > len(listed):
        more = count - len(listed)
        listed.append(Fault(where(len(value["kind"]) - 1), f"and {more} more faults up to here", "none; the first are listed"))
    return listed


def _tests(columns: Columns, ranks: int, groups: int) -> list[tuple[str, Any, str]]:
    """Return key, where it is wrong, and what is expected."""
    value = columns.values
    kind, source, target, group = (value[name] for name in ("kind", "source", "target", "group"))
    size, start_s, duration_s = (value[name] for name in ("size_bytes", "start_s", "duration_s"))
    compute, send, collective = (kind == number for number in Kind)
    rank = f"a rank from 0 to {ranks - 1}"
    outside = (source >= ranks) | (source < NONE)
    untimed = np.isnan(duration_s)
    return [
        ("kind", kind < 0, f"one of {', '.join(KINDS)}"),
        ("name", value["name"] < 0, "a text"),
        ("phase", value["phase"] < NONE, "nothing or a text"),
        ("layer", (value["layer"] < NONE) | (value["layer"] > MAX_LAYER), "nothing or a layer from 0"),
        ("source", outside | ((source < 0) & (compute | send)), rank),
        ("target", (target >= ranks) | (target < NONE) | ((target < 0) & send), rank),
        ("target", send & (source >= 0) & (source == target), "another rank than the source"),
        ("target", (target >= 0) & ~send & (kind >= 0), "nothing, as only transfers have one"),
        ("group", collective & ((group < 0) | (group >= groups)), f"one of the {groups} groups of the header, from 0"),
        ("group", ~collective & (kind >= 0) & (group != NONE), "nothing, as only collectives have one"),
        ("size_bytes", (size < 0) | (size > MAX_SIZE_BYTES), "bytes from 0 to 1e18"),
        ("size_bytes", send & (size == 0), "more than 0 bytes"),
        ("start_s", ~((start_s >= 0) & (start_s <= MAX_TIME_S)), "nothing, or a time in seconds from 0 to 1e10"),
        ("duration_s", untimed & compute, "a time in seconds from 0 to 1e10"),
        ("duration_s", ~untimed & ~((duration_s >= 0) & (duration_s <= MAX_TIME_S)), "a time in seconds from 0 to 1e10"),
        ("depends_on", _late(columns), "operations, counted from 0, that stand above this one"),
    ]


def _late(columns: Columns) -> Any:
    late = np.zeros(len(columns.values["kind"]), dtype=bool)
    owner = np.repeat(np.arange(len(late)), np.diff(columns.first_dependency))
    late[owner[(columns.dependency < 0) | (columns.dependency >= owner)]] = True
    return late
