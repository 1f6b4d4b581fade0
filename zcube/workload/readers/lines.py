"""The lines of a request trace, read one by one under bounds, with every fault named up to a cap."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from zcube.errors import Fault, InputError
from zcube.input_files import GZIP, is_file
from zcube.workload.requests import MAX_REQUESTS

MAX_FILE_BYTES = 2 << 30
#: A prompt of a million tokens has 62,500 block ids of 16 tokens.
MAX_LINE_BYTES = 1 << 20
MAX_FAULTS_LISTED = 20

Line = tuple[int, str]


class Faults:
    """The faults of one file: lists the first, counts the rest."""

    def __init__(self, path: Path):
        self.path = path
        self.listed: list[Fault] = []
        self.count = 0

    def add(self, line: int | None, found: str, expected: str) -> None:
        """Note a fault of a line, or of the whole file."""
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
        """Raise what was noted, if anything was.

        Raises
        ------
        InputError
            With the first faults one by one and the number of the others.
        """
        more = self.count - len(self.listed)
        if more:
            self.listed.append(Fault(str(self.path), f"{more} more faults", "none; the first ones are listed above"))
        if self.listed:
            raise InputError(self.listed)


def check_file(path: Path, expected: str) -> None:
    """Refuse what is no file, empty or too large.

    Raises
    ------
    InputError
        With what was found, and what is expected instead.
    """
    if not is_file(str(path)):
        found = "no such file"
        # A name that cannot be one, too long say, is no file either.
        with suppress(OSError, ValueError):
            found = "something that is not a file" if path.exists() else found
        raise InputError(Fault(str(path), found, expected))
    size = path.stat().st_size
    if size == 0 or size > MAX_FILE_BYTES:
        found = "an empty file" if size == 0 else f"a file of {size} bytes"
        raise InputError(Fault(str(path), found, f"{expected} of at most {MAX_FILE_BYTES} bytes"))


def text_lines(handle: BinaryIO, faults: Faults, expected: str) -> Iterator[Line]:
    """Yield the number and the stripped text of each line that is not blank."""
    number = 0
    while raw := handle.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1 and raw.startswith(GZIP):
            faults.stop(None, "gzip data", f"{expected}, uncompressed (run gunzip first)")
        if b"\0" in raw:
            faults.stop(number, "binary data", expected)
        if len(raw) > MAX_LINE_BYTES:
            faults.stop(number, "a longer line", f"lines of at most {MAX_LINE_BYTES} bytes")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            if number == 1:
                faults.stop(1, f"a byte that is not UTF-8 at {error.start}", expected)
            faults.add(number, f"a byte that is not UTF-8 at {error.start}", "UTF-8 text")
            continue
        if text:
            yield number, text


def take_all(
    take: Callable[[int, str], None], lines: Iterator[Line], faults: Faults, taken: array[Any], max_requests: int | None
) -> None:
    """Hand every line to ``take`` until the file or the wanted number of requests ends, then raise any faults.

    Parameters
    ----------
    take : callable
        Takes the number and the text of a line, and adds to ``taken`` or to the faults.
    lines : iterator
        Of :func:`text_lines`.
    faults : Faults
        Those of the file.
    taken : array
        Grows by one per request.
    max_requests : int, optional
        How many are wanted.

    Raises
    ------
    InputError
        With every fault, or if no request was taken.
    """
    while max_requests is None or len(taken) < max_requests:
        number, line = next(lines, (0, ""))
        if not line:
            break
        if len(taken) >= MAX_REQUESTS:
            faults.stop(number, "more requests", f"at most {MAX_REQUESTS}; read fewer, with requests.count")
        take(number, line)
    faults.raise_any()
    if not taken:
        faults.stop(None, "no requests", "at least one")


def as_array(values: array[Any], dtype: type = np.int64) -> np.ndarray[Any, Any]:
    """Return the numbers of a growing array as a NumPy array, without a copy."""
    return np.frombuffer(values, dtype=dtype) if len(values) else np.empty(0, dtype=dtype)
