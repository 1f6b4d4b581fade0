"""Putting operations in an order of execution, with what each waits for."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zcube.trace.comm_trace import NONE, Kind
from zcube.trace.importers.calls import Call, Gathered
from zcube.trace.importers.merging import Operation

#: Name of the computations of no time that stand between two batches, so that edges do not multiply.
JOIN = "join"
#: Edges between two batches above which a join stands between them.
MOST_EDGES = 64


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
            self.operations.append(Operation(Kind.COMPUTE, JOIN, rank, NONE, "", 0, [], None, 0.0))
            self.before.append(list(earlier))
            earlier = (len(self.operations) - 1,)
        for operation in later:
            self.before[operation] += [other for other in earlier if other != operation]


def order(gathered: Gathered, operations: list[Operation]) -> Ordered:
    """Return operations in an order of execution.

    Without dependencies the recorded starts rule. A call waits for the batch before it on its rank's stream if chains are
    asked for or its start is not known; and for the calls it names. Where records of several ranks contradict each other, so
    that an operation would wait for itself, the waiting is dropped and noted.
    """
    graph = _Graph(list(operations))
    made_of = defaultdict(list)
    for number, operation in enumerate(operations):
        for place in operation.calls:
            made_of[place].append(number)
    _chain(graph, gathered, made_of)
    for place, call in enumerate(gathered.calls):
        if call.waits and place in made_of:
            earlier = sorted({number for wait in call.waits for number in made_of.get(wait, ())})
            graph.wait(made_of[place], earlier, call.rank)
    return _sorted(graph, gathered)


def _chain(graph: _Graph, gathered: Gathered, made_of: dict[int, list[int]]) -> None:
    streams: dict[tuple[int, Hashable], list[tuple[Hashable, list[int], bool]]] = defaultdict(list)
    last: dict[Hashable, Call] = {}
    for place, call in enumerate(gathered.calls):
        if place not in made_of:
            continue
        key = (call.rank, call.stream)
        batches, before = streams[key], last.get(key)
        if before is not None and call.batch is not None and before.batch == call.batch:
            batches[-1][1].extend(made_of[place])
        else:
            batches.append((call.batch, list(made_of[place]), call.ordered or gathered.chain))
        last[key] = call
    for (rank, _), batches in streams.items():
        for (_, earlier, _), (_, later, chained) in pairwise(batches):
            if chained:
                graph.wait(sorted(set(later)), sorted(set(earlier)), rank)


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
