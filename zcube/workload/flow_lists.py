"""Reading lists of transfers: CSV or Parquet with columns ``src,dst,bytes,start_s``, optional ``id,cap_gbps,weight,coflow``.

Columns are read as arrays and checked as a whole; only a file with faults is gone through line by line, to name them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.errors import Fault, InputError
from zcube.workload.flow_files import MAX_FAULTS_LISTED, ArrowRows, CsvRows, check_file

if TYPE_CHECKING:
    import pandas as pd

MAX_FLOWS = 20_000_000
#: An exabyte, and the year 2286 as seconds since 1970: beyond these a column is in another unit.
MAX_SIZE_BYTES = 1e18
MAX_START_S = 1e10
MIN_CAP_GBPS, MAX_CAP_GBPS = 1e-6, 1e6
#: What the sharing of a link takes without drowning the rest in rounding.
LEAST_WEIGHT, MOST_WEIGHT = 1e-3, 1e3

NEEDED = ("src", "dst", "bytes", "start_s")
OPTIONAL = ("id", "cap_gbps", "weight", "coflow")
WANTED = (*NEEDED, *OPTIONAL)
NUMBERS = ("bytes", "start_s", "cap_gbps", "weight")

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)

#: Gives the GPU of each name, -1 for a name that is none.
GpuNumbers = Callable[[Sequence[str]], IntArray]


def numbered(rows: Sequence[int]) -> list[str]:
    """Return the places of rows that stand in no file."""
    return [f"flow {row}" for row in rows]


@dataclass(frozen=True, eq=False)
class FlowList:
    """Transfers as listed in a file, in its order.

    Attributes
    ----------
    flow_id : array [flows]
        int64, or str objects where an id is no whole number; row numbers from 0 where the file has none.
    source, target : int array [flows]
        GPUs.
    size_bytes, start_s : float array [flows]
        Payload, > 0, and when the sender posts it, >= 0.
    cap_bps : float array [flows] or None
        Most a transfer may take, bits per second, infinity for no cap; None if the file has no ``cap_gbps``.
    weight : float array [flows] or None
        Claims of the transfer in max-min fairness, > 0, 1 where left empty; None if the file has no ``weight``.
    coflow : int array [flows] or None
        Index into ``coflow_names``, -1 for none; None if the file has no ``coflow``.
    coflow_names : tuple of str
        Names of the coflows in order of appearance.
    where : callable
        Gives the place of each row in the file, e.g. ``"flows.csv: line 17"``, for faults found later.
    """

    flow_id: npt.NDArray[Any]
    source: IntArray
    target: IntArray
    size_bytes: FloatArray
    start_s: FloatArray
    cap_bps: FloatArray | None = None
    weight: FloatArray | None = None
    coflow: IntArray | None = None
    coflow_names: tuple[str, ...] = ()
    where: Callable[[Sequence[int]], list[str]] = numbered

    def __len__(self) -> int:
        return len(self.source)


def read_flows(path: Path, gpu_numbers: GpuNumbers, *, known_gpus: str = "a GPU", max_flows: int = MAX_FLOWS) -> FlowList:
    """Read a list of transfers, telling CSV from Parquet by content.

    Parameters
    ----------
    path : Path
        At most 2 GiB. Columns in any order; columns of other names are left out.
    gpu_numbers : callable
        Gives the GPU of each name in ``src`` and ``dst``, -1 where there is none; called once, with distinct names.
    known_gpus : str
        Which names there are, for faults.
    max_flows : int
        Most rows accepted.

    Raises
    ------
    InputError
        With missing columns, or every broken row: the first 20 one by one, the rest as a count.
    """
    parquet = check_file(path) == "parquet"
    rows = ArrowRows.of_parquet(path, WANTED, max_flows) if parquet else CsvRows(path, WANTED, NUMBERS, max_flows)
    return _Check(rows, gpu_numbers, known_gpus).flow_list()


def flows_of_frame(
    frame: pd.DataFrame, gpu_numbers: GpuNumbers, *, known_gpus: str = "a GPU", max_flows: int = MAX_FLOWS
) -> FlowList:
    """Take a list of transfers from a pandas frame; parameters and faults as :func:`read_flows`."""
    return _Check(ArrowRows.of_frame(frame, WANTED, max_flows), gpu_numbers, known_gpus).flow_list()


class _Check:
    """Goes through the columns of one file and gathers its faults."""

    def __init__(self, rows: CsvRows | ArrowRows, gpu_numbers: GpuNumbers, known_gpus: str):
        self._rows = rows
        self._gpu_numbers = gpu_numbers
        self._known_gpus = known_gpus
        #: Of each fault its row, the column it shows, and what is expected there; only the first rows of each kind.
        self._faults: list[tuple[int, str, str]] = []
        self._count = rows.broken

    def flow_list(self) -> FlowList:
        rows = self._rows
        missing = [name for name in NEEDED if name not in rows.names]
        if missing:
            where = f"{rows.path}: {rows.header_place}"
            found = "columns " + ", ".join(rows.names) if rows.names else "none of the columns"
            raise InputError(Fault(where, f"{found}, no {name}", f"the column {name}") for name in missing)
        source, target = self._ends()
        size = self._number("bytes", (np.nextafter(0, 1), MAX_SIZE_BYTES), "a size in bytes, more than 0 and at most 1e18")
        start = self._number("start_s", (0.0, MAX_START_S), "a time in seconds from 0 to 1e10")
        cap = self._number("cap_gbps", (MIN_CAP_GBPS, MAX_CAP_GBPS), "nothing, or a rate from 1e-6 to 1e6 Gb/s", np.inf)
        weight = self._number("weight", (LEAST_WEIGHT, MOST_WEIGHT), "nothing, or a weight from 0.001 to 1000", 1.0)
        flow_id, (coflow, names) = self._ids(), self._coflows()
        if self._count:
            raise InputError(rows.describe(self._faults, self._count))
        if not len(rows):
            raise InputError(Fault(str(rows.path), "no flows", "at least one row below the header"))
        assert size is not None and start is not None
        cap_bps = None if cap is None else cap * 1e9
        return FlowList(flow_id, source, target, size, start, cap_bps, weight, coflow, names, rows.where)

    def _bad(self, mask: BoolArray, column: str, expected: str) -> None:
        bad = np.flatnonzero(mask)
        self._count += len(bad)
        self._faults += [(int(row), column, expected) for row in bad[:MAX_FAULTS_LISTED]]

    def _ends(self) -> tuple[IntArray, IntArray]:
        """Return the GPUs at both ends; each distinct name is looked up once."""
        (from_code, from_names), (to_code, to_names) = self._rows.names_of("src"), self._rows.names_of("dst")
        names = list(dict.fromkeys([*from_names, *to_names]))
        numbers = dict(zip(names, self._gpu_numbers(names).tolist(), strict=True))
        ends = []
        for column, code, own in (("src", from_code, from_names), ("dst", to_code, to_names)):
            # The last entry stands for an empty cell, whose code is -1.
            number = np.array([*(numbers[name] for name in own), -1], dtype=np.int64)[code]
            self._bad(number < 0, column, self._known_gpus)
            ends.append(number)
        self._bad((ends[0] == ends[1]) & (ends[0] >= 0), "dst", "another GPU than src")
        return ends[0], ends[1]

    def _number(
        self, column: str, bounds: tuple[float, float], expected: str, empty: float | None = None
    ) -> FloatArray | None:  # fmt: skip
        """Return a column of numbers within bounds; an empty cell is ``empty``, or a fault where that is None."""
        if column not in self._rows.names:
            return None
        value, is_empty, is_word = self._rows.numbers_of(column)
        inside = (value >= bounds[0]) & (value <= bounds[1])
        if empty is not None:
            # An infinite cap is no cap; spelling that out is as good as leaving the cell empty.
            inside |= is_empty | (value == empty)
            value = np.where(is_empty, empty, value)
        self._bad(~inside | is_word, column, expected)
        return value

    def _ids(self) -> npt.NDArray[Any]:
        if "id" not in self._rows.names:
            return np.arange(len(self._rows))
        code, names = self._rows.names_of("id")
        self._bad(code < 0, "id", "an id, different from all others")
        if len(names) < np.count_nonzero(code >= 0):
            first = np.full(len(names), len(code), dtype=np.int64)
            np.minimum.at(first, code[code >= 0], np.flatnonzero(code >= 0))
            again = (code >= 0) & (np.append(first, -1)[code] != np.arange(len(code)))
            self._bad(again, "id", "an id, different from all above")
        try:
            # Only ids that read back the same may become numbers: not 007, not +7.
            column: npt.NDArray[Any] = np.array(list(map(int, names)), dtype=np.int64)
            whole = all(map(_WHOLE.fullmatch, names))
        except (ValueError, OverflowError):
            whole = False
        if not whole:
            column = np.array([*names, ""], dtype=object)[:-1]
        return column[code] if len(column) else np.zeros(len(code), dtype=np.int64)

    def _coflows(self) -> tuple[IntArray | None, tuple[str, ...]]:
        return self._rows.names_of("coflow") if "coflow" in self._rows.names else (None, ())
