"""Calibrations that the bootstrap holds possible beside the fitted one, and which of them bound a run.

A round of the bootstrap is one fit of a whole curve, so that its latency, its slope and the regimes beside them belong
together. The rounds are those whose quantiles the file has as intervals, made again from the points in it. Curves were measured
apart, so that their errors are taken to be independent: the rounds of each are put in an order of its own, by the stream
``calibration rounds`` and its name. What all curves of a machine have in common, and what other machines have otherwise, is in
no interval.

A run is bounded by rounds that lie between :data:`TAILS` and the rest to 1 when all are put in order of the seconds that the
run's calibrated messages take alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.calibrate.apply import AppliedCalibration, apply_calibration
from zcube.calibrate.bootstrap import LEVEL, DrawnRegime, Rounds, rounds
from zcube.calibrate.calibration import MOST_LATENCY_S, MOST_S_PER_BYTE, Calibration, Curve, Regime, Scaling, ranks_per_host
from zcube.calibrate.points import MOST_GBPS
from zcube.calibrate.regimes import Piece
from zcube.calibrate.scaling import ScalingPiece, scaling_rounds
from zcube.seeds import stream

TAILS = (1.0 - LEVEL) / 2
#: Rounds that are run unless told otherwise: the ends of the interval.
ENDS = 2
#: Rounds that are made at most, and their times of all points together: a file says how many its intervals are from.
MOST_ROUNDS, MOST_TIMES = 1000, 20_000_000


@dataclass(frozen=True, eq=False)
class CalibrationDraws:
    """Every round of a calibration's bootstrap.

    Attributes
    ----------
    calibration : Calibration
        The fit.
    count : int
        Rounds; 0 if no curve has intervals.
    without : tuple of str
        Curves without intervals, which are the same in every round, by name.
    """

    calibration: Calibration
    count: int
    without: tuple[str, ...]
    _drawn: tuple[Rounds | None, ...]
    _scalings: tuple[list[FloatArray] | None, ...]

    @classmethod
    def of(cls, calibration: Calibration) -> CalibrationDraws:
        """Make the rounds of those curves that runs may use: of all types, without a pattern."""
        points = sum(len(curve.times_s) for curve in calibration.curves)
        count = min(calibration.bootstrap_draws, MOST_ROUNDS, MOST_TIMES // points)
        drawn = tuple(_rounds(calibration, curve, count) for curve in calibration.curves)
        plain = zip(calibration.curves, drawn, strict=True)
        without = [_name(curve) for curve, found in plain if found is None and _is_used(curve)]
        count = count if any(found is not None for found in drawn) else 0
        scalings = tuple(_scaling_rounds(calibration, model, count) if count else None for model in calibration.scalings)
        models = zip(calibration.scalings, scalings, strict=True)
        without += [
            f"{one.operation} over {one.path} among numbers of ranks" for one, found in models if not (found or one.pattern)
        ]
        return cls(calibration, count, tuple(without), drawn, scalings)

    def __getitem__(self, number: int) -> Calibration:
        """Return a round as a calibration; its points stay the fit's."""
        curves = tuple(
            curve if found is None else _curve(curve, found, number)
            for curve, found in zip(self.calibration.curves, self._drawn, strict=True)
        )
        scalings = tuple(
            model if found is None else _scaling(model, found, number)
            for model, found in zip(self.calibration.scalings, self._scalings, strict=True)
        )
        return self.calibration.model_copy(update={"curves": curves, "scalings": scalings})


@dataclass(frozen=True, eq=False)
class Bounds:
    """Calibrations that bound a run, from that with the fastest messages to that with the slowest.

    Attributes
    ----------
    applied : tuple of AppliedCalibration
        None where nothing is to be bounded, or nothing can be.
    rounds : int
        Rounds of the bootstrap that they are picked from.
    without : tuple of str
        Curves without intervals, by name.
    why_none : str or None
        Why there are none.
    """

    applied: tuple[AppliedCalibration, ...]
    rounds: int
    without: tuple[str, ...]
    why_none: str | None = None

    def document(self) -> dict[str, Any]:
        """Return what is said of them, JSON-ready."""
        return {
            "draws": len(self.applied),
            "rounds": self.rounds,
            "level": LEVEL,
            "without_intervals": list(self.without),
            "why_none": self.why_none,
        }


def bounds_of(measured: AppliedCalibration, wanted: int, seconds: Callable[[AppliedCalibration], float]) -> Bounds:
    """Return the rounds that bound a run.

    Parameters
    ----------
    measured : AppliedCalibration
        What the run was made with.
    wanted : int
        How many are picked, evenly by rank, the ends of the interval among them; 0 for none.
    seconds : callable
        What the run's calibrated messages take alone by a calibration.
    """
    if not wanted:
        return Bounds((), 0, (), "calibration_draws is 0")
    assert measured.calibration is not None
    draws = CalibrationDraws.of(measured.calibration)
    if draws.count < ENDS:
        return Bounds((), 0, draws.without, "the calibration has no intervals (it was fitted with --draws 0 or 1)")
    applied = [apply_calibration(draws[number], faster_than_line=True) for number in range(draws.count)]
    taken = np.array([seconds(one) for one in applied])
    if np.ptp(taken) <= 1e-12 * taken.max():
        return Bounds((), draws.count, draws.without, "no message of the run takes a time that has an interval")
    order = np.argsort(taken, kind="stable")
    ranks = np.round(np.linspace(TAILS, 1.0 - TAILS, wanted) * (draws.count - 1)).astype(np.int64)
    return Bounds(tuple(applied[number] for number in order[np.unique(ranks)]), draws.count, draws.without)


