"""Fitting: a curve per operation, number of ranks and path class, and a model over the numbers of ranks.

Types (``half``, ``int8`` ...) are pooled, since what moves is bytes. Reductions also compute: the all-reduce of eight H200
takes up to 30 % longer for ``int8`` than for ``half`` in NVIDIA's aiconfigurator tables. A reduction measured in several types
therefore gets a curve of each beside the pooled one, which stands for types that were not measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zcube.calibrate.bootstrap import DRAWS, intervals
from zcube.calibrate.calibration import (
    Calibration,
    Curve,
    Provenance,
    Regime,
    Scaling,
    ScalingRegime,
    ranks_per_host,
    write_calibration,
)
from zcube.calibrate.measurements import Measurements
from zcube.calibrate.operations import REDUCING
from zcube.calibrate.regimes import SIZES_PER_REGIME, evaluate, fit_pieces
from zcube.calibrate.residuals import shared_weight
from zcube.calibrate.scaling import fit_scaling
from zcube.calibrate.soundness import Group, groups, sound
from zcube.progress import Progress, silent

#: Sizes below which a type has no curve of its own.
SIZES_PER_TYPE = 2 * SIZES_PER_REGIME


def fit(
    measurements: Measurements, *, seed: int = 0, draws: int = DRAWS, lenient: bool = False, progress: Progress = silent
) -> Calibration:
    """Fit measurements.

    Parameters
    ----------
    measurements : Measurements
        What was measured on one kind of machine.
    seed : int
        Of the bootstrap.
    draws : int
        Rounds of the bootstrap; 0 leaves the intervals out.
    lenient : bool
        Leave out groups that cannot be fitted instead of refusing.
    progress : Progress
        Told how many kinds of run are fitted.

    Raises
    ------
    InputError
        With what is wrong with the measurements.
    """
    from zcube import __version__

    points, notes = sound(measurements, lenient)
    grouped = list(groups(points))
    curves: list[Curve] = []
    for number, (group, rows) in enumerate(grouped):
        progress("fitting", number, len(grouped), "kinds of run")
        curves += _curves(group, points, rows, seed, draws)
    return Calibration(
        zcube_version=__version__,
        seed=seed,
        bootstrap_draws=draws,
        provenance=_provenance(points),
        curves=tuple(curves),
        scalings=_scalings(points),
        notes=(*measurements.notes, *notes),
    )


def fit_file(
    measurements: Measurements,
    path: Path,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    lenient: bool = False,
    progress: Progress = silent,
) -> Calibration:
    """Fit measurements, check the fit on every second size and write both; a fit that fails leaves the file as it was.

    Raises
    ------
    InputError
        With what is wrong with the measurements.
    """
    from zcube.calibrate.checking import with_held_out

    fitted = fit(measurements, seed=seed, draws=draws, lenient=lenient, progress=progress)
    progress("predicting sizes left out", 0, 0, "")
    calibration = with_held_out(fitted, measurements, lenient=lenient)
    write_calibration(calibration, path)
    return calibration


def _curves(group: Group, measurements: Measurements, rows: np.ndarray, seed: int, draws: int) -> list[Curve]:
    """Return the curve of all types, and for reductions those of single types behind it."""
    points = measurements.where(rows)
    parts = {str(name): points.where(points.dtype == name) for name in np.unique(points.dtype)}
    apart = group.operation in REDUCING and len(parts) > 1
    typed = [
        _curve(group, part, name, seed, draws)
        for name, part in parts.items()
        if apart and name and len(np.unique(part.size_bytes)) >= SIZES_PER_TYPE
    ]
    return [_curve(group, points, "", seed, draws), *typed]


def _curve(group: Group, points: Measurements, dtype: str, seed: int, draws: int) -> Curve:
    order = np.lexsort((points.time_s, points.size_bytes))
    size_bytes, time_s = points.size_bytes[order].astype(np.float64), points.time_s[order]
    pieces = fit_pieces(size_bytes, time_s)
    found = intervals(pieces, size_bytes, time_s, seed, draws) if draws else [(None, None)] * len(pieces)
    regimes = tuple(
        Regime(**piece._asdict(), latency_interval_s=latency, s_per_byte_interval=slope)
        for piece, (latency, slope) in zip(pieces, found, strict=True)
    )
    return Curve(
        operation=group.operation,
        path=group.path,
        pattern=group.pattern,
        ranks=group.ranks,
        hosts=group.hosts,
        dtype=dtype,
        regimes=regimes,
        sizes_bytes=tuple(int(size) for size in size_bytes),
        times_s=tuple(time_s.tolist()),
        log_residuals=tuple(np.log(time_s / evaluate(pieces, size_bytes)).tolist()),
        residual_weight=shared_weight(size_bytes, time_s),
    )


def _scalings(points: Measurements) -> tuple[Scaling, ...]:
    by_kind: dict[tuple[str, str, str, int], list[int]] = {}
    for group, rows in groups(points):
        # One rank alone moves bytes within its own memory, which says nothing about links.
        if group.ranks > 1:
            kind = (group.operation, group.path, group.pattern, ranks_per_host(group.ranks, group.hosts))
            by_kind.setdefault(kind, []).extend(rows.tolist())
    found = []
    for (operation, path, pattern, on_host), numbers in by_kind.items():
        rows = np.array(numbers)
        counts = np.unique(points.ranks[rows])
        if len(counts) > 1:
            columns = (points.size_bytes[rows].astype(np.float64), points.ranks[rows].astype(np.float64), points.time_s[rows])
            regimes = tuple(ScalingRegime(**piece._asdict()) for piece in fit_scaling(operation, *columns, on_host))
            ranks = tuple(int(count) for count in counts)
            found.append(
                Scaling(operation=operation, path=path, pattern=pattern, ranks=ranks, ranks_per_host=on_host, regimes=regimes)
            )
    return tuple(found)


def _provenance(points: Measurements) -> Provenance:
    metadata = points.metadata
    return Provenance(
        hardware=metadata.hardware,
        backend=metadata.backend,
        nccl_version=metadata.nccl_version,
        source=metadata.source,
        how=metadata.how,
        nic_line_rate_gbps=metadata.nic_line_rate_gbps,
        nvlink_line_rate_gbps=metadata.nvlink_line_rate_gbps,
        data_sha256=points.digest(),
        points=len(points),
    )
