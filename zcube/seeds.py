"""Named random streams: one seed per run, one independent stream per purpose.

Two fabrics compared under one seed draw the same arrivals, because the stream ``arrivals`` does not depend on
how many numbers any other stream has drawn.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random generator that belongs to a purpose.

    Parameters
    ----------
    seed : int
        The run's seed, >= 0.
    name : str
        The purpose, e.g. ``"arrivals"`` or ``"ecmp"``.

    Returns
    -------
    numpy.random.Generator
        PCG64, seeded from ``(seed, crc32(name))``.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))
