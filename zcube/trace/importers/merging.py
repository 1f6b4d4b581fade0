"""Making operations of calls: the same collective on all its ranks is one, a send and its receive are one."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zcube.trace.comm_trace import MAX_OPERATIONS, NONE, Kind
from zcube.trace.importers.calls import Call, Gathered, Role
from zcube.trace.importers.report import FileReport
from zcube.trace.importers.splits import parts_of
from zcube.trace.operation_names import BARRIER, SEND, SEND_RECEIVE

#: Why a call that moves nothing is left out.
NO_BYTES = "no bytes"


@dataclass(slots=True)
class Operation:
    """A row of the trace to be; ``calls`` are places in the list of calls it was made of."""

    kind: Kind
    name: str
    source: int
    target: int
    group: str
    size_bytes: int
    calls: list[int]
    start_us: float | None = None
    duration_us: float | None = None


@dataclass
class Merge:
    """Merges the calls of an import.

    Parameters
    ----------
    gathered : Gathered
        The calls, with ranks of the trace.
    reports : sequence of FileReport
        Get the calls that could not be used.
    """

    gathered: Gathered
    reports: Sequence[FileReport]
    operations: list[Operation] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> list[Operation]:
        """Return the operations and note what did not match."""
        sends: dict[Hashable, deque[int]] = defaultdict(deque)
        receives: dict[Hashable, deque[int]] = defaultdict(deque)
        collectives: dict[Hashable, list[int]] = {}
        seen: Counter[Hashable] = Counter()
        for place, call in enumerate(self.gathered.calls):
            if not self._usable(call):
                continue
            if call.role == Role.COMPUTE:
                self._append(Operation(Kind.COMPUTE, call.name, call.rank, NONE, "", 0, [place]))
            elif call.role == Role.COLLECTIVE:
                key = (call.group, call.name, call.sequence)
                turn = seen[key, call.rank]
                seen[key, call.rank] += 1
                collectives.setdefault((key, turn), []).append(place)
            elif call.role == Role.SEND:
                sends[call.group, call.rank, call.peer, call.sequence].append(place)
            else:
                receives[call.group, call.peer, call.rank, call.sequence].append(place)
        for places in collectives.values():
            self._collective(places)
        self._pair(sends, receives)
        self._notes()
        return self.operations

    def _usable(self, call: Call) -> bool:
        group = self.gathered.groups.get(call.group)
        reason = None
        if call.role == Role.COLLECTIVE:
            if group is None:
                reason = "a collective whose ranks are not known"
            elif len(group) == 1:
                reason = "a collective of one rank: nothing is sent"
            elif not call.size_bytes and call.name != BARRIER and call.splits is None:
                reason = NO_BYTES
        elif call.role != Role.COMPUTE:
            if call.peer == call.rank:
                reason = "a transfer to its own rank"
            elif not call.size_bytes:
                reason = NO_BYTES
        if reason:
            self.reports[call.file].drop(reason, call.number, f"{call.name} of rank {call.rank}")
        return reason is None

    def _append(self, operation: Operation) -> None:
        if len(self.operations) >= MAX_OPERATIONS:
            return
        calls = [self.gathered.calls[place] for place in operation.calls]
        starts = [call.start_us for call in calls if call.start_us is not None]
        if starts:
            # Nothing moves before the last rank has come; what others spend before that is waiting.
            operation.start_us = max(starts)
        ends = [
            call.start_us + call.duration_us for call in calls if call.start_us is not None and call.duration_us is not None
        ]
        if operation.start_us is not None and ends:
            operation.duration_us = max(0, max(ends) - operation.start_us)
        elif any(call.duration_us is not None for call in calls):
            operation.duration_us = max(call.duration_us or 0 for call in calls)
        self.operations.append(operation)

    def _collective(self, places: list[int]) -> None:
        calls = [self.gathered.calls[place] for place in places]
        group = self.gathered.groups[calls[0].group]
        self._counts["partial"] += len(calls) < len(group)
        if any(call.splits is not None for call in calls) and self._split(group, places):
            return
        self._counts["sizes"] += len({call.size_bytes for call in calls}) > 1
        roots = [call.peer for call in calls if call.peer != NONE]
        root = roots[0] if roots else NONE
        size = max(call.size_bytes for call in calls)
        self._append(Operation(Kind.COLLECTIVE, calls[0].name, root, NONE, calls[0].group, size, places))

    def _split(self, group: tuple[int, ...], places: list[int]) -> bool:
        """Write an all-to-all of uneven parts as the transfers it is; return whether nothing is left of it."""
        calls = {self.gathered.calls[place].rank: self.gathered.calls[place] for place in places}
        place_of = {self.gathered.calls[place].rank: place for place in places}
        if not any(call.size_bytes for call in calls.values()):
            for call in calls.values():
                self.reports[call.file].drop(NO_BYTES, call.number, f"{call.name} of rank {call.rank}")
            return True
        parts = parts_of(group, calls) if len(calls) == len(group) else None
        if parts is None:
            uneven = any(call.splits is not None and len(set(call.splits)) > 1 for call in calls.values())
            self._counts["uneven"] += uneven
            return False
        self._counts["estimated"] += parts.estimated
        if parts.even:
            return False
        for source, sizes in zip(group, parts.size_bytes):
            for target, size in zip(group, sizes):
                if size and target != source:
                    ends = [place_of[source], place_of[target]]
                    self._append(Operation(Kind.TRANSFER, calls[source].name, source, target, "", size, ends))
        return True

    def _pair(self, sends: dict[Hashable, deque[int]], receives: dict[Hashable, deque[int]]) -> None:
        recorded = {call.rank for call in self.gathered.calls if call.role != Role.COMPUTE}
        for key, waiting in sends.items():
            answers = receives.get(key, deque())
            for place in waiting:
                calls = [place, answers.popleft()] if answers else [place]
                send = self.gathered.calls[place]
                # Logs of KV transfers have writes, which nobody receives.
                self._counts["unanswered"] += len(calls) == 1 and send.name == SEND
                self._counts["sizes"] += len(calls) == 2 and self.gathered.calls[calls[1]].size_bytes != send.size_bytes
                self._transfer(send.rank, send.peer, send.size_bytes, calls)
        for waiting in receives.values():
            for place in waiting:
                call = self.gathered.calls[place]
                if call.peer in recorded:
                    text = f"rank {call.rank} from rank {call.peer}, {call.size_bytes} bytes"
                    self.reports[call.file].drop("a receive without its send", call.number, text)
                else:
                    self._counts["unsent"] += 1
                    self._transfer(call.peer, call.rank, call.size_bytes, [place])

    def _transfer(self, source: int, target: int, size_bytes: int, calls: list[int]) -> None:
        name = self.gathered.calls[calls[0]].name
        name = SEND_RECEIVE if name in ("send", "receive") else name
        self._append(Operation(Kind.TRANSFER, name, source, target, "", size_bytes, calls))

    def _notes(self) -> None:
        texts = {
            "partial": "collectives were recorded by some of their ranks only; each counts as one of the whole group",
            "estimated": "parts of all-to-alls stand in lists that are cut short; they are even shares of what is left",
            "uneven": "all-to-alls of uneven parts lack some ranks' parts; they count as even, of the largest send buffer",
            "sizes": "operations whose ranks recorded different bytes; the largest (of a transfer, the sender's) counts",
            "unanswered": "sends have no receive in the files; they count as transfers",
            "unsent": "receives from ranks without any record count as transfers",
        }
        for what, text in texts.items():
            if self._counts[what]:
                self.gathered.note(f"{self._counts[what]} {text}")
