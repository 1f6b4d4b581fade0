"""PyTorch execution traces (host ET): which collectives a rank called, on which tensors, without times.

Written by ``torch.profiler.ExecutionTraceObserver``, one file per rank, as JSON: ``{"schema", "pid", ..., "nodes": [...]}``. A
node ``record_param_comms`` has the input values (tensors, sequence, process group, rank, name, in_split, out_split, [start,
stride,] world size), a tensor being (id, storage, offset, elements, bytes per element, device). Bytes are those of its input
tensors: of an all-gather the rank's own part, of a reduce-scatter the whole input, of an all-to-all the whole send buffer,
which in_split divides, in elements or rows of the tensor (empty: evenly). For ``send`` and ``recv`` the rank is that of the
other side in the group.

Process groups are described by the node ``## process_group:init ##``; a group it does not name is taken as the first ranks of
the trace. There are no times: each collective waits for the one before it on its thread, in the order of node numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zcube.json_text import json_value
from zcube.trace.collective_steps import ROOTED
from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import MAX_CALLS, Call, Gathered, Options, Role
from zcube.trace.importers.file_ranks import FileRanks, rank_in_name
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import whole
from zcube.trace.importers.source import CutShort, Source
from zcube.trace.importers.splits import split_units
from zcube.trace.operation_names import ALL_TO_ALL, BARRIER, RECEIVE, SEND, canonical

PROCESS_GROUPS = "## process_group:init ##"
_MOST_TENSORS = 1 << 16
#: Operations whose rank is not the caller's: the other side, the root.
_NAMES_ANOTHER = (SEND, RECEIVE, *ROOTED)
_LIST = re.compile(r"\[\s*\{.*\}\s*\]", re.DOTALL)


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a PyTorch execution trace."""
    return head.lstrip()[:1] == b"{" and b'"schema"' in head and b'"nodes"' in head


def process_groups(text: Any) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the names and ranks of the process groups in a description; no ranks listed means the first ``group_size``."""
    match = _LIST.search(text) if isinstance(text, str) and len(text) < 1 << 22 else None
    try:
        groups = json_value(match[0].replace('\\"', '"')) if match else []
    except (ValueError, RecursionError):
        return
    for group in groups if isinstance(groups, list) else []:
        if not isinstance(group, dict) or not isinstance(group.get("ranks"), list):
            continue
        ranks = [whole(rank, MAX_RANKS - 1) for rank in group["ranks"]] or list(
            range(whole(group.get("group_size"), MAX_RANKS) or 0)
        )
        if ranks and None not in ranks:
            yield [str(group[key]) for key in ("pg_name", "backend_id") if key in group], ranks  # type: ignore[misc]


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the execution traces of one job, one file per rank."""
    gathered = Gathered(options.chain)
    for name, ranks in options.groups.items():
        gathered.add_group(name, ranks)
    readers, file_ranks = [_Reader(source, gathered, options.ranks or len(sources)) for source in sources], FileRanks()
    for source, reader in zip(sources, readers, strict=True):
        with source.guard():
            for member in JsonStream(source).members(("nodes",)):
                if member.element:
                    reader.node(member.value)
    _seen_groups(readers, gathered)
    for reader in readers:
        reader.finish(file_ranks)
    file_ranks.check()
    gathered.note("execution traces have no times: each collective waits for the one before it on its thread")
    return gathered


def _seen_groups(readers: list[_Reader], gathered: Gathered) -> None:
    """Name the groups that no file describes but all their ranks recorded, each in a file whose name tells its rank."""
    members: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    sizes: dict[str, set[int]] = defaultdict(set)
    for reader in readers:
        own = rank_in_name(reader.source)
        for record in reader.records if own is not None else ():
            if record.group not in gathered.groups and record.first is None and record.operation not in _NAMES_ANOTHER:
                members[record.group][record.rank].add(own if own is not None else NONE)
                sizes[record.group].add(record.world)
    for group, ranks in members.items():
        count = len(ranks)
        whole_group = sizes[group] == {count} and set(ranks) == set(range(count)) and all(map(_single, ranks.values()))
        if whole_group and gathered.add_group(group, [min(ranks[place]) for place in range(count)]):
            gathered.note(f"process group {group} is not described; it is taken as the {count} ranks that recorded it")


def _single(ranks: set[int]) -> bool:
    return len(ranks) == 1


@dataclass(slots=True)
class _Record:
    id: int
    number: int
    operation: str
    rank: int
    group: str
    size_bytes: int
    world: int
    first: int | None
    step: int | None
    thread: str
    splits: Sequence[int] | None = None
    received: Sequence[int] | None = None


