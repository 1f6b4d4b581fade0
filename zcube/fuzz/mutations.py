"""Changed copies of sound files: of bytes, of words and lines, of what a form holds; one stream of draws, one copy."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
import zlib
from collections.abc import Callable
from random import Random
from typing import Literal

from zcube.fuzz.hostile import NUMBER_TEXTS, PIECES, PROLOGUES, TEXTS
from zcube.fuzz.trees import json_text, toml_text, with_change

Form = Literal["binary", "text", "csv", "json", "json lines", "toml", "xml", "parquet", "gzip"]

#: No copy is larger, so that limits of memory mean something.
MOST_BYTES = 1_000_000
MOST_CHANGES = 3
#: How often a line is repeated: seldom often, for such inputs take a hundred times longer.
_TIMES = (*(2,) * 12, *(10,) * 12, *(300,) * 3, 20_000)

_NUMBER = re.compile(rb"0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
_QUOTED = re.compile(rb'"[^"]*"')
_ELEMENT = re.compile(rb"<(\w+)[^<>]*?(?:/>|>[^<>]*</\1>)")


def changed(content: bytes, form: Form, draws: Random) -> bytes:
    """Return a copy of a file with one to :data:`MOST_CHANGES` changes.

    Parameters
    ----------
    content : bytes
        A sound file.
    form : str
        How it is built; changes keep to the form more often than not, so that they reach what lies behind the parser.
    draws : random.Random
        Where chance comes from; equal draws give equal copies.
    """
    for _ in range(draws.choice((1, 1, 1, 2, MOST_CHANGES))):
        way = draws.random()
        if way < 0.2:
            content = _bytes(content, draws)
        elif way < 0.45 and form not in ("parquet", "gzip"):
            content = _words(content, draws)
        else:
            content = _OF_FORM[form](content, draws)
    return content[:MOST_BYTES]


def _bytes(content: bytes, draws: Random) -> bytes:
    raw, at = bytearray(content), draws.randrange(len(content) + 1)
    way = draws.randrange(7)
    if way == 0:
        return bytes(raw[:at])
    if way == 1:
        raw[at : at + draws.choice((1, 2, 20, 400))] = b""
    elif way == 2:
        raw[at:at] = draws.choice(PIECES) * draws.choice((1, 1, 1, 3, 2000))
    elif way == 3:
        raw[at : at + 1] = draws.randbytes(draws.choice((1, 1, 2, 4, 8)))
    elif way == 4 and at < len(raw):
        raw[at] ^= 1 << draws.randrange(8)
    elif way == 5:
        raw[at:at] = raw[max(0, at - draws.choice((10, 100, 1000))) : at]
    else:
        width = draws.choice((2, 4, 8))
        raw[at : at + width] = draws.choice((0, 1, (1 << 8 * width - 1) - 1, (1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(raw)


def _words(content: bytes, draws: Random) -> bytes:
    way = draws.randrange(6)
    if way <= 1:
        return _replaced(_NUMBER, content, draws, lambda: draws.choice(NUMBER_TEXTS).encode())
    if way == 2:
        words = [found.group() for found in _WORD.finditer(content)] or [b"x"]
        return _replaced(_WORD, content, draws, lambda: draws.choice(words))
    if way == 3:
        return _replaced(_WORD, content, draws, lambda: draws.choice(TEXTS).encode())
    return _lines(content, draws)


def _replaced(pattern: re.Pattern[bytes], content: bytes, draws: Random, new: Callable[[], bytes]) -> bytes:
    """Return a copy in which one of what a pattern finds is another, or a few."""
    places = [found.span() for found in pattern.finditer(content[:MOST_BYTES])]
    if not places:
        return content
    for first, last in sorted(draws.choices(places, k=draws.choice((1, 1, 1, 2, 5))), reverse=True):
        content = content[:first] + new() + content[last:]
    return content


def _lines(content: bytes, draws: Random) -> bytes:
    lines = content.split(b"\n")
    at, way = draws.randrange(len(lines)), draws.randrange(6)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(draws.randrange(len(lines) + 1), lines[at])
    elif way == 2:
        lines[at:at] = [lines[at]] * min(draws.choice(_TIMES), MOST_BYTES // (len(lines[at]) + 1))
    elif way == 3:
        draws.shuffle(lines)
    elif way == 4:
        lines[at] = draws.choice(TEXTS).encode()
    else:
        return draws.choice((b"\r\n", b"\r", b" ", b"\n\n")).join(lines)
    return b"\n".join(lines)


def _csv(content: bytes, draws: Random) -> bytes:
    rows = [line.split(b",") for line in content.split(b"\n")]
    row, way = draws.choice(rows), draws.randrange(6)
    at = draws.randrange(len(row))
    if way <= 1:
        row[at] = draws.choice((*NUMBER_TEXTS, *TEXTS)).encode()
    elif way == 2:
        del row[at]
    elif way == 3:
        row.insert(at, draws.choice(row))
    else:
        # A whole column doubled, or taken out.
        for one in rows:
            if at < len(one):
                one[at : at + 1] = [one[at], one[at]] if way == 4 else []
    return b"\n".join(b",".join(one) for one in rows)


def _json(content: bytes, draws: Random) -> bytes:
    try:
        return json_text(with_change(json.loads(content), draws)).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, RecursionError, OverflowError):
        # An earlier change broke the form, or made a number that cannot be written.
        return _words(content, draws)


def _json_lines(content: bytes, draws: Random) -> bytes:
    lines = content.split(b"\n")
    at = draws.randrange(len(lines))
    if draws.random() < 0.3:
        return _lines(content, draws)
    lines[at] = _json(lines[at], draws)
    return b"\n".join(lines)


def _toml(content: bytes, draws: Random) -> bytes:
    try:
        return toml_text(with_change(tomllib.loads(content.decode()), draws)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, OverflowError, TypeError):
        return _words(content, draws)


def _xml(content: bytes, draws: Random) -> bytes:
    way = draws.randrange(4)
    if way == 0:
        prologue = draws.choice(PROLOGUES)
        content = re.sub(rb"<\?xml[^>]*\?>", b"", content)
        return prologue + _replaced(_QUOTED, content, draws, lambda: b'"&j;"')
    if way == 1:
        return _replaced(_QUOTED, content, draws, lambda: b'"' + draws.choice((*TEXTS, *NUMBER_TEXTS)).encode() + b'"')
    elements = [found.group() for found in _ELEMENT.finditer(content)] or [b"<a/>"]
    return _replaced(
        _ELEMENT, content, draws, lambda: draws.choice(elements) * draws.choice((0, 2)) if way == 2 else b"<data/>" * 9
    )


def _parquet(content: bytes, draws: Random) -> bytes:
    from zcube.fuzz.tables import changed_table

    return changed_table(content, draws) or _bytes(content, draws)


def _gzip(content: bytes, draws: Random) -> bytes:
    stream = zlib.decompressobj(31)
    try:
        inner = stream.decompress(content, MOST_BYTES)
    except zlib.error:
        return _bytes(content, draws)
    inner = draws.choice((_json, _words, _bytes))(inner, draws)
    if draws.random() < 0.02:
        inner += draws.choice((b"\0", b" ", b"[", b"1")) * 40_000_000
    packed = gzip.compress(inner, 1, mtime=0)
    return packed * draws.choice((1, 1, 1, 2)) if len(packed) < MOST_BYTES else packed


_OF_FORM: dict[str, Callable[[bytes, Random], bytes]] = {
    "binary": _bytes, "text": _words, "csv": _csv, "json": _json, "json lines": _json_lines, "toml": _toml, "xml": _xml,
    "parquet": _parquet, "gzip": _gzip,
}  # fmt: skip
