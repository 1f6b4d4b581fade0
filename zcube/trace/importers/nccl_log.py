r"""NCCL's debug log: one line per call of each rank, without bytes or duration.

Written with ``NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=INIT,COLL[,P2P]`` (NCCL 2.30 source: enqueue.cc, init.cc, debug.cc)::

    host:pid:tid [dev] NCCL INFO AllReduce: opCount 1a sendbuff 0x.. recvbuff 0x.. count 6144 datatype 9 op 0 root 0
        comm 0x55d0c8a0 [nranks=8] stream 0x55d0b1f0

(one line; AMD's RCCL adds ``acc 0x..`` before ``count`` and ``task 1 globalrank 0`` at the end). The lines of
``ncclCommInitRank`` and ``ncclCommSplit`` say which rank of which communicator a pointer is; without them a call cannot be
used. A line counts wherever it begins: launchers put names and times before it (:mod:`~zcube.trace.launchers`), and several
processes may write into one file. GPUs are told apart by host, process, device and bus; where containers give several the
same, by the file or the prefix too. The call with the same communicator, opCount and name on all ranks is one collective. A
send and the receive that answers it are one transfer; the other side is the ``root``.

Bytes are ``count`` times the size of the data type; see :func:`~zcube.trace.importers.operations.bytes_put_in` for what the
count means. A time stands before a line only if ``NCCL_DEBUG_TIMESTAMP_LEVELS`` includes INFO. Without, or with whole seconds
only (too coarse to order calls), each call waits for the one before it on its rank's stream; calls of one group call, which
share an opCount, run together.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime

from zcube.trace.comm_trace import NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.communicators import Communicators, Process
from zcube.trace.importers.numbers import whole
from zcube.trace.importers.operations import NCCL_ENUM_BYTES, bytes_put_in
from zcube.trace.importers.source import Line, Source
from zcube.trace.launchers import RAY_REPEATED, NcclMessage, nccl_messages
from zcube.trace.operation_names import BARRIER, RECEIVE, SEND, canonical

_CALL = re.compile(
    r"(?P<op>\w+): opCount (?P<opc>[0-9a-f]{1,16}) sendbuff \S+ recvbuff \S+(?: acc \S+)? count (?P<count>\d{1,20})"
    r" datatype (?P<dt>\d{1,4}) op \d+ root (?P<root>-?\d{1,10}) comm (?P<comm>\S+) \[nranks=(?P<nr>\d{1,10})\]"
    r" stream (?P<stream>\S+)(?: task \d+ globalrank -?\d+)?\s*$",
    re.ASCII,
)
_INIT = re.compile(
    r"(?:\w+ )?comm (?P<comm>\S+) rank (?P<rank>\d{1,10}) nranks (?P<nr>\d{1,10}) cudaDev (?P<cuda>\d{1,4})\b"
    r"(?: nvmlDev (?P<nvml>\d{1,4}))?(?: busId (?P<bus>[0-9a-f]{1,16}))?"
    r"(?:.*?(?:commId (?P<id>0x[0-9a-f]+)"
    r"|parent (?P<parent>\S+) (?:splitCount|childCount) (?P<split>\d{1,10}) color (?P<color>-?\d{1,10}) key -?\d+))?"
    r" ?- Init (?:START|COMPLETE)",
    re.ASCII,
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?", re.ASCII)


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a log with lines of NCCL."""
    return b" NCCL INFO " in head


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the logs of one job, one file per rank or several ranks in one."""
    gathered = Gathered(options.chain)
    gathered.note("NCCL's log has no durations, and replays of CUDA graphs print nothing: only their capture is seen")
    reader = _Reader(gathered)
    for source in sources:
        with source.guard():
            for line in source.lines():
                reader.line(source, line)
    reader.finish(sources)
    reader.number(options)
    return gathered


#: What a pointer of a communicator is looked up by: writer, host, process, pointer; without the writer where that is unknown.
_Pointer = tuple[Hashable, str, str, str]


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A communicator's line of NCCL before 2.17, which gives it no name."""

    pointer: _Pointer
    process: Process
    rank: int
    size: int


