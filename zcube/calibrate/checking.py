"""How wrong a calibration is: predictions against runs that were not used in the fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zcube.arrays import BoolArray, FloatArray
from zcube.calibrate.calibration import Calibration, ErrorSummary, HeldOut
from zcube.calibrate.fitting import fit
from zcube.calibrate.measurements import Measurements, hardware_kind
from zcube.calibrate.regimes import SIZES_PER_REGIME
from zcube.calibrate.soundness import checkable, groups, sound
from zcube.errors import Fault, InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Check:
    """Predicted against measured times.

    Attributes
    ----------
    measurements : Measurements
        The points that could be predicted.
    predicted_s : float array [points]
    how : str
        Which points these are.
    notes : tuple of str
        What could not be predicted, and other reservations.
    """

    measurements: Measurements
    predicted_s: FloatArray
    how: str
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> FloatArray:
        """``predicted / measured - 1`` of every point."""
        return self.predicted_s / self.measurements.time_s - 1.0

    def total(self, mask: BoolArray | None = None) -> ErrorSummary:
        """Return the errors of all points, or of those that a mask picks."""
        errors = np.abs(self.error if mask is None else self.error[mask])
        if not len(errors):
            return ErrorSummary(points=0, mape=0.0, median=0.0, p90=0.0)
        median, p90 = np.quantile(errors, (0.5, 0.9))
        return ErrorSummary(points=len(errors), mape=float(errors.mean()), median=float(median), p90=float(p90))

    def by_operation(self) -> dict[str, ErrorSummary]:
        """Return the errors of each operation."""
        return self._by(lambda number: str(self.measurements.operation[number]))

    def by_path(self) -> dict[str, ErrorSummary]:
        """Return the errors of each path class."""
        return self._by(lambda number: str(self.measurements.path[number]))

    def by_ranks(self) -> dict[int, ErrorSummary]:
        """Return the errors of each number of ranks."""
        return self._by(lambda number: int(self.measurements.ranks[number]))

    def by_decade(self) -> dict[int, ErrorSummary]:
        """Return the errors of each decade of sizes, by its lower end in bytes."""
        return self._by(lambda number: 10 ** math.floor(math.log10(self.measurements.size_bytes[number]) + 1e-12))

    def table(self) -> pd.DataFrame:
        """Return one row per point: measured and predicted time, ``error`` = predicted / measured - 1."""
        return self.measurements.table().assign(predicted_s=self.predicted_s, error=self.error)

    def document(self) -> dict[str, Any]:
        """Return the errors as plain values for JSON."""
        tables: dict[str, dict[Any, ErrorSummary]] = {
            "operation": self.by_operation(),
            "path": self.by_path(),
            "ranks": self.by_ranks(),
            "from_bytes": self.by_decade(),
        }
        lists = {
            f"by_{'size_decade' if key == 'from_bytes' else key}": [
                {key: value, **summary.model_dump()} for value, summary in table.items()
            ]
            for key, table in tables.items()
        }
        return {"how": self.how, "total": self.total().model_dump(), **lists, "notes": list(self.notes)}

    def _by(self, key: Callable[[int], Any]) -> dict[Any, ErrorSummary]:
        keys: list[Hashable] = [key(number) for number in range(len(self.measurements))]
        return {value: self.total(np.array([one == value for one in keys])) for value in sorted(set(keys))}  # type: ignore[type-var]


def check(calibration: Calibration, measurements: Measurements, how: str = "runs that were not fitted") -> Check:
    """Predict measured points.

    Raises
    ------
    InputError
        If none of them can be predicted, or if wrong data were received.
    """
    points = checkable(measurements)
    predicted = np.full(len(points), np.nan)
    notes, known = [], 0
    for group, rows in groups(points):
        sizes = points.size_bytes[rows]
        curve = calibration.curve(group.operation, group.ranks, group.path, group.pattern, hosts=group.hosts)
        for dtype in np.unique(points.dtype[rows]).tolist():
            same = rows[points.dtype[rows] == dtype]
            sent = points.size_bytes[same].astype(np.float64)
            times = calibration.predict_s(
                group.operation, group.ranks, group.path, sent, group.pattern, dtype, hosts=group.hosts
            )
            predicted[same] = np.nan if times is None else times
        if np.isnan(predicted[rows]).all():
            notes.append(f"no prediction of {group}: nothing like it was fitted")
            continue
        if curve is None:
            notes.append(f"{group} is predicted from other numbers of ranks")
        else:
            fitted = set(zip(curve.sizes_bytes, curve.times_s, strict=True))
            known += len(fitted & set(zip(sizes.tolist(), points.time_s[rows].tolist(), strict=True)))
    usable = ~np.isnan(predicted)
    if not usable.any():
        found = "; ".join(notes)[:300] or "no points"
        raise InputError(Fault(points.metadata.source or "measurements", found, "runs of operations that were fitted"))
    fitted_on, measured_on = (hardware_kind(one.hardware) for one in (calibration.provenance, points.metadata))
    if fitted_on and measured_on and fitted_on != measured_on:
        notes.append(f"measured on {measured_on}, predicted by a calibration of {fitted_on}")
    notes += _beyond(calibration, points.where(usable))
    if known:
        notes.append(
            f"{known} of {int(usable.sum())} points are among those that were fitted, so that the errors are too small"
        )
    return Check(points.where(usable), predicted[usable], how, tuple(notes))


def _beyond(calibration: Calibration, points: Measurements) -> list[str]:
    """Return in words how many points have sizes outside those that were fitted."""
    said = []
    for group, rows in groups(points):
        curves = [
            one
            for one in calibration.curves
            if (one.operation, one.path, one.pattern) == (group.operation, group.path, group.pattern)
        ]
        low, high = min(one.from_bytes for one in curves), max(one.to_bytes for one in curves)
        outside = int(((points.size_bytes[rows] < low) | (points.size_bytes[rows] > high)).sum())
        if outside:
            said.append(
                f"{outside} of {len(rows)} points of {group} lie outside the {low:.4g} to {high:.4g} bytes that were fitted"
            )
    return said


def held_out(measurements: Measurements, every: int = 2, lenient: bool = False) -> Check:
    """Fit all sizes but every ``every``-th of each group, and predict those; the last size of a group is always fitted.

    Groups with too few sizes are fitted and predicted by nothing; they are left out.

    Raises
    ------
    InputError
        With what is wrong with the measurements, or if no group has enough sizes.
    """
    points, _ = sound(measurements, lenient)
    training, testing = np.zeros(len(points), dtype=np.bool_), np.zeros(len(points), dtype=np.bool_)
    skipped = []
    for group, rows in groups(points):
        sizes = np.unique(points.size_bytes[rows])
        left_out = np.isin(points.size_bytes[rows], sizes[every - 1 : -1 : every])
        if len(sizes) - len(sizes[every - 1 : -1 : every]) < SIZES_PER_REGIME or not left_out.any():
            skipped.append(f"{group} has too few sizes to keep any out")
            continue
        training[rows[~left_out]], testing[rows[left_out]] = True, True
    if not testing.any():
        found = f"no group with more than {SIZES_PER_REGIME + 1} sizes"
        raise InputError(Fault(points.metadata.source or "measurements", found, "enough sizes to keep some out of the fit"))
    how = "every second size kept out of the fit" if every == 2 else f"every {every}th size kept out of the fit"
    result = check(fit(points.where(training), draws=0), points.where(testing), how)
    return Check(result.measurements, result.predicted_s, how, (*result.notes, *skipped))


def leave_ranks_out(measurements: Measurements, ranks: int, lenient: bool = False) -> Check:
    """Fit all numbers of ranks but one, and predict that one.

    Raises
    ------
    InputError
        If fewer than two other numbers of ranks were measured.
    """
    points, _ = sound(measurements, lenient)
    testing = points.ranks == ranks
    others = np.unique(points.ranks[~testing])
    if not testing.any() or len(others[others > 1]) < 2:
        found = f"numbers of ranks {', '.join(str(count) for count in np.unique(points.ranks))}"
        raise InputError(Fault(points.metadata.source or "measurements", found, f"{ranks} and two other numbers of ranks"))
    fitted = fit(points.where(~testing), draws=0)
    return check(fitted, points.where(testing), f"{ranks} ranks, predicted from {', '.join(str(count) for count in others)}")


def with_held_out(calibration: Calibration, measurements: Measurements, lenient: bool = False) -> Calibration:
    """Return a calibration that carries its error on every second size; without one where there are too few sizes."""
    try:
        result = held_out(measurements, lenient=lenient)
    except InputError as error:
        return calibration.model_copy(update={"notes": (*calibration.notes, f"error not checked: {error.faults[0].found}")})
    summary = HeldOut(how=result.how, total=result.total(), by_operation=result.by_operation())
    return calibration.model_copy(update={"held_out": summary})
