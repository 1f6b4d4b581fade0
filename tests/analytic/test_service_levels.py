"""Goodput and tails with failures, from runs that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import STEP_S, TOKEN_S, run_by_hand, settings_of, trace_of

from zcube.outputs import INFINITE
from zcube.serving.metrics import run_metrics
from zcube.serving.service_levels import p99_with_failures
from zcube.verdict.rows import ROWS

MEASURE = {"least_requests": 1, "least_turnovers": 0.0, "least_filled": 0.0, "warm_up_s": 1.0, "cool_down_fraction": 0.0}


def run_of(slo, **pool):
    """A request every two seconds, every fifth with a prompt that takes a second; the last one ends the window."""
    tokens = np.where(np.arange(101) % 5 == 2, int(1 / TOKEN_S), 100)
    trace = trace_of(np.arange(101) * 2.0, tokens, [11] * 101)
    return run_by_hand(trace, settings_of(measure=MEASURE, slo=slo, prefill=pool))


def test_no_bound_no_goodput():
    assert run_metrics(run_of({}))["slo"] is None


def test_goodput_counts_what_meets_every_bound():
    found = run_metrics(run_of({"ttft_s": 0.5, "tpot_s": 1.5 * STEP_S}))
    # 99 arrive in [2, 200), 20 of them are long; all end before the next one comes.
    assert found["slo"]["share"] == pytest.approx(79 / 99)
    length_s = found["window"]["length_s"]
    assert found["slo"]["requests_per_s"] == pytest.approx(80 / length_s, abs=1.01 / length_s)
    assert found["slo"]["output_tokens_per_s"] == pytest.approx(11 * found["slo"]["requests_per_s"])
    assert found["throughput"]["output_tokens_per_s"] > found["slo"]["output_tokens_per_s"]


def test_the_gap_between_tokens_is_bounded_too():
    assert run_metrics(run_of({"tpot_s": 0.5 * STEP_S}))["slo"]["share"] == 0.0
    assert run_metrics(run_of({"tpot_s": 1.5 * STEP_S}))["slo"]["share"] == 1.0


def test_requests_turned_away_are_misses():
    trace = trace_of(np.arange(100) * 2.0, [100, 300_000] * 50, [11] * 100)
    found = run_metrics(run_by_hand(trace, settings_of(measure=MEASURE, slo={"ttft_s": 10.0})))
    arrived = found["window"]["arrived"]
    assert found["slo"]["share"] == pytest.approx(found["window"]["completed"] / arrived)
    assert found["slo"]["share"] < 0.6
    assert found["ttft_s"]["p99"] < 0.1 and found["ttft_s"]["p99_all"] == INFINITE
    (row,) = (row for row in ROWS if row.label == "TTFT P99 of all")
    assert row.text(row.value(found)) == "infinite" and row.change(row.value(found), 1.0) == "-"


@pytest.mark.parametrize(("failures", "expected"), [(0, 98.01), (1, 99.0), (2, INFINITE), (500, INFINITE)])
def test_p99_with_failures(failures, expected):
    # 100 values from 0 to 99: places 98.01, 99.0, and 99.99 between the last value and infinity.
    found = p99_with_failures(np.arange(100.0), failures)
    assert found == (expected if expected == INFINITE else pytest.approx(expected))


def test_p99_of_nothing():
    assert p99_with_failures(np.full(3, np.nan), 0) is None
    assert p99_with_failures(np.full(3, np.nan), 1) == INFINITE
