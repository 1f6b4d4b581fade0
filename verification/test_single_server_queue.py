"""Waits of queues with one server against Pollaczek and Khinchine: M/D/1, M/M/1, M/G/1, 20 seeds of 20,000 requests each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).resolve().parents[1] / "tests" / "analytic")]

from single_server import SERVICES, interval_s, mean_wait_s, pollaczek_khinchine_s

SEEDS, REQUESTS = 20, 20_000


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize("name", SERVICES)
def test_mean_wait(name: str, load: float) -> None:
    waits_s = [mean_wait_s(name, load, seed, REQUESTS) for seed in range(SEEDS)]
    (low, high), by_hand = interval_s(waits_s), pollaczek_khinchine_s(name, load)
    print(f"\n{name} at load {load}: {1e3 * low:.4f} to {1e3 * high:.4f} ms (99 %), by hand {1e3 * by_hand:.4f} ms")
    assert low <= by_hand <= high
    assert high - low < 0.2 * by_hand
