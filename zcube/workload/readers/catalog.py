"""Which reader a request trace is for, told by content."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from zcube.errors import Fault, InputError
from zcube.input_files import opened
from zcube.workload.readers import bailian, csv_table, dynamo, mooncake
from zcube.workload.readers.fields import json_object, short
from zcube.workload.readers.lines import MAX_FILE_BYTES, Faults, Line, check_file, text_lines
from zcube.workload.readers.options import ReadOptions
from zcube.workload.requests import MAX_REQUESTS, RequestTrace

Recognise = Callable[[dict[str, Any] | None, str], bool]
Reader = Callable[[Path, Iterator[Line], Faults, ReadOptions, int | None], RequestTrace]

#: Test and reader of the formats in JSON Lines; the first that recognises a file's first line reads it.
JSON_READERS: tuple[tuple[Recognise, Reader], ...] = (
    (dynamo.recognise, dynamo.read),
    (bailian.recognise, bailian.read),
    (mooncake.recognise, mooncake.read),
)

FORMATS = "one of: " + "; ".join(
    (mooncake.WHAT, bailian.WHAT, dynamo.WHAT, *(layout.what for layout in csv_table.LAYOUTS), csv_table.MAPPED_WHAT)
)


def read_requests(
    path: Path, *, max_requests: int | None = None, seed: int = 0, options: ReadOptions | None = None
) -> RequestTrace:
    """Read a request trace, telling its format by content.

    The formats are described in the modules beside this one. In all of them token counts lie in 1 to 10 million; 0 is a fault,
    since a request with no prompt or no output never ran (BurstGPT says of such rows that they failed: they are left out and
    counted). Lines out of time order are legal and sorted stably; times are rebased to 0. Requests that share a tick of a
    quantised clock are spread over it by :func:`~zcube.workload.ticks.spread_ties`: in the Mooncake format over at most the
    median gap between ticks, in tables whose times are all whole seconds over at most one second.

    Times that look like another unit's are refused unless ``options`` state the unit.

    Parameters
    ----------
    path : Path
        The file, at most 2 GiB, uncompressed.
    max_requests : int, optional
        Read only so many requests, the first of the file; what follows them is not checked.
    seed : int
        Accepted as every source of requests takes one; reading draws no random number, so it changes nothing.
    options : ReadOptions, optional
        What the file does not say of itself.

    Raises
    ------
    InputError
        With every broken line: the first 20 one by one, the rest as a count. Options that mean nothing to the format, and rows
        of sessions whose meaning is not stated, are refused.
    """
    if max_requests is not None and not 1 <= max_requests <= MAX_REQUESTS:
        raise InputError(Fault("max_requests", str(max_requests), f"1 to {MAX_REQUESTS}"))
    options = options or ReadOptions()
    check_file(path, FORMATS)
    faults = Faults(path)
    with opened(path, MAX_FILE_BYTES, FORMATS) as handle:
        lines = text_lines(handle, faults, FORMATS)
        number, first = next(lines, (0, ""))
        return _read(path, number, first, lines, faults, options, max_requests)


def _read(
    path: Path, number: int, first: str, rest: Iterator[Line], faults: Faults, options: ReadOptions, max_requests: int | None
) -> RequestTrace:
    lines = chain([(number, first)], rest)
    if first.startswith("{"):
        record = json_object(first)
        for recognise, read in JSON_READERS:
            if recognise(record if isinstance(record, dict) else None, first):
                return read(path, lines, faults, options, max_requests)
    layout = csv_table.layout_of(first, options)
    if layout is None or not first:
        faults.stop(number or None, short(first) if first else "blank lines only", FORMATS)
    return csv_table.read(path, layout, lines, faults, options, max_requests)
