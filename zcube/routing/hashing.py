"""The hash that spreads flows over equal-cost links, stated so that anybody can recompute it.

A queue pair's five-tuple is (source NIC, destination NIC, protocol, UDP source port, UDP destination port 4791). The UDP
source port of queue pair q between two NICs is drawn once, from the run's seed; so a pair keeps its paths over a run. Both
are represented by one 64-bit key, and a switch picks the candidate ``floor(mix(key + (node + 1) * ODD) * candidates / 2^64)``,
of whose first factor the upper 32 bits are used: salting with the switch avoids the polarisation that equal hashes on every
tier cause. ``mix`` is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.compile_cache import compiled

ODD = np.uint64(0x9E3779B97F4A7C15)


@compiled(inline="always")
def mix(value: np.uint64) -> np.uint64:
    """Return the SplitMix64 finaliser of a 64-bit value."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled(inline="always")
def choose(key: np.uint64, node: int, candidates: int) -> int:
    """Return which of ``candidates`` equal-cost links a switch picks for a key."""
    value = mix(key + np.uint64(node + 1) * ODD)
    return int((value >> np.uint64(32)) * np.uint64(candidates) >> np.uint64(32))


def choices(key: np.ndarray, node: IntArray, candidates: IntArray) -> IntArray:
    """Return which of its candidates, at least one each, the switch of every key picks [keys]."""
    value = _mixed(key + (node + 1).astype(np.uint64) * ODD)
    half = np.uint64(32)
    return np.asarray(((value >> half) * candidates.astype(np.uint64) >> half).astype(np.int64))


def queue_pair_keys(source: IntArray, target: IntArray, queue_pairs: int, seed: int) -> np.ndarray:
    """Return the hash key of every queue pair of every flow [flows * queue_pairs], queue pairs of one flow together."""
    pair = _mixed(np.uint64(seed) + source.astype(np.uint64) * ODD)
    pair = _mixed(pair + target.astype(np.uint64) * ODD)
    return np.asarray(_mixed(pair[:, None] + np.arange(queue_pairs, dtype=np.uint64)).ravel())


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return :func:`mix` of whole arrays, for which nothing need be compiled; their integers wrap round as in a kernel."""
    return np.asarray(mix.py_func(values))  # type: ignore[attr-defined]
