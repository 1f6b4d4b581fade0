"""Nodes of Chakra execution traces, whatever file they come from, and the calls they are.

A trace is a graph per rank (MLCommons Chakra, et_def.proto and its feeder): computations with a duration, sends, receives and
collectives with ``comm_size`` bytes, and ``data_deps``, what each node waits for (``ctrl_deps`` name the caller, and simulators
do not wait for them). ``comm_size`` is the input of one rank, as simulators take it: of an all-gather the rank's own part, of a
reduce-scatter the whole input, of an all-to-all the whole send buffer. A communication node marked ``is_cpu_op`` is the host's
call, whose kernel is a node of its own; it counts as a computation of its duration.

The rank is the number in ``name.N.et`` or ``name.N.json``. A process group that nobody describes (``groups``, as ASTRA-sim's
``comm_group.json`` does) has the ranks that recorded a collective of it, if all ranks have a file. If no node of a file has a
start, its dependencies rule; else the starts do, and the dependencies too only with ``chain``.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import MAX_CALLS, Call, Gathered, Options, Role
from zcube.trace.importers.file_ranks import FileRanks, rank_in_name
from zcube.trace.importers.host_trace import PROCESS_GROUPS, process_groups
from zcube.trace.importers.numbers import span_us, time_us, whole
from zcube.trace.importers.operations import NCCL_KERNEL
from zcube.trace.importers.ordering import JOIN
from zcube.trace.importers.source import CutShort, Source
from zcube.trace.operation_names import BARRIER, canonical

METADATA, MEM_LOAD, MEM_STORE, COMP, SEND, RECEIVE, COLLECTIVE = range(1, 8)
#: Collectives by number (et_def.proto, CollectiveCommType).
COLLECTIVES = (
    "all-reduce", "reduce", "all-gather", "gather", "scatter", "broadcast", "all-to-all", "reduce-scatter", "reduce-scatter",
    BARRIER,
)  # fmt: skip

#: The collective in the name of an NCCL kernel, or of PyTorch's call (``nccl:all_reduce``).
_KERNEL = re.compile(NCCL_KERNEL.pattern + r"_([A-Za-z]+)|^nccl:([A-Za-z_]+)", NCCL_KERNEL.flags)

_NO_TRAFFIC = "computations have the names of NCCL's kernels: the file has no bytes for them, and their traffic is missing"
_NO_PEER = "sends or receives name no peer (comm_dst, comm_src), as converters leave them: their bytes are missing"
_SOME_DIMENSIONS = (
    "collectives name only some dimensions of a topology (involved_dim) that the file does not hold; they count as of all"
    " ranks (--topology names its dimensions, pg_name and --groups other ranks)"
)


@dataclass(slots=True)
class Node:
    """One node; ``attributes`` by name, ``values`` the text of its inputs."""

    id: int
    name: str
    type: int
    deps: tuple[int, ...]
    start_us: float | None
    duration_us: float | None
    attributes: Mapping[str, Any]
    number: int
    values: str = ""


class ChakraFile:
    """The nodes of one rank's file."""

    def __init__(self, source: Source, gathered: Gathered, dimensions: Sequence[int] | None = None):
        self.source = self._source = source
        self._gathered, self._dimensions = gathered, dimensions
        self._nodes: list[Node] = []
        named = rank_in_name(source, chakra=True)
        self.rank = source.index if named is None else named
        #: What is said of nodes that may not be what they seem, by how many there are.
        self.doubts: Counter[str] = Counter()

    def add(self, node: Node) -> None:
        """Take one node.

        Raises
        ------
        CutShort
            If there are too many.
        """
        if len(self._nodes) >= MAX_CALLS:
            raise CutShort(f"more than {MAX_CALLS} nodes")
        if node.name == PROCESS_GROUPS:
            for names, ranks in process_groups(node.values):
                for name in names:
                    self._gathered.add_group(f"pg {name}", ranks)
        self._nodes.append(node)

    def finish(self, chain: bool) -> None:
        """Turn the nodes into calls."""
        timed = any(node.start_us for node in self._nodes)
        waited_for = {dep for node in self._nodes for dep in node.deps}
        places: dict[int, int] = {}
        made: list[tuple[Call, Node]] = []
        with self._source.guard():
            for node in self._nodes:
                call = self._call(node)
                reason = call if isinstance(call, str) else ("a node number used twice" if node.id in places else None)
                if reason is not None:
                    self._source.report.skip(reason, node.number, node.name)
                    if not (node.id in waited_for and (node.deps or node.duration_us)) or node.id in places:
                        continue
                    # What waits for a node that is left out still waits for its time and for what it waits for.
                    call = self._compute(node, JOIN)
                else:
                    self._source.report.used += 1
                if isinstance(call, Call):
                    call.start_us = node.start_us if timed else None
                    places[node.id] = self._gathered.add(call)
                    made.append((call, node))
        if chain or not timed:
            for call, node in made:
                call.waits = tuple(places[dep] for dep in node.deps if dep in places)

    def _call(self, node: Node) -> Call | str:
        """Return the call that a node is, or why it is none."""
        attributes = node.attributes
        host = attributes.get("is_cpu_op") in (True, 1)
        if node.type == COMP and not host and NCCL_KERNEL.search(node.name):
            self.doubts[
                "computations have the names of NCCL's kernels: the file has no bytes for them, and their traffic is missing"
            ] += 1
        if node.type in (MEM_LOAD, MEM_STORE, COMP) or (node.type in (SEND, RECEIVE, COLLECTIVE) and host):
            return self._compute(node, node.name[:120] or "compute")
        if node.type not in (SEND, RECEIVE, COLLECTIVE):
            return "metadata" if node.type == METADATA else "a node of an unknown type"
        size = whole(attributes.get("comm_size"))
        if node.type == COLLECTIVE:
            return self._collective(node, size)
        if size is None:
            return "a send or receive without comm_size"
        side = "comm_dst" if node.type == SEND else "comm_src"
        peer = whole(attributes.get(side), MAX_RANKS - 1)
        if peer is None:
            self.doubts[
                "sends or receives name no peer (comm_dst, comm_src), as converters leave them: their bytes are missing"
            ] += 1
            return f"a send or receive without {side}"
        role, name = (Role.SEND, "send") if node.type == SEND else (Role.RECEIVE, "receive")
        tag = attributes.get("comm_tag")
        tag = tag if isinstance(tag, (int, str)) else None
        return Call(
            self._source.index, node.number, role, name, self.rank, size, "", peer, tag, None, node.duration_us, ordered=False
        )

    def _collective(self, node: Node, size: int | None) -> Call | str:
        kind = node.attributes.get("comm_type")
        number = whole(kind, len(COLLECTIVES) - 1) if not isinstance(kind, str) or kind.isdigit() else None
        operation = COLLECTIVES[number] if number is not None else canonical(str(kind))
        named = _operation_named(node.name)
        if operation is None:
            operation = named
        elif named not in (None, operation):
            # Converters leave 0, an all-reduce, where they do not know; any other type they have set.
            taken = named if number == 0 else operation
            told = "name" if taken == named else "type"
            self.doubts[f"collectives have a communication type that contradicts their name; the {told} counts"] += 1
            operation = taken
        if size is None and operation != BARRIER:
            return "a collective without comm_size"
        if operation is None:
            return "a collective without comm_type"
        dimensions = node.attributes.get("involved_dim")
        group = node.attributes.get("pg_name")
        within = "all"
        if group in (None, "") and isinstance(dimensions, list | tuple) and not all(dimensions):
            found = self._of_dimensions(dimensions)
            within, self.doubts[_SOME_DIMENSIONS] = found or "all", self.doubts[_SOME_DIMENSIONS] + (found is None)
        group = "pg " + str(group)[:200] if group not in (None, "") else within
        root = whole(node.attributes.get("root"), MAX_RANKS - 1) if "root" in node.attributes else None
        return Call(
            self._source.index, node.number, Role.COLLECTIVE, operation, self.rank, size or 0, group,
            NONE if root is None else root, None, None, node.duration_us,
        )  # fmt: skip

    def _of_dimensions(self, involved: Sequence[Any]) -> str | None:
        """Return the group of the ranks that differ from this file's in the dimensions involved alone, None if unknown."""
        sizes = self._dimensions
        if sizes is None or len(sizes) != len(involved) or self.rank >= math.prod(sizes):
            return None
        ranks, below = [self.rank], 1
        for size, takes_part in zip(sizes, involved, strict=True):
            if takes_part:
                first = [rank - rank // below % size * below for rank in ranks]
                ranks = [rank + place * below for place in range(size) for rank in first]
            below *= size
        ranks.sort()
        key = f"dimensions {[bool(part) for part in involved]} from {ranks[0]}"
        return key if self._gathered.add_group(key, ranks) else None

    def _compute(self, node: Node, name: str) -> Call:
        return Call(self._source.index, node.number, Role.COMPUTE, name, self.rank, 0, duration_us=node.duration_us or 0.0)


def finish(files: list[ChakraFile], gathered: Gathered, options: Options) -> None:
    """Turn all files' nodes into calls, and name the groups they use."""
    file_ranks = FileRanks()
    for file in files:
        file_ranks.claim(file.source, file.rank)
    file_ranks.check()
    doubts: Counter[str] = Counter()
    gathered.ranks = max([gathered.ranks, options.ranks or 1, *(file.rank + 1 for file in files)])
    for name, ranks in options.groups.items():
        gathered.add_group(f"pg {name}", ranks)
    for file in files:
        file.finish(options.chain)
        doubts += file.doubts
    for doubt, count in doubts.items():
        gathered.note(f"{count} {doubt}")
    seen: dict[str, set[int]] = defaultdict(set)
    for call in gathered.calls:
        if call.role == Role.COLLECTIVE and call.group not in gathered.groups:
            seen[call.group].add(call.rank)
    for key in sorted(seen):
        known = key != "all" and len(files) == gathered.ranks
        gathered.add_group(key, sorted(seen[key]) if known else range(gathered.ranks))
        if key != "all":
            taken = f"the {len(seen[key])} ranks that recorded it" if known else f"all {gathered.ranks} ranks"
            gathered.note(f"process group {key[3:]} is not described; it is taken as {taken} (--groups names its ranks)")


def _operation_named(name: str) -> str | None:
    """Return the collective that a node's name tells; kernels of sends and receives also serve all-to-alls."""
    match = _KERNEL.search(name)
    found = canonical(match[1] or match[2]) if match else None
    return found if found in COLLECTIVES else None


def node_times(start: Any, duration: Any) -> tuple[float | None, float | None]:
    """Return a node's start, None if it is 0 (not recorded), and its duration."""
    return time_us(start) or None, span_us(duration)
