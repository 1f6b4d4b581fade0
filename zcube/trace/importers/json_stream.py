"""JSON read record by record, so that a cut or corrupt file yields everything before the break and nothing is held whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from zcube.json_text import RepeatedKeyError, json_record, json_value
from zcube.trace.importers.source import CutShort, Source

MAX_RECORD_CHARS = 32 << 20

_SPACE = re.compile(r"[ \t\r\n\ufeff\0]*")
_MARK = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR_END = re.compile(r"[,\]}\n]")


class _Malformed(Exception):  # noqa: N818
    """A record that is not JSON, though where it ends is known."""


@dataclass(slots=True)
class Member:
    """A value of a document: its key (None in a bare array), and whether it is an element of the key's array."""

    key: str | None
    value: Any
    element: bool


class JsonStream:
    """Values of a file's JSON, one at a time.

    Records that are not JSON but whose end can be told from their brackets are skipped; a file that ends inside a record
    or an array raises :class:`~zcube.trace.importers.source.CutShort`.

    Parameters
    ----------
    source : Source
        The file; its ``number`` is kept at the record being read.
    repair : callable, optional
        Mends the text of a record that is not JSON.
    translate : dict, optional
        Characters replaced everywhere, as ``str.translate`` takes them; by as many bytes, so that places stay true.
    """

    def __init__(self, source: Source, repair: Callable[[str], str] | None = None, translate: dict[int, str] | None = None):
        self._source, self._repair, self._translate = source, repair, translate
        self._chunks = source.chunks()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._pos, self._before = "", 0, 0
        self._ended = False
        self._failure: CutShort | None = None

    def objects(self) -> Iterator[Any]:
        """Yield the values of JSON lines, of objects one after another, or of one array."""
        inside = False
        while char := self._peek():
            if char in ",[]":
                inside = char == "[" or (inside and char == ",")
                self._pos += 1
            else:
                yield from self._record()
        if inside:
            self._cut("the end of the file inside the array")

    def members(self, arrays: Container[str]) -> Iterator[Member]:
        """Yield the members of one object, those of the named arrays element by element; a bare array's as elements."""
        if self._peek() == "[":
            yield from (Member(None, value, True) for value in self._elements())
        else:
            yield from self._object(arrays)
        # Looking further also tells packed data that break behind the document.
        if self._peek():
            self._source.number += 1
            self._cut("text behind the end of the document")

    def _object(self, arrays: Container[str]) -> Iterator[Member]:
        self._expect("{")
        before: set[Any] = set()
        while (char := self._peek()) != "}":
            if char == ",":
                self._pos += 1
                continue
            key = self._whole("a key")
            if not isinstance(key, str) or key in before:
                self._cut(f"the key {key[:40]!r} a second time" if isinstance(key, str) else "no text in place of a key")
            before.add(key)
            self._expect(":")
            if isinstance(key, str) and key in arrays and self._peek() == "[":
                yield from (Member(key, value, True) for value in self._elements())
            else:
                yield Member(str(key), self._whole("a value"), False)
        self._pos += 1

    def _elements(self) -> Iterator[Any]:
        self._pos += 1
        while (char := self._peek()) != "]":
            if not char:
                self._source.number += 1
                self._cut("the end of the file inside the array")
            elif char == ",":
                self._pos += 1
            else:
                yield from self._record()
        self._pos += 1

    def _record(self) -> Iterator[Any]:
        """Yield the record that starts here, or nothing if it is not JSON."""
        self._source.number += 1
        try:
            value = self._value()
        except _Malformed as error:
            self._source.report.read += 1
            self._source.skip(*error.args)
            return
        self._source.report.read += 1
        yield value

    def _whole(self, what: str) -> Any:
        """Return a value without which the rest cannot be understood."""
        try:
            return self._value()
        except _Malformed as error:
            self._cut(f"{error.args[0]} in place of {what}")

    def _value(self) -> Any:
        """Return the value that starts here and step over it."""
        if not self._peek():
            self._cut("the end of the file inside a record")
        while True:
            try:
                value, end = json_record(self._text, self._pos)
                length = end - self._pos
                # Digits at the end of what was read so far may go on.
                if end == len(self._text) and self._fill():
                    continue
                self._pos += length
                return value
            except RecursionError:
                problem = "a record nested too deeply"
            except RepeatedKeyError as error:
                problem = f"a record with {error}"
            except ValueError:
                problem = "a record that is not JSON"
            end = _end(self._text, self._pos)
            if end > 0:
                return self._mended(end, problem)
            if len(self._text) - self._pos > MAX_RECORD_CHARS:
                self._cut(f"a record of more than {MAX_RECORD_CHARS} characters")
            if not self._fill():
                self._cut("the end of the file inside a record")

    def _mended(self, end: int, problem: str) -> Any:
        text, self._pos = self._text[self._pos : end], end
        if self._repair is not None:
            try:
                return json_value(self._repair(text))
            except (ValueError, RecursionError):
                pass
        raise _Malformed(problem, text[:200])

    def _expect(self, char: str) -> None:
        found = self._peek()
        if found != char:
            self._cut(f"{found!r} in place of {char!r}" if found else "the end of the file inside an object")
        self._pos += 1

    def _peek(self) -> str:
        """Return the next character that is not blank, "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._pos)
            self._pos = match.end() if match else self._pos
            if self._pos < len(self._text):
                return self._text[self._pos]
            if not self._fill():
                if self._failure is not None:
                    self._cut("")
                return ""

    def _fill(self) -> bool:
        """Read on, as much again as is waiting; return whether there was anything."""
        kept = self._text[self._pos :]
        self._before += _size(self._text[: self._pos])
        parts, want = [kept], max(1, len(kept))
        while want > 0 and not self._ended:
            try:
                chunk = next(self._chunks, b"")
            except CutShort as error:
                self._failure, chunk = error, b""
            self._ended = not chunk
            text = self._decoder.decode(chunk, self._ended)
            parts.append(text.translate(self._translate) if self._translate else text)
            want -= len(text)
        self._text, self._pos = "".join(parts), 0
        return len(self._text) > len(kept)

    def _cut(self, found: str) -> NoReturn:
        self._source.offset = self._before + _size(self._text[: self._pos])
        raise self._failure or CutShort(found)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def _end(text: str, start: int) -> int:
    """Return where the value at ``start`` ends, told from brackets and quotes alone; -1 if it does not."""
    if text[start] == '"':
        match = _STRING.match(text, start)
        return match.end() if match else -1
    if text[start] not in "{[":
        match = _SCALAR_END.search(text, start)
        return max(match.start(), start + 1) if match else -1
    depth = 0
    for mark in _MARK.finditer(text, start):
        kind = mark.group()
        if kind == '"':
            return -1
        if kind in "{[":
            depth += 1
        elif kind in "}]":
            depth -= 1
            if not depth:
                return mark.end()
    return -1
