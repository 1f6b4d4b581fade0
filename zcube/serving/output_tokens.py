"""When output tokens came out, exactly: every decode step of a node gives each request of its batch one token."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.serving.run import ServingRun


def tokens_within(run: ServingRun) -> IntArray:
    """Return the output tokens of each request that came out in the run's window [requests].

    A request gets a token at every step from the one that starts after it joined to its last, without a gap. So the steps of
    its node before its first one, at its end, and at the ends of the window tell how many of its tokens lie in it; a request
    still under way at the end of the run got its tokens from its first step on.
    """
    journeys, window = run.journeys, run.window
    prefill_answers = run.settings.decode.first_token == "prefill"
    tokens = (window.holds(journeys.first_token_s) & prefill_answers).astype(np.int64)
    begun = np.flatnonzero(np.isfinite(journeys.first_step_s))
    node = journeys.decode_node[begun]
    low, high = (steps[node] for steps in window.steps)
    at_end = np.where(np.isfinite(journeys.left_s[begun]), journeys.steps_at_end[begun], run.steps_at_end[node])
    tokens[begun] += np.maximum(np.minimum(at_end, high) - np.maximum(journeys.steps_before[begun], low), 0)
    return tokens
