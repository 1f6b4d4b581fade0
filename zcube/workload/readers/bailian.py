"""The anonymised traces of Alibaba's Qwen service on Bailian: JSON Lines, seconds, 16-token blocks.

Each row is a request as the service received it, with its own time; a follow-up's prompt holds the history that the service
kept. ``parent_chat_id`` links it to the request before it. Source: alibaba-edu/qwen-bailian-usagetraces-anon, Apache-2.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zcube.workload.readers.assemble import FileColumns, in_order, since_first_s
from zcube.workload.readers.clock import check_unit
from zcube.workload.readers.fields import Unit, Wrong, block_fault, json_object, nanoseconds, short, time_fault, token_fault
from zcube.workload.readers.lines import Faults, Line, as_array, take_all
from zcube.workload.readers.options import ReadOptions
from zcube.workload.requests import MAX_BLOCKS, RequestTrace

WHAT = 'a Qwen-Bailian trace (JSON lines with "chat_id", "parent_chat_id", "timestamp" in s, 16-token "hash_ids")'
SOURCE = "Requests in the Qwen-Bailian trace format (alibaba-edu/qwen-bailian-usagetraces-anon, Apache-2.0)."
BLOCK_TOKENS = 16
ROOT = -1
_KEYS = ("chat_id", "timestamp", "input_length", "output_length")


def recognise(record: dict[str, Any] | None, line: str) -> bool:
    """Return whether a file whose first line is this is in the format."""
    return record is not None and "chat_id" in record


def read(path: Path, lines: Iterator[Line], faults: Faults, options: ReadOptions, max_requests: int | None) -> RequestTrace:
    """Read the requests; see :func:`~zcube.workload.readers.catalog.read_requests`."""
    options.refuse_all_but(path, WHAT, "block_tokens", "time_unit")
    unit: Unit = options.time_unit or "s"
    block_tokens = options.block_tokens or BLOCK_TOKENS
    time_ns, inputs, outputs, chats, parents = (array("q") for _ in range(5))
    block_count, blocks = array("q"), array("Q")
    with_blocks: bool | None = None

    def take(number: int, line: str) -> None:
        nonlocal with_blocks
        record = json_object(line)
        if isinstance(record, str):
            return faults.add(number, record, "a JSON object with " + ", ".join(f'"{key}"' for key in _KEYS))
        if with_blocks is None:
            with_blocks = "hash_ids" in record
        wrong = _row_faults(record, unit, block_tokens, with_blocks)
        for found, expected in wrong:
            faults.add(number, found, expected)
        if wrong:
            return None
        ids = record.get("hash_ids", [])
        if len(blocks) + len(ids) > MAX_BLOCKS:
            faults.stop(number, "more prefix blocks", f"at most {MAX_BLOCKS} in all; read fewer requests")
        time_ns.append(nanoseconds(record["timestamp"], unit))
        inputs.append(record["input_length"])
        outputs.append(record["output_length"])
        chats.append(record["chat_id"])
        parents.append(record.get("parent_chat_id", ROOT))
        block_count.append(len(ids))
        blocks.extend(ids)
        return None

    take_all(take, lines, faults, inputs, max_requests)
    times = as_array(time_ns)
    check_unit(times, unit, options.time_unit is not None, faults)
    columns = FileColumns(
        arrival_s=since_first_s(times),
        input_tokens=as_array(inputs),
        output_tokens=as_array(outputs),
        block_tokens=block_tokens,
        block_count=as_array(block_count),
        block_id=as_array(blocks, np.uint64).astype(np.int64),
        session=_sessions(chats, parents),
    )
    return in_order(path.name, SOURCE, columns)


def _row_faults(record: dict[str, Any], unit: Unit, block_tokens: int, with_blocks: bool) -> list[Wrong]:
    wrong: list[Wrong | None] = [(f"no {key}", f'the key "{key}"') for key in _KEYS if key not in record]
    wrong += [token_fault(key, record[key]) for key in ("input_length", "output_length") if key in record]
    if "timestamp" in record:
        wrong.append(time_fault("timestamp", record["timestamp"], unit))
    for key in ("chat_id", "parent_chat_id"):
        value = record.get(key, ROOT)
        if type(value) is not int or not ROOT <= value < 1 << 63:
            wrong.append((f"{key} {short(value)}", "a whole number from 0 to 2^63 - 1, or -1 for no parent"))
    if ("hash_ids" in record) != with_blocks:
        found = "no hash_ids" if with_blocks else "hash_ids"
        wrong.append((found, "hash_ids on every line, as on the first, or on none"))
    elif with_blocks:
        wrong.append(block_fault("hash_ids", record["hash_ids"], record.get("input_length"), block_tokens))
    return [fault for fault in wrong if fault is not None]


def _sessions(chats: array[int], parents: array[int]) -> np.ndarray[Any, Any]:
    """Return session numbers: a row belongs to that of its parent, where that stands above it, else it begins one."""
    session_of: dict[int, int] = {}
    sessions = np.empty(len(chats), dtype=np.int64)
    begun = 0
    for row, (chat, parent) in enumerate(zip(chats, parents, strict=True)):
        session = session_of.get(parent, -1) if parent != ROOT else -1
        if session < 0:
            session, begun = begun, begun + 1
        session_of[chat] = sessions[row] = session
    return sessions
