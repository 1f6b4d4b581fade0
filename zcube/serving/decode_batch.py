"""The running batch of a decode node, as a table."""

from __future__ import annotations

import numpy as np

from zcube.arrays import IntArray
from zcube.network.kernels import kernel

#: Rows of a batch's table; more tokens than any request has left.
REQUEST, CONTEXT, LEFT = 0, 1, 2
MOST_LEFT = 1 << 62


@kernel
def give_tokens(batch: np.ndarray, size: int, steps: int, finished: np.ndarray) -> tuple[int, int]:
    """Give every request of a batch its tokens and let the finished ones go.

    Parameters
    ----------
    batch : int array [3, at least size]
        Requests, their cached tokens and the tokens left to make, in order.
    size, steps : int
        Requests of the batch, and tokens each of them gains.
    finished : int array [at least size]
        Receives the requests that go, in order.

    Returns
    -------
    tuple of int
        How many stay, and the fewest tokens that one of them has left.
    """
    kept, least_left = 0, MOST_LEFT
    for at in range(size):
        request, context, left = batch[REQUEST, at], batch[CONTEXT, at] + steps, batch[LEFT, at] - steps
        if left > 0:
            batch[REQUEST, kept], batch[CONTEXT, kept], batch[LEFT, kept] = request, context, left
            kept += 1
            least_left = min(least_left, left)
        else:
            finished[at - kept] = request
    return kept, least_left


@kernel
def let_pass(seconds: np.ndarray, tokens_per_step: float, start_s: float) -> None:
    """Write in place of the durations of steps when each of them ends.

    Parameters
    ----------
    seconds : float array [steps]
        Durations of steps that make one token, one after the other.
    tokens_per_step : float
        By which steps are faster.
    start_s : float
        When the first begins.
    """
    passed_s = 0.0
    for step in range(len(seconds)):
        passed_s += seconds[step]
        seconds[step] = passed_s / tokens_per_step + start_s


def evened(contexts: IntArray, ranks: int) -> IntArray:
    """Return contexts in an order in which GPUs that are dealt one after the other hold as much KV as each other.

    Every GPU gets as many requests as before, in rounds of ever shorter contexts: of a round the longest goes to the GPU that
    holds least. The shortest are what is left over, one request more for the first GPUs.
    """
    dealt = np.sort(contexts)[::-1].copy()
    whole = len(dealt) - len(dealt) % ranks
    held = np.zeros(ranks, dtype=np.int64)
    held[: len(dealt) - whole] = dealt[whole:]
    for first in range(0, whole, ranks):
        turn = dealt[first : first + ranks].copy()
        least = np.argsort(held, kind="stable")
        dealt[first + least] = turn
        held[least] += turn
    return dealt