def _is_used(curve: Curve) -> bool:
    return not curve.pattern and not curve.dtype and curve.ranks > 1


def _name(curve: Curve) -> str:
    return f"{curve.operation} among {curve.ranks} ranks over {curve.path}"


def _rounds(calibration: Calibration, curve: Curve, count: int) -> Rounds | None:
    """Return the rounds of a curve in an order of its own; None if it has no intervals or nothing uses it."""
    known = all(one.latency_interval_s is not None and one.s_per_byte_interval is not None for one in curve.regimes)
    if count < ENDS or not (known and _is_used(curve)):
        return None
    sizes, times = np.array(curve.sizes_bytes, dtype=np.float64), np.array(curve.times_s)
    members = [sizes[(sizes >= part.from_bytes) & (sizes <= part.to_bytes)] for part in curve.regimes]
    if sum(map(len, members)) < len(sizes) or not all(map(len, members)):
        # A file by hand, whose regimes are not those of its points.
        return None
    pieces = [
        Piece(float(inside.min()), float(inside.max()), part.latency_s, part.s_per_byte)
        for part, inside in zip(curve.regimes, members, strict=True)
    ]
    found = rounds(pieces, sizes, times, calibration.seed, count)
    order = stream(calibration.seed, f"calibration rounds {_name(curve)} {curve.hosts}").permutation(count)
    return Rounds(tuple(DrawnRegime(*(column[order] for column in regime)) for regime in found.regimes), found.time_s[order])


def _scaling_rounds(calibration: Calibration, model: Scaling, count: int) -> list[FloatArray] | None:
    """Return the rounds of a model over numbers of ranks; None if nothing uses it."""
    if model.pattern:
        return None
    curves = [
        curve
        for curve in calibration.curves
        if (curve.operation, curve.path) == (model.operation, model.path)
        and _is_used(curve)
        and curve.ranks in model.ranks
        and ranks_per_host(curve.ranks, curve.hosts) == model.ranks_per_host
    ]
    if not curves:
        return None
    sizes, times = (np.concatenate([getattr(one, name) for one in curves]) for name in ("sizes_bytes", "times_s"))
    ranks = np.repeat([float(one.ranks) for one in curves], [len(one.times_s) for one in curves])
    pieces = [
        ScalingPiece(
            part.from_bytes, part.to_bytes, part.latency_s, part.latency_per_step_s, part.s_per_byte, part.s_per_wire_byte
        )
        for part in model.regimes
    ]
    random = stream(calibration.seed, f"calibration rounds {model.operation} {model.path} {model.ranks_per_host}")
    points = sizes.astype(np.float64), ranks, times
    return scaling_rounds(model.operation, pieces, *points, model.ranks_per_host, random, count)


def _scaling(model: Scaling, drawn: list[FloatArray], number: int) -> Scaling:
    names = ("latency_s", "latency_per_step_s", "s_per_byte", "s_per_wire_byte")
    regimes = tuple(
        part.model_copy(update=dict(zip(names, found[number].tolist(), strict=True)))
        for part, found in zip(model.regimes, drawn, strict=True)
    )
    return model.model_copy(update={"regimes": regimes})


def _curve(curve: Curve, drawn: Rounds, number: int) -> Curve:
    # A last regime that does not grow would be infinitely fast; no link is faster than the most that files may say.
    least = [0.0] * (len(drawn.regimes) - 1) + [
        curve.wire_factor * 8e-9 / MOST_GBPS if curve.regimes[-1].s_per_byte > 0 else 0.0
    ]
    regimes = tuple(
        Regime.model_construct(
            from_bytes=float(regime.from_bytes[number]),
            to_bytes=float(regime.to_bytes[number]),
            latency_s=min(float(regime.latency_s[number]), MOST_LATENCY_S),
            s_per_byte=min(max(float(regime.s_per_byte[number]), slowest), MOST_S_PER_BYTE),
            latency_interval_s=None,
            s_per_byte_interval=None,
        )
        for regime, slowest in zip(drawn.regimes, least, strict=True)
    )
    lines = curve.model_copy(update={"regimes": regimes})
    if not curve.residual_weight:
        return lines
    scatter = np.log(drawn.time_s[number] / lines.line_s(np.array(curve.sizes_bytes)))
    return lines.model_copy(update={"log_residuals": tuple((np.array(curve.log_residuals) + scatter).tolist())})
