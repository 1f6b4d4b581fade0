"""Measured against fitted times, with residuals: one column of panels per operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.report.palette import COLOURS
from zcube.report.picture import picture_text, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zcube.calibrate.calibration import Calibration, Curve

#: Operations drawn, and curves of each; more would not be told apart.
MOST_OPERATIONS, MOST_CURVES = 5, 6
_MARKERS = ("o", "s", "^", "D", "v", "P")
_POINTS_PER_LINE = 400


def plot_calibration(calibration: Calibration) -> Figure:
    """Draw times by size, measured as marks and fitted as lines, and the residuals below.

    Parameters
    ----------
    calibration : Calibration
        With the points it was fitted to.
    """
    from matplotlib.figure import Figure

    # Where types have curves of their own, those show what the pooled one averages.
    apart = {(curve.operation, curve.path, curve.pattern, curve.ranks) for curve in calibration.curves if curve.dtype}
    drawn = [
        curve
        for curve in calibration.curves
        if curve.dtype or (curve.operation, curve.path, curve.pattern, curve.ranks) not in apart
    ]
    operations = list(dict.fromkeys(curve.operation for curve in drawn))
    shown = sorted(operations, key=lambda name: (name != "alltoall", operations.index(name)))[:MOST_OPERATIONS]
    figure = Figure(figsize=(max(6.5, 3.6 * len(shown)), 6.2), layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False, sharex="col", sharey="row", height_ratios=(3, 1.3))
    left_out = len(operations) - len(shown)
    for column, operation in enumerate(shown):
        curves = [curve for curve in drawn if curve.operation == operation]
        left_out += max(0, len(curves) - MOST_CURVES)
        _column(panels[0, column], panels[1, column], operation, curves[:MOST_CURVES])
    panels[0, 0].set_ylabel("time")
    panels[1, 0].set_ylabel("measured / fitted - 1 (%)")
    widest = max(float(np.abs(np.expm1(curve.log_residuals)).max()) for curve in drawn)
    panels[1, 0].set_ylim(-105 * max(widest, 0.01), 105 * max(widest, 0.01))
    title(figure, "Measured (marks) and fitted (lines); ticks below show where regimes start", _under(calibration, left_out))
    return figure


def _column(times: Axes, residuals: Axes, operation: str, curves: list[Curve]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    for number, curve in enumerate(curves):
        colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
        sizes, measured = np.array(curve.sizes_bytes), np.array(curve.times_s)
        points: dict[str, Any] = {"linestyle": "none", "marker": marker, "markersize": 3.5, "color": colour, "alpha": 0.75}
        kind = "".join(f" {part}" for part in (curve.pattern, curve.dtype) if part)
        line = np.geomspace(curve.from_bytes, curve.to_bytes, _POINTS_PER_LINE)
        times.plot(line, curve.line_s(line), color=colour, linewidth=1.2)
        times.plot(sizes, measured, label=picture_text(f"{curve.ranks} ranks, {curve.path}{kind}"), **points)
        for regime in curve.regimes[1:]:
            # Short marks on the axis show where a regime starts.
            residuals.axvline(regime.from_bytes, ymax=0.07, color=colour, linewidth=1.2)
        residuals.plot(sizes, 100 * np.expm1(curve.log_residuals), **points)
    times.set_title(picture_text(operation), fontsize=10)
    times.set_xscale("log", base=2)
    times.set_yscale("log")
    times.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _time(value)))
    times.legend(fontsize=7, loc="upper left")
    residuals.axhline(0.0, color="#999999", linewidth=0.7, zorder=0)
    residuals.set_xlabel("size")
    residuals.xaxis.set_major_locator(LogLocator(base=2.0, numticks=5))
    residuals.tick_params(labelsize=8)
    times.tick_params(labelsize=8)
    residuals.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size(value)))
    for axes in (times, residuals):
        axes.grid(True, color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)


def _under(calibration: Calibration, left_out: int) -> str:
    provenance, held_out = calibration.provenance, calibration.held_out
    parts = [provenance.hardware or "hardware not recorded", f"{provenance.backend} {provenance.nccl_version}".strip()]
    parts.append(f"{provenance.points:,} points, data {provenance.data_sha256[:12]}")
    if held_out is not None:
        parts.append(f"error with {held_out.how}: median {held_out.total.median:.1%}, P90 {held_out.total.p90:.1%}")
    if left_out:
        parts.append(f"{left_out} curves not drawn")
    return "; ".join(parts)


def _size(value: float) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} B"


def _time(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} us"
