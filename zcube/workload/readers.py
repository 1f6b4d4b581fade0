"""Reading published request traces: the Mooncake JSON lines and the Azure LLM inference CSV.

The format is told by content. Files are read line by line under bounds on file size, line length, requests and
prefix blocks; every broken line is named, up to a cap, before one error is raised.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.inputs import is_file
from zcube.workload.requests import MAX_BLOCKS, MAX_REQUESTS, MAX_TOKENS, RequestTrace
from zcube.workload.ticks import spread_ties

__all__ = ["read_requests", "spread_ties"]

MAX_FILE_BYTES = 2 << 30
#: A prompt of MAX_TOKENS has 20 thousand block ids of at most 19 digits.
MAX_LINE_BYTES = 1 << 20
MAX_FAULTS_LISTED = 20

#: Tokens per prefix block in the Mooncake traces (Mooncake, FAST 2025, section on the published traces).
MOONCAKE_BLOCK_TOKENS = 512
#: Latest timestamp accepted, in ms: the year 33658, so that seconds keep sub-millisecond resolution.
MAX_TIMESTAMP_MS = 10**15

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
AZURE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
AZURE_TIME_EXPECTED = "a time from 1970 to 2199 such as 2023-11-16 18:15:46.6805900, or with +00:00"

FORMATS = (
    'a Mooncake trace (JSON lines with "timestamp", "input_length", "output_length", "hash_ids")'
    f" or an Azure trace (CSV with the header {','.join(AZURE_COLUMNS)})"
)


def read_requests(path: Path, *, max_requests: int | None = None, seed: int = 0) -> RequestTrace:
    """Read a request trace, telling its format by content.

    Mooncake JSON lines: ``timestamp`` in ms, ``input_length`` and ``output_length`` in tokens, ``hash_ids`` one per
    512-token block of the prompt. The count of ids may differ by one from ``ceil(input_length / 512)``: the published
    conversation trace gives an id to the partial last block, other writers leave it out. ``hash_ids`` may be absent,
    on all lines or on none. Timestamps of that trace are quantised to ticks of about 3 s; arrivals that share one are
    spread by :func:`~zcube.workload.ticks.spread_ties`.

    Azure CSV: ``TIMESTAMP`` (up to 9 fractional digits; without an offset read as UTC), ``ContextTokens``,
    ``GeneratedTokens``; further columns are ignored. There is no prefix information, and times are kept as they are.

    In both, token counts lie in 1 to 10 million; 0 is a fault, since a request with no prompt or no output never ran
    (the published traces hold none). Lines out of time order are legal and sorted stably; times are rebased to 0.

    Parameters
    ----------
    path : Path
        The file, at most 2 GiB, uncompressed.
    max_requests : int, optional
        Read only so many requests, the first of the file; what follows them is not checked.
    seed : int
        Accepted as every source of requests takes one; reading draws no random number, so it changes nothing.

    Returns
    -------
    RequestTrace
        Sessions are unknown (-1).

    Raises
    ------
    InputError
        With every broken line: the first 20 one by one, the rest as a count.
    """
    if max_requests is not None and not 1 <= max_requests <= MAX_REQUESTS:
        raise InputError(Fault("max_requests", str(max_requests), f"1 to {MAX_REQUESTS}"))
    _check_file(path)
    faults = _Faults(path)
    try:
        with path.open("rb") as handle:
            lines = _lines(handle, faults)
            number, first = next(lines, (0, ""))
            if first.startswith("{"):
                return _read_mooncake(path, number, first, lines, faults, max_requests)
            return _read_azure(path, number, first, lines, faults, max_requests)
    except OSError as error:
        raise InputError(Fault(str(path), error.strerror or "an unreadable file", "a readable file")) from error


def _check_file(path: Path) -> None:
    if not is_file(str(path)):
        found = "no such file"
        # A name that cannot be one, too long say, is no file either.
        with suppress(OSError, ValueError):
            found = "something that is not a file" if path.exists() else found
        raise InputError(Fault(str(path), found, FORMATS))
    size = path.stat().st_size
    if size == 0 or size > MAX_FILE_BYTES:
        found = "an empty file" if size == 0 else f"a file of {size} bytes"
        raise InputError(Fault(str(path), found, f"{FORMATS} of at most {MAX_FILE_BYTES} bytes"))


class _Faults:
    """The faults of one file: lists the first, counts the rest."""

    def __init__(self, path: Path):
        self.path = path
        self.listed: list[Fault] = []
        self.count = 0

    def add(self, line: int | None, found: str, expected: str) -> None:
        self.count += 1
        if len(self.listed) < MAX_FAULTS_LISTED:
            where = str(self.path) if line is None else f"{self.path}: line {line}"
            self.listed.append(Fault(where, found, expected))

    def stop(self, line: int | None, found: str, expected: str) -> NoReturn:
        """Raise with this fault and those before it, where reading on makes no sense."""
        self.add(line, found, expected)
        self.raise_any()
        raise AssertionError("unreachable: a fault was just added")

    def raise_any(self) -> None:
        more = self.count - len(self.listed)
        if more:
            self.listed.append(Fault(str(self.path), f"{more} more faults", "none; the first ones are listed above"))
        if self.listed:
            raise InputError(self.listed)


def _lines(handle: BinaryIO, faults: _Faults) -> Iterator[tuple[int, str]]:
    """Yield the number and the stripped text of each line that is not blank."""
    number = 0
    while raw := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1 and raw.startswith(b"\x1f\x8b"):
            faults.stop(None, "gzip data", f"{FORMATS}, uncompressed (run gunzip first)")
        if b"\0" in raw:
            faults.stop(number, "binary data", FORMATS)
        if len(raw) > MAX_LINE_BYTES:
            faults.stop(number, "a longer line", f"lines of at most {MAX_LINE_BYTES} bytes")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            if number == 1:
                faults.stop(1, f"a byte that is not UTF-8 at {error.start}", FORMATS)
            faults.add(number, f"a byte that is not UTF-8 at {error.start}", "UTF-8 text")
            continue
        if text:
            yield number, text


def _token_fault(key: str, value: Any) -> tuple[str, str] | None:
    if type(value) is int and 1 <= value <= MAX_TOKENS:
        return None
    return f"{key} {_short(value)}", f"a whole number of tokens from 1 to {MAX_TOKENS}"


def _short(value: Any) -> str:
    if type(value) is int and value.bit_length() > 128:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _arrival_order(times: FloatArray) -> tuple[IntArray, FloatArray]:
    order = np.argsort(times, kind="stable")
    return order, times[order] - times[order[0]]


# --- Mooncake ---------------------------------------------------------------------------------------------------


def _read_mooncake(
    path: Path, number: int, line: str, lines: Iterator[tuple[int, str]], faults: _Faults, max_requests: int | None
) -> RequestTrace:
    time_ms, inputs, outputs = array("d"), array("q"), array("q")
    block_count, blocks = array("q"), array("q")
    with_blocks: bool | None = None

    def take(number: int, line: str) -> None:
        nonlocal with_blocks
        record = _json_object(line)
        if isinstance(record, str):
            return faults.add(number, record, 'a JSON object with "timestamp", "input_length", "output_length"')
        if with_blocks is None:
            with_blocks = "hash_ids" in record
        wrong = _mooncake_faults(record, with_blocks)
        for found, expected in wrong:
            faults.add(number, found, expected)
        if wrong:
            return None
        ids = record.get("hash_ids", [])
        if len(blocks) + len(ids) > MAX_BLOCKS:
            faults.stop(number, "more prefix blocks", f"at most {MAX_BLOCKS} in all; read fewer requests")
        time_ms.append(record["timestamp"])
        inputs.append(record["input_length"])
        outputs.append(record["output_length"])
        block_count.append(len(ids))
        blocks.extend(ids)
        return None

    _take_all(take, (number, line), lines, faults, inputs, max_requests)
    order, arrival_s = _arrival_order(_array(time_ms, np.float64) / 1000)
    first_block, block_id = _reorder_blocks(_array(block_count, np.int64), _array(blocks, np.int64), order)
    return RequestTrace(
        name=path.name,
        source="Requests in the Mooncake trace format (its published traces: kvcache-ai/Mooncake, Apache-2.0).",
        arrival_s=spread_ties(arrival_s),
        input_tokens=_array(inputs, np.int64)[order],
        output_tokens=_array(outputs, np.int64)[order],
        block_tokens=MOONCAKE_BLOCK_TOKENS if block_id.size else 0,
        first_block=first_block,
        block_id=block_id,
        session=np.full(order.size, -1),
    )


def _json_object(line: str) -> dict[str, Any] | str:
    """Return the object of a line, or what was found instead."""
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return f"broken JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError) as error:
        return "JSON nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
    return record if isinstance(record, dict) else _short(record)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not JSON")


def _mooncake_faults(record: dict[str, Any], with_blocks: bool) -> list[tuple[str, str]]:
    missing = [key for key in ("timestamp", "input_length", "output_length") if key not in record]
    wrong: list[tuple[str, str] | None] = [(f"no {key}", f'the key "{key}"') for key in missing]
    wrong += [_token_fault(key, record[key]) for key in ("input_length", "output_length") if key in record]
    time_ms = record.get("timestamp", 0)
    if type(time_ms) not in (int, float) or not 0 <= time_ms <= MAX_TIMESTAMP_MS:
        wrong.append((f"timestamp {_short(time_ms)}", f"milliseconds from 0 to {MAX_TIMESTAMP_MS}"))
    if ("hash_ids" in record) != with_blocks:
        found = "no hash_ids" if with_blocks else "hash_ids"
        wrong.append((found, "hash_ids on every line, as on the first, or on none"))
    elif with_blocks:
        wrong.append(_block_fault(record["hash_ids"], record.get("input_length")))
    return [fault for fault in wrong if fault is not None]


def _block_fault(ids: Any, input_tokens: Any) -> tuple[str, str] | None:
    if not isinstance(ids, list) or not all(type(block) is int and 0 <= block < 1 << 63 for block in ids):
        return f"hash_ids {_short(ids)}", "a list of whole numbers from 0 to 2^63 - 1"
    if _token_fault("input_length", input_tokens):
        return None
    expected = -(-input_tokens // MOONCAKE_BLOCK_TOKENS)
    if abs(len(ids) - expected) > 1:
        return f"{len(ids)} hash_ids", f"one per {MOONCAKE_BLOCK_TOKENS} tokens, so {expected}, give or take one"
    return None


def _reorder_blocks(count: IntArray, blocks: IntArray, order: IntArray) -> tuple[IntArray, IntArray]:
    """Put the blocks of each request into the order of arrival."""
    start = np.concatenate(([0], np.cumsum(count)))
    first_block = np.concatenate(([0], np.cumsum(count[order])))
    inside = np.arange(blocks.size) - np.repeat(first_block[:-1], count[order])
    return first_block, blocks[np.repeat(start[:-1][order], count[order]) + inside]


# --- Azure ------------------------------------------------------------------------------------------------------


def _read_azure(
    path: Path, number: int, header: str, lines: Iterator[tuple[int, str]], faults: _Faults, max_requests: int | None
) -> RequestTrace:
    columns = [name.strip() for name in header.split(",")]
    missing = [name for name in AZURE_COLUMNS if name not in columns]
    if len(missing) == len(AZURE_COLUMNS):
        faults.stop(number or None, _short(header) if header else "blank lines only", FORMATS)
    if missing:
        raise InputError(Fault(f"{path}: line {number}", f"no column {name}", f"the column {name}") for name in missing)
    where = [columns.index(name) for name in AZURE_COLUMNS]
    time_ns, inputs, outputs = array("q"), array("q"), array("q")

    def take(number: int, line: str) -> None:
        cells = line.split(",")
        if len(cells) != len(columns):
            return faults.add(number, f"{len(cells)} columns", f"{len(columns)}, as in the header")
        when, context, generated = (cells[column].strip() for column in where)
        stamp, prompt, output = _azure_time_ns(when), _whole_number(context), _whole_number(generated)
        wrong = [_token_fault("ContextTokens", prompt), _token_fault("GeneratedTokens", output)]
        if stamp is None:
            wrong.append((f"TIMESTAMP {_short(when)}", AZURE_TIME_EXPECTED))
        for fault in filter(None, wrong):
            faults.add(number, *fault)
        if stamp is not None and not any(wrong):
            time_ns.append(stamp)
            inputs.append(int(prompt))
            outputs.append(int(output))
        return None

    _take_all(take, None, lines, faults, inputs, max_requests)
    stamps = _array(time_ns, np.int64)
    # Subtract as integers: nanoseconds since 1970 exceed what a float holds.
    order, arrival_s = _arrival_order((stamps - stamps.min()) / 1e9)
    return RequestTrace(
        name=path.name,
        source="Requests in the Azure LLM inference trace format (Azure/AzurePublicDataset, CC-BY-4.0).",
        arrival_s=arrival_s,
        input_tokens=_array(inputs, np.int64)[order],
        output_tokens=_array(outputs, np.int64)[order],
        block_tokens=0,
        first_block=np.zeros(order.size + 1, dtype=np.int64),
        block_id=np.empty(0, dtype=np.int64),
        session=np.full(order.size, -1),
    )


def _whole_number(cell: str) -> int | str:
    """Return the number in a cell, or the cell where it holds none of sensible length."""
    digits = cell.removeprefix("-")
    return int(cell) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else cell


def _azure_time_ns(cell: str) -> int | None:
    match = AZURE_TIME.fullmatch(cell)
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{offset or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if not 1970 <= moment.year < 2200:
        return None
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


# --- both -------------------------------------------------------------------------------------------------------


def _take_all(
    take: Callable[[int, str], None],
    first: tuple[int, str] | None,
    lines: Iterator[tuple[int, str]],
    faults: _Faults,
    taken: array[int],
    max_requests: int | None,
) -> None:
    """Hand every line to ``take`` until the file or the wanted number of requests ends, then raise any faults."""
    if first is not None:
        take(*first)
    while max_requests is None or len(taken) < max_requests:
        number, line = next(lines, (0, ""))
        if not line:
            break
        if len(taken) >= MAX_REQUESTS:
            faults.stop(number, "more requests", f"at most {MAX_REQUESTS}; read fewer with max_requests")
        take(number, line)
    faults.raise_any()
    if not taken:
        faults.stop(None, "no requests", "at least one")


def _array(values: array[Any], dtype: type) -> np.ndarray[Any, Any]:
    return np.frombuffer(values, dtype=dtype) if len(values) else np.empty(0, dtype=dtype)
