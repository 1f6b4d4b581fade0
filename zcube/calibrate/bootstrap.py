"""Intervals of a curve's parameters, by resampling its residuals.

The regimes stay where they were found; the intervals say how far noise moves a regime's latency and slope, not how sure its
ends are. Each round puts new log residuals on the fitted lines and fits them again. The residuals are those of the curve,
divided by the scatter of their regime and by ``sqrt(1 - leverage)``; they are drawn with replacement and multiplied by the
regime's scatter. That scatter is itself uncertain where a regime has few points: it is estimated together with the curve's
(:data:`BORROWED` degrees of freedom) and drawn anew in each round from its chi-squared distribution. Without that, intervals
from three or four points are far too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zcube.calibrate.lines import FloatArray, fit_lines
from zcube.calibrate.regimes import Piece
from zcube.seeds import stream

#: Degrees of freedom with which the scatter of the whole curve enters that of a regime.
BORROWED = 2.0
DRAWS = 400
LEVEL = 0.95
#: Scatter below which residuals are rounding.
_LEAST_SCATTER = 1e-9


def intervals(
    pieces: Sequence[Piece], size_bytes: FloatArray, time_s: FloatArray, seed: int, draws: int = DRAWS
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return for each regime the 95 % intervals of latency (s) and slope (s per byte).

    Parameters
    ----------
    pieces : sequence of Piece
        The fitted regimes.
    size_bytes, time_s : float array [points]
        What they were fitted to.
    seed : int
        Of the stream ``bootstrap``.
    draws : int
        Rounds.
    """
    random = stream(seed, "bootstrap")
    members = [(size_bytes >= piece.from_bytes) & (size_bytes <= piece.to_bytes) for piece in pieces]
    lines = [piece.latency_s + piece.s_per_byte * size_bytes[inside] for piece, inside in zip(pieces, members, strict=True)]
    residuals = [np.log(time_s[inside] / line) for inside, line in zip(members, lines, strict=True)]
    freedom = np.array([max(0, len(residual) - 2) for residual in residuals], dtype=np.float64)
    squares = np.array([float((residual**2).sum()) for residual in residuals])
    pooled = squares.sum() / max(1.0, freedom.sum())
    variance = np.maximum((squares + BORROWED * pooled) / (freedom + BORROWED), _LEAST_SCATTER**2)
    unit = np.concatenate(
        [
            residual / np.sqrt(own) / np.sqrt(1.0 - _leverage(size_bytes[inside], line))
            for residual, own, inside, line in zip(residuals, variance, members, lines, strict=True)
        ]
    )
    unit -= unit.mean()
    unit /= max(float(unit.std()), _LEAST_SCATTER)
    found = []
    for number, (inside, line) in enumerate(zip(members, lines, strict=True)):
        known = freedom[number] + min(BORROWED, freedom.sum() - freedom[number])
        scatter = np.sqrt(variance[number] * known / random.chisquare(max(known, 1.0), size=draws))
        drawn = random.choice(unit, size=(draws, len(line))) * scatter[:, None]
        latency, slope, _ = fit_lines(size_bytes[inside], line * np.exp(drawn), np.ones((1, len(line))))
        found.append((_interval(latency), _interval(slope)))
    return found


def _leverage(size_bytes: FloatArray, line: FloatArray) -> FloatArray:
    """Return how much each point pulls its own fitted value, at most 0.9."""
    design = np.stack([1.0 / line, size_bytes / size_bytes.max() / line], axis=1)
    factor, _ = np.linalg.qr(design)
    return np.minimum((factor**2).sum(axis=1), 0.9)


def _interval(values: FloatArray) -> tuple[float, float]:
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return float(low), float(high)
