"""What Huawei's ``hccl_test`` programs print (CANN ``tools/hccl_test``).

::

    the minbytes is 8192, maxbytes is 67108864, iters is 20, warmup_iters is 5
    data_size(Bytes): | aveg_time(us): | alg_bandwidth(GB/s): | check_result:
    8192              |     764.55     |       0.00998        | success

Neither operation nor ranks stand in it: they come from the command line, where one was kept above the table (``# mpirun -n 8
./bin/all_reduce_test -p 8 ...``), else from the reader's options. Sizes are those of nccl-tests, of all-gather and
reduce-scatter the whole buffer. The bandwidth is in units of 2**30 bytes a second, whatever its header says, and serves to see
that units are not mixed. The documentation spells the second column ``avg_time``, the programs ``aveg_time``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from zcube.calibrate.measurements import MAX_ROWS, Measurements
from zcube.calibrate.operations import canonical
from zcube.calibrate.points import MAX_RANKS, MAX_SIZE_BYTES, Metadata, Row
from zcube.calibrate.readers.options import Gathering, ReadOptions

_HEADER = re.compile(r"data_size\s*\(Bytes\):?\s*\|\s*ave?g_time\s*\(us\):?\s*\|\s*alg_bandwidth\s*\(GB/s\)", re.ASCII)
_SETTINGS = re.compile(r"the minbytes is (\d{1,18}), maxbytes is (\d{1,18}), iters is (\d{1,9})", re.ASCII)
_PROGRAM = re.compile(r"(?:^|[\s/])([a-z_]{3,40})_test(?=\s|$)", re.ASCII)
_RANKS = re.compile(r"\s(?:-n|-np)[ =]?(\d{1,7})(?=\s|$)", re.ASCII)
_PER_HOST = re.compile(r"\s(?:-p|--npus)[ =]?(\d{1,7})(?=\s|$)", re.ASCII)
_DTYPE = re.compile(r"\s(?:-d|--datatype)[ =]?([a-z0-9_]{1,40})(?=\s|$)", re.ASCII)
#: Behind what a launcher puts before a line, which may end with a bar itself.
_ROW = re.compile(r"(?:^|[\s:>\]])(-?[0-9][^\s|]*)\s*\|(.*)", re.ASCII)
_RESULTS = {"success": True, "null": None}
_COLUMNS = ("size", "time", "rate", "result")
_GIB, _S_PER_US = 1 << 30, 1e-6
#: Time against size over bandwidth: further apart than this, units are mixed; below, the bandwidth has too few digits.
_AGREEMENT, _LEAST_RATE = 4.0, 0.001
_LONGEST_LINE = 4096


@dataclass
class _Run:
    """One program's output, as far as it was read."""

    line: int
    operation: str | None
    ranks: int
    hosts: int
    dtype: str = ""
    most_bytes: int = 0
    repetitions: int = 0
    sizes: list[int] = field(default_factory=list)


def recognise(text: str) -> bool:
    """Return whether a file has the table's header."""
    return _HEADER.search(text) is not None


def read(text: str, source: str, options: ReadOptions) -> Measurements:
    """Read one or several runs.

    Raises
    ------
    InputError
        With every fault, unless lenient: a run that was killed, wrong data, mixed units, lines that cannot be read.
    """
    reader = _Reader(Gathering(source, options))
    for number, line in enumerate(text.splitlines(), start=1):
        reader.take(number, line.rstrip())
    reader.close()
    return reader.gathering.measurements(Metadata(backend="hccl", how="hccl_test"))