class _Reader:
    def __init__(self, gathered: Gathered):
        self._gathered = gathered
        self._communicators = Communicators()
        #: Pointer -> (communicator, rank).
        self._pointers: dict[_Pointer, tuple[str, int]] = {}
        #: (host, process, pointer) -> writers that set it up.
        self._writers: dict[tuple[str, str, str], set[Hashable]] = defaultdict(set)
        self._unnamed: list[_Unnamed] = []
        self._early: list[tuple[int, int, NcclMessage, re.Match[str]]] = []
        self._coarse = 0

    def line(self, source: Source, line: Line) -> None:
        """Take one line."""
        messages = list(nccl_messages(line.text))
        if RAY_REPEATED.search(line.text):
            self._gathered.note("Ray printed lines of several workers once; RAY_DEDUP_LOGS=0 keeps them all")
        if not messages:
            self._left_out(source, line, line.text)
        source.report.read += max(0, len(messages) - 1)
        for message in messages:
            text = RAY_REPEATED.sub("", message.text)
            if call := _CALL.match(text):
                self._call(source, line.number, message, call)
            elif (match := _INIT.match(text)) and self._init(source, message, match):
                source.skip("set-up of a communicator (read for its ranks)", line.text)
            elif match:
                source.skip("set-up of a communicator that contradicts another line", line.text)
            else:
                self._left_out(source, line, text)

    def _left_out(self, source: Source, line: Line, text: str) -> None:
        if not line.ended:
            source.skip("a line cut short by the end of the file", line.text)
            source.broken("a line without its end", "a whole line of the log")
        else:
            source.skip("a call that cannot be read" if ": opCount " in " " + text else "not a call", line.text)

    def _init(self, source: Source, message: NcclMessage, match: re.Match[str]) -> bool:
        host, pid = message.host, message.pid
        rank, size = int(match["rank"]), int(match["nr"])
        writer = (source.index, message.writer)
        pointer = (writer, host, pid, match["comm"])
        device = (int(match["nvml"] or match["cuda"]), int(match["bus"] or "0", 16))
        name = f"{host}:{pid}:{match['cuda']}" + (f":{match['bus']}" if match["bus"] else "")
        process = Process(name, writer, host, device)
        self._writers[pointer[1:]].add(writer)
        if match["id"] is None and match["parent"] is None:
            self._unnamed.append(_Unnamed(pointer, process, rank, size))
            return True
        communicator = match["id"]
        if communicator is None:
            parent = self._pointers.get((writer, host, pid, match["parent"]), (f"{host}:{pid}:{match['parent']}", 0))[0]
            communicator = f"{parent}/{match['split']}/{match['color']}"
        if not self._communicators.join(communicator, rank, size, process):
            return False
        self._pointers[pointer] = (communicator, rank)
        return True

    def _pointer(self, index: int, message: NcclMessage, pointer: str) -> _Pointer:
        """Return what a pointer of a call is known by: that of its writer, else the only one of its process."""
        writer: Hashable = (index, message.writer)
        writers = self._writers.get((message.host, message.pid, pointer), set())
        if writer not in writers and len(writers) == 1:
            writer = next(iter(writers))
        return writer, message.host, message.pid, pointer

    def _call(self, source: Source, number: int, message: NcclMessage, match: re.Match[str]) -> None:
        if self._pointer(source.index, message, match["comm"]) not in self._pointers:
            self._early.append((source.index, number, message, match))
            return
        self._use(source, number, message, match)

    def _use(self, source: Source, number: int, message: NcclMessage, match: re.Match[str]) -> None:
        pointer = self._pointer(source.index, message, match["comm"])
        communicator, rank = self._pointers[pointer]
        operation = canonical(match["op"])
        width = NCCL_ENUM_BYTES.get(int(match["dt"]))
        ranks = self._communicators.size(communicator)
        size = whole(bytes_put_in(operation or "", int(match["count"]) * (width or 0), ranks))
        root = int(match["root"])
        reason = None
        if operation is None or operation in (BARRIER, "wait"):
            reason = "a call of an unknown name"
        elif width is None:
            reason = "a data type that is not known"
        elif size is None:
            reason = "more bytes than any call moves"
        elif not 0 <= root < ranks and operation in (SEND, RECEIVE, "broadcast", "reduce", "gather", "scatter"):
            reason = "a root or peer outside the communicator"
        if reason is not None or operation is None or size is None:
            source.report.skip(reason or "", number, match.string)
            return
        role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation, Role.COLLECTIVE)
        rooted = role != Role.COLLECTIVE or operation in ("broadcast", "reduce", "gather", "scatter")
        start, fine = _time_us(message.stamp)
        self._coarse += start is not None and not fine
        source.report.used += 1
        self._gathered.add(
            Call(
                source.index, number, role, operation, rank, size, communicator, root if rooted else NONE,
                match["opc"] if role == Role.COLLECTIVE else None, start, None, (pointer[:3], match["stream"]),
                (communicator, match["opc"]), ordered=start is None or not fine,
            )
        )  # fmt: skip

    def _name(self) -> None:
        """Name the communicators that NCCL did not: the k-th of a size on every rank, if that is one for each rank."""
        turns: Counter[tuple[Hashable, int]] = Counter()
        alike: dict[tuple[int, int], list[_Unnamed]] = defaultdict(list)
        for line in self._unnamed:
            key = (line.pointer[:3], line.size)
            alike[line.size, turns[key]].append(line)
            turns[key] += 1
        clear = [lines for lines in alike.values() if len({line.rank for line in lines}) == len(lines)]
        for lines in clear:
            name = f"unnamed {lines[0].size} {lines[0].pointer}"
            for line in lines:
                if self._communicators.join(name, line.rank, line.size, line.process):
                    self._pointers[line.pointer] = (name, line.rank)
        if len(clear) < len(alike):
            self._gathered.note(
                "this NCCL does not name its communicators (commId), and several of one size cannot be told apart:"
                " NCCL 2.17 or later names them"
            )

    def finish(self, sources: list[Source]) -> None:
        """Use the calls that came before their communicator's line."""
        self._name()
        for index, number, message, match in self._early:
            if self._pointer(index, message, match["comm"]) in self._pointers:
                self._use(sources[index], number, message, match)
            else:
                reason = "a call of a communicator without its set-up line (NCCL_DEBUG_SUBSYS needs INIT beside COLL)"
                sources[index].report.skip(reason, number, match.string)
        if self._coarse:
            self._gathered.note(
                f"{self._coarse} times are in whole seconds, too coarse to order calls: each call waits for the one before"
                " it on its stream (NCCL_DEBUG_TIMESTAMP_FORMAT adds digits)"
            )

    def number(self, options: Options) -> None:
        """Give ranks their numbers, once all calls are known."""
        self._communicators.to_trace(self._gathered, options)


def _time_us(text: str | None) -> tuple[float | None, bool]:
    """Return a time in microseconds, local times taken as UTC, and whether it has fractions of a second."""
    match = _TIME.match(text) if text else None
    if not match:
        return None, False
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC)
    except ValueError:
        return None, False
    fraction = match[3] or ""
    nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    seconds = int(moment.timestamp())
    return seconds * 1_000_000 + (nanoseconds // 1000 if nanoseconds % 1000 == 0 else nanoseconds / 1000), bool(fraction)
