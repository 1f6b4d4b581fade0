"""The operations of a trace in JSON Lines, one object a line."""

from __future__ import annotations

import json
import math
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zcube.errors import Fault, InputError
from zcube.json_text import RepeatedKeyError, json_value
from zcube.trace.comm_trace import MAX_OPERATIONS, NONE
from zcube.trace.rows import BROKEN, KINDS, MAX_FAULTS_LISTED, Columns

_WHOLE = {"layer": NONE, "source": NONE, "target": NONE, "group": NONE, "size_bytes": 0}
_TIMES = {"start_s": 0.0, "duration_s": math.nan}
_KEYS = frozenset(("kind", "name", "phase", *_WHOLE, *_TIMES, "depends_on"))
_LARGEST = (1 << 63) - 1


def parse(text: bytes) -> tuple[Any, str]:
    """Return a JSON document and, where it is none, what is wrong with it.

    NaN, infinities, a key twice in one object and half a surrogate pair are wrong.
    """
    try:
        document = json_value(text.decode("utf-8-sig").strip())
        if b"\\ud" in text.lower():
            # Only such an escape can make a text that no file can hold.
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return None, f"a byte that is not UTF-8 at {error.start}"
    except UnicodeEncodeError:
        return None, "half a surrogate pair"
    except RecursionError:
        return None, "JSON that is nested too deeply"
    except RepeatedKeyError as error:
        return None, str(error)
    except ValueError as error:
        return None, "nothing" if not text.strip() else f"no JSON ({str(error)[:80]})"
    return document, ""


def read_lines(handle: BinaryIO, path: Path, names: tuple[str, ...], phases: tuple[str, ...], most_bytes: int) -> Columns:
    """Read the operations below the header; blank lines are left out.

    Parameters
    ----------
    handle : binary file
        Behind the header.
    path : Path
        For faults.
    names, phases : tuple of str
        Those of the header.
    most_bytes : int
        Longest line accepted.

    Raises
    ------
    InputError
        If there are too many operations.
    """
    reader = _Reader(path, names, phases)
    number = 1
    while text := handle.readline(most_bytes + 1):
        number += 1
        if len(text) > most_bytes:
            reader.fault(number, "a longer line", f"at most {most_bytes} bytes")
            break
        if not text.isspace():
            if len(reader) >= MAX_OPERATIONS:
                raise InputError(Fault(f"{path}: line {number}", "more operations", f"at most {MAX_OPERATIONS}"))
            reader.take(number, text)
    return reader.columns()


class _Reader:
    """Gathers the columns."""

    def __init__(self, path: Path, names: tuple[str, ...], phases: tuple[str, ...]):
        self._path = path
        self._codes = {
            key: {text: code for code, text in enumerate(texts)} for key, texts in (("name", names), ("phase", phases))
        }
        self._kinds = {text: code for code, text in enumerate(KINDS)}
        self._whole = {key: array("q") for key in ("kind", "name", "phase", *_WHOLE)}
        self._times = {key: array("d") for key in _TIMES}
        self._waits, self._dependency, self._line = array("q"), array("q"), array("q")
        self._faults: list[tuple[int, Fault]] = []
        self._broken = 0
        #: What stood where a value was not taken as it stands, by row and key; for the first faults only.
        self._odd: dict[tuple[int, str], str] = {}

    def __len__(self) -> int:
        return len(self._line)

    def fault(self, line: int, found: str, expected: str) -> None:
        """Note what is wrong with a line."""
        self._broken += 1
        if len(self._faults) < MAX_FAULTS_LISTED:
            self._faults.append((len(self), Fault(f"{self._path}: line {line}", found, expected)))

    def take(self, line: int, text: bytes) -> None:
        """Take one operation."""
        row, problem = parse(text)
        if problem or not isinstance(row, dict):
            self.fault(line, problem or f"a JSON {type(row).__name__}", "a JSON object")
            # A row in its place, which no test finds fault with, keeps the numbers of those that follow.
            row = {"kind": KINDS[0], "name": "", "source": 0, "duration_s": 0.0}
        elif not row.keys() <= _KEYS:
            for key in sorted(row.keys() - _KEYS)[:MAX_FAULTS_LISTED]:
                self.fault(line, f"the unknown key {key[:40]!r}", f"one of {', '.join(sorted(_KEYS))}")
        kind = row.get("kind")
        self._whole["kind"].append(
            self._kinds[kind] if isinstance(kind, str) and kind in self._kinds else self._none("kind", kind)
        )
        for key, codes in self._codes.items():
            value = row.get(key)
            if isinstance(value, str):
                self._whole[key].append(codes.setdefault(value, len(codes)))
            else:
                self._whole[key].append(NONE if value is None else self._none(key, value))
        for key, empty in _WHOLE.items():
            value = row.get(key)
            # true and false are whole numbers to Python, not to the reader of a trace.
            good = type(value) is int and 0 <= value <= _LARGEST
            self._whole[key].append(empty if value is None else value if good else self._none(key, value))
        for key, unknown in _TIMES.items():
            value = row.get(key)
            good = type(value) is float or (type(value) is int and abs(value) <= _LARGEST)
            self._times[key].append(unknown if value is None else value if good else self._none(key, value))
        self._take_waits(row.get("depends_on"))
        self._line.append(line)

    def columns(self) -> Columns:
        """Return what was gathered."""
        values: dict[str, Any] = {key: np.array(column, dtype=np.int64) for key, column in self._whole.items()}
        values.update((key, np.array(column, dtype=np.float64)) for key, column in self._times.items())
        first = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(np.array(self._waits, dtype=np.int64), out=first[1:])
        return Columns(
            values,
            first,
            np.array(self._dependency, dtype=np.int64),
            tuple(self._codes["name"]),
            tuple(self._codes["phase"]),
            np.array(self._line, dtype=np.int64),
            self._shown,
            self._faults,
            self._broken,
        )

    def _take_waits(self, waits: Any) -> None:
        if not isinstance(waits, list):
            waits = [] if waits is None else [None]
        for wait in waits:
            good = type(wait) is int and 0 <= wait <= _LARGEST
            self._dependency.append(wait if good else self._none("depends_on", wait))
        self._waits.append(len(waits))

    def _none(self, key: str, value: Any) -> int:
        """Remember what stands in a row and return what stands for it."""
        if len(self._odd) < 20 * MAX_FAULTS_LISTED:
            text = f"a JSON {type(value).__name__}" if isinstance(value, dict | list) else json.dumps(value)
            self._odd[len(self), key] = text if len(text) <= 60 else text[:57] + "..."
        return BROKEN

    def _shown(self, row: int, key: str) -> str:
        if (row, key) in self._odd:
            return self._odd[row, key]
        if key == "depends_on":
            last = np.cumsum(np.array(self._waits[: row + 1], dtype=np.int64))[-1]
            return str(list(self._dependency[last - self._waits[row] : last]))[:60]
        if key in _TIMES:
            seconds = self._times[key][row]
            return "missing" if math.isnan(seconds) else f"{seconds:g}"
        value = self._whole[key][row]
        return "missing" if value < 0 else str(value)
