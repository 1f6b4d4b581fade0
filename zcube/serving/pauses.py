"""Pauses of prefill instances laid over spans of time: what of a wait or of a computation was a pause, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zcube.arrays import FloatArray
from zcube.serving.prefill import Pause

if TYPE_CHECKING:
    from zcube.serving.run import ServingRun


def paused_s(run: ServingRun, from_s: FloatArray, to_s: FloatArray, reason: int) -> FloatArray:
    """Return for how long the instance of each request's prefill node paused for a reason between two times [requests]."""
    seconds = np.zeros(len(from_s))
    instance = run.journeys.prefill_node // run.settings.prefill.nodes_per_instance
    for number, pauses in enumerate(run.pauses):
        if not any(pause.reason == reason for pause in pauses):
            continue
        rows = np.flatnonzero((instance == number) & np.isfinite(to_s))
        seconds[rows] = paused_within_s(pauses, from_s[rows], to_s[rows], reason)
    return seconds


def paused_within_s(pauses: Sequence[Pause], from_s: FloatArray, to_s: FloatArray, reason: int) -> FloatArray:
    """Return for how long an instance's pauses for a reason lasted within each of some spans of time [spans]."""
    some = [pause for pause in pauses if pause.reason == reason]
    if not some or not len(from_s):
        return np.zeros(len(from_s))
    # Sums over a long run differ by their rounding where no pause lies between.
    return np.maximum(_paused_before_s(some, to_s) - _paused_before_s(some, from_s), 0.0)


def _paused_before_s(pauses: Sequence[Pause], times_s: FloatArray) -> FloatArray:
    """Return how long pauses, which follow each other, have lasted at some times."""
    edges = np.array([(pause.start_s, pause.end_s) for pause in pauses])
    lengths = np.concatenate([[0.0], np.cumsum(edges[:, 1] - edges[:, 0])])
    at = np.searchsorted(edges[:, 0], times_s, side="right")
    ahead = np.maximum(edges[np.maximum(at - 1, 0), 1] - times_s, 0.0) * (at > 0)
    return lengths[at] - ahead


def startable_s(run: ServingRun) -> FloatArray:
    """Return from when on each prompt could start as far as decode is concerned: its arrival, or the grant of room there.

    Room is waited for before all else where it is asked for on arrival; nan where it never came.
    """
    life = run.journeys
    before = ((life.prefill_node < 0) & (life.decode_node >= 0)) | run.settings.decode.asked_first
    return np.where(before, np.maximum(life.granted_s, life.arrival_s), life.arrival_s)
