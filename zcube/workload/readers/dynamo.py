"""Request traces that an NVIDIA Dynamo frontend records: JSON Lines of schema ``dynamo.request.trace.v1``.

Each request's ``replay`` table says how many tokens a block has (64 with Dynamo's defaults), so the file itself gives the block
size. Only ``request_end`` records count; payloads and tool events are passed over, as Dynamo's own loader does. Source:
ai-dynamo/dynamo, ``lib/data-gen/src/request_trace``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zcube.workload.appearance import numbered
from zcube.workload.readers.assemble import FileColumns, in_order, since_first_s
from zcube.workload.readers.clock import check_unit
from zcube.workload.readers.fields import Unit, Wrong, block_fault, json_object, nanoseconds, short, time_fault, token_fault
from zcube.workload.readers.lines import Faults, Line, as_array, take_all
from zcube.workload.readers.options import MAX_BLOCK_TOKENS, ReadOptions
from zcube.workload.requests import MAX_BLOCKS, RequestTrace

SCHEMA = "dynamo.request.trace.v1"
WHAT = f"an NVIDIA Dynamo request trace (JSON lines of schema {SCHEMA})"
SOURCE = "Requests that an NVIDIA Dynamo frontend recorded (dynamo.request.trace.v1)."
#: Events of a recording that are no requests.
_PASSED_OVER = ("request_payload", "tool_start", "tool_end", "tool_error")


def recognise(record: dict[str, Any] | None, line: str) -> bool:
    """Return whether a file whose first line is this is in the format."""
    event = _event(record or {})
    return event.get("schema") == SCHEMA or "event_type" in event


def read(path: Path, lines: Iterator[Line], faults: Faults, options: ReadOptions, max_requests: int | None) -> RequestTrace:
    """Read the requests; see :func:`~zcube.workload.readers.catalog.read_requests`."""
    options.refuse_all_but(path, WHAT, "block_tokens", "time_unit")
    unit: Unit = options.time_unit or "ms"
    block_tokens = options.block_tokens
    time_ns, inputs, outputs, sessions, block_count = (array("q") for _ in range(5))
    blocks = array("Q")
    numbers: dict[str, int] = {}

    def take(number: int, line: str) -> None:
        nonlocal block_tokens
        record = json_object(line)
        if isinstance(record, str):
            return faults.add(number, record, "a JSON object")
        event = _event(record)
        if event.get("event_type") in _PASSED_OVER:
            return None
        request, replay = _table(event, "request"), _table(_table(event, "request"), "replay")
        wrong = _event_faults(event, request, replay, unit, block_tokens)
        for found, expected in wrong:
            faults.add(number, found, expected)
        if wrong:
            return None
        ids = replay["input_sequence_hashes"]
        if len(blocks) + len(ids) > MAX_BLOCKS:
            faults.stop(number, "more prefix blocks", f"at most {MAX_BLOCKS} in all; read fewer requests")
        block_tokens = replay["trace_block_size"]
        session = _table(event, "agent_context").get("session_id")
        time_ns.append(nanoseconds(request["request_received_ms"], unit))
        inputs.append(replay["input_length"])
        outputs.append(request["output_tokens"])
        sessions.append(numbers.setdefault(session[:200], len(numbers)) if isinstance(session, str) else -1)
        block_count.append(len(ids))
        blocks.extend(ids)
        return None

    take_all(take, lines, faults, inputs, max_requests)
    times = as_array(time_ns)
    check_unit(times, unit, options.time_unit is not None, faults)
    # Hashes fill 64 bits; numbers in order of first appearance fit.
    ids, _ = numbered(as_array(blocks, np.uint64))
    assert block_tokens is not None
    columns = FileColumns(
        arrival_s=since_first_s(times),
        input_tokens=as_array(inputs),
        output_tokens=as_array(outputs),
        block_tokens=block_tokens,
        block_count=as_array(block_count),
        block_id=ids.astype(np.int64, copy=False),
        session=as_array(sessions),
    )
    return in_order(path.name, SOURCE, columns)


def _event(record: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a record, which some sinks wrap."""
    return record["event"] if isinstance(record.get("event"), dict) else record


def _table(record: dict[str, Any], key: str) -> dict[str, Any]:
    inner = record.get(key)
    return inner if isinstance(inner, dict) else {}


def _event_faults(
    event: dict[str, Any], request: dict[str, Any], replay: dict[str, Any], unit: Unit, block_tokens: int | None
) -> list[Wrong]:
    if event.get("schema") != SCHEMA or event.get("event_type") != "request_end":
        found = f"schema {short(event.get('schema'))}, event_type {short(event.get('event_type'))}"
        return [(found, f"schema {SCHEMA}, event_type request_end")]
    missing = [f"no request.{key}" for key in ("request_received_ms", "output_tokens", "replay") if key not in request]
    missing += [
        f"no request.replay.{key}"
        for key in ("trace_block_size", "input_length", "input_sequence_hashes")
        if "replay" in request and key not in replay
    ]
    if missing:
        return [(found, "this key; Dynamo writes it where request tracing is on") for found in missing]
    size = replay["trace_block_size"]
    if type(size) is not int or not 1 <= size <= MAX_BLOCK_TOKENS:
        return [(f"trace_block_size {short(size)}", f"1 to {MAX_BLOCK_TOKENS} tokens")]
    wrong = [
        time_fault("request_received_ms", request["request_received_ms"], unit),
        token_fault("output_tokens", request["output_tokens"]),
        token_fault("input_length", replay["input_length"]),
    ]
    if block_tokens is not None and size != block_tokens:
        wrong.append((f"trace_block_size {size}", f"{block_tokens}, as before or as --block-tokens says"))
    else:
        wrong.append(
            block_fault("input_sequence_hashes", replay["input_sequence_hashes"], replay["input_length"], size, bits=64)
        )
    return [fault for fault in wrong if fault is not None]
