"""Measurements made from known parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zcube.calibrate.bootstrap import intervals
from zcube.calibrate.measurements import Measurements, Metadata, Row
from zcube.calibrate.regimes import Piece, evaluate, fit_pieces

SIZES = 2.0 ** np.arange(9, 30)
#: Three regimes with the jumps that NCCL's changes of protocol make.
TRUTH = (
    Piece(512, 2**16, 8e-6, 4e-11),
    Piece(2**17, 2**23, 20e-6, 6e-12),
    Piece(2**24, 2**29, 60e-6, 2.7e-12),
)


def measured(pieces: Sequence[Piece] = TRUTH, scatter: float = 0.0, seed: int = 0, copies: int = 1):
    """Return sizes and times with log-normal scatter."""
    sizes = np.repeat(SIZES, copies)
    noise = np.random.default_rng(seed).normal(0.0, scatter, len(sizes)) if scatter else np.zeros(len(sizes))
    return sizes, evaluate(pieces, sizes) * np.exp(noise)


def runs(times: dict[tuple[str, int, str], tuple[np.ndarray, np.ndarray]], **metadata) -> Measurements:
    """Return measurements of several operations, numbers of ranks and paths."""
    rows = [
        Row(operation, ranks, path, int(size), float(time_s))
        for (operation, ranks, path), (sizes, seconds) in times.items()
        for size, time_s in zip(sizes, seconds, strict=True)
    ]
    return Measurements.of(rows, Metadata(**metadata))


def covered(seed: int, scatter: float = 0.02, copies: int = 2) -> np.ndarray:
    """Return for each of the six true parameters whether its interval holds it.

    The interval is that of the regime found in the middle of the true one, whether or not the regimes were found.
    """
    sizes, times = measured(scatter=scatter, seed=seed, copies=copies)
    pieces = fit_pieces(sizes, times)
    found = intervals(pieces, sizes, times, seed, draws=120)
    at = [next(n for n, piece in enumerate(pieces) if piece.to_bytes >= (one[0] * one[1]) ** 0.5) for one in TRUTH]
    return np.array(
        [
            interval[0] <= value <= interval[1]
            for truth, number in zip(TRUTH, at, strict=True)
            for value, interval in zip(truth[2:], found[number], strict=True)
        ]
    )