class _Reader:
    """The nodes of one file; calls are made at its end, when all process groups are known."""

    def __init__(self, source: Source, gathered: Gathered, ranks: int):
        self._source, self._gathered, self._ranks = source, gathered, ranks
        self._records: list[_Record] = []

    def node(self, node: Any) -> None:
        """Take one node."""
        inputs = node.get("inputs") if isinstance(node, dict) else None
        values = inputs.get("values") if isinstance(inputs, dict) else None
        if isinstance(node, dict) and node.get("name") == PROCESS_GROUPS and isinstance(values, list) and values:
            for names, ranks in process_groups(values[0]):
                for name in names:
                    self._gathered.add_group(name, ranks)
            self._source.skip("process groups (read for their ranks)")
        elif not isinstance(node, dict) or node.get("name") != "record_param_comms":
            gloo = isinstance(node, dict) and str(node.get("name")).startswith("gloo:")
            self._source.skip("a collective of gloo: no bytes are recorded (NCCL's are)" if gloo else "not a collective")
        elif not isinstance(values, list):
            self._source.skip("a collective without input values", node)
        else:
            found = self._record(node, values)
            if isinstance(found, str):
                self._source.skip(found, values)
                return
            if len(self._records) >= MAX_CALLS:
                raise CutShort(f"more than {MAX_CALLS} operations")
            self._source.report.used += 1
            self._records.append(found)

    def _record(self, node: dict[str, Any], values: list[Any]) -> _Record | str:
        place = next((i for i, value in enumerate(values) if isinstance(value, str) and canonical(value)), None)
        if place is None or place < 2:
            return "a collective of an unknown name"
        operation = canonical(values[place]) or ""
        if operation in ("wait", BARRIER):
            return "wait or barrier: no bytes"
        rank = whole(values[place - 1], MAX_RANKS - 1)
        # Versions before 2.3 end with the split sizes: the group has as many ranks as it is described with.
        world = whole(values[-1], MAX_RANKS) if isinstance(values[-1], int) and len(values) - place >= 4 else 0
        size = _tensor_bytes(values[0])
        if rank is None or world is None or size is None:
            return "no usable rank, world size or tensors"
        group = values[place - 2]
        group = str(group[0] if isinstance(group, list) and group else group)[:200]
        first, step = (whole(values[-3], MAX_RANKS), whole(values[-2], MAX_RANKS)) if len(values) - place >= 6 else (None, None)
        return _Record(
            whole(node.get("id"), 1 << 63) or 0,
            self._source.number,
            operation,
            rank,
            group,
            size,
            world,
            first,
            step,
            _thread(node),
            *((_numbers(values, place + 1), _numbers(values, place + 2)) if operation == ALL_TO_ALL else ()),
        )

    @property
    def source(self) -> Source:
        """The file."""
        return self._source

    @property
    def records(self) -> list[_Record]:
        """The collectives, sends and receives of the file."""
        return self._records

    def finish(self, ranks: FileRanks) -> None:
        """Turn the records into calls, in the order of node numbers."""
        self._records.sort(key=lambda record: record.id)
        own = None
        for record in self._records:
            if not self._known(record):
                continue
            group = self._gathered.groups[record.group]
            if own is None and record.operation not in _NAMES_ANOTHER and record.rank < len(group):
                own = group[record.rank]
        if own is None:
            named = rank_in_name(self._source)
            own = self._source.index if named is None else named
        if self._records:
            ranks.claim(self._source, own)
        with self._source.guard():
            for record in self._records:
                self._add(record, own)

    def _known(self, record: _Record) -> bool:
        if record.group in self._gathered.groups:
            return True
        if not record.world:
            self._gathered.note(
                f"process group {record.group} is not described and the file has no world size; it is taken as the"
                f" {self._ranks} ranks of the files (--groups names its ranks)"
            )
            return self._gathered.add_group(record.group, range(self._ranks))
        first, step = record.first or 0, record.step or 1
        ranks = range(first, first + step * record.world, step)
        if record.first is None:
            self._gathered.note(f"process group {record.group} is not described; it is taken as the first {record.world} ranks")
        return self._gathered.add_group(record.group, ranks)

    def _add(self, record: _Record, own: int) -> None:
        role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(record.operation, Role.COLLECTIVE)
        ranks = self._gathered.groups.get(record.group, ())
        if role != Role.COLLECTIVE and record.rank >= len(ranks):
            self._source.report.drop("a peer outside its group", record.number)
            return
        peer = ranks[record.rank] if record.operation in _NAMES_ANOTHER and record.rank < len(ranks) else NONE
        call = Call(
            self._source.index, record.number, role, record.operation, own, record.size_bytes, record.group, peer,
            stream=record.thread, batch="p2p" if role != Role.COLLECTIVE else None, ordered=True,
        )  # fmt: skip
        if record.splits is not None and ranks:
            call.splits = split_units(record.splits, None, len(ranks), record.size_bytes)
            call.received = split_units(record.received, None, len(ranks), 0) if record.received else None
        self._gathered.add(call)


def _numbers(values: list[Any], place: int) -> list[int] | None:
    """Return the split sizes that stand at a place of the input values, None if there are none."""
    found = values[place] if place < len(values) else None
    numbers = [whole(part) for part in found] if isinstance(found, list) else [None]
    return None if None in numbers else [number for number in numbers if number is not None]


def _thread(node: dict[str, Any]) -> str:
    attributes = node.get("attrs")
    for attribute in attributes if isinstance(attributes, list) else []:
        if isinstance(attribute, dict) and attribute.get("name") == "tid":
            return str(attribute.get("value"))[:40]
    return ""


def _tensor_bytes(value: Any) -> int | None:
    """Return the bytes of all tensors in a value; a tensor is a list of five numbers or more with its device last."""
    total, waiting, seen = 0, [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if not isinstance(item, list) or seen > _MOST_TENSORS:
            return None
        if len(item) >= 6 and all(type(part) is int for part in item[:5]):
            elements, width = whole(item[3]), whole(item[4], 64)
            if elements is None or width is None:
                return None
            total += elements * width
        else:
            waiting += item
    return whole(total)
