"""JSON Lines in the format of the Mooncake traces, and the sessions that NVIDIA aiperf and Dynamo write in it.

A row has ``timestamp`` in ms, ``input_length`` and ``output_length`` in tokens and, on all rows or on none, ``hash_ids``, one
per block of the prompt. Dynamo's other names for these keys (``created_time``, ``input_tokens``, ``output_tokens``,
``delay_ms``) are taken too.

Rows with one ``session_id`` are the turns of a session, in the order of the file. A later turn arrives when the one before has
ended and ``delay`` ms more have passed, and not before its ``timestamp`` where it has one, as aiperf's fixed schedule has it.
Sources: kvcache-ai/Mooncake, FAST25-release/traces; aiperf 0.13, ``dataset/loader`` and ``timing/strategies``;
ai-dynamo/dynamo, ``lib/mocker/src/loadgen`` and docs/benchmarks.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.workload.readers.assemble import FileColumns, in_order
from zcube.workload.readers.clock import check_unit
from zcube.workload.readers.fields import Unit, Wrong, block_fault, json_object, nanoseconds, short, time_fault, token_fault
from zcube.workload.readers.lines import Faults, Line, as_array, take_all
from zcube.workload.readers.options import ReadOptions
from zcube.workload.readers.turns import turn_arrivals_s, turn_blocks
from zcube.workload.requests import MAX_BLOCKS, MAX_TOKENS, RequestTrace
from zcube.workload.ticks import spread_ties

WHAT = 'a Mooncake trace (JSON lines with "timestamp", "input_length", "output_length", "hash_ids")'
SOURCE = "Requests in the Mooncake trace format (its published traces: kvcache-ai/Mooncake, Apache-2.0)."
#: Tokens per prefix block in the published traces (Mooncake, FAST 2025).
BLOCK_TOKENS = 512

SESSION_CHOICE = (
    "--sessions whole, if input_length is the whole prompt (Dynamo's mooncake), or --sessions delta, "
    "if it is the turn's new tokens (aiperf, Dynamo's mooncake-delta)"
)
_OTHER_NAMES = {
    "timestamp": "created_time",
    "input_length": "input_tokens",
    "output_length": "output_tokens",
    "delay": "delay_ms",
}
_NO_TIME = -1
#: Keys that hold tokens, those that hold times, and what a row needs that is no turn of a session; a turn needs tokens only.
_TOKENS, _TIMES = ("input_length", "output_length"), ("timestamp", "delay")
_ALONE = ("timestamp", *_TOKENS)


def recognise(record: dict[str, Any] | None, line: str) -> bool:
    """Return whether a file whose first line is this is in the format: any other JSON object is taken for it."""
    return line.startswith("{")


def read(path: Path, lines: Iterator[Line], faults: Faults, options: ReadOptions, max_requests: int | None) -> RequestTrace:
    """Read the requests; see :func:`~zcube.workload.readers.catalog.read_requests`."""
    options.refuse_all_but(path, WHAT, "sessions", "block_tokens", "time_unit")
    rows = _Rows(faults, options)
    take_all(rows.take, lines, faults, rows.inputs, max_requests)
    return rows.trace(path.name)


class _Rows:
    """Gathers the rows of a file."""

    def __init__(self, faults: Faults, options: ReadOptions):
        self._faults, self._options = faults, options
        self._unit: Unit = options.time_unit or "ms"
        self._block_tokens = options.block_tokens or BLOCK_TOKENS
        self._delta = options.sessions == "delta"
        self.inputs, self._outputs = array("q"), array("q")
        self._time_ns, self._delay_ns = array("q"), array("q")
        self._previous, self._session = array("q"), array("q")
        self._block_count, self._blocks = array("q"), array("Q")
        self._with_blocks: bool | None = None
        self._prompt_blocks = 0
        #: Last row and last stated time of each session.
        self._last: dict[str | int, int] = {}
        self._last_ns: dict[str | int, int] = {}
        self._numbers: dict[str | int, int] = {}
        #: Lines of the first session that has a time and of the first that has none.
        self._timed = self._untimed = 0

    def take(self, number: int, line: str) -> None:
        """Take one row."""
        record = json_object(line)
        if isinstance(record, str):
            return self._faults.add(number, record, 'a JSON object with "timestamp", "input_length", "output_length"')
        for name, other in _OTHER_NAMES.items():
            if other in record:
                record.setdefault(name, record[other])
        if self._with_blocks is None:
            self._with_blocks = "hash_ids" in record
        session = record.get("session_id")
        if session is not None and self._options.sessions is None:
            self._faults.stop(number, f"session_id {short(session)}", SESSION_CHOICE)
        wrong = self._row_faults(record, session)
        if session is not None:
            wrong += self._turn_faults(record, session)
        for found, expected in wrong:
            self._faults.add(number, found, expected)
        if not wrong:
            self._append(number, record, session)
        return None

    def _row_faults(self, record: dict[str, Any], session: Any) -> list[Wrong]:
        needed = _ALONE if session is None else _TOKENS
        wrong = [(f"no {key}", f'the key "{key}"') for key in needed if key not in record]
        for key in _TOKENS:
            if key in record and (fault := token_fault(key, record[key])):
                wrong.append(fault)
        for key in _TIMES:
            is_stated = key in record and (key in needed or record[key] is not None)
            if is_stated and (fault := time_fault(key, record[key], self._unit)):
                wrong.append(fault)
        if ("hash_ids" in record) != self._with_blocks:
            found = "no hash_ids" if self._with_blocks else "hash_ids"
            wrong.append((found, "hash_ids on every line, as on the first, or on none"))
        elif self._with_blocks:
            fault = block_fault("hash_ids", record["hash_ids"], record.get("input_length"), self._block_tokens)
            if fault is not None:
                wrong.append(fault)
        return wrong

    def _turn_faults(self, record: dict[str, Any], session: Any) -> list[Wrong]:
        if type(session) not in (str, int) or (type(session) is str and not 1 <= len(session) <= 200):
            return [(f"session_id {short(session)}", "1 to 200 characters, or a whole number")]
        time, delay = record.get("timestamp"), record.get("delay")
        if session not in self._last:
            late = isinstance(delay, int | float) and delay > 0
            return [(f"delay {short(delay)} on a session's first turn", "a delay on later turns only")] if late else []
        before_ns = self._last_ns.get(session)
        if before_ns is None or time is None or time_fault("", time, self._unit) or nanoseconds(time, self._unit) >= before_ns:
            return []
        return [(f"timestamp {short(time)}, before that of the turn before", "the turns of a session in their order")]

    def _append(self, number: int, record: dict[str, Any], session: str | int | None) -> None:
        row, previous = len(self.inputs), -1
        time = record.get("timestamp")
        time_ns = _NO_TIME if time is None else nanoseconds(time, self._unit)
        if session is not None:
            previous = self._last.get(session, -1)
            if previous < 0 and time is None:
                self._untimed = self._untimed or number
            elif previous < 0:
                self._timed = self._timed or number
            if time is not None:
                self._last_ns[session] = time_ns
            self._last[session] = row
        prompt, ids = record["input_length"], record.get("hash_ids", [])
        if self._delta and previous >= 0:
            prompt += self.inputs[previous] + self._outputs[previous]
            if prompt > MAX_TOKENS:
                self._faults.stop(number, f"a session of {prompt} tokens", f"at most {MAX_TOKENS} tokens in a prompt")
            # What the ids of a later turn stand for lies behind the session's own answers, which no other session has.
            ids = []
        self._prompt_blocks += -(-prompt // self._block_tokens) if self._delta else len(ids)
        if self._prompt_blocks > MAX_BLOCKS:
            self._faults.stop(number, "more prefix blocks", f"at most {MAX_BLOCKS} in all; read fewer requests")
        self.inputs.append(prompt)
        self._outputs.append(record["output_length"])
        self._time_ns.append(time_ns)
        self._delay_ns.append(nanoseconds(delay, self._unit) if (delay := record.get("delay")) else 0)
        self._previous.append(previous)
        self._session.append(-1 if session is None else self._numbers.setdefault(session, len(self._numbers)))
        self._block_count.append(len(ids))
        self._blocks.extend(ids)

    def trace(self, name: str) -> RequestTrace:
        """Return what was gathered."""
        if self._options.sessions is not None and not self._numbers:
            self._faults.stop(None, "--sessions with no session_id on any line", "rows with a session_id, or no such option")
        if self._timed and self._untimed:
            self._faults.stop(self._untimed, "a session with no timestamp", "one on every session's first turn, or on none")
        inputs, previous = as_array(self.inputs), as_array(self._previous)
        block_tokens, count, ids = self._block_tokens, as_array(self._block_count), as_array(self._blocks, np.uint64)
        if self._delta:
            count, ids = turn_blocks(inputs, previous, count, ids, block_tokens)
        columns = FileColumns(
            arrival_s=self._arrivals(),
            input_tokens=inputs,
            output_tokens=as_array(self._outputs),
            block_tokens=block_tokens,
            block_count=count,
            block_id=ids.astype(np.int64, copy=False),
            session=as_array(self._session),
            previous=previous,
            delay_s=as_array(self._delay_ns) / 1e9,
        )
        return in_order(name, SOURCE, columns)

    def _arrivals(self) -> FloatArray:
        """Return when each row may arrive at the earliest."""
        time_ns, previous = as_array(self._time_ns), as_array(self._previous)
        timed = time_ns != _NO_TIME
        first = np.flatnonzero((previous < 0) & timed)
        check_unit(time_ns[first], self._unit, self._options.time_unit is not None, self._faults)
        times_s = np.full(time_ns.size, -np.inf)
        if first.size:
            times_s[timed] = (time_ns[timed] - time_ns[first].min()) / 1e9
            order = first[np.argsort(times_s[first], kind="stable")]
            tick = np.unique(times_s[order])
            # A gap far longer than the others is a pause, not a tick.
            most_s = float(np.median(np.diff(tick))) if tick.size > 1 else 0.0
            times_s[order] = spread_ties(times_s[order], most_s=most_s)
        return turn_arrivals_s(times_s, previous)
