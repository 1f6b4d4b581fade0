"""When output tokens came out, exactly: every decode step of a node gives each request of its batch one token."""

from __future__ import annotations

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.serving.run import ServingRun


def tokens_within(run: ServingRun) -> IntArray:
    """Return the output tokens of each request that came out in the run's window [requests].

    A request gets a token at every step from the one that starts after it joined to its last, without a gap. So the steps of
    its node up to its end tell how many of its tokens lie before a time; a request still under way at the end of the run got
    its tokens from its first step on.
    """
    journeys, window = run.journeys, run.window
    prefill_answers = run.settings.decode.first_token == "prefill"
    tokens = (window.holds(journeys.first_token_s) & prefill_answers).astype(np.int64)
    for node, ends_s in enumerate(run.step_ends_s):
        here = np.flatnonzero((journeys.decode_node == node) & np.isfinite(journeys.first_step_s))
        first = _steps_before(ends_s, journeys.first_step_s[here])
        last_s = np.where(np.isfinite(journeys.left_s[here]), journeys.left_s[here], run.end_s)
        after_last = _steps_before(ends_s, np.nextafter(last_s + 4 * np.spacing(last_s), np.inf))
        low, high = (int(np.searchsorted(ends_s, at_s)) for at_s in (window.start_s, window.end_s))
        tokens[here] += np.maximum(np.minimum(after_last, high) - np.maximum(first, low), 0)
    return tokens


def _steps_before(ends_s: FloatArray, times_s: FloatArray) -> IntArray:
    return np.searchsorted(ends_s, times_s).astype(np.int64)
