"""Permutation families that fabrics are tried with, defined on any fabric.

GPUs are laid out in order on a grid: *segments* of as many consecutive GPUs as a first-tier switch has at NIC port 0, and the
*position* inside the segment. On a ZCube a segment is one A switch and the position gives the rail; on any other fabric the
grid only orders the GPUs, so that one segment length gives the same traffic to all fabrics. The last segment may be short.

Names as in Dally and Towles, Principles and Practices of Interconnection Networks, table 3.1, where the pattern is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from zcube.arrays import IntArray
from zcube.fabric.model import Fabric
from zcube.seeds import stream

Pattern = tuple[IntArray, IntArray]


def segment_gpus(fabric: Fabric) -> int:
    """Return the GPUs per segment: the most GPUs that one switch has at NIC port 0."""
    switch = fabric.cables.b[fabric.nic_cable[:, 0]] - fabric.gpus
    return int(np.bincount(switch).max())


def segment_shift(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Shift by one segment on the same rail: GPU x sends to x + segment, modulo the GPUs."""
    source = np.arange(gpus)
    return source, (source + segment) % gpus


def segment_shuffle(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Segment to segment, shuffled: segments in a random cycle, each sends to the next, its members in random order."""
    rng = stream(seed, "adversary segment shuffle")
    source = np.arange(gpus)
    own = source // segment
    place = rng.permutation(-(-gpus // segment))
    in_cycle = np.lexsort((rng.random(gpus), place[own]))
    target = np.empty(gpus, dtype=np.int64)
    target[in_cycle] = np.roll(np.lexsort((rng.random(gpus), place[own])), -segment)
    return source, target


def random_permutation(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Every GPU sends to one GPU and receives from one, drawn uniformly; some may meet themselves."""
    return np.arange(gpus), stream(seed, "adversary permutation").permutation(gpus)


def transpose(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Transpose the grid: (i, j) sends to (j, i); on a grid that is not square, to the place that column-major order gives."""
    source = np.arange(gpus)
    target = np.empty(gpus, dtype=np.int64)
    target[np.lexsort((source // segment, source % segment))] = source
    return source, target


def reverse(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Last to first: GPU x sends to gpus - 1 - x; where the GPUs are a power of two, the bit complement."""
    source = np.arange(gpus)
    return source, gpus - 1 - source


def bit_shift(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Perfect shuffle: GPU x of the first half sends to 2x, the others to the odd places; for a power of two a bit rotation."""
    source = np.arange(gpus)
    half = -(-gpus // 2)
    return source, np.where(source < half, 2 * source, 2 * (source - half) + 1)


def tornado(gpus: int, segment: int, seed: int = 0) -> Pattern:
    """Nearly half way round: segment a sends to segment a + ceil(segments / 2) - 1, at least one on, position kept."""
    source = np.arange(gpus)
    segments = -(-gpus // segment)
    return source, (source + max(1, -(-segments // 2) - 1) * segment) % gpus


#: Every family by the name it has in reports. Each takes (gpus, segment, seed) and returns source and target [gpus].
PATTERNS: Mapping[str, Callable[[int, int, int], Pattern]] = MappingProxyType(
    {
        "segment-shift": segment_shift,
        "segment-shuffle": segment_shuffle,
        "random": random_permutation,
        "transpose": transpose,
        "reverse": reverse,
        "bit-shift": bit_shift,
        "tornado": tornado,
    }
)


def definition(name: str) -> str:
    """Return a family's definition in one line."""
    return (PATTERNS[name].__doc__ or "").strip()
