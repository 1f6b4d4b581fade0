"""JSON as this program reads it: no key twice in one object, and of documents no NaN and no infinities."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pydantic_core import from_json

#: A text, or what opens and closes tables and lists.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_KEY_ENDS = re.compile(r"\s*:")


class RepeatedKeyError(ValueError):
    """A key stands twice in one object; the message names it and both places."""


class _TwiceError(ValueError):
    """The same before the places are known."""


def json_value(text: str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    RepeatedKeyError
        If a key stands twice in an object, with lines and columns of both.
    ValueError
        If it is no JSON, or holds NaN or an infinity.
    RecursionError
        If it is nested too deeply.
    """
    try:
        return _DOCUMENT.decode(text)
    except _TwiceError:
        raise _repeated(text, 0) from None


def json_row(text: str) -> Any:
    """Return the value of a JSON text that most often is an object without objects in it, as :func:`json_value` does.

    Most of the time that a million of them take is decoding. Pydantic's decoder, three times as fast, does not see that a key
    stands twice; but then there are more colons than keys in what it made.
    """
    if text.count("{") != 1:
        return json_value(text)
    try:
        row = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):
        # Told in the words of the other one, where that refuses it too.
        return json_value(text)
    return row if type(row) is dict and text.count(":") == len(row) else json_value(text)


def json_record(text: str, start: int = 0) -> tuple[Any, int]:
    """Return a JSON value that starts in a text, and where it ends; NaN and infinities are numbers, as recorders write them.

    Raises
    ------
    RepeatedKeyError
        As :func:`json_value`, places counted from the start.
    ValueError, RecursionError
        As :func:`json_value`.
    """
    try:
        return _RECORD.raw_decode(text, start)
    except _TwiceError:
        raise _repeated(text, start) from None


def _repeated(text: str, start: int) -> RepeatedKeyError:
    key, *places = _first_repeated(text, start)
    first, second = (_line_and_column(text, start, place) for place in places)
    return RepeatedKeyError(f"the key {key[:40]!r} twice, at {first} and at {second}")


def _first_repeated(text: str, start: int) -> tuple[str, int, int]:
    """Return the first key that stands twice in an object, and both places."""
    objects: list[dict[str, int] | None] = []
    for token in _TOKEN.finditer(text, start):
        if token[0] in "{[":
            objects.append({} if token[0] == "{" else None)
        elif token[0] in "}]":
            objects.pop()
        elif objects and (keys := objects[-1]) is not None and _KEY_ENDS.match(text, token.end()):
            key = json.loads(token[0])
            if key in keys:
                return key, keys[key], token.start()
            keys[key] = token.start()
    raise AssertionError("a key that stands twice for the decoder stands once here")


def _line_and_column(text: str, start: int, place: int) -> str:
    column = f"column {place - max(start - 1, text.rfind(chr(10), start, place))}"
    return f"line {text.count(chr(10), start, place) + 1} {column}" if "\n" in text.strip() else column


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _TwiceError
    return table


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


_DOCUMENT = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
_RECORD = json.JSONDecoder(object_pairs_hook=_once)
