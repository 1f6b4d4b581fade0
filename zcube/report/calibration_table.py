"""A calibration, its error and what a run takes of it, as plain text for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text, time_text

if TYPE_CHECKING:
    from zcube.calibrate.calibration import Calibration, Curve, ErrorSummary, Regime
    from zcube.calibrate.checking import Check
    from zcube.calibrate.measurements import Measurements

#: Rows of a table beyond which the rest is given as a count.
MOST_ROWS = 60


def measurements_text(measurements: Measurements) -> str:
    """Return what was read: operations, path classes, ranks and sizes, with the notes of the reader."""
    rows: dict[tuple[str, str, int, int], list[int]] = {}
    columns = (measurements.operation, measurements.path, measurements.ranks, measurements.hosts)
    keys = zip(*(column.tolist() for column in columns), strict=True)
    for key, size in zip(keys, measurements.size_bytes.tolist(), strict=True):
        rows.setdefault(key, []).append(size)
    cells = [["Operation", "Path", "Ranks", "Points", "Sizes"]]
    for (operation, path, ranks, hosts), sizes in sorted(rows.items())[:MOST_ROWS]:
        span = f"{bytes_text(min(sizes))} to {bytes_text(max(sizes))}"
        cells.append([operation, path, _ranks(ranks, hosts), str(len(sizes)), span])
    metadata = measurements.metadata
    head = [f"{len(measurements):,} points; {_machine(metadata.hardware, metadata.backend, metadata.nccl_version)}", ""]
    return _text([*head, *aligned(cells, 2), *_rest(len(rows)), *_notes(measurements.notes)])


def calibration_text(calibration: Calibration) -> str:
    """Return the regimes of every curve with their intervals, and the error on points that were kept out of the fit."""
    lines = [
        *calibration_head(calibration),
        "",
    ]
    lines += [*aligned(curve_cells(calibration, MOST_ROWS), 2), *_rest(len(calibration.curves))]
    held_out = calibration.held_out
    if held_out is not None:
        lines += ["", f"Error, {held_out.how}", *_errors("Operation", held_out.by_operation, held_out.total)]
    return _text([*lines, *_notes(calibration.notes)])


def calibration_head(calibration: Calibration) -> list[str]:
    """Return what a calibration is of: points, machine, data, bootstrap."""
    provenance, draws = calibration.provenance, calibration.bootstrap_draws
    intervals = f"95 % intervals from {draws} bootstrap rounds" if draws else "no intervals"
    return [
        f"{provenance.points:,} points; {_machine(provenance.hardware, provenance.backend, provenance.nccl_version)}",
        f"data {provenance.data_sha256[:16]}; {intervals}",
    ]


def curve_cells(calibration: Calibration, most: int | None = None) -> list[list[str]]:
    """Return the regimes of a calibration's first curves as a table, heads first; a curve's name stands at its first regime."""
    cells = [["Operation", "Path", "Ranks", "From", "To", "Latency", "95 %", "Rate", "On the wire"]]
    for curve in calibration.curves[:most]:
        for number, regime in enumerate(curve.regimes):
            name = " ".join(filter(None, (curve.operation, curve.pattern, curve.dtype)))
            first = [printable(name), curve.path, _ranks(curve.ranks, curve.hosts)] if number == 0 else ["", "", ""]
            cells.append([*first, *_regime(curve, regime)])
    return cells


def check_text(check: Check) -> str:
    """Return the errors by operation, path, ranks and size."""
    lines = [f"Predicted against measured: {check.how}"]
    total = check.total()
    decades = {f"{bytes_text(low)} to {bytes_text(10 * low)}": summary for low, summary in check.by_decade().items()}
    tables: list[tuple[str, Mapping[Any, ErrorSummary]]] = [
        ("Operation", dict(check.by_operation())),
        ("Path", dict(check.by_path())),
        ("Ranks", dict(check.by_ranks())),
        ("Size", dict(decades)),
    ]
    for head, table in tables:
        lines += ["", *_errors(head, table, total if head == "Operation" else None)]
    return _text([*lines, *_notes(check.notes)])


def _ranks(ranks: int, hosts: int) -> str:
    return f"{ranks} on {hosts} hosts" if hosts > 1 else str(ranks)


def _regime(curve: Curve, regime: Regime) -> list[str]:
    interval = regime.latency_interval_s
    bandwidth = regime.bandwidth_bytes_per_s
    wire = None if bandwidth is None else bandwidth * curve.wire_factor
    return [
        bytes_text(regime.from_bytes),
        bytes_text(regime.to_bytes),
        time_text(regime.latency_s),
        "-" if interval is None else f"{interval[0] * 1e6:.4g} to {interval[1] * 1e6:.4g} us",
        "-" if bandwidth is None else f"{bytes_text(bandwidth)}/s",
        "-" if wire is None else f"{bytes_text(wire)}/s",
    ]


def _errors(head: str, table: Mapping[Any, ErrorSummary], total: ErrorSummary | None) -> list[str]:
    return aligned(error_cells(head, table, total), 1)


def error_cells(head: str, table: Mapping[Any, ErrorSummary], total: ErrorSummary | None) -> list[list[str]]:
    """Return relative errors by something as a table, heads first."""
    cells = [[head, "Points", "MAPE", "Median", "P90"]]
    rows: list[tuple[str, ErrorSummary]] = [(str(key), summary) for key, summary in table.items()]
    for name, summary in [*rows[:MOST_ROWS], *([("all", total)] if total else [])]:
        cells.append([name, f"{summary.points:,}", f"{summary.mape:.1%}", f"{summary.median:.1%}", f"{summary.p90:.1%}"])
    return cells


def _machine(hardware: str, backend: str, version: str) -> str:
    return printable(", ".join(filter(None, (hardware or "hardware not recorded", f"{backend} {version}".strip()))))[:200]


def _notes(notes: Sequence[str]) -> list[str]:
    return ["", *(f"note: {printable(note)[:300]}" for note in notes[:MOST_ROWS]), *_rest(len(notes))] if notes else []


def _rest(rows: int) -> list[str]:
    return [f"... and {rows - MOST_ROWS:,} more"] if rows > MOST_ROWS else []


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
