"""Waits of a queue with one server: those of a run are Lindley's, whose means are Pollaczek's and Khinchine's."""

from __future__ import annotations

import pytest
from single_server import SERVICES, drawn, interval_s, lindley_s, pollaczek_khinchine_s, served, waits_s

#: The long form of both in one, runs of 20,000 requests, is in verification/.
SEEDS, REQUESTS = 20, 20_000


@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("name", SERVICES)
def test_a_run_waits_as_lindley_says(name, load):
    gaps_s, service_s = drawn(name, load, 1, 500)
    assert waits_s(served(gaps_s, service_s)) == pytest.approx(lindley_s(gaps_s, service_s), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", SERVICES)
def test_lindleys_mean_is_pollaczeks_and_khinchines(name):
    means_s = [lindley_s(*drawn(name, 0.5, seed, REQUESTS))[REQUESTS // 10 :].mean() for seed in range(SEEDS)]
    low, high = interval_s(means_s)
    assert low <= pollaczek_khinchine_s(name, 0.5) <= high and high - low < 0.1 * pollaczek_khinchine_s(name, 0.5)
