"""The window of a run and the rates over it, from runs that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from serving_by_hand import SETUP_S, STEP_S, TOKEN_S, alone_s, fabric_of, kv_by_hand, run_by_hand, settings_of, trace_of

from zcube.network.flow_model import ideal_model
from zcube.serving.littles_law import filled, time_to_fill_s
from zcube.serving.metrics import run_metrics
from zcube.serving.output_tokens import tokens_within

#: Asks for nothing, so that a handful of requests has rates.
LENIENT = {
    "least_requests": 1, "least_turnovers": 0.0, "least_filled": 0.0, "warm_up_fraction": 0.4, "cool_down_fraction": 0.0,
}  # fmt: skip
FIRST_S = 100 * TOKEN_S + SETUP_S + alone_s(kv_by_hand(100))


def measured(**choices):
    return {**LENIENT, **choices}


def steady_trace(count: int, gap_s: float, output_tokens: int = 11):
    return trace_of(np.arange(count) * gap_s, [100] * count, [output_tokens] * count)


def test_tokens_are_counted_when_they_come_out():
    # Tokens of request k at k + FIRST_S + (0, 1, .., 10) steps; the window is [1.0, 2.0), the last arrival ends it.
    run = run_by_hand(steady_trace(3, 1.0, 150), settings_of(measure=measured(warm_up_fraction=0.3)))
    assert (run.window.start_s, run.window.end_s) == (1.0, 2.0)
    instants = [arrival + FIRST_S + STEP_S * np.arange(150) for arrival in (0.0, 1.0, 2.0)]
    # The batch of two starts its steps at the boundaries of the first request's.
    first, last = instants[0], instants[1]
    boundary = first[np.searchsorted(first, last[0])]
    second = np.concatenate([[last[0]], boundary + STEP_S * np.arange(1, 150)])
    expected = [int(((times >= 1.0) & (times < 2.0)).sum()) for times in (first, second)]
    assert tokens_within(run).tolist() == [*expected, 0]
    assert run_metrics(run)["throughput"]["output_tokens_per_s"] == pytest.approx(sum(expected))


@pytest.mark.parametrize("first_token", ["prefill", "decode"])
@pytest.mark.parametrize("seed", range(4))
def test_every_token_is_counted_once(first_token, seed):
    draw = np.random.default_rng(seed)
    arrival_s = np.concatenate([[0.0], np.sort(draw.random(59)) * 2])
    trace = trace_of(arrival_s,
                     draw.integers(1, 3000, 60), draw.integers(1, 80, 60))  # fmt: skip
    run = run_by_hand(trace, settings_of(decode={"first_token": first_token, "nodes": 2, "max_batch": 8}))
    # Too short for a window, so that the whole run counts.
    assert run.window.no_rate is not None
    whole = tokens_within(run)
    last = run.journeys.finish_s == run.end_s
    assert np.array_equal(whole[~last], trace.output_tokens[~last])
    assert np.array_equal(whole[last], trace.output_tokens[last] - 1), "the end of a window does not belong to it"


def test_tokens_of_requests_that_the_horizon_cuts_off():
    run = run_by_hand(steady_trace(2, 0.1, 5000), settings_of(load={"horizon_s": 3.0}, measure=measured(warm_up_s=1.0)))
    assert (run.window.start_s, run.window.end_s, run.window.no_rate) == (0.0, 3.0, "no request began after the warm-up")
    trace = trace_of([0.0, 0.1, 9.0], [100] * 3, [5000] * 3)
    run = run_by_hand(trace, settings_of(load={"horizon_s": 3.0}, measure=measured(warm_up_s=1.0)))
    assert run.window.no_rate is not None and "0 requests arrived" in run.window.no_rate
    # A step every hundredth of a second from the first token on, to both.
    tokens = tokens_within(run)
    assert tokens[0] == 1 + int((3.0 - FIRST_S) / STEP_S) and abs(tokens[1] - (tokens[0] - 10)) <= 1


def test_the_drain_is_not_in_the_window():
    short = run_metrics(run_by_hand(steady_trace(1000, 0.05), settings_of(measure=measured())))
    long_tail = trace_of(np.arange(1000) * 0.05, [100] * 1000, [11] * 999 + [5000])
    tail = run_metrics(run_by_hand(long_tail, settings_of(measure=measured())))
    assert tail["duration_s"] > 1.9 * short["duration_s"]
    assert tail["throughput"] == short["throughput"]
    assert short["throughput"]["requests_per_s"] == pytest.approx(20.0, rel=2e-3)
    assert short["throughput"]["output_tokens_per_s"] == pytest.approx(220.0, rel=2e-3)
    assert short["throughput"]["input_tokens_per_s"] == pytest.approx(2000.0, rel=2e-3)


def test_warm_up_and_length_can_be_named():
    run = run_by_hand(steady_trace(100, 0.1), settings_of(measure=measured(warm_up_s=2.05, window_s=3.0)))
    assert (run.window.start_s, run.window.end_s) == pytest.approx((2.05, 5.05))
    assert run_metrics(run)["window"]["arrived"] == 30


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        ({}, "44 requests arrived in the window, measure.least_requests asks for 100"),
        ({"least_requests": 10, "least_turnovers": 100.0}, "measure.least_turnovers asks for 100"),
        (measured(window_s=60.0), "measure.window_s asks for 60"),
        (measured(warm_up_s=60.0), "no request began after the warm-up"),
    ],
)
def test_a_run_too_short_says_so_and_gives_no_rate(measure, reason):
    run = run_by_hand(steady_trace(101, 0.1), settings_of(measure=measure))
    found = run_metrics(run)
    assert reason in found["window"]["no_rate"]
    assert set(found["throughput"].values()) == {None}
    assert (found["window"]["start_s"], found["window"]["end_s"]) == (0.0, run.end_s)
    assert found["window"]["completed"] == 101 and found["littles_law"]["steady"] is None
    assert found["littles_law"]["relative_difference"] == pytest.approx(0.0, abs=1e-12), "from empty to empty the sides agree"


def test_how_far_a_system_fills():
    exponential = -np.log(1 - (np.arange(100_000) + 0.5) / 100_000)
    for after_s in (0.0, 0.5, 1.0, 3.0):
        assert filled(exponential, after_s) == pytest.approx(1 - np.exp(-after_s), abs=1e-4)
    assert time_to_fill_s(exponential, 0.95) == pytest.approx(np.log(20), rel=1e-3), "three mean times"
    alike = np.full(10, 2.0)
    assert filled(alike, 0.5) == 0.25 and filled(alike, 9.0) == 1.0 and time_to_fill_s(alike, 0.95) == 2.0
    assert filled(np.zeros(3), 1.0) == filled(np.zeros(0), 1.0) == 1.0 and time_to_fill_s(np.zeros(0), 0.95) == 0.0


def test_a_system_fills_as_its_stays_say():
    # Decoding alone takes 0.1 to 9 s and nobody waits, so that stays do not depend on who else is there.
    draw = np.random.default_rng(0)
    run = run_by_hand(trace_of(np.arange(3000) * 0.02, [10] * 3000, draw.integers(10, 900, 3000)),
                      settings_of(decode={"max_batch": 10_000, "kv_capacity_tokens": 10**9}))  # fmt: skip
    life = run.journeys
    stays_s = life.finish_s - life.arrival_s
    steady = stays_s.mean() / 0.02
    for at_s in (1.0, 2.0, 4.0, 8.0):
        there = ((life.arrival_s <= at_s) & (life.finish_s > at_s)).sum()
        assert there / steady == pytest.approx(filled(stays_s, at_s), abs=0.05)


@pytest.mark.parametrize("load", [{}, {"mode": "closed", "concurrency": 100}])
def test_the_warm_up_and_the_load_after_the_window_must_last(load):
    def run_of(requests: int):
        return run_by_hand(steady_trace(requests, 0.02, 1000), settings_of(load=load, decode={"max_batch": 10_000}))

    short = run_of(400).window.no_rate
    bound = "least_turnovers asks for 3" if load else "least_filled asks for 95 %"
    assert short is not None and f"measure.{bound}; about " in short
    enough = int(short.rpartition("; about ")[2].removesuffix(" requests would do").replace(",", ""))
    assert enough > 400 and run_of(enough).window.no_rate is None


def test_a_part_named_in_seconds_gets_no_advice_on_requests():
    run = run_by_hand(steady_trace(400, 0.02, 1000), settings_of(measure={"warm_up_s": 2.0}))
    assert run.window.no_rate is not None and run.window.no_rate.endswith("measure.least_filled asks for 95 %")


def test_the_window_ends_while_load_goes_on():
    run = run_by_hand(steady_trace(1000, 0.05), settings_of())
    assert (run.window.start_s, run.window.end_s) == pytest.approx((300 * 0.05, 749 * 0.05))
    closed = run_by_hand(steady_trace(1000, 0.0), settings_of(load={"mode": "closed", "concurrency": 10}))
    assert [closed.window.start_s, closed.window.end_s] == closed.journeys.arrival_s[[300, 749]].tolist()


def test_the_horizon_has_a_warm_up_and_a_cool_down():
    run = run_by_hand(steady_trace(1000, 0.05), settings_of(load={"horizon_s": 20.0}))
    assert (run.window.start_s, run.window.end_s) == pytest.approx((0.3 * 20, 0.75 * 20))


def test_a_queue_that_grows_is_not_steady():
    # A prompt takes 10 ms, so of 125 requests a second 100 are served.
    pool = {"chunk_tokens": 100}
    overloaded = run_by_hand(steady_trace(4000, 0.008, 1), settings_of(prefill=pool, measure=measured()))
    assert overloaded.window.unsteady == "125 requests/s came and 100 left, -20.0 %; measure.steady_within allows 5 %"
    law = run_metrics(overloaded)["littles_law"]
    assert law["steady"] is False and law["departures_per_s"] == pytest.approx(100, rel=1e-3)
    allowed = measured(steady_within=10.0)
    assert run_by_hand(steady_trace(4000, 0.008, 1), settings_of(prefill=pool, measure=allowed)).window.unsteady is None
    assert run_by_hand(steady_trace(4000, 0.011, 1), settings_of(prefill=pool)).window.unsteady is None


def test_latencies_count_what_arrived_in_the_window():
    # The first request computes for a second and holds up those behind it.
    trace = trace_of(np.arange(200) * 0.1, [10_000] + [100] * 199, [2] * 200)
    found = run_metrics(run_by_hand(trace, settings_of(measure=measured())))
    assert found["ttft_s"]["p99"] == pytest.approx(FIRST_S) and found["window"]["arrived"] == 119


def busy_run(seed: int, load: dict, requests: int = 4000):
    draw = np.random.default_rng(seed)
    trace = trace_of(np.arange(requests) * 0.02, draw.integers(50, 150, requests), draw.integers(1, 100, requests))
    return run_by_hand(trace, settings_of(load=load))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [{}, {"mode": "closed", "concurrency": 24}])
def test_littles_law_differs_by_what_lies_across_the_ends(seed, load):
    """Rate x mean time x length = integral of the number + time left to those inside at the end - that at the start."""
    run = busy_run(seed, load)
    life, window = run.journeys, run.window
    law = run_metrics(run)["littles_law"]

    def left_s(at_s: float) -> float:
        inside = (life.arrival_s < at_s) & (life.finish_s > at_s)
        return float((life.finish_s[inside] - at_s).sum())

    across = (left_s(window.end_s) - left_s(window.start_s)) / window.length_s
    assert law["product"] == pytest.approx(law["mean_in_system"] + across, rel=1e-9)
    assert abs(law["relative_difference"]) < 0.01 and law["steady"] is True
    if load:
        assert law["mean_in_system"] == pytest.approx(24, rel=1e-9)


def test_links_are_read_over_the_window():
    # A KV cache every tenth of a second; 0.05 s after each arrival nothing is under way.
    settings = settings_of(measure=measured(warm_up_s=2.05, window_s=3.0))
    run = run_by_hand(steady_trace(100, 0.1, 1), settings, model=ideal_model(fabric_of("roft-256")))
    window = run.links_in_window
    assert window.size_bytes[window.leaves_gpu].sum() == pytest.approx(30 * kv_by_hand(100))
    found = run_metrics(run)["congestion"]["max_link_utilisation"]
    assert found == pytest.approx(30 * kv_by_hand(100) * 8 / (400e9 * 3.0))


@pytest.mark.parametrize("tokens", [1, 11])
def test_the_first_token_comes_a_step_later_where_decode_makes_it(tokens):
    by_prefill, by_decode = (
        run_by_hand(trace_of([0.0], [100], [tokens]), settings_of(decode={"first_token": name})).journeys
        for name in ("prefill", "decode")
    )
    assert by_prefill.ttft_s()[0] == pytest.approx(FIRST_S)
    assert by_decode.ttft_s()[0] == pytest.approx(FIRST_S + STEP_S)
    assert by_decode.e2e_s()[0] == pytest.approx(by_prefill.e2e_s()[0] + STEP_S)
    assert by_decode.kv_transfer_s()[0] == pytest.approx(by_prefill.kv_transfer_s()[0])
