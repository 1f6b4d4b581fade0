"""The Chrome trace of NCCL's example profiler plugin: begin and end events of collectives and of sends and receives.

Written by NCCL's source, plugins/profiler/example. ``COLL`` and ``P2P`` events of phase ``b`` and ``e`` belong together by
process, category, name and id. The file may end with an empty object, and its published sample has data types without quotes
and typographic quotes; both are read. Other categories (groups, proxy steps, kernels, network) say how NCCL moved the bytes
and are left out.

Bytes are ``Count`` times the size of ``Datatype``, converted as NCCL's counts are
(:func:`~zcube.trace.importers.operations.bytes_put_in`). The number of ranks is not recorded: a communicator has as many as the
highest rank or peer seen in it. Times are microseconds of each process's own clock.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable
from typing import Any

from zcube.trace.comm_trace import MAX_RANKS, NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.communicators import Communicators, Process
from zcube.trace.importers.json_stream import JsonStream
from zcube.trace.importers.numbers import time_us, whole
from zcube.trace.importers.operations import TYPE_BYTES, bytes_put_in
from zcube.trace.importers.source import Source
from zcube.trace.operation_names import RECEIVE, SEND, canonical

_BARE_WORD = re.compile(r"(:\s*)([A-Za-z_]\w*)(?=\s*[,}])")
#: Typographic quotes, in three bytes of UTF-8, become a plain one and two blanks.
_QUOTES = {0x201C: '  "', 0x201D: '"  '}
_CATEGORIES = ("COLL", "P2P")
_EVENT = re.compile(rb'"COLL"|"P2P"|"PROXY"|"GROUP"|"NET_IB"')


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is an array of the plugin's events."""
    return head.lstrip()[:1] == b"[" and _EVENT.search(head) is not None


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the traces of one job, one file per process."""
    gathered = Gathered(options.chain)
    communicators = Communicators()
    sizes: dict[str, int] = defaultdict(int)
    processes: dict[int, Process] = {}
    for source in sources:
        reader = _Reader(source, gathered, sizes, processes)
        with source.guard():
            for member in JsonStream(source, _quoted, _QUOTES).members(()):
                if member.element:
                    reader.event(member.value)
    _finish(sources, gathered, communicators, sizes, processes, options)
    gathered.note("ranks of a communicator are those up to the highest seen; each process's times are of its own clock")
    return gathered


def _quoted(text: str) -> str:
    def quote(match: re.Match[str]) -> str:
        word = match[2]
        return match[0] if word in ("true", "false", "null", "NaN", "Infinity") else f'{match[1]}"{word}"'

    return _BARE_WORD.sub(quote, text)


class _Reader:
    def __init__(self, source: Source, gathered: Gathered, sizes: dict[str, int], processes: dict[int, Process]):
        self._source, self._gathered = source, gathered
        self._sizes, self._processes = sizes, processes
        self._open: dict[Hashable, int] = {}

    def event(self, event: Any) -> None:
        """Take one event."""
        category = event.get("cat") if isinstance(event, dict) else None
        if event == {}:
            self._source.skip("an empty object, as the plugin writes last")
        elif category not in _CATEGORIES:
            self._source.skip("another category of events", event)
        elif event.get("ph") == "b":
            self._begin(event)
        elif event.get("ph") == "e":
            self._end(event)
        else:
            self._source.skip("a phase that is neither b nor e", event)

    def _begin(self, event: dict[str, Any]) -> None:
        arguments = event.get("args")
        found = self._call(event, arguments) if isinstance(arguments, dict) else "no args"
        if isinstance(found, str):
            self._source.skip(found, event)
            return
        self._source.report.used += 1
        place = self._gathered.add(found)
        self._processes[place] = Process(f"{self._source.index}:{event.get('pid')!r:.40}")
        self._open[_key(event)] = place
        self._sizes[found.group] = max(self._sizes[found.group], found.rank + 1, found.peer + 1)

    def _call(self, event: dict[str, Any], arguments: dict[str, Any]) -> Call | str:
        operation = canonical(str(event.get("name")))
        rank, count = whole(arguments.get("Rank"), MAX_RANKS - 1), whole(arguments.get("Count"))
        width = TYPE_BYTES.get(str(arguments.get("Datatype")).lower())
        role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation or "", Role.COLLECTIVE)
        peer = whole(arguments.get("Peer", arguments.get("Root")), MAX_RANKS - 1)
        if operation is None or (role != Role.COLLECTIVE) != (event["cat"] == "P2P"):
            return "an operation of an unknown name"
        if rank is None or (peer is None and role != Role.COLLECTIVE):
            return "no rank or peer"
        if count is None or width is None:
            return "no usable count or data type"
        start = time_us(event.get("ts"))
        communicator = f"{arguments.get('CommHash')}"[:200]
        sequence = whole(arguments.get("SeqNum"), 1 << 63) if role == Role.COLLECTIVE else None
        return Call(
            self._source.index, self._source.number, role, operation, rank, count * width, communicator,
            NONE if peer is None else peer, sequence, start, None, communicator, "p2p" if role != Role.COLLECTIVE else None,
            ordered=start is None,
        )  # fmt: skip

    def _end(self, event: dict[str, Any]) -> None:
        place = self._open.pop(_key(event), None)
        end = time_us(event.get("ts"))
        if place is None:
            self._source.skip("an end without its begin", event)
            return
        call = self._gathered.calls[place]
        if end is not None and call.start_us is not None:
            call.duration_us = max(0, end - call.start_us)
        self._source.report.used += 1


def _key(event: dict[str, Any]) -> Hashable:
    return tuple(str(event.get(name))[:200] for name in ("pid", "cat", "name", "id"))


def _finish(
    sources: list[Source],
    gathered: Gathered,
    communicators: Communicators,
    sizes: dict[str, int],
    processes: dict[int, Process],
    options: Options,
) -> None:
    """Join every process to its communicators now that their sizes are known, and convert counts to bytes put in."""
    kept = []
    for place, call in enumerate(gathered.calls):
        size = whole(bytes_put_in(call.name, call.size_bytes, sizes[call.group]))
        report = sources[call.file].report
        if size is None:
            report.drop("more bytes than any call moves", call.number)
        elif not communicators.join(call.group, call.rank, sizes[call.group], processes[place]):
            report.drop("a communicator that contradicts another record", call.number)
        else:
            call.size_bytes = size
            kept.append(call)
    gathered.calls[:] = kept
    communicators.to_trace(gathered, options)
