"""What the nccl-tests programs print (NVIDIA nccl-tests, ``src/util.cu``, and the headers of older versions), and rccl-tests'.

A run is a header (program, devices), a table and a footer. Columns are found by their names, counted from the right, because
older versions print empty ones. Sizes are bytes, times microseconds. A run without its footer was killed. AMD's rccl-tests is
a fork of an older version that prints its own version above the devices, and does not name the program.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zcube.calibrate.measurements import MAX_ROWS, Measurements
from zcube.calibrate.operations import canonical
from zcube.calibrate.points import MAX_SIZE_BYTES, Metadata, Row
from zcube.calibrate.readers.options import Gathering, ReadOptions
from zcube.trace.launchers import without_launcher

_S_PER_US = 1e-6
#: Time from the ``time`` column against size over the ``algbw`` column: further apart than this, units are mixed.
_AGREEMENT = 4.0
_TABLE = re.compile(r"#[ \t]+size[ \t]+count[ \t]")
_DEVICE = re.compile(r"^#\s+Rank\s+(\d+)\s+(?:Group\s+(\d+)\s)?.*?\son\s+(\S+)\s+device\s+\d+\s+\[\S+\]\s*(.*)$")
_ROW = re.compile(r"\s*-?\d")
_STARTING = re.compile(r"^# Collective test starting: (\S+)")
_VERSION = re.compile(r"nccl-library=(\d+)")
_RCCL_VERSION = re.compile(r"RCCL version\s*:?\s+([0-9][0-9.]{0,20})")
_ITERATIONS = re.compile(r"(?<!warmup )iters: (\d+)")
_TIMES = ("time", "cputime")
_LONGEST_LINE = 4096


@dataclass
class _Run:
    """One program's output, as far as it was read."""

    line: int
    operation: str | None
    hosts: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)
    blocks: list[list[str]] = field(default_factory=list)
    stamps: int = 0
    repetitions: int = 0
    rows: int = 0
    ended: bool = False

    @property
    def ranks(self) -> int:
        """Ranks that communicate with each other: those of a group (``NCCL_TESTS_SPLIT``), 0 where groups differ in size."""
        return group_ranks(list(self.groups.values()))

    @property
    def group_hosts(self) -> int | None:
        """Hosts of a group, None where hosts have different numbers of its ranks."""
        return group_hosts(list(self.groups.values()), [self.hosts[rank] for rank in self.groups])


def group_ranks(groups: Sequence[object]) -> int:
    """Return the members of each group, from the group of every rank; 0 where there is none, or groups differ in size."""
    sizes = set(Counter(groups).values())
    return sizes.pop() if len(sizes) == 1 else 0


def group_hosts(groups: Sequence[object], hosts: Sequence[str]) -> int | None:
    """Return the hosts of each group, from group and host of every rank; 0 where a host has no name.

    None where groups differ, or hosts have different numbers of ranks.
    """
    if not all(hosts):
        return 0
    counts: dict[object, Counter[str]] = {}
    for group, host in zip(groups, hosts, strict=True):
        counts.setdefault(group, Counter())[host] += 1
    shapes = {tuple(sorted(count.values())) for count in counts.values()}
    shape = shapes.pop() if len(shapes) == 1 else ()
    return len(shape) if len(set(shape)) == 1 else None


def recognise(text: str) -> bool:
    """Return whether a file has the program's or the table's header."""
    return any(mark in text for mark in ("# nThread", "# Collective test starting:")) or _TABLE.search(text) is not None


def read(text: str, source: str, options: ReadOptions) -> Measurements:
    """Read one or several runs.

    Raises
    ------
    InputError
        With every fault, unless lenient: a run that was killed, wrong units, lines that cannot be read.
    """
    reader = _Reader(Gathering(source, options), "rccl" if "rccl-tests: Version" in text else "nccl")
    for number, line in enumerate(text.splitlines(), start=1):
        reader.take(number, without_launcher(line).rstrip())
    return reader.measurements()


