"""One model for several numbers of ranks, which predicts numbers that were not measured.

In each regime of sizes::

    t(size, n) = latency + latency_per_step * steps(n) + size * (s_per_byte + s_per_wire_byte * wire_factor(n))

with ``steps`` and ``wire_factor`` of :mod:`zcube.calibrate.operations` (over hosts of equally many ranks that of a NIC), all
four parameters at least zero, least squares on log residuals. The first two terms are the start of an operation and of each
message on its longest chain, the third is what every byte of the buffer costs whichever rank it is for (copies, reductions),
the last the bytes that leave the rank, as in nccl-tests' bus bandwidth. The regimes are cut as for one curve.

The latency of a step is the smallest regime's in all of them: there it is most of the time, while among larger sizes a protocol
that two numbers of ranks take up at different sizes looks like a step, and a regime's own would carry that to any number of
ranks (docs/calibration.md has the errors of both).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray
from zcube.calibrate.lines import SETTLED
from zcube.calibrate.operations import steps, wire_factor
from zcube.calibrate.regimes import Piece, all_runs, best_cut, cells

_ROUNDS = 10
#: Enough where the first guess is the line that times scatter about.
_ROUNDS_NEAR = 3
_PARAMETERS = 4
_LEAST = 1e-6
#: Column of the latency of a step.
_STEP = 1


class ScalingPiece(NamedTuple):
    """The four parameters of a regime and the sizes they were fitted to."""

    from_bytes: float
    to_bytes: float
    latency_s: float
    latency_per_step_s: float
    s_per_byte: float
    s_per_wire_byte: float


def fit_scaling(
    operation: str, size_bytes: FloatArray, ranks: FloatArray, time_s: FloatArray, ranks_per_host: int = 0
) -> list[ScalingPiece]:
    """Return the regimes of an operation over several numbers of ranks, ascending.

    Parameters
    ----------
    operation : str
        For its ``steps`` and ``wire_factor``.
    size_bytes, ranks, time_s : float array [points]
        Of at least two numbers of ranks.
    ranks_per_host : int
        0 for ranks of one host, or of hosts that are not known.
    """
    cell, count = cells(size_bytes)
    design = _design(operation, size_bytes, ranks, ranks_per_host)
    runs = all_runs(count)
    insides = [(cell >= first) & (cell < last) for first, last in runs]
    members = np.array([float(inside.sum()) for inside in insides])

    def cut(fitted: list[tuple[FloatArray, float]]) -> Sequence[int]:
        return best_cut(runs, np.array([one for _, one in fitted]), members, count, _PARAMETERS)

    apart = [_fit(design[inside], time_s[inside]) for inside in insides]
    step_s = float(apart[cut(apart)[0]][0][_STEP])
    fitted = [_fit_rest(design[inside], time_s[inside], step_s) for inside in insides]
    pieces = []
    for run in cut(fitted):
        low, high = float(size_bytes[insides[run]].min()), float(size_bytes[insides[run]].max())
        pieces.append(ScalingPiece(low, high, *(float(value) for value in fitted[run][0])))
    return pieces


def scaling_rounds(
    operation: str,
    pieces: Sequence[ScalingPiece],
    size_bytes: FloatArray,
    ranks: FloatArray,
    time_s: FloatArray,
    ranks_per_host: int,
    random: np.random.Generator,
    draws: int,
) -> list[FloatArray]:
    """Return the parameters [draws, 4] of each regime, fitted to the model with its log residuals drawn anew.

    The regimes stay. Residuals are drawn within theirs, with replacement, widened by what the parameters took of them. The
    latency of a step is drawn with the first regime that holds points, and is the same round by round in the others.

    Parameters
    ----------
    operation, ranks_per_host
        As in :func:`fit_scaling`.
    pieces : sequence of ScalingPiece
        The fit.
    size_bytes, ranks, time_s : float array [points]
        What it was fitted to.
    random : Generator
        Of the draws.
    draws : int
        Rounds.
    """
    design, found = _design(operation, size_bytes, ranks, ranks_per_host), []
    steps_s: FloatArray | None = None
    for piece in pieces:
        inside = (size_bytes >= piece.from_bytes) & (size_bytes <= piece.to_bytes)
        if not inside.any():
            found.append(np.tile(np.array(piece[2:]), (draws, 1)))
            continue
        part, line = design[inside], np.maximum(design[inside] @ np.array(piece[2:]), _LEAST * time_s[inside])
        residuals = np.log(time_s[inside] / line)
        residuals = (residuals - residuals.mean()) * np.sqrt(len(line) / max(1.0, len(line) - _PARAMETERS))
        drawn = line * np.exp(random.choice(residuals, size=(draws, len(line))))
        if steps_s is None:
            rounds = np.array([_fit(part, times, line, _ROUNDS_NEAR)[0] for times in drawn])
            steps_s = rounds[:, _STEP]
        else:
            rounds = np.array(
                [_fit_rest(part, times, step_s, line, _ROUNDS_NEAR)[0] for times, step_s in zip(drawn, steps_s, strict=True)]
            )
        found.append(rounds)
    return found


def at_ranks(operation: str, pieces: list[ScalingPiece], ranks: int, ranks_per_host: int = 0) -> list[Piece]:
    """Return the lines that the model gives for a number of ranks."""
    chain, wire = steps(operation, ranks), wire_factor(operation, ranks, _hosts(ranks, ranks_per_host))
    return [
        Piece(
            piece.from_bytes,
            piece.to_bytes,
            piece.latency_s + piece.latency_per_step_s * chain,
            piece.s_per_byte + piece.s_per_wire_byte * wire,
        )
        for piece in pieces
    ]


def _hosts(ranks: int, ranks_per_host: int) -> int:
    return ranks // ranks_per_host if ranks_per_host else 1


def _design(operation: str, size_bytes: FloatArray, ranks: FloatArray, ranks_per_host: int) -> FloatArray:
    chain = np.array([steps(operation, int(count)) for count in ranks])
    wire = np.array([wire_factor(operation, int(count), _hosts(int(count), ranks_per_host)) for count in ranks])
    return np.stack([np.ones(len(ranks)), chain, size_bytes, size_bytes * wire], axis=1)


def _fit(
    design: FloatArray,
    time_s: FloatArray,
    start_s: FloatArray | None = None,
    tries: int = _ROUNDS,
    known_s: float | FloatArray = 0.0,
) -> tuple[FloatArray, float]:
    """Return the parameters and the sum of squared log residuals of one regime, from a first guess of its times.

    ``known_s`` of each time is known beforehand and left to no parameter.
    """
    from scipy.optimize import nnls

    scale = (design / time_s[:, None]).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    scaled, line = design / scale, time_s if start_s is None else start_s
    weights = np.zeros(design.shape[1])
    for _ in range(tries):
        weights = nnls(scaled / line[:, None], 1.0 + np.log(time_s / line) - known_s / line)[0]
        last, line = line, np.maximum(known_s + scaled @ weights, _LEAST * time_s)
        if np.abs(last - line).max() <= SETTLED * line.min():
            break
    return weights / scale, float((np.log(time_s / line) ** 2).sum())


def _fit_rest(
    design: FloatArray, time_s: FloatArray, step_s: float, start_s: FloatArray | None = None, tries: int = _ROUNDS
) -> tuple[FloatArray, float]:
    """Fit a regime whose latency of a step is known."""
    rest, squares = _fit(np.delete(design, _STEP, axis=1), time_s, start_s, tries, step_s * design[:, _STEP])
    return np.insert(rest, _STEP, step_s), squares
