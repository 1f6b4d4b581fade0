"""Measured times of communication operations, and the JSON file they are kept in.

A file of schema version 1::

    {"schema_version": 1, "zcube_measurements": true,
     "metadata": {"hardware": "2x NVIDIA H200", "nccl_version": "2.27.5", ...},
     "rows": [{"operation": "all-to-all", "ranks": 2, "path": "nvlink", "size_bytes": 1048576, "time_s": 1.2e-5, ...}],
     "matrices": [{"pattern": "pairs", "size_bytes": 67108864, "gbps": [[null, 2900.0], [2899.0, null]]}]}

What ``size_bytes`` means for each operation stands in :mod:`zcube.calibrate.operations`. A row needs ``operation``,
``ranks``, ``path``, ``size_bytes`` and ``time_s``; the other keys are optional, null meaning unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zcube.arrays import BoolArray, FloatArray, IntArray
from zcube.calibrate.points import (
    Matrix,
    Metadata,
    Row,
    capped,
    frozen,
    matrix_of,
    or_nan,
    or_none,
    row_document,
    row_faults,
    row_of,
)
from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import json_document, validate
from zcube.outputs import to_json, write_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Matrix", "Measurements", "Metadata", "Row", "from_document", "join", "read_measurements", "write_measurements"]

SCHEMA_VERSION = 1
MAX_FILE_BYTES = 64 << 20
MAX_ROWS = 200_000
MAX_MATRICES = 4096


@dataclass(frozen=True)
class Measurements:
    """Measured points as columns, all of one length.

    Attributes
    ----------
    operation, path, pattern, dtype : str array
        As in :class:`Row`.
    ranks, size_bytes, repetitions : int array
    time_s, p10_s, p90_s, min_s : float array
        NaN where unknown.
    in_place : bool array
    correct : int array
        1 right, 0 wrong, -1 not checked.
    hosts : int array
        0 where unknown.
    metadata : Metadata
        Where they come from.
    matrices : tuple of Matrix
    notes : tuple of str
        What a reader left out or took for granted.
    """

    operation: NDArray[np.str_]
    ranks: IntArray
    path: NDArray[np.str_]
    pattern: NDArray[np.str_]
    size_bytes: IntArray
    dtype: NDArray[np.str_]
    time_s: FloatArray
    p10_s: FloatArray
    p90_s: FloatArray
    min_s: FloatArray
    repetitions: IntArray
    in_place: BoolArray
    correct: IntArray
    hosts: IntArray
    metadata: Metadata = field(default_factory=Metadata)
    matrices: tuple[Matrix, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, rows: Iterable[Row], metadata: Metadata | None = None, matrices: Sequence[Matrix] = (), notes: Sequence[str] = ()
    ) -> Measurements:
        """Make the columns of rows and check them.

        Raises
        ------
        InputError
            With every row that cannot be true.
        """
        rows, metadata = list(rows), metadata or Metadata()
        faults = [fault for number, row in enumerate(rows) for fault in row_faults(row, f"row {number + 1}")]
        if faults:
            raise InputError(capped(faults, metadata.source or "measurements"))

        def text(key: str) -> NDArray[np.str_]:
            return frozen(np.array([getattr(row, key) for row in rows], dtype=np.str_))

        def whole(key: str) -> IntArray:
            return frozen(np.array([getattr(row, key) for row in rows], dtype=np.int64))

        def real(key: str) -> FloatArray:
            return frozen(np.array([or_nan(getattr(row, key)) for row in rows], dtype=np.float64))

        correct = np.array([-1 if row.correct is None else int(row.correct) for row in rows], dtype=np.int64)
        return cls(
            text("operation"), whole("ranks"), text("path"), text("pattern"), whole("size_bytes"), text("dtype"),
            real("time_s"), real("p10_s"), real("p90_s"), real("min_s"), whole("repetitions"),
            frozen(np.array([row.in_place for row in rows], dtype=np.bool_)), frozen(correct), whole("hosts"),
            metadata, tuple(matrices), tuple(notes),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.time_s)

    def rows(self) -> Iterator[Row]:
        """Yield the points one by one."""
        for number in range(len(self)):
            yield Row(
                str(self.operation[number]), int(self.ranks[number]), str(self.path[number]), int(self.size_bytes[number]),
                float(self.time_s[number]), str(self.pattern[number]), str(self.dtype[number]), or_none(self.p10_s[number]),
                or_none(self.p90_s[number]), or_none(self.min_s[number]), int(self.repetitions[number]),
                bool(self.in_place[number]), None if self.correct[number] < 0 else bool(self.correct[number]),
                int(self.hosts[number]),
            )  # fmt: skip

    def where(self, picked: BoolArray | IntArray) -> Measurements:
        """Return the points that a mask picks, or those of some rows in their order, with the same metadata."""
        columns = {name: frozen(getattr(self, name)[picked]) for name in _COLUMNS}
        return Measurements(**columns, metadata=self.metadata, matrices=self.matrices, notes=self.notes)

    def document(self) -> dict[str, Any]:
        """Return what the file holds; unknown values are left out."""
        return {
            "schema_version": SCHEMA_VERSION,
            "zcube_measurements": True,
            "metadata": self.metadata.model_dump(exclude_defaults=True),
            "rows": [row_document(row) for row in self.rows()],
            "matrices": [
                {
                    "pattern": matrix.pattern,
                    "size_bytes": matrix.size_bytes,
                    "gbps": [[or_none(value) for value in line] for line in matrix.gbps],
                }
                for matrix in self.matrices
            ],
        }

    def table(self) -> pd.DataFrame:
        """Return one row per point; unknown times are NaN, ``correct`` is -1 where it was not checked."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in _COLUMNS})

    def digest(self) -> str:
        """Return the SHA-256 of the points, whichever file and order they were read in."""
        lines = sorted(json.dumps(row_document(row), sort_keys=True) for row in self.rows())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


