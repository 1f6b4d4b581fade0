"""Collectives as the transfers they consist of.

Which collective an operation is, its name says or ends with: ``all-reduce``, ``attention-all-reduce``.

Which algorithm a collective takes unless told otherwise (``span``: whether its group has GPUs of more than one node):

==========================  =====================================  ==============================================
collective                  inside a node                          over nodes
==========================  =====================================  ==============================================
all-reduce                  one-shot, two-shot, ring by size       ring
all-gather, reduce-scatter  direct                                 ring
all-to-all                  pairwise                               pairwise
broadcast, reduce           direct                                 ring
gather, scatter             direct                                 direct
==========================  =====================================  ==============================================

The bounds between one-shot and two-shot and between two-shot and ring are those of vLLM's custom all-reduce kernel
(``csrc/custom_all_reduce.cuh``: one stage below 512 KiB with up to four ranks and below 256 KiB with more;
``custom_all_reduce.py``: NCCL above 8 MiB).

Over nodes there are as many rings as the group has GPUs on a node, like NCCL's channels, each with an equal part of the
bytes: all NICs send. A ring goes up through the GPUs of one node and down through those of the next, so that it changes
nodes on one rail; with an odd number of nodes the hop that closes it does not.

No collective is a barrier. A rank's part starts when those of the collective's dependencies that belong to the rank have
ended: computations of the rank, transfers from or to it, its own end of an earlier collective. What belongs to no rank of
the group, all ranks wait for; a rank to which nothing belongs waits for everything. What waited for the collective waits
for its end on its own rank (of a transfer: the sender), or on all ranks where that is not in the group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.memory import check_memory
from zcube.trace.collective_steps import ALGORITHMS, IDLE, RINGS, Steps, collective_of, collective_steps, most_steps
from zcube.trace.comm_trace import MAX_OPERATIONS, NONE, CommTrace, Kind

#: All-reduce inside a node: one-shot below this, with more than four ranks.
ONE_SHOT_BYTES = 256 << 10
#: The same with up to four ranks.
ONE_SHOT_FEW_BYTES = 512 << 10
FEW_RANKS = 4
#: All-reduce inside a node: ring above this.
TWO_SHOT_BYTES = 8 << 20

#: Inside a node, where the time of the whole collective was measured: all parts at once, so that alone it takes its bytes over
#: the rate and a start.
AS_MEASURED = {
    "all-reduce": "pipelined",
    "all-gather": "direct",
    "reduce-scatter": "direct",
    "all-to-all": "direct",
    "broadcast": "pipelined",
    "reduce": "pipelined",
    "send-receive": "direct",
}
#: The same over nodes. The chains of a broadcast and a reduce go through all NICs, as NCCL's do.
AS_MEASURED_OVER_NODES = {
    "all-reduce": "pipelined",
    "all-gather": "pipelined",
    "reduce-scatter": "pipelined",
    "all-to-all": "direct",
    "broadcast": "pipelined",
    "reduce": "pipelined",
}

#: Names of the rows, of no duration, in which a rank starts and ends its part of a collective.
START, END = "collective-start", "collective-end"

#: Memory of one operation while a trace is expanded, dependencies included; 200 to 225 measured on all-to-all and all-reduce.
_BYTES_PER_OPERATION = 250


class Expanded(NamedTuple):
    """A trace without collectives.

    Attributes
    ----------
    trace : CommTrace
    row_before : int array [operations]
        Which row of the trace before each of its rows comes from.
    as_measured : int array
        Rows of the trace before that take :data:`AS_MEASURED` because their time is known, ascending.
    """

    trace: CommTrace
    row_before: IntArray
    as_measured: IntArray


def expand(
    trace: CommTrace,
    algorithm: Mapping[str, str] | None = None,
    *,
    channels: int | None = None,
    one_shot_bytes: int | None = None,
    two_shot_bytes: int = TWO_SHOT_BYTES,
    memory_gb: float | None = None,
) -> CommTrace:
    """Return the trace of :func:`expanded`, all of whose algorithms are known without measurements."""
    bounds = {"one_shot_bytes": one_shot_bytes, "two_shot_bytes": two_shot_bytes}
    return expanded(trace, algorithm, channels=channels, memory_gb=memory_gb, **bounds).trace  # type: ignore[arg-type]


def expanded(
    trace: CommTrace,
    algorithm: Mapping[str, str] | None = None,
    *,
    channels: int | None = None,
    one_shot_bytes: int | None = None,
    two_shot_bytes: int = TWO_SHOT_BYTES,
    memory_gb: float | None = None,
    measured: Callable[[str, int, int], bool] = lambda name, ranks, nodes: False,
) -> Expanded:
    """Return the trace with every collective replaced by transfers and, per rank, a start and an end of no duration.

    Parameters
    ----------
    trace : CommTrace
        Any trace; one without collectives comes back as it is.
    algorithm : mapping, optional
        Algorithm by collective, where it is not to be the default.
    channels : int, optional
        Rings of a group; default: as many as the group has GPUs on a node, one for a group inside a node or whose nodes do
        not take part with the same rails.
    one_shot_bytes, two_shot_bytes : int, optional
        Bounds of the default for an all-reduce inside a node, see the module.
    memory_gb : float, optional
        Most memory to use; default: what is available.
    measured : callable
        Whether the time of a collective is known, by its name, ranks and nodes, equally many ranks on each; such a one takes
        :data:`AS_MEASURED` or :data:`AS_MEASURED_OVER_NODES`.

    Returns
    -------
    Expanded
        ``metadata["collective_algorithms"]`` of its trace says which algorithms each collective took.

    Raises
    ------
    InputError
        If a collective or an algorithm is not known, a root is not in its group, or the result would be too large.
    """
    rows = trace.rows(Kind.COLLECTIVE)
    choices = dict(algorithm or {})
    _check(trace, rows, choices)
    if not len(rows):
        return Expanded(trace, np.arange(len(trace)), rows)
    chooser = _Chooser(trace, choices, channels, one_shot_bytes, two_shot_bytes, measured)
    expansion = _Expansion(trace, rows, chooser, memory_gb)
    return Expanded(expansion.trace(), expansion.row_before, np.array(chooser.as_measured, dtype=np.int64))


def _check(trace: CommTrace, rows: IntArray, choices: Mapping[str, str]) -> None:
    faults = []
    for name, chosen in choices.items():
        if name not in ALGORITHMS:
            faults.append(Fault(f"algorithm of {name}", "an unknown collective", f"one of {', '.join(ALGORITHMS)}"))
        elif chosen not in ALGORITHMS[name]:
            faults.append(Fault(f"algorithm of {name}", repr(chosen), f"one of {', '.join(ALGORITHMS[name])}"))
    names, first = np.unique(trace.name[rows], return_index=True)
    for name, place in zip(names.tolist(), first.tolist(), strict=True):
        if collective_of(trace.names[name]) is None:
            where = f"{trace.source_name}: operation {int(rows[place])}"
            faults.append(Fault(where, f"the collective {trace.names[name]!r}", f"one of {', '.join(ALGORITHMS)}"))
    rooted = rows[trace.source[rows] >= 0]
    outside = rooted[_Positions(trace).of(trace.group[rooted], trace.source[rooted]) < 0]
    faults += [
        Fault(f"{trace.source_name}: operation {row}", "a root outside its group", "a rank of the group, or none")
        for row in outside[:20]
    ]
    if faults:
        raise InputError(faults)


class _Positions:
    """Where ranks stand in groups."""

    def __init__(self, trace: CommTrace):
        self.size = np.array([len(group) for group in trace.groups], dtype=np.int64)
        self.first = np.cumsum(self.size) - self.size
        self.rank = np.array([rank for group in trace.groups for rank in group], dtype=np.int64)
        self._ranks = trace.ranks
        key = np.repeat(np.arange(len(self.size)), self.size) * trace.ranks + self.rank
        self._order = np.argsort(key)
        self._key = key[self._order]

    def of(self, group: IntArray, rank: IntArray) -> IntArray:
        """Return the position of each rank in each group, -1 where it is not in it."""
        if not len(self._key):
            return np.full(len(group), NONE)
        key = group * self._ranks + rank
        place = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
        found = (self._key[place] == key) & (rank >= 0)
        return np.where(found, self._order[place] - self.first[group], NONE)


class _Chooser:
    """Finds algorithm and steps of collectives; equal ones share their steps."""

    def __init__(
        self,
        trace: CommTrace,
        choices: Mapping[str, str],
        channels: int | None,
        one_shot_bytes: int | None,
        two_shot_bytes: int,
        measured: Callable[[str, int, int], bool],
    ):
        self._trace, self._choices, self._channels, self._measured = trace, choices, channels, measured
        self._one_shot_bytes, self._two_shot_bytes = one_shot_bytes, two_shot_bytes
        self.as_measured: list[int] = []
        self._algorithm_known: dict[tuple[str, int], str | None] = {}
        self._rings: dict[int, tuple[tuple[int, ...], ...]] = {}
        self._steps: dict[Any, Steps] = {}

    def key(self, row: int) -> tuple[Any, ...]:
        """Return what the steps of a collective depend on."""
        trace = self._trace
        number, name = int(trace.group[row]), str(collective_of(trace.names[trace.name[row]]))
        group, root = trace.groups[number], int(trace.source[row])
        algorithm = self._known(name, number, int(trace.size_bytes[row]))
        if algorithm is not None:
            self.as_measured.append(row)
        else:
            algorithm = self._algorithm(name, group, int(trace.size_bytes[row]))
        rings = self._rings_of(number) if algorithm in RINGS else ()
        most = most_steps(name, algorithm, len(group), len(rings))
        if most > MAX_OPERATIONS:
            found = f"a {name} of {len(group)} ranks by {algorithm}, about {most} operations"
            expected = f"at most {MAX_OPERATIONS} operations; take another algorithm"
            raise InputError(Fault(f"{trace.source_name}: operation {row}", found, expected))
        return name, algorithm, len(group), NONE if root < 0 else group.index(root), rings

    def steps(self, key: tuple[Any, ...]) -> Steps:
        """Return the steps between starts and ends."""
        if key not in self._steps:
            name, algorithm, positions, root, rings = key
            orders = [np.array(ring, dtype=np.int64) for ring in rings]
            self._steps[key] = collective_steps(name, algorithm, positions, root, orders).framed()
        return self._steps[key]

    def _known(self, name: str, number: int, size_bytes: int) -> str | None:
        """Return the algorithm of a collective whose time is known, None of any other."""
        if size_bytes == 0 or name in self._choices:
            return None
        if (name, number) not in self._algorithm_known:
            group = self._trace.groups[number]
            on_node = list(Counter(rank // self._trace.ranks_per_node for rank in group).values())
            algorithm = (AS_MEASURED if len(on_node) == 1 else AS_MEASURED_OVER_NODES).get(name)
            even = len(group) > 1 and min(on_node) == max(on_node)
            known = even and algorithm is not None and self._measured(name, len(group), len(on_node))
            self._algorithm_known[name, number] = algorithm if known else None
        return self._algorithm_known[name, number]

    def _algorithm(self, name: str, group: tuple[int, ...], size_bytes: int) -> str:
        if size_bytes == 0 and name != "barrier":
            return IDLE
        if name in self._choices:
            return self._choices[name]
        span = len({rank // self._trace.ranks_per_node for rank in group}) > 1
        if name == "all-reduce" and not span:
            few = len(group) <= FEW_RANKS
            small = self._one_shot_bytes if self._one_shot_bytes is not None else ONE_SHOT_FEW_BYTES if few else ONE_SHOT_BYTES
            if size_bytes < small:
                return "one-shot"
            return "two-shot" if size_bytes <= self._two_shot_bytes else "ring"
        if "ring" in ALGORITHMS[name]:
            return "ring" if span else "direct"
        return ALGORITHMS[name][0]

    def _rings_of(self, number: int) -> tuple[tuple[int, ...], ...]:
        if number not in self._rings:
            orders = ring_orders(self._trace.groups[number], self._trace.ranks_per_node, self._channels)
            self._rings[number] = tuple(tuple(order.tolist()) for order in orders)
        return self._rings[number]


def ring_orders(group: tuple[int, ...], ranks_per_node: int, channels: int | None = None) -> list[IntArray]:
    """Return the positions of a group in the order of each of its rings.

    Parameters
    ----------
    group : tuple of int
        Ranks.
    ranks_per_node : int
        GPUs of a node.
    channels : int, optional
        How many rings; default: the GPUs that the group has on a node if it spans nodes on equal rails, else one.

    Returns
    -------
    list of int arrays [ranks of the group]
        Ring ``c`` goes through the nodes in order; through a node of even number from its ``c``-th GPU upwards, through an
        odd one backwards. In a group inside a node, or of unequal rails, all rings keep the order of the group.
    """
    nodes: dict[int, list[int]] = defaultdict(list)
    for place, rank in enumerate(group):
        nodes[rank // ranks_per_node].append(place)
    rails = {tuple(group[place] % ranks_per_node for place in places) for places in nodes.values()}
    if len(nodes) == 1 or len(rails) > 1:
        return [np.arange(len(group)) for _ in range(channels or 1)]
    table = np.array(list(nodes.values()), dtype=np.int64)
    orders: list[IntArray] = []
    for channel in range(channels or table.shape[1]):
        turned = np.roll(table, -channel, axis=1)
        turned[1::2] = turned[1::2, ::-1]
        orders.append(turned.ravel())
    return orders


@dataclass(frozen=True, eq=False)
class _Edges:
    """Who waits for which new row. ``pair`` numbers the old dependencies, of which one may have become several."""

    waiting: IntArray
    awaited: IntArray
    pair: IntArray
    owner: IntArray
    other_owner: IntArray

    def __getitem__(self, kept: Any) -> _Edges:
        columns = (self.waiting, self.awaited, self.pair, self.owner, self.other_owner)
        return _Edges(*(column[kept] for column in columns))


class _Expansion:
    """Lays the new rows out and fills them, all collectives of equal steps at once."""

    def __init__(self, trace: CommTrace, rows: IntArray, chooser: _Chooser, memory_gb: float | None):
        self._old, self._rows, self._chooser = trace, rows, chooser
        self._alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for row in rows.tolist():
            self._alike[chooser.key(row)].append(row)
        count = np.ones(len(trace), dtype=np.int64)
        for key, alike in self._alike.items():
            count[alike] = len(chooser.steps(key))
        self._count = int(count.sum())
        if self._count > MAX_OPERATIONS:
            found = f"{self._count} operations once expanded"
            raise InputError(Fault(trace.source_name, found, f"at most {MAX_OPERATIONS}"))
        check_memory(self._count * _BYTES_PER_OPERATION, memory_gb, f"expanding collectives to {self._count} operations")
        self._last = np.cumsum(count)
        self._first = self._last - count
        self.row_before = np.repeat(np.arange(len(trace)), count)
        self._positions = _Positions(trace)

    @cached_property
    def _plain(self) -> IntArray:
        return np.flatnonzero(self._old.kind != Kind.COLLECTIVE)

    def trace(self) -> CommTrace:
        """Return the new trace."""
        old = self._old
        names = (*old.names, *(name for name in (START, END) if name not in old.names))
        used: dict[str, set[str]] = defaultdict(set)
        columns = self._columns(names)
        waits = [self._plain_waits(), self._start_waits()]
        for key, alike in self._alike.items():
            used[key[0]].add(key[1])
            steps, first = self._chooser.steps(key), self._first[alike][:, None]
            self._fill(columns, key, np.array(alike), names)
            waits.append(((first + steps.waiting).ravel(), (first + steps.awaited).ravel()))
        waiting, awaited = (np.concatenate([wait[place] for wait in waits]) for place in range(2))
        order = np.argsort(waiting, kind="stable")
        first_dependency = np.zeros(self._count + 1, dtype=np.int64)
        np.cumsum(np.bincount(waiting, minlength=self._count), out=first_dependency[1:])
        algorithms = {name: sorted(used[name]) for name in sorted(used)}
        return CommTrace(
            **columns,
            first_dependency=first_dependency,
            dependency=awaited[order],
            names=names,
            phases=old.phases,
            groups=(),
            ranks=old.ranks,
            ranks_per_node=old.ranks_per_node,
            metadata={**old.metadata, "collective_algorithms": algorithms},
            source_name=old.source_name,
        )

    def _columns(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return new columns with the rows that are no collectives in place."""
        columns = {}
        for name in ("kind", "name", "phase", "layer", "source", "target", "group", "size_bytes", "start_s", "duration_s"):
            old = getattr(self._old, name)
            columns[name] = np.zeros(self._count, dtype=old.dtype)
            columns[name][self._first[self._plain]] = old[self._plain]
        return columns

    def _fill(self, columns: dict[str, Any], key: tuple[Any, ...], alike: IntArray, names: tuple[str, ...]) -> None:
        """Write the rows of all collectives of equal steps."""
        old, steps = self._old, self._chooser.steps(key)
        row = self._first[alike][:, None] + np.arange(len(steps))
        for name in ("name", "phase", "layer", "start_s"):
            columns[name][row] = getattr(old, name)[alike][:, None]
        columns["name"][row[:, : steps.positions]] = names.index(START)
        columns["name"][row[:, -steps.positions :]] = names.index(END)
        base = self._positions.first[old.group[alike]][:, None]
        whole, rest = np.divmod(old.size_bytes[alike], steps.parts)
        size = np.where(steps.receiver >= 0, whole[:, None] + (steps.part < rest[:, None]), 0)
        # A part of no bytes is not sent, but its place in the order stays.
        sent = size > 0
        columns["size_bytes"][row] = size
        columns["kind"][row] = np.where(sent, int(Kind.TRANSFER), int(Kind.COMPUTE))
        columns["duration_s"][row] = np.where(sent, np.nan, 0.0)
        columns["source"][row] = self._positions.rank[base + steps.sender]
        columns["target"][row] = np.where(sent, self._positions.rank[base + np.maximum(steps.receiver, 0)], NONE)
        columns["group"][row] = NONE

    def _edges(self, of_collectives: bool) -> _Edges:
        """Return the old dependencies of one sort of rows with every awaited collective replaced by its ends."""
        old = self._old
        pair = np.arange(len(old.dependency))
        waiting = np.repeat(np.arange(len(old)), np.diff(old.first_dependency))
        pair = pair[(old.kind[waiting] == Kind.COLLECTIVE) == of_collectives]
        awaited = old.dependency[pair]
        ended = old.kind[awaited] == Kind.COLLECTIVE
        simple, several = pair[~ended], pair[ended]
        done = old.dependency[simple]
        group = old.group[old.dependency[several]]
        ends = self._positions.size[group]
        number = np.repeat(several, ends)
        place = np.arange(len(number)) - np.repeat(np.cumsum(ends) - ends, ends)
        row = np.repeat(self._last[old.dependency[several]] - ends, ends) + place
        rank = self._positions.rank[np.repeat(self._positions.first[group], ends) + place]
        all_pairs = np.concatenate([simple, number])
        order = np.argsort(all_pairs, kind="stable")
        return _Edges(
            waiting[all_pairs],
            np.concatenate([self._first[done], row]),
            all_pairs,
            np.concatenate([old.source[done], rank]),
            np.concatenate([old.target[done], np.full(len(rank), NONE)]),
        )[order]

    def _plain_waits(self) -> tuple[IntArray, IntArray]:
        """Return what rows that are no collectives wait for: of a collective, its end on their own rank if it has one."""
        old, edges = self._old, self._edges(of_collectives=False)
        own = edges.owner == old.source[edges.waiting]
        ended = old.kind[old.dependency[edges.pair]] == Kind.COLLECTIVE
        has_own = np.zeros(len(old.dependency), dtype=bool)
        has_own[edges.pair[own & ended]] = True
        kept = edges[~ended | own | ~has_own[edges.pair]]
        return self._first[kept.waiting], kept.awaited

    def _start_waits(self) -> tuple[IntArray, IntArray]:
        """Return what the starts of collectives wait for, rank by rank."""
        old, edges = self._old, self._edges(of_collectives=True)
        group = old.group[edges.waiting]
        place, other = self._positions.of(group, edges.owner), self._positions.of(group, edges.other_owner)
        owned = np.zeros(len(old.dependency), dtype=bool)
        owned[edges.pair[(place >= 0) | (other >= 0)]] = True
        shared = ~owned[edges.pair]
        mine, yours = place >= 0, (other >= 0) & (other != place)
        waiting = [self._first[edges.waiting[mine]] + place[mine], self._first[edges.waiting[yours]] + other[yours]]
        awaited = [edges.awaited[mine], edges.awaited[yours]]
        # Starts of ranks that own nothing, and shared edges for all ranks.
        has_own = np.zeros(self._count, dtype=bool)
        has_own[np.concatenate(waiting)] = True
        useful = edges[mine | yours | shared]
        size = self._positions.size[old.group[useful.waiting]]
        number = np.repeat(np.arange(len(size)), size)
        start = self._first[useful.waiting][number] + np.arange(len(number)) - np.repeat(np.cumsum(size) - size, size)
        kept = shared[mine | yours | shared][number] | ~has_own[start]
        return np.concatenate([*waiting, start[kept]]), np.concatenate([*awaited, useful.awaited[number[kept]]])
