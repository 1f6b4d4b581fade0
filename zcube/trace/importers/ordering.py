"""Putting operations in an order of execution, with what each waits for."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from zcube.trace.comm_trace import NONE, Kind
from zcube.trace.importers.calls import Gathered
from zcube.trace.importers.merging import Operation

#: Name of the computations of no time that stand between two batches, so that edges do not multiply.
JOIN = "join"
#: Edges between two batches above which a join stands between them.
MOST_EDGES = 64
#: Operations that the end of a call without an operation of its own may stand for before a join does.
MOST_PASSED_ON = 8
#: Of a call or batch whose end is being found.
_OPEN: list[int] = []


@dataclass
class Ordered:
    """Operations in order; ``waits`` holds, for each, places of earlier ones in this order."""

    operations: list[Operation]
    waits: list[list[int]]


class _Graph:
    """What waits for what, before an order is found."""

    def __init__(self, operations: list[Operation]):
        self.operations = operations
        self.before: list[list[int]] = [[] for _ in operations]

    def wait(self, later: Sequence[int], earlier: Sequence[int], rank: int) -> None:
        """Let each of ``later`` wait for all of ``earlier``."""
        if len(later) * len(earlier) > MOST_EDGES and len(later) > 1 and len(earlier) > 1:
            earlier = (self.join(earlier, rank),)
        for operation in later:
            self.before[operation] += [other for other in earlier if other != operation]

    def join(self, earlier: Sequence[int], rank: int) -> int:
        """Return a computation of no time that waits for all of ``earlier``."""
        self.operations.append(Operation(Kind.COMPUTE, JOIN, rank, NONE, "", 0, [], None, 0.0))
        self.before.append(list(earlier))
        return len(self.operations) - 1


def order(gathered: Gathered, operations: list[Operation]) -> Ordered:
    """Return operations in an order of execution.

    Without dependencies the recorded starts rule. A call waits for the batch before it on its rank's stream if chains are
    asked for or its start is not known; and for the calls it names. A transfer waits for what its sender waits for; what
    follows its receive waits for the transfer and for what the receiver waited for. Waits pass through a call that moves
    nothing: one left out, one without a part. Where records of several ranks contradict each other, so that an operation would
    wait for itself, the waiting is dropped and noted.
    """
    graph = _Graph(list(operations))
    ends = _Ends(graph, gathered, operations)
    for place, call in enumerate(gathered.calls):
        if started := ends.started.get(place):
            graph.wait(started, ends.awaited(place), call.rank)
    return _sorted(graph, gathered)


@dataclass(slots=True)
class _Batch:
    """Neighbouring calls of a stream that run together."""

    rank: int
    calls: list[int]
    chained: bool
    earlier: int | None
    later: int = 0


class _Ends:
    """What has to have ended for a call to have ended, and so what waits for the call waits for."""

    def __init__(self, graph: _Graph, gathered: Gathered, operations: Sequence[Operation]):
        self._graph, self._calls = graph, gathered.calls
        #: Operations that a call starts, and those whose end it awaits besides.
        self.started: dict[int, list[int]] = defaultdict(list)
        self._received: dict[int, list[int]] = defaultdict(list)
        for number, operation in enumerate(operations):
            for turn, place in enumerate(operation.calls):
                lists = self.started if operation.kind == Kind.COLLECTIVE or turn == 0 else self._received
                lists[place].append(number)
        self._batches: list[_Batch] = []
        self._batch_of: list[int] = []
        self._group(gathered)
        #: By call, and by -1 less the number of a batch.
        self._found: dict[int, list[int]] = {}

    def awaited(self, place: int) -> list[int]:
        """Return the operations that a call waits for."""
        return self._merged(self._needs(place))

    def _group(self, gathered: Gathered) -> None:
        last: dict[Hashable, int] = {}
        for place, call in enumerate(self._calls):
            key = (call.rank, call.stream)
            before = last.get(key)
            if (
                before is not None
                and call.batch is not None
                and call.batch == self._calls[self._batches[before].calls[-1]].batch
            ):
                self._batches[before].calls.append(place)
            else:
                last[key] = len(self._batches)
                self._batches.append(_Batch(call.rank, [place], call.ordered or gathered.chain, before))
            self._batch_of.append(last[key])
        for batch in self._batches:
            if batch.earlier is not None:
                self._batches[batch.earlier].later = len(batch.calls)

    def _needs(self, place: int) -> list[int]:
        batch = self._batches[self._batch_of[place]]
        chained = [-1 - batch.earlier] if batch.chained and batch.earlier is not None else []
        return [*self._calls[place].waits, *chained]

    def _parts(self, node: int) -> list[int]:
        """Return of what the end of a call, or of a batch, consists besides its own operations."""
        if node < 0:
            return self._batches[-1 - node].calls
        return [] if node in self.started else self._needs(node)

    def _merged(self, nodes: Sequence[int]) -> list[int]:
        return sorted({number for node in nodes for number in self._end(node)})

    def _end(self, node: int) -> list[int]:
        """Return the operations whose end is the end of a call or batch; calls that wait for themselves wait for nothing."""
        waiting = [node]
        while waiting:
            top = waiting[-1]
            if top in self._found and self._found[top] is not _OPEN:
                waiting.pop()
                continue
            parts = self._parts(top)
            left = [] if self._found.get(top) is _OPEN else [part for part in parts if part not in self._found]
            self._found[top] = _OPEN
            if left:
                waiting += left
                continue
            waiting.pop()
            numbers = {number for part in parts for number in self._found.get(part, _OPEN)}
            if top >= 0:
                numbers |= {*self.started.get(top, ()), *self._received.get(top, ())}
            self._found[top] = self._joined(top, sorted(numbers))
        return self._found[node]

    def _joined(self, node: int, numbers: list[int]) -> list[int]:
        """Return a join in place of many operations that many others would wait for."""
        batch = self._batches[-1 - node] if node < 0 else None
        passed_on = batch is None and node not in self.started and len(numbers) > MOST_PASSED_ON
        crowded = batch is not None and batch.later > 1 and len(numbers) * batch.later > MOST_EDGES
        if len(numbers) > 1 and (passed_on or crowded):
            return [self._graph.join(numbers, self._calls[node].rank if batch is None else batch.rank)]
        return numbers


def _sorted(graph: _Graph, gathered: Gathered) -> Ordered:
    count = len(graph.operations)
    before = [sorted(set(waits)) for waits in graph.before]
    after: dict[int, list[int]] = defaultdict(list)
    for number, waits in enumerate(before):
        for wait in waits:
            after[wait].append(number)
    left = [len(waits) for waits in before]
    start = [operation.start_us if operation.start_us is not None else float("-inf") for operation in graph.operations]
    ready = [(start[number], number) for number in range(count) if not left[number]]
    heapq.heapify(ready)
    place = [NONE] * count
    found: list[int] = []
    stuck = dropped = 0
    while len(found) < count:
        if not ready:
            while place[stuck] != NONE:
                stuck += 1
            dropped += 1
            left[stuck] = 0
            ready = [(start[stuck], stuck)]
        number = heapq.heappop(ready)[1]
        if place[number] != NONE:
            continue
        place[number] = len(found)
        found.append(number)
        for other in after[number]:
            left[other] -= 1
            if not left[other] and place[other] == NONE:
                heapq.heappush(ready, (start[other], other))
    if dropped:
        gathered.note(f"{dropped} operations would wait for themselves, as their ranks' records contradict; some waits dropped")
    earlier = [sorted(place[wait] for wait in before[number] if place[wait] < here) for here, number in enumerate(found)]
    return Ordered([graph.operations[number] for number in found], earlier)