def nccl_version(code: int) -> str:
    """Return NCCL's version from the number it calls itself (22805 is 2.28.5; up to 2.8 the number has four digits).

    It is empty where the number is none of its 31 bits.
    """
    if not 0 < code < 1 << 31:
        return ""
    major, rest = divmod(code, 10_000) if code >= 10_000 else divmod(code, 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


class _Reader:
    """Goes through the lines."""

    def __init__(self, gathering: Gathering, backend: str):
        self._gathering, self._backend = gathering, backend
        # Older versions do not name the program; people name files after it.
        self._given = gathering.options.operation or Path(gathering.source).stem
        self._run: _Run | None = None
        self._operation: str | None = None
        self._version, self._hardware, self._hosts = "", set[str](), 0
        self._unit_line, self._records = False, 0

    def take(self, number: int, line: str) -> None:
        """Take one line."""
        if len(line) > _LONGEST_LINE:
            self._gathering.broken(f"line {number}", f"{len(line)} characters", f"at most {_LONGEST_LINE}")
        elif line.startswith("#"):
            self._comment(number, line)
        elif rccl := _RCCL_VERSION.search(line):
            self._version = rccl[1]
        elif _ROW.match(line) and self._run is not None and self._run.blocks:
            self._record(number, line.split())

    def measurements(self) -> Measurements:
        """Return what was read."""
        self._close()
        hardware = ", ".join(sorted(self._hardware))[:400]
        most = max((row.ranks for row in self._gathering.rows), default=0)
        return self._gathering.measurements(
            Metadata(
                hardware=f"{most}x {hardware}" if hardware else "",
                nccl_version=self._version,
                how=f"{self._backend}-tests",
                backend=self._backend,
                details={"hosts": self._hosts} if self._hosts else {},
            )
        )

    def _comment(self, number: int, line: str) -> None:
        starting = _STARTING.match(line)
        if starting:
            self._close()
            self._operation = canonical(starting[1].rsplit("/", 1)[-1])
            if self._operation is None:
                self._gathering.broken(f"line {number}", f"the program {starting[1]!r}"[:80], "a program of a known operation")
        if "nThread" in line and "minBytes" in line:
            self._close()
            self._run = _Run(number, self._operation or canonical(self._given))
            count = _ITERATIONS.search(line)
            self._run.repetitions = int(count[1]) if count else 0
        version = _VERSION.search(line)
        if version:
            self._version = nccl_version(int(version[1]))
        device = _DEVICE.match(line)
        if device and self._run is not None:
            self._run.hosts[int(device[1])], self._run.groups[int(device[1])] = device[3], device[2] or "0"
            if len(set(self._run.groups.values())) == 2:
                self._gathering.note("several groups of ranks ran at the same time (NCCL_TESTS_SPLIT)")
            self._hardware.add(device[4].strip()[:100])
            self._hosts = max(self._hosts, len(set(self._run.hosts.values())))
        columns = _columns(line)
        if columns is not None:
            self._header(number, columns)
        elif self._unit_line:
            self._units(number, line)
        if line.startswith("# Out of bounds values") and self._run is not None:
            self._run.ended = True
            if "FAILED" in line:
                self._gathering.broken(f"line {number}", "wrong data received", "a run whose data check passes")

    def _header(self, number: int, columns: list[str]) -> None:
        if self._run is None:
            self._run = _Run(number, self._operation or canonical(self._given))
        self._run.stamps = 2 if columns[-1] == "timestamp" else 0
        names = columns[: len(columns) - (self._run.stamps > 0)]
        starts = [place for place, name in enumerate(names) if name in _TIMES]
        self._run.blocks = [names[start:end] for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]
        self._unit_line = True

    def _units(self, number: int, line: str) -> None:
        self._unit_line = False
        units = re.findall(r"\((\w+(?:/s)?|%)\)", line)
        if units and (units[0] != "B" or "us" not in units or {"ms", "s", "ns"} & set(units)):
            self._gathering.broken(f"line {number}", f"the units {', '.join(units)}"[:100], "sizes in (B) and times in (us)")

    def _record(self, number: int, tokens: list[str]) -> None:
        run, where = self._run, f"line {number}"
        assert run is not None
        run.rows += 1
        self._records += 1
        if self._records > MAX_ROWS:
            # Said once: a line each would be as long as the file.
            return self._gathering.broken(where, "more lines", f"at most {MAX_ROWS}") if self._records == MAX_ROWS + 1 else None
        if run.stamps:
            tokens = tokens[: -run.stamps]
        blocks = run.blocks
        wide = sum(map(len, blocks))
        if len(tokens) < 3 + wide and len(blocks) == 2 and len(tokens) >= 3 + len(blocks[1]):
            # Some runs print the in-place half alone.
            blocks, wide = blocks[1:], len(blocks[1])
        if not 3 + wide <= len(tokens) <= 5 + wide:
            return self._gathering.broken(where, f"{len(tokens)} columns", "a whole line of the table; was the run killed?")
        if tokens[0] == "0":
            return self._gathering.note("sizes of 0 bytes are left out")
        if run.operation is None or run.ranks < 1:
            missing = "the operation" if run.operation is None else "the ranks, or groups of ranks of one size"
            return self._gathering.broken(
                where, f"a table whose header does not name {missing}", "the whole output of the program"
            )
        if run.ranks == 1:
            return self._gathering.alone()
        if run.group_hosts is None:
            return self._gathering.broken(where, "hosts with different numbers of ranks", "equally many ranks on each host")
        start = len(tokens) - wide
        for block in blocks:
            values = dict(zip(block, tokens[start : start + len(block)], strict=True))
            start += len(block)
            self._point(where, run, tokens, values, in_place=block is run.blocks[-1] and len(run.blocks) == 2)
        return None

    def _point(self, where: str, run: _Run, tokens: list[str], values: dict[str, str], in_place: bool) -> None:
        wrong = values.get("#wrong", values.get("error", "N/A"))
        if "cputime" in values:
            return self._gathering.broken(where, "CPU times", "a run without --report_cputime: the time until data arrived")
        try:
            size_bytes, time_us, algbw = int(tokens[0]), float(values["time"]), float(values.get("algbw", "0"))
            correct = None if wrong == "N/A" else float(wrong) == 0
        except ValueError as error:
            return self._gathering.broken(where, str(error)[:100], "numbers; was the run killed?")
        if algbw >= 0.1 and 0 < time_us < math.inf and 0 < size_bytes <= MAX_SIZE_BYTES:
            ratio = size_bytes / (time_us * 1e3) / algbw
            if not 1 / _AGREEMENT < ratio < _AGREEMENT:
                factor = max(ratio, 1 / ratio) if ratio else math.inf
                found = f"{time_us:g} us, which with {algbw:g} GB/s is off by a factor of {factor:.3g}"
                return self._gathering.broken(where, found, "times in microseconds throughout")
        hosts = run.group_hosts or 0
        assert run.operation is not None
        row = Row(
            run.operation, run.ranks, self._gathering.path(hosts), size_bytes, time_us * _S_PER_US, dtype=tokens[2][:40],
            in_place=in_place, correct=correct, repetitions=run.repetitions, hosts=hosts,
        )  # fmt: skip
        self._gathering.add(row, where)
        return None

    def _close(self) -> None:
        """End a run; one without its table or footer was killed."""
        if self._run is not None and not self._run.ended:
            expected = "a run that ended; the footer '# Out of bounds values' is missing"
            found = f"{self._run.rows} lines and no footer" if self._run.blocks else "a header and no table"
            self._gathering.broken(f"the run of line {self._run.line}", found, expected)
        self._run, self._unit_line = None, False


def _columns(line: str) -> list[str] | None:
    """Return the names of a header line's columns, None if it is no header."""
    plain = line.lstrip()
    names = plain[1:].split() if plain.startswith("#") else []
    return names if names[:2] == ["size", "count"] and any(name in _TIMES for name in names) else None
