"""PyTorch's profiler trace (Kineto): collectives with their metadata, and when their kernels ran.

Written by ``torch.profiler`` (torch/csrc/profiler/util.cpp names the fields), one file per rank, plain or packed with gzip. The
operator ``record_param_comms`` holds "Collective name", "dtype", "In msg nelems", "Process Group Ranks" and so on; newer
versions copy them onto the NCCL kernel of the same "External id". A kernel's time is taken where there is one, else the
operator's start without a duration.

Bytes are "In msg nelems" times the size of "dtype": the elements of the input tensors, so of an all-gather the rank's own
part, of a reduce-scatter the whole input, of an all-to-all the whole send buffer, as the trace wants them. "Src Rank" and "Dst
Rank" are ranks of the trace; "Rank" is the caller's in its group, of a broadcast, reduce, gather and scatter the root's. Lists
of ranks and of split sizes are cut after 30 entries ("..."); a group is then rebuilt from "Global rank start", "Global rank
stride" and "Group size", split sizes from what the receivers' lists say (:mod:`~zcube.trace.importers.splits`).
``wait`` and ``barrier`` move no bytes and are left out.

Kernels of libraries that PyTorch does not know (DeepEP, NVSHMEM) carry no bytes: they are counted, and kept as computations
only if all kernels are (``kernels``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

from zcube.trace.collective_steps import ROOTED
from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import MAX_CALLS, Call, Gathered, Options, Role
from zcube.trace.importers.file_ranks import FileRanks, rank_in_name
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import span_us, time_us, whole
from zcube.trace.importers.operations import NCCL_KERNEL, TYPE_BYTES
from zcube.trace.importers.source import CutShort, Source
from zcube.trace.importers.splits import Units, split_units
from zcube.trace.operation_names import ALL_TO_ALL, BARRIER, RECEIVE, SEND, canonical

_DEEP_EP = re.compile(r"\bdeep_ep::|\bdpsk::ep::|internode(_ll)?::|intranode::(dispatch|combine|notify)|nvshmem", re.IGNORECASE)
_PROGRESSION = ("Global rank start", "Global rank stride", "Group size")

#: Number of the record, arguments, start.
_Operator: TypeAlias = tuple[int, dict[str, Any], float | None]
#: Number of the record, arguments, start, duration, stream.
_Kernel: TypeAlias = tuple[int, dict[str, Any], float | None, float | None, Any]


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a profiler trace."""
    document = head.lstrip()[:1] == b"{" and b'"traceEvents"' in head
    return document or (b"record_param_comms" in head and b'"ph"' in head)


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the traces of one job, one file per rank."""
    gathered, ranks = Gathered(options.chain), FileRanks()
    for source in sources:
        reader = _Reader(source, gathered, options.kernels)
        with source.guard():
            for member in JsonStream(source).members(("traceEvents",)):
                if member.element:
                    reader.event(member.value)
                elif member.key == "distributedInfo":
                    reader.distributed(member.value)
        reader.finish(ranks)
    ranks.check()
    return gathered


class _Reader:
    """The events of one file; calls are made at its end, when kernels and operators are known."""

    def __init__(self, source: Source, gathered: Gathered, kernels: bool):
        self._source, self._gathered, self._kernels = source, gathered, kernels
        self._rank: int | None = None
        self._operators: dict[Any, list[_Operator]] = defaultdict(list)
        self._nccl: dict[Any, list[_Kernel]] = defaultdict(list)
        self._computed: list[Call] = []
        self._hint: int | None = None
        self._held = 0

    def distributed(self, info: Any) -> None:
        """Take the member that names the rank."""
        if isinstance(info, dict):
            self._rank = whole(info.get("rank"), MAX_RANKS - 1)
            size = whole(info.get("world_size"), MAX_RANKS)
            self._gathered.ranks = max(self._gathered.ranks, size or 1)

    def event(self, event: Any) -> None:
        """Take one event."""
        source = self._source
        if not isinstance(event, dict):
            source.skip("not an object", event)
            return
        arguments = event.get("args")
        arguments = arguments if isinstance(arguments, dict) else {}
        name, category = str(event.get("name")), event.get("cat")
        if name == "record_param_comms":
            operation = canonical(str(arguments.get("Collective name")))
            if operation in ("wait", BARRIER):
                source.skip("wait or barrier: no bytes", event)
            else:
                self._check_room()
                self._operators[_id(arguments)].append((source.number, arguments, time_us(event.get("ts"))))
        elif category == "kernel" and NCCL_KERNEL.search(name):
            times = time_us(event.get("ts")), span_us(event.get("dur"))
            self._check_room()
            self._nccl[_id(arguments)].append((source.number, arguments, *times, arguments.get("stream")))
        elif category == "kernel":
            self._kernel(event, name, arguments)
        else:
            source.skip("neither a collective nor a kernel")

    def _check_room(self) -> None:
        # Events wait here until the end of the file, so that the bound on calls must hold for them too.
        self._held += 1
        if self._held > MAX_CALLS:
            raise CutShort(f"more than {MAX_CALLS} operations")

    def _kernel(self, event: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
        deep = _DEEP_EP.search(name) is not None
        start, duration = time_us(event.get("ts")), span_us(event.get("dur"))
        if deep:
            self._gathered.note(
                "kernels of DeepEP or NVSHMEM carry no bytes: their traffic is missing (it follows from routing)"
            )
        if not self._kernels or start is None or duration is None:
            self._source.skip(
                "a kernel of DeepEP or NVSHMEM: no bytes are recorded" if deep else "a kernel that computes", name
            )
            return
        self._source.report.used += 1
        stream = arguments.get("stream")
        self._computed.append(
            Call(
                self._source.index, self._source.number, Role.COMPUTE, name[:120], 0, 0, start_us=start, duration_us=duration,
                stream=stream if isinstance(stream, (int, str)) else "",
            )
        )  # fmt: skip

    def finish(self, ranks: FileRanks) -> None:
        """Turn what was read into calls, in order of time."""
        calls = [*self._collectives(), *self._computed]
        told = (self._rank, self._hint, rank_in_name(self._source))
        rank = next((rank for rank in told if rank is not None), None)
        if rank is None and calls:
            rank = self._source.index
            self._gathered.note(f"{self._source.path.name} names no rank; it counts as rank {rank}, its place among the files")
        if rank is not None and calls:
            ranks.claim(self._source, rank)
        calls.sort(key=lambda call: (call.start_us is not None, call.start_us or 0))
        with self._source.guard():
            for call in calls:
                call.rank = rank or 0
                self._gathered.add(call)

    def _collectives(self) -> list[Call]:
        calls = []
        for key in {**self._operators, **self._nccl}:
            operators, kernels = self._operators.get(key, []), self._nccl.get(key, [])
            repeated: list[_Operator] = []
            pairs: list[tuple[_Operator | None, _Kernel | None]] = list(zip_longest(operators, kernels))
            if key is None:
                # Without an id nothing links them: kernels with metadata stand for themselves, else the operators do.
                repeated = operators if any("Collective name" in kernel[1] for kernel in kernels) else []
                pairs = [(operator, None) for operator in operators if not repeated]
                pairs += [(None, kernel) for kernel in kernels]
            for number, arguments, _ in repeated:
                self._source.report.skip("an operator that its kernels repeat", number, arguments)
            calls += [call for operator, kernel in pairs if (call := self._pair(operator, kernel)) is not None]
        return calls

    def _pair(self, operator: _Operator | None, kernel: _Kernel | None) -> Call | None:
        """Return the call of an operator and its kernel, one of which may be missing."""
        arguments = {**(operator[1] if operator else {}), **(kernel[1] if kernel else {})}
        numbers = [entry[0] for entry in (operator, kernel) if entry]
        if "Collective name" not in arguments:
            for number in numbers:
                self._source.report.skip("an NCCL kernel without metadata", number)
            return None
        start = kernel[2] if kernel else operator[2] if operator else None
        call = self._call(arguments, numbers[-1], start, kernel[3] if kernel else None, kernel[4] if kernel else "host")
        if isinstance(call, str):
            for number in numbers:
                self._source.report.skip(call, number, arguments)
            return None
        if not kernel:
            self._gathered.note(
                "collectives without a kernel in the profile start when they were called; they have no duration"
            )
        self._source.report.used += len(numbers)
        return call

    def _call(self, arguments: dict[str, Any], number: int, start: float | None, span: float | None, stream: Any) -> Call | str:
        operation = canonical(str(arguments["Collective name"]))
        if operation is None:
            return "a collective of an unknown name"
        if operation in ("wait", BARRIER):
            return "wait or barrier: no bytes"
        width = TYPE_BYTES.get(str(arguments.get("dtype")).lower())
        elements = whole(arguments.get("In msg nelems"))
        if operation == RECEIVE and not elements:
            elements = whole(arguments.get("Out msg nelems"))
        if width is None or elements is None or (size := whole(elements * width)) is None:
            return "no usable dtype or In msg nelems"
        role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation, Role.COLLECTIVE)
        sequence = whole(arguments.get("Seq"), 1 << 63)
        stream = stream if isinstance(stream, (int, str)) else ""
        if role != Role.COLLECTIVE:
            peer = whole(arguments.get("Dst Rank" if role == Role.SEND else "Src Rank"), MAX_RANKS - 1)
            if peer is None:
                return "no Src Rank or Dst Rank"
            group = str(arguments.get("Process Group Name"))[:200]
            return Call(
                self._source.index,
                number,
                role,
                operation,
                0,
                size,
                group,
                peer,
                None,
                start,
                span,
                stream,
                "p2p",
                start is None,
            )
        texts = [arguments.get(name) for name in ("Process Group Name", "Process Group Ranks", *_PROGRESSION)]
        group = " ".join(str(text) for text in texts)
        if group not in self._gathered.groups:
            found = _ranks(arguments)
            if isinstance(found, str):
                return found
            if not self._gathered.add_group(group, found):
                return "a list of ranks that is no group"
        ranks = self._gathered.groups[group]
        named, root = self._own_rank(arguments, ranks), NONE
        if operation in ROOTED:
            root = NONE if named is None or "Rank" not in arguments else named
        else:
            self._hint = named
        call = Call(
            self._source.index, number, role, operation, 0, size, group, root, sequence, start, span, stream,
            None, start is None,
        )  # fmt: skip
        if operation == ALL_TO_ALL:
            call.splits = _splits(arguments, "In split size", len(ranks), size)
            # An empty list of parts received says nothing that the senders do not.
            if arguments.get("Out split size") not in ("[]", []):
                call.received = _splits(arguments, "Out split size", len(ranks), 0)
        return call

    def _own_rank(self, arguments: dict[str, Any], ranks: tuple[int, ...]) -> int | None:
        own = whole(arguments.get("Rank"), len(ranks) - 1)
        return self._hint if own is None else ranks[own]


def _listed(value: Any) -> tuple[list[int], list[int] | None] | None:
    """Return the numbers of a list written as text, and those behind an ellipsis if it was cut short."""
    if isinstance(value, list):
        value = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"\[[\d,.\s]{0,10000000}\]", value):
        return None
    head, cut, tail = value.partition("...")
    before, after = (
        [number for part in re.findall(r"\d+", text) if (number := whole(part, 1 << 50)) is not None] for text in (head, tail)
    )
    return before, after if cut else None


def _ranks(arguments: dict[str, Any]) -> Sequence[int] | str:
    """Return the ranks of a group, or why they are not known."""
    found = _listed(arguments.get("Process Group Ranks"))
    if found and found[0] and found[1] is None:
        return found[0]
    start, stride, size = (whole(arguments.get(name), MAX_RANKS) for name in _PROGRESSION)
    if size is None or start is None or not stride:
        return "a list of ranks that is cut short or missing, without start, stride and size to rebuild it"
    ranks = range(start, start + stride * size, stride)
    head, tail = (found[0], found[1] or []) if found else ([], [])
    if list(ranks[: len(head)]) != head or (tail and list(ranks[-len(tail) :]) != tail):
        return "a list of ranks that is cut short and contradicts its start and stride"
    return ranks


def _id(arguments: dict[str, Any]) -> int | str | None:
    value = arguments.get("External id")
    return value if isinstance(value, (int, str)) else None


def _splits(arguments: dict[str, Any], name: str, ranks: int, size_bytes: int) -> Units | None:
    """Return the split sizes of an all-to-all, None where they are not recorded."""
    found = _listed(arguments.get(name))
    return None if found is None else split_units(*found, ranks, size_bytes)
