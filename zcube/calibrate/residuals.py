"""What the lines leave over: neighbouring sizes miss their line alike, and a size between them shares what they miss.

A time is its line times ``exp(weight * residual)``, the residual being the mean log residual of each fitted size, interpolated
over the logarithm of the size. The weight lies between 0, the line alone, and 1, a curve through every fitted size. It is found
among the fitted points only: every second size is left out, the rest is fitted anew, and the weight is the one with which the
residuals of the neighbours come closest to those of the sizes left out, in least squares. Where residuals are scatter, they say
nothing of each other, and the weight tends to 0.
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import BoolArray, FloatArray
from zcube.calibrate.regimes import SIZES_PER_REGIME, evaluate, fit_pieces

#: Sizes left out in turn below which a weight would be chance.
LEAST_LEFT_OUT = 4


def interpolated(size_bytes: FloatArray, log_residuals: FloatArray, at_bytes: FloatArray) -> FloatArray:
    """Return the residual at every size; beyond the first and the last fitted size theirs goes on.

    Parameters
    ----------
    size_bytes, log_residuals : float array [points]
        Of the fitted points.
    at_bytes : float array [sizes]
    """
    sizes, inverse = np.unique(size_bytes, return_inverse=True)
    means = np.bincount(inverse, weights=log_residuals) / np.bincount(inverse)
    return np.interp(np.log(np.maximum(at_bytes, sizes[0])), np.log(sizes), means)


def shared_weight(size_bytes: FloatArray, time_s: FloatArray) -> float:
    """Return how much of its neighbours' residual a size shares, 0 to 1; 0 where there are too few sizes to tell.

    Parameters
    ----------
    size_bytes, time_s : float array [points]
    """
    sizes = np.unique(size_bytes)
    expected: list[FloatArray] = []
    found: list[FloatArray] = []
    tried = 0
    for left_out in (sizes[1:-1:2], sizes[2:-1:2]):
        if len(sizes) - len(left_out) >= SIZES_PER_REGIME and len(left_out):
            tried += len(left_out)
            neighbours, own = _left_out(size_bytes, time_s, np.isin(size_bytes, left_out))
            expected.append(neighbours)
            found.append(own)
    if tried < LEAST_LEFT_OUT:
        return 0.0
    neighbours, own = np.concatenate(expected), np.concatenate(found)
    power = float(neighbours @ neighbours)
    return min(1.0, max(0.0, float(neighbours @ own) / power)) if power > 0 else 0.0


def _left_out(size_bytes: FloatArray, time_s: FloatArray, left_out: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the residual that the fitted sizes give for those left out, and the one that these have."""
    fitted, at = size_bytes[~left_out], size_bytes[left_out]
    pieces = fit_pieces(fitted, time_s[~left_out])
    neighbours = interpolated(fitted, np.log(time_s[~left_out] / evaluate(pieces, fitted)), at)
    return neighbours, np.log(time_s[left_out] / evaluate(pieces, at))
