"""What an import read, used and left out, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zcube.report.names import printable
from zcube.report.quantities import bytes_text

#: Files listed one by one.
MOST_FILES = 20


def import_text(document: Mapping[str, Any]) -> str:
    """Return the report of an import as lines with a final newline.

    Parameters
    ----------
    document : mapping
        ``ImportReport.document()``.
    """
    lines = [f"{document['format']}: {document['records_read']:,} records read, {document['records_used']:,} used"]
    for name, total in document["operations"].items():
        lines.append(f"  {printable(name):<20} {total['count']:>10,}  {bytes_text(total['size_bytes'])}")
    for reason, count in sorted(document["skipped"].items(), key=lambda item: -item[1]):
        lines.append(f"skipped {count:,}: {printable(reason)}")
        examples = [example for file in document["files"] for example in file["examples"].get(reason, [])]
        lines += [f"  {printable(where)}  {printable(text)}" for where, text in examples[:3]]
    lines += [f"note: {printable(note)}" for note in document["notes"]]
    broken = [file["broken"] for file in document["files"] if file["broken"]]
    lines += [f"broken off: {printable(text)}" for text in broken[:MOST_FILES]]
    return "\n".join(lines) + "\n"
