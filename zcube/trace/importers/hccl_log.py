r"""HCCL's run log of Huawei's CANN: one line per call of each rank, without bytes or duration.

Written to ``ascend/log/run/plog/plog-PID_*.log`` with ``HCCL_ENTRY_LOG_ENABLE=1`` (HCCL user guide, fault diagnosis; the words
of each call: CANN's hccl sources, ``op_base.cc``)::

    [INFO] HCCL(PID,python):2025-03-07-11:43:32.305.623 [op_base.cc:56] [TID]Entry-HcclAllReduce: tag[AllReduce_ID],
        sendBuf[0x..], recvBuf[0x..], count[10746295], dataType[float32], op[sum], localRank[0], streamId[7],comm[0x..], ..

(one line; later versions add ``Inner`` or ``V2`` to names). ``ID`` is the communicator's; a process's rank in it is what its
``Entry-HcclCommInitRootInfo..:ranks[4], rank[2], .. identifier[ID]`` says, printed by default. Sends and receives have both
ranks in their tag, ``worldCommSendRecv_SOURCE_TARGET_ID``. The k-th call of a name in a communicator is one operation on all
its ranks.

Bytes are the count times the size of the data type, counts as NCCL's (:func:`~zcube.trace.importers.operations.bytes_put_in`).
All-to-alls of varying sizes do not say how much they send and are left out, as are calls of graphs, which are not printed.
Times are of calls on hosts, in local time, taken as UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from zcube.trace.comm_trace import NONE
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.communicators import Communicators, Process
from zcube.trace.importers.numbers import whole
from zcube.trace.importers.operations import bytes_put_in
from zcube.trace.importers.source import Line, Source
from zcube.trace.operation_names import BARRIER, RECEIVE, SEND, canonical

#: Bytes of one element by the names that the log prints.
TYPE_BYTES = {
    "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "bfp16": 2, "int32": 4, "uint32": 4,
    "float32": 4, "int64": 8, "uint64": 8, "float64": 8, "int128": 16, "hif8": 1, "fp8e4m3": 1, "fp8e5m2": 1, "fp8e8m0": 1,
}  # fmt: skip
_HEAD = re.compile(
    r"\[INFO\] HCCL\((?P<pid>\d{1,10}),[^)]{0,200}\):(?P<day>\d{4}-\d\d-\d\d)-(?P<time>\d\d:\d\d:\d\d)"
    r"\.(?P<ms>\d{3})\.(?P<us>\d{3}) \[[^\]]{0,200}\] ?\[\d{1,10}\](?:\[[^\]]{0,200}\]|V\d+ )*"
    r"Entry-Hccl(?P<name>\w{1,60}): ?(?P<rest>.*)",
    re.ASCII,
)
_WORD = re.compile(r"(\w{1,40})\[([^\]]{0,400})\]", re.ASCII)
#: What a call's line ends with.
_LAST_WORD = re.compile(r"deviceLogicId\[-?\d{1,10}\](?:, .*\]\.)?\s*$", re.ASCII)
_PAIR = re.compile(r"worldCommSendRecv_(\d{1,10})_(\d{1,10})_(.+)", re.ASCII)
_ROOTED = ("broadcast", "scatter", "reduce", "gather")


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a log with calls, or communicators, of HCCL."""
    return b"] HCCL(" in head and b"Entry-Hccl" in head


def read(sources: list[Source], options: Options) -> Gathered:
    """Read the logs of one job, one file a process or several in one."""
    gathered = Gathered(options.chain)
    gathered.note("HCCL's log has no durations, and calls of graphs are not printed")
    reader = _Reader(gathered)
    for source in sources:
        with source.guard():
            for line in source.lines():
                reader.line(source, line)
    reader.finish(sources, options)
    return gathered