class _Reader:
    """Goes through the lines."""

    def __init__(self, gathering: Gathering):
        self.gathering = gathering
        options = gathering.options
        given = options.operation or Path(gathering.source).stem
        self._told = _Run(0, canonical(given), options.ranks or 0, 0)
        self._run: _Run | None = None
        self._records = 0

    def take(self, number: int, line: str) -> None:
        """Take one line."""
        if len(line) > _LONGEST_LINE:
            self.gathering.broken(f"line {number}", f"{len(line)} characters", f"at most {_LONGEST_LINE}")
        elif settings := _SETTINGS.search(line):
            self._told.most_bytes, self._told.repetitions = int(settings[2]), int(settings[3])
        elif _HEADER.search(line):
            self.close()
            self._run = _Run(**{**vars(self._told), "line": number, "sizes": []})
        elif self._run is not None and (row := _ROW.search(line)):
            self._record(number, self._run, [row[1], *(part.strip() for part in row[2].split("|"))])
        elif (program := _PROGRAM.search(line)) and canonical(program[1]):
            self._command(line, program[1])

    def close(self) -> None:
        """End a run: the table has no footer, so that one that was killed shows by the sizes that are missing."""
        run, self._run = self._run, None
        if run is None:
            return
        if not run.sizes:
            self.gathering.broken(f"the run of line {run.line}", "a header and no table", "a run that ended")
        elif run.most_bytes and (following := _following(run.sizes)) and following <= run.most_bytes:
            found, expected = f"sizes up to {run.sizes[-1]}", f"sizes up to maxbytes, {run.most_bytes}: was it killed?"
            self.gathering.broken(f"the run of line {run.line}", found, expected)

    def _command(self, line: str, program: str) -> None:
        """Take what a command line says of the run below it; options of the reader go before."""
        options, ranks, each, dtype = self.gathering.options, *(one.search(line) for one in (_RANKS, _PER_HOST, _DTYPE))
        self.close()
        self._told.operation = canonical(options.operation or program)
        self._told.ranks = options.ranks or (int(ranks[1]) if ranks else 0)
        per_host = int(each[1]) if each else 0
        even = ranks is not None and options.ranks is None and per_host > 0 and int(ranks[1]) % per_host == 0
        self._told.hosts = self._told.ranks // per_host if even else 0
        self._told.dtype = dtype[1] if dtype else ""

    def _record(self, number: int, run: _Run, parts: list[str]) -> None:
        where = f"line {number}"
        self._records += 1
        if self._records > MAX_ROWS:
            return self.gathering.broken(where, "more lines", f"at most {MAX_ROWS}") if self._records == MAX_ROWS + 1 else None
        if len(parts) < len(_COLUMNS):
            return self.gathering.broken(where, f"{len(parts)} columns", "a whole line of the table; was the run killed?")
        missing = "the operation" if run.operation is None else "the ranks" if not 1 <= run.ranks <= MAX_RANKS else None
        if missing:
            expected = "the command line above it, or --operation and --ranks"
            return self.gathering.broken(where, f"a table that does not name {missing}", expected)
        values = dict(zip(_COLUMNS, parts, strict=False))
        try:
            size_bytes, time_us, rate = int(values["size"]), float(values["time"]), float(values["rate"])
        except ValueError as error:
            return self.gathering.broken(where, str(error)[:100], "numbers; was the run killed?")
        result = values["result"].lower()
        if result not in _RESULTS:
            found = f"check_result {values['result'][:40]!r}"
            return self.gathering.broken(where, found, "success, or NULL where none was checked")
        if not 0 < size_bytes <= MAX_SIZE_BYTES:
            return self.gathering.broken(where, f"a size of {size_bytes}", f"1 to {MAX_SIZE_BYTES} bytes")
        if rate >= _LEAST_RATE and 0 < time_us < math.inf:
            ratio = size_bytes / (time_us * _S_PER_US) / (rate * _GIB)
            if not 1 / _AGREEMENT < ratio < _AGREEMENT:
                found = f"{time_us:g} us, which with {rate:g} GB/s is off by a factor of {max(ratio, 1 / ratio):.3g}"
                return self.gathering.broken(where, found, "sizes in bytes and times in microseconds throughout")
        run.sizes.append(size_bytes)
        if run.ranks == 1:
            return self.gathering.alone()
        assert run.operation is not None
        row = Row(
            run.operation, run.ranks, self.gathering.path(run.hosts), size_bytes, time_us * _S_PER_US, dtype=run.dtype,
            correct=_RESULTS[result], repetitions=run.repetitions, hosts=run.hosts,
        )  # fmt: skip
        self.gathering.add(row, where)
        return None


def _following(sizes: list[int]) -> int | None:
    """Return the size that would come next, None where that cannot be told from what there is."""
    if len(sizes) < 3:
        return None
    first, second, last = sizes[-3:]
    return last * last // second if first * last == second * second else 2 * last - second
