"""Single values of a request trace: JSON objects, token counts, block ids, times."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from json import JSONDecodeError
from typing import Any, Literal

from zcube.json_text import json_row
from zcube.workload.requests import MAX_TOKENS

#: What was found and what is expected.
Wrong = tuple[str, str]
Unit = Literal["s", "ms"]

NS_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds"}
#: Latest time accepted: the year 2255, so that nanoseconds fit 64 bits.
MAX_TIME_S = 9 * 10**9
MOST_TIME = {unit: MAX_TIME_S * NS_PER_UNIT["s"] // ns for unit, ns in NS_PER_UNIT.items()}

TIME_OF_DAY = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
TIME_OF_DAY_EXPECTED = "a time from 1970 to 2199 such as 2023-11-16 18:15:46.6805900, or with +00:00"

_NUMBER = re.compile(r"\d{1,18}(?:\.\d{0,18})?(?:[eE][+-]?\d{1,2})?", re.ASCII)


def short(value: Any) -> str:
    """Return what stands in a file in a form that fits a fault."""
    if type(value) is int and value.bit_length() > 128:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def json_object(line: str) -> dict[str, Any] | str:
    """Return the object of a line, or what was found instead."""
    try:
        record = json_row(line)
    except JSONDecodeError as error:
        return f"broken JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError) as error:
        return "JSON nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
    return record if isinstance(record, dict) else short(record)


def token_fault(key: str, value: Any) -> Wrong | None:
    """Return what is wrong with a count of tokens; 0 is wrong, since a request with no prompt or no output never ran."""
    if type(value) is int and 1 <= value <= MAX_TOKENS:
        return None
    return f"{key} {short(value)}", f"a whole number of tokens from 1 to {MAX_TOKENS}"


def time_fault(key: str, value: Any, unit: Unit) -> Wrong | None:
    """Return what is wrong with a time or a delay given as a number."""
    most = MOST_TIME[unit]
    if type(value) in (int, float) and 0 <= value <= most:
        return None
    return f"{key} {short(value)}", f"{UNIT_NAMES[unit]} from 0 to {most}"


def nanoseconds(value: float, unit: Unit) -> int:
    """Return a time in whole nanoseconds, in which times since 1970 can be subtracted exactly."""
    return round(value * NS_PER_UNIT[unit])


def whole_number(cell: str) -> int | str:
    """Return the number in a cell, or the cell where it holds none of sensible length."""
    digits = cell.removeprefix("-")
    return int(cell) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else cell


def numeric_time_ns(cell: str, unit: Unit) -> int | None:
    """Return the time a number in a cell stands for, None where it is none."""
    if _NUMBER.fullmatch(cell) is None:
        return None
    value = float(cell)
    return nanoseconds(value, unit) if math.isfinite(value) and time_fault("", value, unit) is None else None


def time_of_day_ns(cell: str) -> int | None:
    """Return nanoseconds since 1970 of a date and time; without an offset it is read as UTC."""
    match = TIME_OF_DAY.fullmatch(cell)
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


def block_fault(key: str, ids: Any, input_tokens: Any, block_tokens: int, bits: int = 63) -> Wrong | None:
    """Return what is wrong with the block ids of a prompt.

    One id stands for each block of the prompt, the partial last one included. A missing last one is filled by a block that
    no other prompt shares; a larger lack and any surplus are wrong.

    Parameters
    ----------
    key : str
        Where they stand.
    ids : object
        What stands there.
    input_tokens : object
        What stands for the length of the prompt.
    block_tokens : int
        Tokens per block.
    bits : int
        Largest width of an id.
    """
    # A row has hundreds of them.
    if not isinstance(ids, list) or (ids and not (set(map(type, ids)) == {int} and 0 <= min(ids) <= max(ids) < 1 << bits)):
        return f"{key} {short(ids)}", f"a list of whole numbers from 0 to 2^{bits} - 1"
    if token_fault("", input_tokens):
        return None
    expected = -(-input_tokens // block_tokens)
    if expected - 1 <= len(ids) <= expected:
        return None
    fitting = [size for size in _COMMON_BLOCKS if -(-input_tokens // size) == len(ids)]
    hint = f"; {len(ids)} would fit --block-tokens {fitting[0]}" if fitting else ""
    return f"{len(ids)} {key}", f"one per {block_tokens} tokens, so {expected}, or one less where the last is left out{hint}"


#: Block sizes that engines and published traces use.
_COMMON_BLOCKS: Sequence[int] = (512, 16, 64, 128, 256, 32, 1024)
