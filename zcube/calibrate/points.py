"""Single measured points and matrices: what they hold, what of them cannot be true, and their form in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zcube.arrays import FloatArray
from zcube.calibrate.operations import HOST_PATHS, NIC_PATHS, OPERATIONS, PATHS, respelled
from zcube.errors import Fault
from zcube.inputs import Declared

MAX_MATRIX_RANKS = 1024
MAX_RANKS = 1 << 20
MAX_FAULTS_LISTED = 20
#: No operation that is measured takes longer, and no buffer is larger.
MAX_TIME_S, MAX_SIZE_BYTES = 1e5, 1 << 50
#: None takes less than a picosecond.
LEAST_TIME_S = 1e-12
#: No link is faster; a rate above was given in bits or megabits a second.
MOST_GBPS = 1e6

_REQUIRED = ("operation", "ranks", "path", "size_bytes", "time_s")
_OPTIONAL = ("pattern", "dtype", "p10_s", "p90_s", "min_s", "repetitions", "in_place", "correct", "hosts")


class Metadata(Declared):
    """Where measurements come from."""

    hardware: str = Field(default="", max_length=500, description="GPU model and count, e.g. '8x NVIDIA H200'")
    backend: str = Field(default="nccl", max_length=100, description="library that carried the bytes")
    nccl_version: str = Field(default="", max_length=100, description="as it says itself")
    environment: dict[str, str] = Field(default_factory=dict, description="NCCL_* variables that were set")
    how: str = Field(default="", max_length=4000, description="command line or source of the figures")
    source: str = Field(default="", max_length=1000, description="file the figures were read from")
    sha256: str = Field(default="", max_length=200, description="of that file")
    nic_line_rate_gbps: float | None = Field(
        default=None, gt=0, le=MOST_GBPS, description="line rate of one NIC, each direction"
    )
    nvlink_line_rate_gbps: float | None = Field(
        default=None, gt=0, le=MOST_GBPS, description="NVLink rate of a GPU, each direction"
    )
    details: dict[str, Any] = Field(default_factory=dict, description="anything else that was recorded")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured point.

    Attributes
    ----------
    operation, path, pattern, dtype : str
        Of :data:`~zcube.calibrate.operations.OPERATIONS` and :data:`~zcube.calibrate.operations.PATHS`; ``pattern`` is empty
        for the plain operation over all ranks.
    ranks : int
        Ranks that take part.
    size_bytes : int
        As nccl-tests defines it.
    time_s : float
        Median over repetitions of the slowest rank.
    p10_s, p90_s, min_s : float, optional
        Quantiles of the repetitions.
    repetitions : int
        0 if unknown.
    in_place : bool
        Whether send and receive buffer are one.
    correct : bool, optional
        Whether what was received was what was sent; None if not checked.
    hosts : int
        Hosts that the ranks ran on, equally many on each; 0 if unknown.
    """

    operation: str
    ranks: int
    path: str
    size_bytes: int
    time_s: float
    pattern: str = ""
    dtype: str = ""
    p10_s: float | None = None
    p90_s: float | None = None
    min_s: float | None = None
    repetitions: int = 0
    in_place: bool = False
    correct: bool | None = None
    hosts: int = 0


@dataclass(frozen=True)
class Matrix:
    """Rates between all ranks.

    Attributes
    ----------
    pattern : str
        E.g. ``"pairs"``, ``"pairs-bidirectional"``, ``"incast"``.
    size_bytes : int
        Message size.
    gbps : float array [ranks, ranks]
        Gb/s from row to column; NaN where nothing was measured.
    """

    pattern: str
    size_bytes: int
    gbps: FloatArray


def row_faults(row: Row, where: str) -> list[Fault]:
    """Return what of a point cannot be true."""
    faults = []
    if row.operation not in OPERATIONS:
        faults.append(Fault(f"{where}: operation", repr(row.operation)[:60], f"one of {', '.join(OPERATIONS)}"))
    if row.path not in PATHS:
        faults.append(Fault(f"{where}: path", repr(row.path)[:60], f"one of {', '.join(PATHS)}"))
    if not 1 <= row.ranks <= MAX_RANKS:
        faults.append(Fault(f"{where}: ranks", str(row.ranks), f"1 to {MAX_RANKS}"))
    if not 0 < row.size_bytes <= MAX_SIZE_BYTES:
        faults.append(Fault(f"{where}: size_bytes", str(row.size_bytes), f"a size above zero, at most {MAX_SIZE_BYTES} bytes"))
    for key in ("time_s", "p10_s", "p90_s", "min_s"):
        value = getattr(row, key)
        if value is not None and not LEAST_TIME_S <= value <= MAX_TIME_S:
            least = f"{LEAST_TIME_S:g} s or more" if 0 < value < LEAST_TIME_S else "above zero"
            faults.append(Fault(f"{where}: {key}", f"{value:g}", f"a time {least}, at most {MAX_TIME_S:g} s"))
    if not (row.hosts == 0 or (0 < row.hosts <= row.ranks and row.ranks % row.hosts == 0)):
        faults.append(Fault(f"{where}: hosts", f"{row.hosts} for {row.ranks} ranks", "hosts with equally many ranks each"))
    elif row.hosts > 1 and row.path in HOST_PATHS:
        expected = f"one of {', '.join(NIC_PATHS)}: a run over several hosts goes through NICs"
        faults.append(Fault(f"{where}: path", f"{row.path} for {row.ranks} ranks on {row.hosts} hosts", expected))
    elif row.hosts == 1 and row.ranks > 1 and row.path in NIC_PATHS:
        expected = f"one of {', '.join(HOST_PATHS)}: a run on one host uses no NIC"
        faults.append(Fault(f"{where}: path", f"{row.path} for {row.ranks} ranks on one host", expected))
    if len(row.pattern) > 100 or len(row.dtype) > 40:
        faults.append(Fault(f"{where}: pattern or dtype", "a long text", "at most 100 and 40 characters"))
    return faults


