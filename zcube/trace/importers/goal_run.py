"""A GOAL program run on a network that takes no time: who answers whom, and in what order computations share a cpu.

A cpu computes one thing at a time, in the order in which computations could start, equal ones as they stand in the file; those
of no length take no cpu. Sends wait for none (as in ATLAHS; LogGOPSim's do). A message goes to the receive that was posted
first among those of its source and tag, -1 being any; a receive takes the message that was sent first.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zcube.errors import Fault, InputError
from zcube.trace.importers.calls import Call, Role

#: The source or tag of a receive that takes any.
ANY = -1
#: Queues looked at for receives from any rank or of any tag, in all.
MAX_LOOKS = 1 << 26

_READY, _DONE = 0, 1
#: Source and tag -> order of arrival and place of what waits.
_Waiting = dict[tuple[int, int], deque[tuple[int, int]]]


@dataclass
class GoalRun:
    """One run.

    Parameters
    ----------
    calls : sequence of Call
        Computations, sends and receives; tags stand in ``sequence``.
    cpus : sequence of int
        The cpu of each call.
    requires, starts : mapping of lists of int
        By call, those that must have ended, and those that must have started.

    Attributes
    ----------
    order : list of int
        Calls as they started; those that are missing never did.
    answers : dict
        Receive -> the send that it takes.
    before : dict
        Computation -> the one before it on its cpu.
    """

    calls: Sequence[Call]
    cpus: Sequence[int]
    requires: Mapping[int, list[int]]
    starts: Mapping[int, list[int]]
    order: list[int] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = [len(self.requires.get(place, ())) + len(self.starts.get(place, ())) for place in range(len(self.calls))]
        self._after_end, self._after_start = _turned(self.requires), _turned(self.starts)
        self._events: list[tuple[float, int, int, int]] = []
        self._turns = self._looks = 0
        self._queues: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        self._last: dict[tuple[int, int], int] = {}
        self._busy: set[tuple[int, int]] = set()
        self._messages: dict[int, _Waiting] = defaultdict(dict)
        self._receives: dict[int, _Waiting] = defaultdict(dict)
        for place, left in enumerate(self._left):
            if not left:
                self._push(0.0, place, _READY)
        while self._events:
            time_us, _, place, event = heapq.heappop(self._events)
            if event == _DONE:
                self._done(place, time_us)
            elif self.calls[place].role == Role.COMPUTE and self.calls[place].duration_us:
                self._queues[self._cpu(place)].append(place)
                self._compute(self._cpu(place), time_us)
            else:
                self._start(place, time_us)
                if self.calls[place].role == Role.COMPUTE:
                    self._done(place, time_us)
                else:
                    self._match(place, time_us)

    def _cpu(self, place: int) -> tuple[int, int]:
        return self.calls[place].rank, self.cpus[place]

    def _push(self, time_us: float, place: int, event: int) -> None:
        self._turns += 1
        heapq.heappush(self._events, (time_us, self._turns, place, event))

    def _start(self, place: int, time_us: float) -> None:
        self.order.append(place)
        self._release(self._after_start.get(place, ()), time_us)

    def _release(self, places: Sequence[int], time_us: float) -> None:
        for place in places:
            self._left[place] -= 1
            if not self._left[place]:
                self._push(time_us, place, _READY)

    def _done(self, place: int, time_us: float) -> None:
        self._release(self._after_end.get(place, ()), time_us)
        if self.calls[place].role == Role.COMPUTE and self.calls[place].duration_us:
            self._busy.discard(self._cpu(place))
            self._compute(self._cpu(place), time_us)

    def _compute(self, cpu: tuple[int, int], time_us: float) -> None:
        if cpu in self._busy or not self._queues[cpu]:
            return
        place = self._queues[cpu].popleft()
        if cpu in self._last:
            self.before[place] = self._last[cpu]
        self._last[cpu] = place
        self._busy.add(cpu)
        self._start(place, time_us)
        self._push(time_us + (self.calls[place].duration_us or 0.0), place, _DONE)

    def _match(self, place: int, time_us: float) -> None:
        call = self.calls[place]
        sent = call.role == Role.SEND
        at, source = (call.peer, call.rank) if sent else (call.rank, call.peer)
        tag = call.sequence if isinstance(call.sequence, int) else 0
        other = self._taken((self._receives if sent else self._messages)[at], source, tag)
        if sent:
            self._push(time_us, place, _DONE)
        if other is None:
            waiting = (self._messages if sent else self._receives)[at]
            waiting.setdefault((source, tag), deque()).append((self._turns, place))
            return
        receive = other if sent else place
        self.answers[receive] = place if sent else other
        self._push(time_us, receive, _DONE)

    def _taken(self, waiting: _Waiting, source: int, tag: int) -> int | None:
        """Remove and return what waits longest among all that fits a source and a tag."""
        if ANY in (source, tag):
            self._looks += len(waiting)
            if self._looks > MAX_LOOKS:
                raise InputError(Fault("program", "receives of any rank or tag (-1) with more to choose from", "fewer of them"))
            keys = [key for key in waiting if source in (ANY, key[0]) or key[0] == ANY]
            keys = [key for key in keys if tag in (ANY, key[1]) or key[1] == ANY]
        else:
            keys = [key for key in ((source, tag), (ANY, tag), (source, ANY), (ANY, ANY)) if key in waiting]
        if not keys:
            return None
        key = min(keys, key=lambda key: waiting[key][0])
        _, place = waiting[key].popleft()
        if not waiting[key]:
            del waiting[key]
        return place


def _turned(waits: Mapping[int, list[int]]) -> dict[int, list[int]]:
    after: dict[int, list[int]] = defaultdict(list)
    for place, earlier in waits.items():
        for other in earlier:
            after[other].append(place)
    return after
