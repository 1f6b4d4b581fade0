"""What the ranks hand back: the JSON of :mod:`zcube.calibrate.measure.worker`, by another Python and on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zcube.calibrate.points import Matrix, Row, capped, matrix_of, row_faults, row_of
from zcube.errors import Fault, InputError
from zcube.input_files import read_bounded
from zcube.inputs import json_document

#: Largest result read.
MAX_RESULT_BYTES = 64 << 20
#: What a row says of how its time was taken, which no measurement keeps.
_OF_TIMING = ("batch", "launch_hidden")


@dataclass(frozen=True)
class Handed:
    """What one run of the ranks found.

    Attributes
    ----------
    rows : tuple of Row
    matrices : tuple of Matrix
    wrong : tuple of str
        Operations and sizes whose data arrived wrong.
    notes : tuple of str
        What was left out.
    facts : dict
        Of libraries and devices, and how well launching was hidden.
    """

    rows: tuple[Row, ...]
    matrices: tuple[Matrix, ...]
    wrong: tuple[str, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]


def read_handed(path: Path, way: str) -> Handed:
    """Read what the ranks wrote, whose rows took a way.

    Raises
    ------
    InputError
        If there is none, or it says what no run can, with every fault.
    """
    document = json_document(path, read_bounded(path, MAX_RESULT_BYTES))
    kinds = {"rows": list, "matrices": list, "notes": list, "facts": dict}
    faults = [
        Fault(f"result: {key}", type(document.get(key)).__name__ if isinstance(document, dict) else "nothing", kind.__name__)
        for key, kind in kinds.items()
        if not isinstance(document, dict) or not isinstance(document.get(key), kind)
    ]
    if not faults:
        handed = _handed(document, way, faults)
    if faults:
        raise InputError(capped(faults, str(path)))
    return handed


def _handed(document: dict[str, Any], way: str, faults: list[Fault]) -> Handed:
    rows, matrices, wrong, hidden = list[Row](), list[Matrix](), list[str](), list[float]()
    for number, record in enumerate(document["rows"], 1):
        of_timing = {key: record.pop(key, None) for key in _OF_TIMING} if isinstance(record, dict) else {}
        before = len(faults)
        row = row_of(record | {"path": way} if isinstance(record, dict) else record, f"result: row {number}", faults)
        if row is not None:
            faults += row_faults(row, f"result: row {number}")
        if row is None or len(faults) > before:
            continue
        rows.append(row)
        if isinstance(share := of_timing["launch_hidden"], int | float) and 0 <= share <= 1:
            hidden.append(float(share))
        if not row.correct:
            wrong.append(f"{row.operation} {row.pattern} {row.size_bytes} B, {row.ranks} ranks")
    for number, record in enumerate(document["matrices"], 1):
        matrix = matrix_of(record, f"result: matrix {number}", faults)
        if matrix is not None:
            matrices.append(matrix)
            if record.get("correct") is not True:
                wrong.append(f"{matrix.pattern} {matrix.size_bytes} B, {len(matrix.gbps)} ranks")
    notes = tuple(str(note)[:400] for note in document["notes"])
    facts = document["facts"] | {"least_launch_hidden": min(hidden, default=None), "notes": list(notes)}
    return Handed(tuple(rows), tuple(matrices), tuple(wrong), notes, facts)