def capped(faults: Sequence[Fault], where: str) -> list[Fault]:
    """Return the first faults and how many more there are."""
    more = len(faults) - MAX_FAULTS_LISTED
    rest = [Fault(where, f"{more} more faults", "none")] if more > 0 else []
    return [*faults[:MAX_FAULTS_LISTED], *rest]


def row_of(record: Any, where: str, faults: list[Fault]) -> Row | None:
    """Return a row of the file, or None after noting what is wrong with its keys and types."""
    if not isinstance(record, dict):
        faults.append(Fault(where, f"a JSON {type(record).__name__}", "an object"))
        return None
    before = len(faults)
    faults += [Fault(f"{where}: {key}", "nothing", "this key") for key in _REQUIRED if record.get(key) is None]
    known = {*_REQUIRED, *_OPTIONAL}
    faults += [
        Fault(where, f"the unknown key {key[:40]!r}", ", ".join((*_REQUIRED, *_OPTIONAL))) for key in record.keys() - known
    ]
    values = {key: value for key, value in record.items() if value is not None and key in known}
    for key, value in values.items():
        if not _TYPES[key](value):
            faults.append(Fault(f"{where}: {key}", repr(value)[:60], _EXPECTED[_TYPES[key]]))
    if len(faults) > before:
        return None
    return Row(**values | {"operation": respelled(values["operation"])})


def matrix_of(record: Any, where: str, faults: list[Fault]) -> Matrix | None:
    """Return a matrix of the file, or None after noting what is wrong with it."""
    if not isinstance(record, dict) or not isinstance(record.get("gbps"), list):
        faults.append(Fault(where, "no gbps", "pattern, size_bytes and gbps, a square list of lists"))
        return None
    lines, size = record["gbps"], record.get("size_bytes")
    square = 0 < len(lines) <= MAX_MATRIX_RANKS and all(isinstance(line, list) and len(line) == len(lines) for line in lines)
    if not square or any(
        value is not None and (not _is_real(value) or not 0 <= value <= MOST_GBPS) for line in lines for value in line
    ):
        expected = f"n x n rates of 0 to {MOST_GBPS:g} Gb/s or null, n at most {MAX_MATRIX_RANKS}"
        faults.append(Fault(f"{where}: gbps", "something else", expected))
        return None
    if not isinstance(size, int) or not 0 < size <= MAX_SIZE_BYTES or not _is_text(record.get("pattern")):
        faults.append(Fault(where, "no pattern or size_bytes", "a name and a size above zero"))
        return None
    gbps = np.array([[or_nan(value) for value in line] for line in lines], dtype=np.float64)
    return Matrix(record["pattern"][:100], size, frozen(gbps))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    # true and false are whole numbers to Python, not to the reader of a file.
    return type(value) is int and abs(value) < 1 << 62


def _is_real(value: Any) -> bool:
    return type(value) is float or _is_whole(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


_EXPECTED = {_is_text: "text", _is_whole: "a whole number", _is_real: "a number", _is_bool: "true or false"}
_TYPES = {
    **dict.fromkeys(("operation", "path", "pattern", "dtype"), _is_text),
    **dict.fromkeys(("ranks", "size_bytes", "repetitions", "hosts"), _is_whole),
    **dict.fromkeys(("time_s", "p10_s", "p90_s", "min_s"), _is_real),
    **dict.fromkeys(("in_place", "correct"), _is_bool),
}


def row_document(row: Row) -> dict[str, Any]:
    """Return what the file holds of a row; unknown values are left out."""
    values = {name: getattr(row, name) for name in (*_REQUIRED, *_OPTIONAL)}
    empty: tuple[Any, ...] = (None, "")
    kept = {name: value for name, value in values.items() if name in _REQUIRED or value not in empty}
    return {name: value for name, value in kept.items() if name not in ("repetitions", "hosts") or value}


def or_nan(value: float | None) -> float:
    """Return a number, NaN for None."""
    return float("nan") if value is None else float(value)


def or_none(value: float) -> float | None:
    """Return a number, None for NaN."""
    return None if np.isnan(value) else float(value)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that can no longer be changed."""
    array.flags.writeable = False
    return array
