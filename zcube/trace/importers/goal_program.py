"""GOAL programs, whatever file they come from, as calls: one schedule a rank of sends, receives and computations.

GOAL is the Group Operation Assembly Language of LogGOPSim and ATLAHS (Hoefler, Siebert, Lumsdaine, ICPP 2009). What it says
and how it is taken here:

* ``calc N``: N nanoseconds unless said otherwise (``goal_unit_ns``; ATLAHS and Schedgen write nanoseconds).
* ``a requires b``: ``a`` starts when ``b`` has ended. A receive ends when its message has come, a send too, except for those of
  up to ``eager_bytes`` (65,535, LogGOPSim's ``S``), which end for their sender as they start.
* ``a irequires b``: ``a`` starts when ``b`` has started, which is when all that ``b`` waits for has ended.
* ``cpu``: computations of one cpu of a rank do not overlap. ``nic``: a rank is one GPU here, so its NIC ports share all.
* A source or tag of -1 is any; which message it takes, and the order of computations on a cpu, are those of
  :class:`~zcube.trace.importers.goal_run.GoalRun`.

A message of no bytes, or to its own rank, moves nothing, but what waits for its receive still waits for its sender.
"""

from __future__ import annotations

from collections import defaultdict

from zcube.trace.comm_trace import NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.goal_run import ANY, GoalRun
from zcube.trace.importers.numbers import MAX_SIZE_BYTES, MAX_TIME_US
from zcube.trace.importers.ordering import JOIN, MOST_PASSED_ON
from zcube.trace.importers.source import Source
from zcube.trace.operation_names import RECEIVE, SEND

#: Types of operations, as the binary numbers them.
SEND_TYPE, RECEIVE_TYPE, CALC_TYPE = 1, 2, 3
#: Cpus and NICs are bytes, tags and ranks words of 32 bits of which the largest stands for any.
MAX_UNIT, MAX_TAG = 255, (1 << 32) - 2
#: Dependencies of a program.
MAX_DEPENDENCIES = 1 << 26


class GoalProgram:
    """One program as it is read."""

    def __init__(self, source: Source, gathered: Gathered, options: Options):
        self._source, self._gathered, self._options = source, gathered, options
        self._cpus: list[int] = []
        self._nics = 0
        self._requires: dict[int, list[int]] = defaultdict(list)
        self._starts: dict[int, list[int]] = defaultdict(list)
        self._dependencies = 0

    def ranks(self, count: int) -> None:
        """Note how many ranks there are."""
        self._gathered.ranks = max(self._gathered.ranks, count)

    def fits(self, kind: int, size: int, peer: int) -> bool:
        """Return whether an operation has a rank of the program, and a size or time that can be."""
        if kind == CALC_TYPE:
            return size * self._options.goal_unit_ns <= MAX_TIME_US * 1000
        return size <= MAX_SIZE_BYTES and (0 <= peer < self._gathered.ranks or (peer == ANY and kind == RECEIVE_TYPE))

    def add(self, kind: int, rank: int, size: int, peer: int, tag: int, cpu: int, nic: int) -> int:
        """Append an operation that fits and return its place."""
        if kind == CALC_TYPE:
            duration_us = size * self._options.goal_unit_ns / 1000
            call = Call(self._source.index, self._source.number, Role.COMPUTE, "calc", rank, 0, duration_us=duration_us)
        else:
            role, name = (Role.SEND, SEND) if kind == SEND_TYPE else (Role.RECEIVE, RECEIVE)
            call = Call(self._source.index, self._source.number, role, name, rank, size, "", peer, tag)
        self._nics = max(self._nics, nic)
        self._cpus.append(cpu)
        return self._gathered.add(call)

    def wait(self, later: int, earlier: int, start: bool) -> bool:
        """Let an operation wait for the end or the start of another; return whether there is room."""
        self._dependencies += 1
        call = self._gathered.calls[earlier]
        eager = call.role == Role.SEND and call.size_bytes <= self._options.eager_bytes
        (self._starts if start or eager else self._requires)[later].append(earlier)
        return self._dependencies <= MAX_DEPENDENCIES

    def finish(self) -> None:
        """Give every call what it waits for, and every receive its send."""
        calls = self._gathered.calls
        run = GoalRun(calls, self._cpus, self._requires, self._starts)
        self._notes(run)
        stuck = sorted(set(range(len(calls))).difference(run.order))
        for place in (*run.order, *stuck):
            self._settle(place, run)
        for place, call in enumerate(calls[: len(self._cpus)]):
            call.ordered = False
            if call.role == Role.RECEIVE and place not in run.answers:
                # Nothing is moved, but what waits for it still waits for what it waited for.
                call.role, call.name, call.peer, call.duration_us = Role.COMPUTE, JOIN, NONE, 0.0
                self._source.report.drop("a receive without its send", call.number)

    def _settle(self, place: int, run: GoalRun) -> None:
        call = self._gathered.calls[place]
        waits = [*self._requires.get(place, ())]
        if place in run.before:
            waits.append(run.before[place])
        send = run.answers.get(place)
        if send is not None:
            sent = self._gathered.calls[send]
            call.peer, call.sequence, sent.sequence = sent.rank, ("sent", send), ("sent", send)
            if not sent.size_bytes or sent.rank == call.rank:
                waits.append(send)
        for other in self._starts.get(place, ()):
            waits += self._started(other)
        call.waits = tuple(dict.fromkeys(waits))

    def _started(self, place: int) -> tuple[int, ...]:
        """Return what has to have ended for a call to have started."""
        call = self._gathered.calls[place]
        if len(call.waits) > MOST_PASSED_ON:
            join = Call(call.file, call.number, Role.COMPUTE, JOIN, call.rank, 0, duration_us=0.0, waits=call.waits)
            call.waits = (self._gathered.add(join),)
        return call.waits

    def _notes(self, run: GoalRun) -> None:
        note = self._gathered.note
        if self._options.ranks_per_node is None:
            note("GOAL says nothing of nodes: ranks are GPUs, 8 a node (--ranks-per-node; 1 where a rank is a host)")
        if self._nics:
            note(f"operations name NICs up to {self._nics}: a rank is one GPU, whose ports share all that it sends")
        if len(run.order) < len(self._gathered.calls):
            count = len(self._gathered.calls) - len(run.order)
            note(f"{count} operations would never start: they wait for themselves or for messages that nobody sends")
        if any(call.role == Role.RECEIVE and ANY in (call.peer, call.sequence) for call in self._gathered.calls):
            note("receives of any rank or tag (-1) take the message that comes first if the network takes no time")
