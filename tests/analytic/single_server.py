"""A serving run as a queue with one server: Poisson arrivals, one prompt after the other, waits by Pollaczek and Khinchine.

Prompts are whole numbers of chunks, so an iteration never holds two of them; a chunk takes ``chunk_s``; answers have one token
and the decode node always has room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats
from serving_by_hand import ConstantTimes, run_by_hand, settings_of, trace_of

from zcube.seeds import stream
from zcube.serving.run import ServingRun

CHUNK_TOKENS = 64
CHUNK_S = 0.01


def constant(draw: np.random.Generator, count: int) -> np.ndarray:
    return np.ones(count, dtype=int)


def exponential(draw: np.random.Generator, count: int) -> np.ndarray:
    """Exponential times, rounded up to chunks: geometric, with a mean of 10 chunks."""
    return draw.geometric(1 / 10, count)


def two_kinds(draw: np.random.Generator, count: int) -> np.ndarray:
    """One prompt in ten is ten times as long."""
    return np.where(draw.random(count) < 0.1, 10, 1)


#: Service times in chunks: how they are drawn, mean and mean square.
SERVICES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float, float]] = {
    "M/D/1": (constant, 1.0, 1.0),
    "M/M/1": (exponential, 10.0, 2 * 10.0**2 - 10.0),
    "M/G/1": (two_kinds, 1.9, 0.9 + 0.1 * 100),
}


def pollaczek_khinchine_s(name: str, load: float) -> float:
    """Mean wait: rate x mean square of the service time / (2 x (1 - load)); the rate is load / mean."""
    _, mean, square = SERVICES[name]
    return load / mean * square / (2 * (1 - load)) * CHUNK_S


def drawn(name: str, load: float, seed: int, requests: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the times between arrivals and the service times of some requests."""
    draw_chunks, mean, _ = SERVICES[name]
    gaps_s = stream(seed, "arrivals").exponential(mean * CHUNK_S / load, requests - 1)
    return gaps_s, draw_chunks(stream(seed, "lengths"), requests) * CHUNK_S


def served(gaps_s: np.ndarray, service_s: np.ndarray) -> ServingRun:
    """Return the run whose prompts take the service times."""
    tokens = np.rint(service_s / CHUNK_S).astype(int) * CHUNK_TOKENS
    trace = trace_of(np.concatenate([[0.0], np.cumsum(gaps_s)]), tokens, np.ones(len(tokens), dtype=int))
    settings = settings_of(
        prefill={"chunk_tokens": CHUNK_TOKENS}, decode={"max_batch": 65_536, "kv_capacity_tokens": 10**10},
        kv={"push": "after-prefill", "setup_s": 0.0}, measure={"warm_up_fraction": 0.1},
    )  # fmt: skip
    return run_by_hand(trace, settings, ConstantTimes(CHUNK_S / CHUNK_TOKENS))


def lindley_s(gaps_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Return waits by Lindley's recursion: the wait before and the service before less the gap, at least 0."""
    walk_s = np.concatenate([[0.0], np.cumsum(service_s[:-1] - gaps_s)])
    return walk_s - np.minimum.accumulate(walk_s)


def waits_s(run: ServingRun) -> np.ndarray:
    """Return the times between arrival and start of prefill."""
    return run.journeys.prefill_start_s - run.journeys.arrival_s


def mean_wait_s(name: str, load: float, seed: int, requests: int) -> float:
    """Mean wait over the window of a run."""
    run = served(*drawn(name, load, seed, requests))
    assert run.window.no_rate is None
    return float(waits_s(run)[run.window.holds(run.journeys.arrival_s)].mean())


def interval_s(means_s: Sequence[float], level: float = 0.99) -> tuple[float, float]:
    """Student's interval of the mean over independent runs."""
    low, high = stats.t.interval(level, len(means_s) - 1, np.mean(means_s), stats.sem(means_s))
    return float(low), float(high)
