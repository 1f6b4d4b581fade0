"""Flow lists of ns-3's RDMA simulators, and what they print of completed flows, as transfers.

* ``flow.txt``, the input (HPCC simulation/scratch/third.cc): the number of flows, then one a line, ``src dst pg dport bytes
  start_s``, in the order of their starts. What is listed beyond the number is not read, by the simulator neither.
* ``fct.txt``, the output (``qp_finish`` in the same file, in astra-network-ns3 and in SimAI's ns-3 front end): ``sip dip
  sport dport bytes start fct standalone_fct``, addresses in hexadecimal, times in nanoseconds. Node ``i`` has the address
  ``0b000001 + 100 i`` (hexadecimal, up to 65,535 nodes). A transfer's recorded duration is its ``fct``.

Nodes are the ranks, unless the hosts of a topology are given (``hosts``): then the ``i``-th host is rank ``i``. A host is a
node of its own unless said otherwise. Priority groups and ports are not used.
"""

from __future__ import annotations

import re

from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Call, Gathered, Options, Role
from zcube.trace.importers.numbers import MAX_TIME_US, span_us, time_us, whole
from zcube.trace.importers.source import Line, Source

NAME = "flow"
#: HPCC holds a size in 32 bits.
MOST_HPCC_BYTES = (1 << 32) - 1
_FLOWS = re.compile(rb"\s*\d{1,9}[ \t\r]*\n\s*\d{1,9}([ \t]+\d{1,12}){4}[ \t]+\d{1,12}(\.\d*)?([eE][+-]?\d+)?[ \t\r]*(\n|$)")
_FCT = re.compile(rb"\s*0b[0-9a-f]{4}01 0b[0-9a-f]{4}01( \d{1,20}){6}[ \r]*(\n|$)")
_ADDRESS = re.compile(r"0b([0-9a-f]{4})01", re.ASCII)


def recognise_flows(head: bytes, name: str) -> bool:
    """Return whether a file begins with a number and a line of six."""
    return _FLOWS.match(head) is not None


def recognise_fct(head: bytes, name: str) -> bool:
    """Return whether a file begins with a line of a completed flow."""
    return _FCT.match(head) is not None


def read_flows(sources: list[Source], options: Options) -> Gathered:
    """Read flow lists."""
    return _read(sources, options, of_flows=True)


def read_fct(sources: list[Source], options: Options) -> Gathered:
    """Read lists of completed flows."""
    return _read(sources, options, of_flows=False)


def _read(sources: list[Source], options: Options, of_flows: bool) -> Gathered:
    gathered = Gathered(options.chain, ranks_per_node=1, placed=options.ranks_per_node in (None, 1))
    if options.ranks_per_node is None:
        gathered.note("every host of the list is a node of its own (--ranks-per-node where several are GPUs of a server)")
    if options.hosts is None:
        gathered.note("node numbers of the list are the ranks (--topology where hosts are not numbered from 0)")
    rank_of = None if options.hosts is None else {node: rank for rank, node in enumerate(options.hosts)}
    for source in sources:
        reader = _Reader(source, gathered, rank_of)
        with source.guard():
            for line in source.lines():
                reader.flow(line) if of_flows else reader.completed(line)
            reader.end()
    return gathered


class _Reader:
    def __init__(self, source: Source, gathered: Gathered, rank_of: dict[int, int] | None):
        self._source, self._gathered, self._rank_of = source, gathered, rank_of
        self._announced: int | None = None
        self._listed = 0

    def flow(self, line: Line) -> None:
        """Take one line of a flow list."""
        words = line.text.split()
        if self._announced is None:
            self._announced = whole(words[0]) if len(words) == 1 else None
            if self._announced is None:
                self._source.broken(line.text[:120], "the number of flows")
                self._announced = 0
            self._source.skip("the number of flows", line.text)
            return
        if self._listed >= self._announced:
            self._source.skip("a flow beyond the number in the first line, which the simulator does not read", line.text)
            return
        self._listed += 1
        if len(words) != 6:
            self._cut_or_skip("a line of other than six words", line)
            return
        nodes = [whole(word, MAX_RANKS - 1) for word in words[:2]]
        start_s = time_us(words[5])
        start_us = None if start_s is None or not 0 <= start_s * 1e6 <= MAX_TIME_US else start_s * 1e6
        self._add(line, nodes, whole(words[4]), start_us, None)

    def completed(self, line: Line) -> None:
        """Take one line of a list of completed flows."""
        words = line.text.split()
        if len(words) != 8:
            self._cut_or_skip("a line of other than eight words", line)
            return
        found = [_ADDRESS.fullmatch(word) for word in words[:2]]
        nodes = [int(match[1], 16) if match else None for match in found]
        start_ns, fct_ns = whole(words[5], 1 << 63), whole(words[6], 1 << 63)
        start_us = None if start_ns is None else span_us(start_ns / 1000)
        self._add(line, nodes, whole(words[4]), start_us, None if fct_ns is None else span_us(fct_ns / 1000))

    def end(self) -> None:
        """Note a list that holds fewer flows than it says."""
        if self._announced is not None and self._listed < self._announced:
            self._source.number += 1
            self._source.broken(f"the end of the file after {self._listed} flows", f"{self._announced} flows")

    def _cut_or_skip(self, reason: str, line: Line) -> None:
        if line.ended:
            self._source.skip(reason, line.text)
        else:
            self._source.skip("a line cut short by the end of the file", line.text)
            self._source.broken("a line without its end", "a whole line")

    def _add(
        self, line: Line, nodes: list[int | None], size: int | None, start_us: float | None, duration_us: float | None
    ) -> None:
        ranks = nodes if self._rank_of is None else [None if node is None else self._rank_of.get(node) for node in nodes]
        source, target = ranks
        if source is None or target is None:
            self._source.skip("an address or number of no host", line.text)
        elif size is None or start_us is None:
            self._source.skip("bytes or start that are no number in range", line.text)
        else:
            self._source.report.used += 1
            self._gathered.add(
                Call(
                    self._source.index, line.number, Role.SEND, NAME, source, size, "", target, None, start_us, duration_us,
                    stream=target,
                )
            )  # fmt: skip
