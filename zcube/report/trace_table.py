"""What a communication trace adds up to, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text, time_text

#: Rows of a table beyond which the rest is given as a count.
MOST_ROWS = 40


def trace_text(document: Mapping[str, Any]) -> str:
    """Return the totals of a trace as aligned lines: whole, by phase, by operation and phase, by rail.

    Operations that neither move bytes nor take time, such as the ends of collectives, are left out.

    Parameters
    ----------
    document : mapping
        ``TraceTotals.document()``.

    Returns
    -------
    str
        Lines with a final newline.
    """
    whole = document["total"]
    counts = [f"{whole[kind]:,} {kind}" for kind in ("computations", "transfers", "collectives") if whole[kind]]
    lines = [f"{document['ranks']:,} ranks; {', '.join(counts) or 'no operations'}"]
    lines += _metadata(document["metadata"])
    lines.append("")
    lines += _pair(
        "Bytes", f"{bytes_text(whole['bytes'])}, of which between nodes {bytes_text(document['between_nodes_bytes'])}"
    )
    between = document["between_nodes_bytes"]
    if between:
        same = document["between_nodes_same_rail_bytes"]
        lines += _pair("  on one rail", f"{bytes_text(same)} ({same / between:.1%})")
    lines += _pair(
        "Busiest rank", f"sends {_most(document, 'ranks_sent_bytes')}, receives {_most(document, 'ranks_received_bytes')}"
    )
    lines += _pair("Computation", f"{time_text(whole['compute_s'])} on all ranks together")
    lines += _pair("Longest chain", f"{time_text(document['critical_path_s'])}, communication taking no time")
    used = [row for row in document["operations_by_phase"] if row["bytes"] or row["collectives"] or row["compute_s"]]
    lines += _table(("Phase",), [(_phase(row), row) for row in document["phases"]], whole)
    lines += _table(("Operation", "Phase"), [(f"{row['operation']}\t{_phase(row)}", row) for row in used], whole)
    lines += _rails(document["between_nodes_rails"])
    lines += _decode_step(document["metadata"].get("decode_step"))
    if whole["collectives"]:
        lines += ["", "Collectives: the bytes that one rank puts in; what they send is known once they are expanded."]
    return "\n".join(lines) + "\n"


def _decode_step(step: Any) -> list[str]:
    """Return where the time of TileRT's decode step goes, by worker, and what each of its ideas saves."""
    try:
        return _decode_step_lines(step) if step else []
    except (KeyError, IndexError, TypeError, ValueError):
        # Metadata is whatever a file holds.
        return []


def _decode_step_lines(step: Mapping[str, Any]) -> list[str]:
    speed = f"{step['step_ms']:.4g} ms, {step['tokens_per_s']:.4g} tokens/s with {step['accepted_tokens']:g} accepted a step"
    lines = ["", f"Decode step at {step['context_tokens']:,} tokens of context, {step['drafts']} drafts: {speed}"]
    fields = [key for key in step["workers"][0] if key.endswith("_ms")]
    cells = [["Worker, ms", *(field.removesuffix("_ms").replace("_", " ") for field in fields)]]
    cells += [[printable(str(row["worker"])), *(f"{row[field]:.3f}" for field in fields)] for row in step["workers"]]
    lines += aligned(cells, 1)
    cells = [["Engine", "step, ms", "saved, ms"]]
    cells += [[printable(str(row["engine"])), f"{row['step_ms']:.3f}", f"{row['saved_ms']:.3f}"] for row in step["ideas"]]
    return [*lines, "", *aligned(cells, 1)]


def _pair(name: str, value: str) -> list[str]:
    return [f"{name:<16} {value}"]


def _metadata(metadata: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in metadata.items() if isinstance(value, str | int | float)}
    return [f"{printable(key)}: {printable(str(value))[:100]}" for key, value in list(plain.items())[:MOST_ROWS]]


def _phase(row: Mapping[str, Any]) -> str:
    return row["phase"] or "-"


def _most(document: Mapping[str, Any], key: str) -> str:
    return bytes_text(max(document[key], default=0))


def _table(heads: Sequence[str], rows: Sequence[tuple[str, Mapping[str, Any]]], whole: Mapping[str, Any]) -> list[str]:
    """Return a table of sums; columns that are empty throughout are left out."""
    columns = {
        "transfers": ("Transfers", lambda row: f"{row['transfers']:,}"),
        "bytes": ("Bytes", lambda row: bytes_text(row["bytes"])),
        "collectives": ("Collectives", lambda row: f"{row['collectives']:,}"),
        "collective_put_in_bytes": ("Put in", lambda row: bytes_text(row["collective_put_in_bytes"])),
        "computations": ("Computations", lambda row: f"{row['computations']:,}"),
        "compute_s": ("Computing", lambda row: time_text(row["compute_s"])),
    }
    shown = {key: column for key, column in columns.items() if whole[key]}
    cells = [[*heads, *(head for head, _ in shown.values())]]
    for name, row in rows[:MOST_ROWS]:
        values = [form(row) if row[key] else "-" for key, (_, form) in shown.items()]
        cells.append([*(printable(part) for part in name.split("\t", len(heads) - 1)), *values])
    return ["", *aligned(cells, len(heads)), *_rest(len(rows))] if rows else []


def _rails(rails: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return bytes between nodes by source rail (down) and target rail (across)."""
    if not rails:
        return []
    sources = sorted({row["source_rail"] for row in rails})
    targets = sorted({row["target_rail"] for row in rails})
    if len(sources) > MOST_ROWS or len(targets) > MOST_ROWS:
        return []
    size = {(row["source_rail"], row["target_rail"]): row["bytes"] for row in rails}
    cells = [["Rail", *(f"to {target}" for target in targets)]]
    for source in sources:
        row = [size.get((source, target), 0) for target in targets]
        cells.append([f"from {source}", *(bytes_text(value) if value else "-" for value in row)])
    return ["", "Bytes between nodes, by rail", *aligned(cells, 1)]


def _rest(rows: int) -> list[str]:
    return [f"... and {rows - MOST_ROWS:,} more"] if rows > MOST_ROWS else []
