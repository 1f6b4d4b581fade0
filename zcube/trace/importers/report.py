"""What an import read, used and left out, and what it returns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from zcube.errors import Fault
from zcube.trace.comm_trace import CommTrace

#: Examples kept of each reason for leaving a record out.
EXAMPLES = 3
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Example:
    """One record left out: where it stands and how it begins."""

    where: str
    text: str


@dataclass
class FileReport:
    """What was read of one file; every record read is either used or skipped.

    Attributes
    ----------
    path, unit : str
        The file, and what its records are: ``line``, ``record`` or ``message``.
    read, used : int
        Records read; those that became (part of) an operation.
    skipped : Counter
        Records left out, by reason.
    examples : dict
        The first few records of each reason.
    broken : Fault, optional
        Where the file is cut short or corrupt; what stands before it was used.
    """

    path: str
    unit: str = "record"
    read: int = 0
    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    broken: Fault | None = None

    def skip(self, reason: str, number: int, text: object = "") -> None:
        """Count a record as left out."""
        self.skipped[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(Example(f"{self.path}: {self.unit} {number}", _short(text)))

    def drop(self, reason: str, number: int, text: object = "") -> None:
        """Count a record that had been used as left out after all."""
        self.used -= 1
        self.skip(reason, number, text)

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "path": self.path,
            f"{self.unit}s_read": self.read,
            f"{self.unit}s_used": self.used,
            "skipped": dict(self.skipped),
            "examples": {reason: [[e.where, e.text] for e in examples] for reason, examples in self.examples.items()},
            "broken": str(self.broken) if self.broken else None,
        }


@dataclass(frozen=True)
class OperationTotal:
    """Operations of one name: how many, and their bytes (of a collective, what one rank puts in)."""

    count: int
    size_bytes: int


@dataclass(frozen=True)
class ImportReport:
    """What an import read and could not use.

    Attributes
    ----------
    format : str
        Name of the format.
    files : tuple of FileReport
        One per file.
    operations : dict
        Totals of the trace by operation.
    notes : tuple of str
        What the format does not record, and what was assumed.
    """

    format: str
    files: tuple[FileReport, ...]
    operations: dict[str, OperationTotal]
    notes: tuple[str, ...]

    @property
    def read(self) -> int:
        """Records read in all files."""
        return sum(file.read for file in self.files)

    @property
    def used(self) -> int:
        """Records used in all files."""
        return sum(file.used for file in self.files)

    @property
    def skipped(self) -> Counter[str]:
        """Records left out in all files, by reason."""
        return sum((file.skipped for file in self.files), Counter())

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "format": self.format,
            "records_read": self.read,
            "records_used": self.used,
            "skipped": dict(self.skipped),
            "operations": {
                name: {"count": total.count, "size_bytes": total.size_bytes} for name, total in self.operations.items()
            },
            "notes": list(self.notes),
            "files": [file.document() for file in self.files],
        }


@dataclass(frozen=True)
class Imported:
    """An imported trace with its report.

    Attributes
    ----------
    trace : CommTrace
        Everything that could be used.
    report : ImportReport
        What was read, used and left out.
    broken : Fault, optional
        The first place at which a file is cut short or corrupt; the files' reports hold all of them.
    """

    trace: CommTrace
    report: ImportReport
    broken: Fault | None


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    # An example is printed, so that nothing in it may drive a terminal.
    text = "".join(char if char.isprintable() else " " for char in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
