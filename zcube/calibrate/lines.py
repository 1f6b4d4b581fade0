"""Straight lines t = latency + slope x size that are closest in relative error, many at once.

A line minimises the sum of ``(ln t_i - ln(a + s x_i))^2`` over ``a, s >= 0``. Each round of Gauss-Newton replaces
``ln(a + s x)`` by its tangent at the last line, which leaves a linear least-squares problem in two unknowns; it is solved
in closed form, an unknown that would be negative being set to zero.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray

#: Most rounds of Gauss-Newton; times that scatter by a factor of two settle within eight, and most within five.
_ROUNDS = 12
#: Relative change of lines in a round below which they stand; measured times repeat to a thousandth at best.
SETTLED = 1e-9
#: A line is not taken below this part of what was measured, so that its logarithm stays finite in early rounds.
_LEAST = 1e-6


def fit_lines(size_bytes: FloatArray, time_s: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit one line per row.

    Parameters
    ----------
    size_bytes : float array [points]
    time_s : float array [rows, points] or [1, points]
    weight : float array [rows, points] or [1, points]
        1 for points that count for a row, 0 for others.

    Returns
    -------
    latency_s, s_per_byte, squares : float array [rows]
        ``squares`` is the weighted sum of squared log residuals.
    """
    scale = float(size_bytes.max())
    x = size_bytes / scale
    powers, least = np.stack([np.ones_like(x), x, x * x], axis=1), _LEAST * time_s
    # What two lines differ by grows or falls with the size all the way, so that it is most at one of these. With the floor,
    # which follows the times, that would not hold; lines that stand without it do so with it.
    ends = np.array([x.min(), x.max()])
    line, at_ends = time_s, np.full((1, 2), np.nan)
    latency = slope = np.zeros(1)
    for _ in range(_ROUNDS):
        u = 1.0 / line
        y = time_s * u
        np.log(y, out=y)
        y += 1.0
        weighted = weight * u
        uu, uv, vv = ((weighted * u) @ powers).T
        uy, vy = ((weighted * y) @ powers[:, :2]).T
        latency, slope = _solve(uu, uv, vv, uy, vy)
        line = np.multiply.outer(slope, x)
        line += latency[:, None]
        np.maximum(line, least, out=line)
        last, at_ends = at_ends, np.multiply.outer(slope, ends) + latency[:, None]
        if (np.abs(at_ends - last) <= SETTLED * at_ends).all():
            break
    squares = (weight * np.log(time_s / line) ** 2).sum(axis=1)
    return latency, slope / scale, squares


def _solve(uu: FloatArray, uv: FloatArray, vv: FloatArray, uy: FloatArray, vy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the non-negative a, s [rows] that minimise the sum of weight * (a u + s v - y)^2, from the sums of products."""
    determinant = uu * vv - uv * uv
    latency, slope = uy * vv - vy * uv, vy * uu - uy * uv
    good = determinant > 1e-13 * uu * vv
    if good.all():
        latency /= determinant
        slope /= determinant
    else:
        safe = np.where(good, determinant, 1.0)
        latency, slope = np.where(good, latency / safe, 0.0), np.where(good, slope / safe, vy / vv)
    # In most rounds no line is bounded.
    slope_only, latency_only = latency < 0, slope < 0
    if slope_only.any():
        slope = np.where(slope_only & ~latency_only, np.maximum(vy / vv, 0.0), slope)
    if latency_only.any():
        latency = np.where(latency_only & ~slope_only, np.maximum(uy / uu, 0.0), latency)
    return np.maximum(latency, 0.0), np.maximum(slope, 0.0)
