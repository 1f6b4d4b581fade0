"""What recordings are good for, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text

#: Files listed one by one.
MOST_FILES = 40
_COLUMNS = ("calls", "sizes", "starts", "durations", "sends", "receives", "collectives", "computations")
_HOW = {
    "recorded": "the files name the hosts of all ranks",
    "partly recorded": "the files name hosts, and not of all ranks or not as nodes are",
    "given": "as was said (--ranks-per-node); the files name no hosts",
    "assumed": "nothing in the files says where ranks are",
}


def check_text(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the documents of :class:`~zcube.trace.importers.checking.Checked` as lines with a final newline."""
    lines = [] if len(documents) == 1 else [f"{len(documents)} formats: each is a job of its own, imported by itself", ""]
    for document in documents:
        lines += [*_one(document), ""]
    return "\n".join(lines[:-1]) + "\n"


def _one(document: Mapping[str, Any]) -> list[str]:
    can, place = document["replayable"], document["placement"]
    sizes = ", ".join(f"{printable(name)} {bytes_text(size)}" for name, size in can["bytes_by_operation"].items() if size)
    nodes = f"{place['nodes']} nodes of {place['ranks_per_node']}"
    lines = [
        f"Format       {document['format']}",
        f"Replayable   {can['operations']:,} operations of {can['ranks']:,} ranks: {can['transfers']:,} transfers,"
        f" {can['collectives']:,} collectives, {can['computations']:,} computations",
        f"Bytes        {sizes or 'none'}",
        f"Order        {can['order']}",
        f"Placement    {place['how']}: {nodes}; {_HOW[place['how']]}",
    ]
    lines += [f"Missing      {each['what']}: {printable(each['found'])} ({each['cure']})" for each in document["missing"]]
    lines += [f"Doubt        {printable(doubt)}" for doubt in document["doubts"]]
    files = document["files"]
    rows: list[tuple[str, ...]] = [("file", "ranks", *_COLUMNS, "broken")]
    for file in files[:MOST_FILES]:
        ranks, counts = file["ranks"], [f"{file[key]:,}" for key in _COLUMNS]
        listed = "none" if ranks["first"] is None else f"{ranks['first']}"
        listed += f" to {ranks['last']}" if ranks["count"] > 1 else ""
        rows.append((printable(file["path"]), listed, *counts, "yes" if file["broken"] else "no"))
    lines += ["", *aligned(rows)]
    return lines + ([f"... and {len(files) - MOST_FILES} more"] if len(files) > MOST_FILES else [])
