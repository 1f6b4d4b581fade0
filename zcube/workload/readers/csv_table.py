"""Request traces in CSV: Azure's, BurstGPT's, and any other by a map of its columns. There is no prefix information in them.

Sources: Azure/AzurePublicDataset (CC-BY-4.0), times of day to 100 ns. HPMLL/BurstGPT, README: ``Timestamp`` in seconds from the
first midnight, ``Response tokens`` 0 for a request that failed, ``Session ID`` in later releases.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zcube.errors import Fault, InputError
from zcube.input_files import columns_once
from zcube.workload.readers.assemble import FileColumns, in_order, since_first_s
from zcube.workload.readers.clock import check_unit
from zcube.workload.readers.fields import (
    NS_PER_UNIT,
    TIME_OF_DAY_EXPECTED,
    UNIT_NAMES,
    Unit,
    numeric_time_ns,
    short,
    time_of_day_ns,
    token_fault,
    whole_number,
)
from zcube.workload.readers.lines import Faults, Line, as_array, take_all
from zcube.workload.readers.options import ROLES, ReadOptions
from zcube.workload.requests import RequestTrace
from zcube.workload.ticks import spread_ties


@dataclass(frozen=True)
class Layout:
    """What the columns of a table are called and mean.

    Attributes
    ----------
    what : str
        The format, for faults.
    source : str
        One sentence for a human reader.
    arrival, input, output : str
        Names of the columns.
    session : str, optional
        Column of conversations, where the table may have one.
    unit : {"s", "ms"}, optional
        Unit of numeric times; None where times are dates with a time of day.
    failed_is_zero : bool
        Whether an answer of 0 tokens marks a request that failed, to be left out.
    """

    what: str
    source: str
    arrival: str
    input: str
    output: str
    session: str | None = None
    unit: Unit | None = None
    failed_is_zero: bool = False

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns that must be there."""
        return self.arrival, self.input, self.output


AZURE = Layout(
    what="an Azure trace (CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens)",
    source="Requests in the Azure LLM inference trace format (Azure/AzurePublicDataset, CC-BY-4.0).",
    arrival="TIMESTAMP",
    input="ContextTokens",
    output="GeneratedTokens",
)
BURSTGPT = Layout(
    what="a BurstGPT trace (CSV with Timestamp in s, Request tokens, Response tokens)",
    source="Requests in the BurstGPT trace format (HPMLL/BurstGPT, CC-BY-4.0).",
    arrival="Timestamp",
    input="Request tokens",
    output="Response tokens",
    session="Session ID",
    unit="s",
    failed_is_zero=True,
)
LAYOUTS = (AZURE, BURSTGPT)
MAPPED_WHAT = "any CSV with --columns " + ",".join(f"{role}=NAME" for role in ROLES)


def layout_of(header: str, options: ReadOptions) -> Layout | None:
    """Return the layout of a table with this header line, None where it is none of the known ones."""
    if options.columns is not None:
        return Layout(
            what="a CSV file with --columns",
            source="Requests in a CSV file with columns of its own.",
            arrival=options.columns["arrival"],
            input=options.columns["input"],
            output=options.columns["output"],
            unit=options.time_unit or "s",
        )
    names = _cells(header)
    return next((layout for layout in LAYOUTS if any(name in names for name in layout.columns)), None)


def read(
    path: Path, layout: Layout, lines: Iterator[Line], faults: Faults, options: ReadOptions, max_requests: int | None
) -> RequestTrace:
    """Read the requests; see :func:`~zcube.workload.readers.catalog.read_requests`."""
    options.refuse_all_but(path, layout.what, *(("columns", "time_unit") if layout.unit else ("columns",)))
    unit = options.time_unit or layout.unit
    number, header = next(lines)
    columns = _cells(header)
    missing = [name for name in layout.columns if name not in columns]
    if missing:
        raise InputError(Fault(f"{path}: line {number}", f"no column {name}", f"the column {name}") for name in missing)
    columns_once(f"{path}: line {number}", columns, [*layout.columns, *filter(None, [layout.session])])
    where = [columns.index(name) for name in layout.columns]
    session_at = columns.index(layout.session) if layout.session in columns else None
    time_of, time_expected = _times(unit, with_dates=options.columns is not None)
    time_ns, inputs, outputs, sessions = (array("q") for _ in range(4))
    numbers: dict[str, int] = {}
    failed = 0

    def take(number: int, line: str) -> None:
        nonlocal failed
        cells = _cells(line)
        if len(cells) != len(columns):
            return faults.add(number, f"{len(cells)} columns", f"{len(columns)}, as in the header")
        when, context, generated = (cells[column] for column in where)
        stamp, prompt, output = time_of(when), whole_number(context), whole_number(generated)
        if layout.failed_is_zero and output == 0:
            failed += 1
            return None
        wrong = [token_fault(layout.input, prompt), token_fault(layout.output, output)]
        if stamp is None:
            wrong.append((f"{layout.arrival} {short(when)}", time_expected))
        for fault in filter(None, wrong):
            faults.add(number, *fault)
        if stamp is None or any(wrong):
            return None
        time_ns.append(stamp)
        inputs.append(int(prompt))
        outputs.append(int(output))
        session = cells[session_at][:200] if session_at is not None else ""
        sessions.append(numbers.setdefault(session, len(numbers)) if session else -1)
        return None

    take_all(take, lines, faults, inputs, max_requests)
    times = as_array(time_ns)
    if unit is not None:
        check_unit(times, unit, options.time_unit is not None, faults)
    arrival_s = since_first_s(times)
    if unit is not None and not (times % NS_PER_UNIT["s"]).any():
        arrival_s = _spread(arrival_s)
    notes = (f"failed requests ({layout.output} 0) left out: {failed:,}",) if failed else ()
    found = FileColumns(arrival_s, as_array(inputs), as_array(outputs), session=as_array(sessions))
    return in_order(path.name, layout.source, found, notes)


def _cells(line: str) -> list[str]:
    if '"' in line:
        try:
            return [cell.strip() for cell in next(csv.reader([line], strict=True), [])]
        except csv.Error:
            return []
    return [cell.strip() for cell in line.split(",")]


def _times(unit: Unit | None, with_dates: bool) -> tuple[Callable[[str], int | None], str]:
    """Return how the cells of the arrival column are read, and what they must hold."""
    if unit is None:
        return time_of_day_ns, TIME_OF_DAY_EXPECTED
    expected = f"{UNIT_NAMES[unit]} as a number"
    if not with_dates:
        return lambda cell: numeric_time_ns(cell, unit), expected

    def number_or_date(cell: str) -> int | None:
        number = numeric_time_ns(cell, unit)
        return time_of_day_ns(cell) if number is None else number

    return number_or_date, f"{expected}, or {TIME_OF_DAY_EXPECTED}"


def _spread(arrival_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Spread requests of one whole second over that second, in the order of the file."""
    order = np.argsort(arrival_s, kind="stable")
    spread = np.empty_like(arrival_s)
    spread[order] = spread_ties(arrival_s[order], most_s=1.0)
    return spread