class _Reader:
    def __init__(self, gathered: Gathered):
        self._gathered, self._communicators = gathered, Communicators()
        #: (file, process, communicator) -> rank in it.
        self._ranks: dict[tuple[int, str, str], int] = {}
        self._calls: list[tuple[int, int, re.Match[str]]] = []

    def line(self, source: Source, line: Line) -> None:
        """Take one line."""
        match = _HEAD.search(line.text)
        if not line.ended and not _LAST_WORD.search(line.text):
            source.skip("a line cut short by the end of the file", line.text)
            source.broken("a line without its end", "a whole line of the log")
        elif match is None:
            source.skip("not a call", line.text)
        elif match["name"].startswith("CommInit") and (words := dict(_WORD.findall(match["rest"]))).get("identifier"):
            fits = self._init(source, match["pid"], words)
            of = "set-up of a communicator"
            source.skip(f"{of} (read for its ranks)" if fits else f"{of} that contradicts another line", line.text)
        elif "tag[" in match["rest"]:
            self._calls.append((source.index, line.number, match))
        else:
            source.skip("not a call", line.text)

    def _init(self, source: Source, pid: str, words: dict[str, str]) -> bool:
        try:
            rank, size, device = int(words["rank"]), int(words["ranks"]), int(words.get("deviceLogicId", "0"))
        except (KeyError, ValueError):
            return False
        process = Process(f"{source.index}:{pid}:{device}", source.index)
        if not self._communicators.join(words["identifier"], rank, size, process):
            return False
        self._ranks[source.index, pid, words["identifier"]] = rank
        return True

    def finish(self, sources: list[Source], options: Options) -> None:
        """Use the calls, once every communicator is known, and give ranks their numbers."""
        for index, number, match in self._calls:
            reason = self._use(index, number, match)
            if reason is not None:
                sources[index].report.skip(reason, number, match.string)
            else:
                sources[index].report.used += 1
        self._communicators.to_trace(self._gathered, options)

    def _use(self, index: int, number: int, match: re.Match[str]) -> str | None:
        """Add a call; returns why it cannot be, if so."""
        words: dict[str, str] = dict(_WORD.findall(match["rest"]))
        operation = canonical(re.sub(r"(Inner|V2)+$", "", match["name"]))
        if operation is None or operation in (BARRIER, "wait"):
            return "a call of an unknown name" if operation is None else "a barrier, which moves next to nothing"
        pair = _PAIR.fullmatch(words.get("tag", "")) if operation in (SEND, RECEIVE) else None
        communicator = pair[3] if pair is not None else words.get("tag", "").partition("_")[2]
        rank = self._ranks.get((index, match["pid"], communicator))
        if rank is None:
            return "a call of a communicator without its set-up line (Entry-HcclCommInitRootInfo)"
        ranks, width = self._communicators.size(communicator), TYPE_BYTES.get(words.get("dataType", words.get("sendType", "")))
        count = next((words[key] for key in ("count", "sendCount", "recvCount") if key in words), "")
        if width is None or not count.isdecimal() or len(count) > 20:
            return "a call without a count, or of a data type that is not known"
        size = whole(bytes_put_in(operation, int(count) * width, ranks))
        peer = NONE
        if operation in (SEND, RECEIVE):
            if pair is None:
                return "a send or receive whose tag names no ranks"
            peer = int(pair[2] if operation == SEND else pair[1])
        elif operation in _ROOTED:
            peer = int(words["root"]) if words.get("root", "").isdecimal() and len(words["root"]) < 10 else NONE
        if size is None or (operation in (SEND, RECEIVE, *_ROOTED) and not 0 <= peer < ranks):
            return "more bytes than any call moves" if size is None else "a root or peer outside the communicator"
        role = {SEND: Role.SEND, RECEIVE: Role.RECEIVE}.get(operation, Role.COLLECTIVE)
        start_us = _time_us(match)
        stream = (index, match["pid"], words.get("streamId", ""))
        self._gathered.add(
            Call(
                index, number, role, operation, rank, size, communicator, peer, None, start_us, None, stream,
                ordered=start_us is None,
            )
        )  # fmt: skip
        return None


def _time_us(match: re.Match[str]) -> float | None:
    """Return a call's time in microseconds; None where it is no time."""
    try:
        moment = datetime.fromisoformat(f"{match['day']}T{match['time']}").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000 + int(match["ms"]) * 1000 + int(match["us"])
