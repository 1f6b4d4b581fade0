"""Pipeline stages: what a stage idles, what it sends to the next one, and between which GPUs."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray

#: Bytes of a hidden value between stages: bf16.
_VALUE_BYTES = 2


def bubble_share(stages: int, parts: int) -> float:
    """Return the part of an iteration in which a stage has nothing to do: ``(p - 1) / (m + p - 1)``."""
    return (stages - 1) / (parts + stages - 1)


def stage_bytes(hidden: int, tokens: int, gpus: int) -> int:
    """Return what each of a stage's GPUs sends to the next stage for so many tokens: an equal share of the hidden states."""
    return -(-_VALUE_BYTES * hidden * tokens // gpus)


def stage_pairs(stages: int, gpus: int) -> tuple[IntArray, IntArray]:
    """Return who sends to whom, GPUs numbered within the node [(stages - 1) * gpus]: each to its like in the next stage."""
    source = np.arange((stages - 1) * gpus)
    return source, source + gpus
