"""A trace as a GOAL program: one schedule a rank, in which only messages join ranks.

A transfer is a send and a receive of a tag of their own. What waits for something that ended on another rank gets a message of
one byte from there (GOAL has no other way), and so does what waits on the sender's side for the end of a transfer that GOAL
ends there early (up to :data:`EAGER_BYTES`). An earliest start is a wait for a computation of a cpu that only counts time.
Computations that would overlap if every transfer had the network to itself have cpus of their own; those of one cpu wait for
each other in the order in which they would then run.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import CommTrace, Kind
from zcube.trace.importers.goal_program import CALC_TYPE, MAX_UNIT, RECEIVE_TYPE, SEND_TYPE
from zcube.trace.unloaded import unloaded_times

#: LogGOPSim's S: larger sends end when they are received.
EAGER_BYTES = 65_535
#: Operations of all schedules.
MAX_OPERATIONS = 1 << 24
#: Rate that says which computations of a GPU would overlap.
RATE_GBPS = 400.0
_NS = 1e9


@dataclass
class Schedule:
    """One rank's operations: type, bytes or nanoseconds, peer, tag and cpu of each; (later, earlier) of those that wait."""

    rows: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    waits: list[tuple[int, int]] = field(default_factory=list)

    def add(self, kind: int, size: int, peer: int = 0, tag: int = 0, cpu: int = 0) -> int:
        """Append an operation and return its number."""
        self.rows.append((kind, size, peer, tag, cpu))
        return len(self.rows) - 1


@dataclass(frozen=True)
class Schedules:
    """A program: the schedule of every rank, and how many messages were added to join ranks."""

    ranks: tuple[Schedule, ...]
    added_messages: int


def schedules_of(trace: CommTrace) -> Schedules:
    """Return the schedules of a trace, collectives as the transfers they are by default.

    Raises
    ------
    InputError
        If there are too many operations, or too many computations of a rank at once.
    """
    expanded = expand(trace)
    if 2 * len(expanded) > MAX_OPERATIONS:
        raise InputError(Fault(trace.source_name, f"{len(expanded)} operations", f"at most {MAX_OPERATIONS // 2} for GOAL"))
    return _Writer(expanded).program()


class _Writer:
    def __init__(self, trace: CommTrace):
        self._trace = trace
        self._schedules = tuple(Schedule() for _ in range(trace.ranks))
        self._cpu, self._before, used = _cpus(trace)
        #: What takes no time must not wait for a computation, and nothing for the time that only passes.
        self._idle, self._clock = used, used + 1
        #: Of every rank, its last tick: time in nanoseconds and number.
        self._ticks: dict[int, tuple[int, int]] = {}
        #: Operation -> number at its source, at its target.
        self._at: list[tuple[int, int]] = []
        #: Operation and rank -> number of the receive that tells the rank of its end.
        self._told: dict[tuple[int, int], int] = {}
        self._starts = np.rint(trace.start_s * _NS).astype(np.int64)
        self._ticked = self._tick_times()

    def program(self) -> Schedules:
        """Return the program."""
        trace = self._trace
        for number in range(len(trace)):
            rank, target = int(trace.source[number]), int(trace.target[number])
            waits = [self._ended(int(wait), rank) for wait in trace.waits_for(number)]
            if self._starts[number]:
                waits.append(self._ticked[rank, int(self._starts[number])])
            if trace.kind[number] == Kind.COMPUTE:
                duration = round(float(trace.duration_s[number]) * _NS)
                cpu = int(self._cpu[number]) if duration else self._idle
                here = self._schedules[rank].add(CALC_TYPE, duration, cpu=cpu)
                self._at.append((here, here))
            else:
                self._at.append(self._message(rank, target, int(trace.size_bytes[number]), number))
            self._schedules[rank].waits += [(self._at[-1][0], wait) for wait in dict.fromkeys(waits)]
        for later, earlier in self._before:
            self._schedules[int(trace.source[later])].waits.append((self._at[later][0], self._at[earlier][0]))
        for schedule in self._schedules:
            schedule.waits = sorted(set(schedule.waits))
        return Schedules(self._schedules, len(self._told))

    def _tick_times(self) -> dict[tuple[int, int], int]:
        """Write the starts of every rank as a chain of computations; return the number of each."""
        ticks: dict[tuple[int, int], int] = {}
        starts = self._starts
        for rank, start in sorted(set(zip(self._trace.source[starts > 0].tolist(), starts[starts > 0].tolist(), strict=True))):
            before, last = self._ticks.get(rank, (0, -1))
            number = self._schedules[rank].add(CALC_TYPE, start - before, cpu=self._clock)
            if last >= 0:
                self._schedules[rank].waits.append((number, last))
            self._ticks[rank] = (start, number)
            ticks[rank, start] = number
        return ticks

    def _message(self, source: int, target: int, size: int, tag: int) -> tuple[int, int]:
        return (
            self._schedules[source].add(SEND_TYPE, size, target, tag),
            self._schedules[target].add(RECEIVE_TYPE, size, source, tag),
        )

    def _ended(self, number: int, rank: int) -> int:
        """Return what a rank waits for to know that an operation has ended."""
        trace, (at_source, at_target) = self._trace, self._at[number]
        source, target = int(trace.source[number]), int(trace.target[number])
        transfer = trace.kind[number] == Kind.TRANSFER
        if transfer and rank == target:
            return at_target
        if rank == source and not (transfer and trace.size_bytes[number] <= EAGER_BYTES):
            return at_source
        if (number, rank) not in self._told:
            teller, ended = (target, at_target) if transfer else (source, at_source)
            sent, heard = self._message(teller, rank, 1, len(trace) + len(self._told))
            self._schedules[teller].waits.append((sent, ended))
            self._told[number, rank] = heard
        return self._told[number, rank]


def _cpus(trace: CommTrace) -> tuple[IntArray, list[tuple[int, int]], int]:
    """Return the cpu of every computation, so that none that overlap share one, what follows what on each, and their number."""
    start_s, finish_s = unloaded_times(trace, RATE_GBPS)
    cpu = np.zeros(len(trace), dtype=np.int64)
    rows = np.flatnonzero((trace.kind == Kind.COMPUTE) & (trace.duration_s > 0))
    busy: dict[int, list[tuple[float, int]]] = {}
    free: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    last: dict[tuple[int, int], int] = {}
    before = []
    for row in rows[np.lexsort((rows, start_s[rows]))].tolist():
        rank = int(trace.source[row])
        running, idle = busy.setdefault(rank, []), free.setdefault(rank, [])
        while running and running[0][0] <= start_s[row]:
            heapq.heappush(idle, heapq.heappop(running)[1])
        if not idle:
            idle.append(used.get(rank, 0))
            used[rank] = idle[0] + 1
        cpu[row] = heapq.heappop(idle)
        if (key := (rank, int(cpu[row]))) in last:
            # Else whoever reads the program would choose the order.
            before.append((row, last[key]))
        last[key] = row
        heapq.heappush(running, (float(finish_s[row]), int(cpu[row])))
    most = max(used.values(), default=0)
    if most > MAX_UNIT - 1:
        raise InputError(Fault(trace.source_name, f"{most} computations of a GPU at once", f"at most {MAX_UNIT - 1} for GOAL"))
    return cpu, before, most