_COLUMNS = (
    "operation", "ranks", "path", "pattern", "size_bytes", "dtype", "time_s", "p10_s", "p90_s", "min_s", "repetitions",
    "in_place", "correct", "hosts",
)  # fmt: skip


def write_measurements(measurements: Measurements, path: Path) -> None:
    """Write measurements as JSON, whole or not at all."""
    text = to_json(measurements.document())
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_measurements(path: Path) -> Measurements:
    """Read a file that :func:`write_measurements` wrote.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    return from_document(json_document(path, read_bounded(path, MAX_FILE_BYTES)), str(path))


def from_document(document: Any, source: str) -> Measurements:
    """Return the measurements of a parsed file.

    Raises
    ------
    InputError
        With every fault.
    """
    if not isinstance(document, dict) or document.get("zcube_measurements") is not True:
        raise InputError(Fault(source, "a file without zcube_measurements", '"zcube_measurements": true'))
    if document.get("schema_version") != SCHEMA_VERSION:
        found = f"schema_version {str(document.get('schema_version'))[:20]}"
        raise InputError(Fault(source, found, f"schema_version {SCHEMA_VERSION}"))
    lists = {key: document.get(key, []) for key in ("rows", "matrices")}
    faults = [
        Fault(f"{source}: {key}", "no list, or too long a one", f"a list of at most {most}")
        for (key, value), most in zip(lists.items(), (MAX_ROWS, MAX_MATRICES), strict=True)
        if not isinstance(value, list) or len(value) > most
    ]
    if faults:
        raise InputError(faults)
    rows = [row_of(record, f"{source}: row {number + 1}", faults) for number, record in enumerate(lists["rows"])]
    matrices = [matrix_of(record, f"{source}: matrix {number + 1}", faults) for number, record in enumerate(lists["matrices"])]
    given = document.get("metadata", {})
    metadata = Metadata()
    try:
        metadata = validate(Metadata, given if isinstance(given, dict) else {"metadata": given}, f"{source}: metadata")
    except InputError as error:
        faults += error.faults
    faults += [fault for number, row in enumerate(rows) if row for fault in row_faults(row, f"{source}: row {number + 1}")]
    if faults:
        raise InputError(capped(faults, source))
    return Measurements.of([row for row in rows if row], metadata, [matrix for matrix in matrices if matrix])


def hardware_kind(hardware: str) -> str:
    """Return a machine's GPUs without their number: ``4x NVIDIA H200`` is ``NVIDIA H200``."""
    return hardware.split("x ", 1)[-1] if hardware[:1].isdigit() else hardware


def join(parts: Sequence[Measurements]) -> Measurements:
    """Return several measurements of the same hardware as one.

    Raises
    ------
    InputError
        If there is none, or if they were taken on different hardware: one calibration describes one kind of machine.
    """
    if not parts:
        raise InputError(Fault("measurements", "none", "at least one file of measurements"))
    hardware = sorted({part.metadata.hardware for part in parts if part.metadata.hardware})
    kinds = {hardware_kind(name) for name in hardware}
    if len(kinds) > 1:
        raise InputError(Fault("measurements", f"those of {', '.join(sorted(kinds))}"[:300], "one kind of hardware"))
    if len(parts) == 1:
        return parts[0]
    columns = {name: frozen(np.concatenate([getattr(part, name) for part in parts])) for name in _COLUMNS}
    return Measurements(
        **columns,
        metadata=_joined_metadata([part.metadata for part in parts]),
        matrices=tuple(matrix for part in parts for matrix in part.matrices),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _joined_metadata(parts: Sequence[Metadata]) -> Metadata:
    def texts(key: str, most: int) -> str:
        return "; ".join(dict.fromkeys(getattr(part, key) for part in parts if getattr(part, key)))[:most]

    def rate(key: str) -> float | None:
        values = {getattr(part, key) for part in parts} - {None}
        return values.pop() if len(values) == 1 else None

    return Metadata(
        hardware=texts("hardware", 500),
        backend=texts("backend", 100),
        nccl_version=texts("nccl_version", 100),
        how=texts("how", 4000),
        source=texts("source", 1000),
        sha256=hashlib.sha256(" ".join(sorted(part.sha256 for part in parts)).encode()).hexdigest(),
        nic_line_rate_gbps=rate("nic_line_rate_gbps"),
        nvlink_line_rate_gbps=rate("nvlink_line_rate_gbps"),
        details={"joined": [part.model_dump(exclude_defaults=True) for part in parts]},
    )
