"""GOAL programs as text (``.goal``), as Schedgen and ATLAHS write them and ``txt2bin`` reads them.

The grammar is that of LogGOPSim's scanner (src/LogGOPSim/txt2bin.re), the same in ATLAHS::

    num_ranks 2
    rank 0 {
    l1: calc 100 cpu 0
    l2: send 10b to 1 tag 42 cpu 0 nic 0
    l2 requires l1
    }
    rank 1 {
    l1: recv 10b from 0 tag 42
    l2: calc 5
    l2 irequires l1
    }

Labels are optional, of letters, digits and ``_``, and of one rank; a dependency names labels that stand above it. ``tag``,
``cpu`` and ``nic`` may be missing (0) but keep their order; a calc has no NIC. Comments are ``//`` and ``/* */`` where a
statement may begin. What the programs mean: :mod:`~zcube.trace.importers.goal_program`.
"""

from __future__ import annotations

import re

from zcube.errors import Fault, InputError
from zcube.trace.comm_trace import MAX_RANKS
from zcube.trace.importers.calls import Gathered, Options
from zcube.trace.importers.goal_program import (
    CALC_TYPE,
    MAX_TAG,
    MAX_UNIT,
    RECEIVE_TYPE,
    SEND_TYPE,
    GoalProgram,
)
from zcube.trace.importers.source import Line, Source

_LABEL = r"[a-zA-Z][a-zA-Z0-9_]{0,199}"
_UNITS = r"(?:[ \t]*cpu[ \t]*(?P<{0}cpu>\d{{1,20}}))?"
_MESSAGE = (
    r"(?P<op>send|recv)[ \t]*(?P<size>\d{1,20})[ \t]*b[ \t]*(?P<way>to|from)[ \t]*(?P<peer>-1|\d{1,20})"
    r"(?:[ \t]*tag[ \t]*(?P<tag>-1|\d{1,20}))?" + _UNITS.format("") + r"(?:[ \t]*nic[ \t]*(?P<nic>\d{1,20}))?"
)
_OPERATION = re.compile(
    rf"(?:(?P<label>{_LABEL})[ \t]*:[ \t]*)?(?:{_MESSAGE}|calc[ \t]*(?P<time>\d{{1,20}}){_UNITS.format('calc_')})[ \t]*$",
    re.ASCII,
)
_DEPENDENCY = re.compile(rf"(?P<later>{_LABEL})[ \t]+(?P<how>i?requires)[ \t]*(?P<earlier>{_LABEL})[ \t]*$", re.ASCII)
_BLANKS = re.compile(r"[ \t]*")
_RANK = re.compile(r"rank[ \t]*(\d{1,20})[ \t]*\{[ \t]*", re.ASCII)
_COUNT = re.compile(r"num_ranks[ \t]*(\d{1,20})[ \t]*", re.ASCII)
#: Nothing but blanks and comments stands before the number of ranks.
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|//[^\n]*\n|/\*.*?\*/)*num_ranks[ \t]*\d", re.DOTALL)
_STATEMENT = (
    "'num_ranks N', 'rank N {', '}', '[label:] send|recv Nb to|from RANK [tag N] [cpu N] [nic N]', '[label:] calc N [cpu N]'"
    " or 'label requires|irequires label'"
)


def recognise(head: bytes, name: str) -> bool:
    """Return whether a file is a GOAL program as text."""
    return _HEAD.match(head) is not None


def read(sources: list[Source], options: Options) -> Gathered:
    """Read one program, up to the first line that is not of the grammar.

    Raises
    ------
    InputError
        If there are several: a program is of all ranks.
    """
    check_single(sources)
    gathered = Gathered(options.chain)
    reader = _Reader(sources[0], GoalProgram(sources[0], gathered, options))
    with sources[0].guard():
        for line in sources[0].lines():
            reader.line(line)
            if sources[0].report.broken is not None:
                break
        reader.end()
    with sources[0].guard():
        reader.program.finish()
    return gathered


def check_single(sources: list[Source]) -> None:
    """Refuse several files.

    Raises
    ------
    InputError
        If there are several: a program is of all ranks.
    """
    if len(sources) > 1:
        raise InputError(
            Fault(str(sources[1].path), f"a second program beside {sources[0].path}", "one GOAL program of all ranks")
        )


