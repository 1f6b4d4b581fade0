"""Requests shared out among GPUs by their number, or by the KV that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.serving.clock import Clock
from zcube.serving.decode import DecodeInstance
from zcube.serving.decode_batch import evened
from zcube.serving.recording import Recorder


@pytest.mark.parametrize(
    ("contexts", "ranks", "held"),
    [
        ([9, 9, 1, 1], 2, [10, 10]),
        ([9, 1, 9, 1], 2, [10, 10]),
        ([8, 7, 6, 5, 4, 3], 2, [16, 17]),
        # One left over: the shortest, for the first GPU, which so gets the second longest.
        ([5, 4, 3, 2, 1], 2, [4 + 2 + 1, 5 + 3]),
        ([7], 1, [7]),
        ([7, 5], 4, [7, 5, 0, 0]),
    ],
)
def test_the_longest_goes_where_least_is_held(contexts, ranks, held):
    dealt = evened(np.array(contexts), ranks)
    assert sorted(dealt) == sorted(contexts)
    assert sorted(int(dealt[rank::ranks].sum()) for rank in range(ranks)) == sorted(held)


def test_gpus_keep_their_requests_and_hold_kv_alike():
    contexts = np.random.default_rng(0).lognormal(8.0, 1.0, 1000).astype(np.int64)
    dealt = evened(contexts, 48)
    held = np.array([dealt[rank::48].sum() for rank in range(48)])
    before = np.array([contexts[rank::48].sum() for rank in range(48)])
    assert held.max() - held.min() <= contexts.max() and held.max() < before.max()


class Watched:
    """Steps of a hundredth of a second that keep the contexts which they were asked for."""

    def __init__(self):
        self.asked = []

    def decode_steps_s(self, context_tokens, steps):
        self.asked.append(np.array(context_tokens))
        return np.full(steps, 0.01)


def quiet(*_):
    """Hear nothing."""


class Halves:
    """Exchanges that take no time, of a batch cut in two."""

    carried, burst_steps, whole_bursts, in_stages = True, 1, False, False

    def __init__(self, env):
        self._env = env

    def microbatches(self, requests):
        return np.split(np.arange(requests), [requests // 2])

    def steps(self, requests, steps, compute_s, stages=None):
        yield self._env.timeout(compute_s)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("even_ranks", "fullest"), [(None, 4), (4, 1)])
def test_steps_are_asked_for_gpus_that_hold_kv_alike(parts, even_ranks, fullest):
    # Every fourth of sixteen contexts is long: dealt by number over four GPUs they lie on one.
    env, compute = Clock(), Watched()
    exchange = Halves(env) if parts == 2 else None
    instance = DecodeInstance(env, compute, quiet, quiet, [0], Recorder(), quiet, exchange, even_ranks=even_ranks)
    for request in range(16):
        instance.join(request, 1000 if request % 4 == 0 else 1, 100)
    env.run(until=0.005)
    assert len(compute.asked) == parts
    for asked in compute.asked:
        assert sorted(asked) == [1] * (12 // parts) + [1000] * (4 // parts)
        assert max(int((asked[rank::4] > 1).sum()) for rank in range(4)) == max(1, fullest // parts)