class _Reader:
    def __init__(self, source: Source, program: GoalProgram):
        self._source, self.program = source, program
        self._count: int | None = None
        self._rank: int | None = None
        self._seen: set[int] = set()
        self._labels: dict[str, int] = {}
        self._comment = False

    def line(self, line: Line) -> None:
        """Take one line: statements may follow a bracket on its line."""
        used, at, text = False, 0, line.text.rstrip(" \t\r")
        while self._source.report.broken is None:
            at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]
            if at == len(text):
                break
            if self._comment or text.startswith("/*", at):
                end = text.find("*/", at if self._comment else at + 2)
                self._comment, at = end < 0, len(text) if end < 0 else end + 2
            elif text.startswith("//", at):
                break
            elif match := _COUNT.match(text, at):
                self._ranks(int(match[1]), line)
                at = match.end()
            elif match := _RANK.match(text, at):
                self._open(int(match[1]), line)
                at = match.end()
            elif text.startswith("}", at):
                self._close(line)
                at += 1
            else:
                used = self._statement(text[at:], line)
                break
        if used:
            self._source.report.used += 1
        else:
            self._source.skip("ranks, brackets, comments and dependencies (read for what they say)", line.text)

    def end(self) -> None:
        """Note a program that breaks off."""
        if self._rank is not None or len(self._seen) < (self._count or 1):
            missing = "}" if self._rank is not None else f"rank {len(self._seen)}"
            self._source.broken("the end of the file", f"'{missing}': the schedules of all {self._count} ranks")

    def _fault(self, line: Line, found: str, expected: str) -> None:
        self._source.broken(found[:120] if line.ended else f"a line without its end: {found[:120]}", expected)

    def _ranks(self, count: int, line: Line) -> None:
        if self._count is not None or not 1 <= count <= MAX_RANKS:
            self._fault(line, f"num_ranks {count}", f"one number of ranks from 1 to {MAX_RANKS}")
            return
        self._count = count
        self.program.ranks(count)

    def _open(self, rank: int, line: Line) -> None:
        if self._rank is not None or rank in self._seen or not rank < (self._count or 0):
            self._fault(line, f"rank {rank}", f"each rank below num_ranks ({self._count}) once, the one before closed")
            return
        self._rank, self._labels = rank, {}
        self._seen.add(rank)

    def _close(self, line: Line) -> None:
        if self._rank is None:
            self._fault(line, "}", "a rank that is open")
        self._rank = None

    def _statement(self, text: str, line: Line) -> bool:
        if operation := _OPERATION.match(text):
            return self._operation(operation, line)
        dependency = _DEPENDENCY.match(text)
        if dependency is None:
            self._fault(line, text, _STATEMENT)
            return False
        later, earlier = (self._labels.get(dependency[end]) for end in ("later", "earlier"))
        if later is None or earlier is None:
            self._fault(line, text, "labels that stand above it in its rank")
        elif not self.program.wait(later, earlier, dependency["how"] == "irequires"):
            self._fault(line, "more dependencies", "fewer")
        return False

    def _operation(self, match: re.Match[str], line: Line) -> bool:
        kind = {"send": SEND_TYPE, "recv": RECEIVE_TYPE, None: CALC_TYPE}[match["op"]]
        peer, tag = int(match["peer"] or 0), int(match["tag"] or 0)
        cpu, nic = int(match["cpu"] or match["calc_cpu"] or 0), int(match["nic"] or 0)
        wrong = (match["op"], match["way"]) not in (("send", "to"), ("recv", "from"), (None, None))
        if self._rank is None or wrong or tag > MAX_TAG or max(cpu, nic) > MAX_UNIT:
            expected = f"inside a rank; send to, recv from; tags to {MAX_TAG}, cpu and nic to {MAX_UNIT}"
            self._fault(line, match.string, expected)
            return False
        size = int(match["size"] or match["time"])
        if not self.program.fits(kind, size, peer):
            self._fault(line, match.string, "a rank below num_ranks, and sizes and times that can be")
            return False
        place = self.program.add(kind, self._rank, size, peer, tag, cpu, nic)
        if match["label"]:
            # Of two operations with one label txt2bin keeps the first.
            self._labels.setdefault(match["label"], place)
        return True
